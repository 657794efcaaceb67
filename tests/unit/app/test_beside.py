"""How wide a quote is, and a halt: asked of the active feed at each entry and exit."""

from dataclasses import replace
from decimal import Decimal

import pytest

from support.feed_world import FeedWorld
from support.ticks import S, quote
from tradebox.app.beside import QUOTE_S_MAX, Beside
from tradebox.app.status import beside as shown_beside
from tradebox.domain.breaker import ProviderKind, ProviderTold
from tradebox.domain.market import Source
from tradebox.ports.ticks import TickBatch


class Asked:
    """A pair of feeds, what is told to it, and what is asked of it."""

    def __init__(self):
        self.world = FeedWorld()
        self.key = 1 << 40
        self.beside = Beside(self.world.slot, self.world.market)
        self.world.slot.tell = self.tell

    def tell(self, message):
        for name in self.world.slot.order():
            self.world.members[name].box.append(message)
        for name in self.world.slot.order():
            self.world.run(name, 10)

    def quote(self, bid, ask, at_s, *conditions):
        self.key += 1
        one = quote(bid, ask, at_s, key=self.key, conditions=conditions)
        self.world.market.ns = one.recv_ns
        self.tell(TickBatch((replace(one, symbol="SPY"),), 1))


@pytest.fixture
def asked():
    return Asked()


def test_the_newest_quote_tells_the_spread_of_its_middle(asked):
    asked.quote(99.99, 100.01, 1)
    assert asked.beside.spread_share("SPY") == Decimal("0.0002")
    asked.quote(98, 102, 2)
    assert asked.beside.spread_share("SPY") == Decimal("0.04")


def test_a_quote_too_wide_to_measure_trades_by_is_told_as_wide(asked):
    asked.quote(99.99, 100.01, 1)
    asked.quote(80, 120, 2)
    assert asked.world.slot.memories[asked.world.slot.active].states["SPY"].rest.quote is None
    assert asked.beside.spread_share("SPY") == Decimal("0.4")


@pytest.mark.parametrize("bid_ask", [(0, 100.01), (100.01, 99.99)])
def test_a_one_sided_or_crossed_quote_is_none(asked, bid_ask):
    asked.quote(98, 102, 1)
    asked.quote(*bid_ask, 2)
    assert asked.beside.spread_share("SPY") == 0


def test_where_nobody_quotes_the_price_is_judged_alone(asked):
    assert asked.beside.spread_share("SPY") == 0
    asked.quote(98, 102, 1)
    asked.world.market.ns += QUOTE_S_MAX * S
    assert asked.beside.spread_share("SPY") == Decimal("0.04")
    asked.world.market.ns += 1
    assert asked.beside.spread_share("SPY") == 0


def test_without_an_active_feed_a_spread_is_not_known(asked):
    for name in list(asked.world.members):
        asked.world.crash(name)
    asked.world.slot.memories.clear()
    assert asked.beside.spread_share("SPY") is None
    assert not asked.beside.is_halted("SPY")


def test_a_halt_is_believed_until_its_end_is_told(asked):
    asked.quote(99.99, 100.01, 1)
    assert not asked.beside.is_halted("SPY")
    asked.quote(99.98, 100.01, 2, "halted")
    assert asked.beside.is_halted("SPY")
    assert not asked.beside.is_halted("AAPL")
    asked.quote(99.99, 100.01, 3)
    assert not asked.beside.is_halted("SPY")


def test_a_halt_is_not_believed_while_nobody_could_tell_its_end(asked):
    asked.quote(99.99, 100.01, 1)
    asked.quote(99.98, 100.01, 2, "halted")
    told = ProviderTold(Source.IB, ProviderKind.CLOSED, asked.world.market.ns)
    asked.world.slot.provider(told)
    assert not asked.beside.is_halted("SPY")


def test_bid_and_ask_are_shown_beside_a_price_while_they_are_quoted_and_no_longer(asked):
    asked.quote(99.99, 100.01, 1)
    slot, now_ns = asked.world.slot, asked.world.market.ns
    sides = {"bid_micros": 99_990_000, "ask_micros": 100_010_000}
    slot.near = lambda: frozenset({"SPY"})
    slot.subscribe(frozenset({"SPY"}))
    assert shown_beside(slot, "SPY", now_ns - QUOTE_S_MAX * S) == sides
    assert shown_beside(slot, "SPY", now_ns + 1) == {}
    slot.near = frozenset
    slot.subscribe(frozenset({"SPY"}))
    assert shown_beside(slot, "SPY", now_ns - QUOTE_S_MAX * S) == {}, "nobody is asked for it"
