"""The poller: who is asked when, what a tick says of lateness, what a no leads to."""

import contextlib

import pytest

from support.finnhub_double import eventually
from support.ticks import T0, S
from support.vendor_world import NAMES, vendor_world
from tradebox.actors import poller as poller_module
from tradebox.actors.poller import Poller, PollRules
from tradebox.domain.breaker import ProviderKind
from tradebox.domain.market import Source
from tradebox.errors import VendorUnavailable
from tradebox.ports.ticks import KEY_BITS, NoQuote, NoQuoteReason, Quote
from tradebox.supervision.clock import MonotonicClock


class Port:
    """Answers from a table, one symbol at a time."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []
        self.is_closed = False

    async def quote(self, symbol):
        self.asked.append(symbol)
        answer = self.answers[symbol]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self):
        self.is_closed = True


class BulkPort(Port):
    at_once = 2

    async def quotes(self, symbols):
        self.asked.append(tuple(symbols))
        return [self.answers[symbol] for symbol in symbols]


@contextlib.asynccontextmanager
async def polling(port, *wanted, poll_s=0.01, symbols_max=50, fresh_s_max=90.0):
    callbacks = {}

    def make(world):
        return Poller(
            Source.YAHOO,
            port,
            world.slot,
            world.market,
            PollRules(poll_s, symbols_max, fresh_s_max),
            wanted=lambda: world.wanted,
            on_wanted=lambda call, name: callbacks.__setitem__(name, call),
            counters=world.counters,
        )

    async with vendor_world(make) as world:
        world.wanted, world.callbacks = list(wanted), callbacks
        yield world


def quote(symbol="A", price=5_000_000, at_s=0.0, **fields):
    return Quote(symbol, price, 4_900_000, T0 + round(at_s * S), **fields)


@pytest.mark.asyncio
async def test_both_feeds_get_the_same_ticks_with_rising_keys():
    port = Port({"A": quote(), "B": quote("B", 7_000_000)})
    async with polling(port, "A", "B") as world:
        await eventually(lambda: len(world.ticks) >= 6)
        assert port.asked[:4] == ["A", "B", "A", "B"]
    assert port.is_closed
    first, second = world.fed[NAMES[0]], world.fed[NAMES[1]]
    shared = min(len(first), len(second))
    assert first[:shared] == second[:shared]
    keys = [tick.key for tick in world.ticks]
    assert keys == [(7 << KEY_BITS) + number for number in range(1, len(keys) + 1)]
    tick = world.ticks[0]
    assert (tick.price_micros, tick.size, tick.source) == (5_000_000, 0, Source.YAHOO)
    assert tick.is_quote
    assert (tick.delay_s, tick.is_eod) == (0, False)
    assert world.slot.closes == {"A": 4_900_000, "B": 4_900_000}
    assert world.kinds() == {ProviderKind.OK}
    assert world.counters.received >= len(keys)


@pytest.mark.parametrize(
    ("answer", "delay_s", "is_eod"),
    [
        (quote(), 0, False),
        (quote(at_s=-90), 0, False),
        (quote(at_s=-91), 91, False),
        (quote(delay_s=900), 900, False),
        (quote(at_s=-1000, delay_s=900), 1000, False),
        (quote(at_s=-5, is_eod=True), 0, True),
        (quote(at_s=-60_000, is_eod=True), 0, True),
        (quote(at_s=-200_000, is_eod=True, delay_s=86_400), 86_400, True),
    ],
)
@pytest.mark.asyncio
async def test_a_tick_says_how_late_it_is(answer, delay_s, is_eod):
    async with polling(Port({"A": answer}), "A") as world:
        await eventually(lambda: world.ticks)
    assert (world.ticks[0].delay_s, world.ticks[0].is_eod) == (delay_s, is_eod)
    assert world.ticks[0].event_ns == answer.event_ns


@pytest.mark.asyncio
async def test_nobody_is_asked_for_but_who_is_wanted_and_changes_count_at_once():
    port = Port({"A": quote(), "B": quote("B")})
    async with polling(port, poll_s=3600) as world:
        await eventually(lambda: world.callbacks)
        world.wanted = ["B"]
        world.callbacks["market.vendor"]()
        await eventually(lambda: port.asked == ["B"])
        world.wanted = ["A", "B"]
        world.callbacks["market.vendor"]()
        await eventually(lambda: port.asked == ["B", "A", "B"])


@pytest.mark.asyncio
async def test_no_more_than_its_symbols_are_asked_for_the_most_needed_first():
    port = Port({name: quote(name) for name in "ABCDE"})
    async with polling(port, *"ABCDE", symbols_max=2) as world:
        await eventually(lambda: len(world.ticks) >= 4)
    assert set(port.asked) == {"A", "B"}


@pytest.mark.asyncio
async def test_several_at_once_where_the_vendor_takes_them():
    port = BulkPort({name: quote(name) for name in "ABC"})
    async with polling(port, *"ABC", poll_s=3600) as world:
        await eventually(lambda: len(world.ticks) == 3)
    assert port.asked == [("A", "B"), ("C",)]


@pytest.mark.asyncio
async def test_a_symbol_that_is_not_covered_is_let_alone():
    port = Port({"A": NoQuote("A", NoQuoteReason.FORBIDDEN), "B": quote("B")})
    async with polling(port, "A", "B") as world:
        await eventually(lambda: len(world.ticks) >= 3)
    assert port.asked.count("A") == 1
    told = [one for one in world.slot.told if one.kind is ProviderKind.FORBIDDEN]
    assert [one.symbol for one in told] == ["A"]
    assert [one.kind for one in world.alerts] == ["vendor_forbidden"]


@pytest.mark.asyncio
async def test_a_symbol_that_is_covered_after_all_comes_without_a_restart(monkeypatch):
    monkeypatch.setattr(poller_module, "FORBIDDEN_S", 0.05)
    port = Port({"A": NoQuote("A", NoQuoteReason.FORBIDDEN)})
    async with polling(port, "A") as world:
        await eventually(lambda: port.asked.count("A") >= 3)
        port.answers["A"] = quote("A")
        await eventually(lambda: world.ticks)
    assert [one.kind for one in world.alerts] == ["vendor_forbidden"], "a person is told once"


@pytest.mark.asyncio
async def test_a_vendor_that_says_wait_is_let_alone():
    port = Port({"A": NoQuote("A", NoQuoteReason.THROTTLED, 3600.0), "B": quote("B")})
    async with polling(port, "A", "B") as world:
        await eventually(lambda: ProviderKind.THROTTLED in world.kinds())
        world.callbacks["market.vendor"]()
        world.wanted = ["B"]
        world.callbacks["market.vendor"]()
        await eventually(lambda: world.actors[0]._next is not None)
        assert world.actors[0]._quiet_until_s > MonotonicClock().now() + 3000
    assert port.asked == ["A"]


@pytest.mark.asyncio
async def test_our_own_budget_is_no_news_of_the_vendor_and_stops_nobody_else():
    port = Port({"A": NoQuote("A", NoQuoteReason.BUDGET, 300.0), "B": quote("B")})
    async with polling(port, "A", "B") as world:
        await eventually(lambda: len(world.ticks) >= 2)
    assert world.kinds() == {ProviderKind.OK}


@pytest.mark.asyncio
async def test_failures_are_told_and_two_in_a_row_end_the_sweep():
    down = VendorUnavailable("down")
    port = Port({"A": quote(), "B": down, "C": down, "D": quote("D")})
    async with polling(port, *"ABCD", poll_s=3600) as world:
        await eventually(lambda: world.actors and world.actors[0].figures.failed == 2)
        await eventually(lambda: not world.actors[0]._is_sweeping)
    assert port.asked == ["A", "B", "C"]
    failed = [one for one in world.slot.told if one.kind is ProviderKind.FAILED]
    assert len(failed) == 2
    assert [one.kind for one in world.alerts] == ["vendor_unavailable"], "said once"


@pytest.mark.asyncio
async def test_an_unknown_symbol_is_no_fault_of_the_vendor():
    async with polling(Port({"A": NoQuote("A", NoQuoteReason.EMPTY)}), "A") as world:
        await eventually(lambda: world.actors and world.actors[0].figures.empty >= 2)
    assert world.kinds() == {ProviderKind.OK}
    assert world.ticks == []


@pytest.mark.asyncio
async def test_a_new_incarnations_keys_are_above_the_old_ones():
    class Fragile(Port):
        is_broken = False

        async def quote(self, symbol):
            if self.is_broken:
                self.is_broken = False
                raise RuntimeError("a bug")
            return await super().quote(symbol)

    port = Fragile({"A": quote()})
    async with polling(port, "A") as world:
        await eventually(lambda: world.ticks)
        port.is_broken = True
        await eventually(lambda: len(world.actors) == 2)
        await eventually(lambda: world.ticks[-1].key >> KEY_BITS == 8)
    keys = [tick.key for tick in world.ticks]
    assert keys == sorted(set(keys))
