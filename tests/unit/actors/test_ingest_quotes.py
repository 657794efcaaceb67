"""The quotes beside the stream: silent symbols, symbols without a place, each kind of no."""

import asyncio
import contextlib

import pytest

from support.finnhub_double import eventually
from support.ticks import T0, S, tick
from support.vendor_world import vendor_world
from tradebox.actors import ingest as ingest_module
from tradebox.actors.ingest import Ingest
from tradebox.actors.market_hub import MarketHub
from tradebox.domain.breaker import ProviderKind
from tradebox.domain.market import Source
from tradebox.errors import VendorUnavailable
from tradebox.ports.ticks import KEY_BITS, KeyedStream, NoQuote, NoQuoteReason, Quote, TickBatch

QUIET_S = 0.02


class Stream:
    """A stream that a test speaks through."""

    source, budget = Source.FINNHUB, 2

    def __init__(self):
        self.number, self.wanted = 0, ()

    def want(self, symbols):
        self.wanted = tuple(symbols)

    def key(self):
        self.number += 1
        return (7 << KEY_BITS) + self.number

    async def apply(self):
        pass

    async def run(self, sink):
        self.sink = sink
        sink.opened()
        await asyncio.Event().wait()

    def send(self, symbol):
        self.sink.ticks(TickBatch((tick(5.0, symbol=symbol, key=self.key()),), 1))


class Quotes:
    """Answers from a table; a quote's time moves on with each call."""

    def __init__(self, answers=()):
        self.answers, self.asked = dict(answers), []

    async def quote(self, symbol):
        self.asked.append(symbol)
        answer = self.answers.get(symbol)
        if isinstance(answer, Exception):
            raise answer
        return answer or quote(symbol, len(self.asked))

    async def close(self):
        pass


def quote(symbol, at_s=0.0):
    return Quote(symbol, 5_000_000, 4_900_000, T0 + round(at_s * S))


@contextlib.asynccontextmanager
async def ingesting(quotes, *symbols, quiet_s=QUIET_S):
    stream = Stream()

    def make(world):
        world.hub = MarketHub(world.market, 15 * S)
        world.hub.want("paper", frozenset(symbols))
        return Ingest(
            stream, world.hub, world.slot, world.market,
            quotes=quotes, quote_gap_s=0.001, quiet_s=quiet_s,
        )  # fmt: skip

    async with vendor_world(make) as world:
        world.stream = stream
        yield world


@pytest.mark.asyncio
async def test_a_silent_symbol_is_asked_for_and_told_in_the_streams_order():
    quotes = Quotes()
    async with ingesting(quotes, "A") as world:
        assert isinstance(world.stream, KeyedStream)
        await eventually(lambda: len(world.ticks) >= 2)
        world.stream.send("A")
        await eventually(lambda: any(one.size for one in world.ticks))
    keys = [one.key for one in world.ticks]
    assert keys == sorted(set(keys))
    assert {one.is_quote for one in world.ticks if not one.size} == {True}
    assert world.slot.closes == {"A": 4_900_000}
    assert ProviderKind.OK in world.kinds()


@pytest.mark.asyncio
async def test_a_symbol_that_the_stream_brings_is_not_asked_for():
    quotes = Quotes()
    async with ingesting(quotes, "A", quiet_s=3600) as world:
        await eventually(lambda: quotes.asked == ["A"])
        world.stream.send("A")
        await eventually(lambda: world.ticks)
        await eventually(lambda: not world.actors[0]._is_asking)
        assert world.actors[0]._next_symbol() is None
    assert [one.is_quote for one in world.ticks] == [False]


@pytest.mark.asyncio
async def test_nothing_new_is_asked_for_more_and_more_rarely():
    quotes = Quotes({"A": quote("A")})
    async with ingesting(quotes, "A") as world:
        silence = world.actors[0]._silence
        await eventually(lambda: silence and world.actors[0]._silence["A"].wait_s >= 8 * QUIET_S)
        assert len(world.ticks) == 1, "the same quote is told once"


@pytest.mark.parametrize(
    ("answer", "kind", "alert"),
    [
        (NoQuote("A", NoQuoteReason.FORBIDDEN), ProviderKind.FORBIDDEN, None),
        (NoQuote("A", NoQuoteReason.THROTTLED, 9.0), ProviderKind.THROTTLED, "vendor_key_doubted"),
        (NoQuote("A", NoQuoteReason.KEY_REFUSED, 9.0), ProviderKind.FAILED, "vendor_key_refused"),
        (VendorUnavailable("down"), ProviderKind.FAILED, None),
    ],
)
@pytest.mark.asyncio
async def test_each_no_is_told_of_the_provider(answer, kind, alert):
    async with ingesting(Quotes({"A": answer}), "A") as world:
        await eventually(lambda: kind in world.kinds())
        if alert:
            await eventually(lambda: alert in {one.kind for one in world.alerts})


@pytest.mark.asyncio
async def test_what_the_key_does_not_cover_is_let_alone():
    quotes = Quotes({"A": NoQuote("A", NoQuoteReason.FORBIDDEN)})
    async with ingesting(quotes, "A", "B"):
        await eventually(lambda: quotes.asked.count("B") >= 4)
    assert quotes.asked.count("A") == 1


@pytest.mark.asyncio
async def test_what_the_key_covers_after_all_comes_without_a_restart(monkeypatch):
    monkeypatch.setattr(ingest_module, "FORBIDDEN_S", 0.05)
    quotes = Quotes({"A": NoQuote("A", NoQuoteReason.FORBIDDEN)})
    async with ingesting(quotes, "A") as world:
        await eventually(lambda: quotes.asked.count("A") >= 3)
        quotes.answers.clear()
        await eventually(lambda: world.ticks)


@pytest.mark.asyncio
async def test_the_connection_and_signs_of_life_are_told():
    async with ingesting(None, "A") as world:
        await eventually(lambda: ProviderKind.OPENED in world.kinds())
        world.stream.sink.ticks(TickBatch((), 1))
        await eventually(lambda: ProviderKind.OK in world.kinds())
        world.stream.sink.closed("gone", 1.0)
        await eventually(lambda: ProviderKind.CLOSED in world.kinds())
    assert [one.is_up for one in world.changes][-2:] == [True, False]


@pytest.mark.parametrize(
    "first",
    [NoQuote("A", NoQuoteReason.EMPTY), Quote("A", 5_000_000, 0, T0)],
    ids=["all zero", "without a previous close"],
)
@pytest.mark.asyncio
async def test_a_last_close_that_the_first_answer_lacked_is_asked_for_again(first):
    quotes = Quotes({"A": first})
    async with ingesting(quotes, "A") as world:
        await eventually(lambda: quotes.asked == ["A"])
        assert world.slot.closes == {}
        quotes.answers.clear()
        while len(quotes.asked) < 2:
            world.stream.send("A")  # the stream brings it: that alone is no reason to ask
            await asyncio.sleep(QUIET_S / 4)
        await eventually(lambda: "A" in world.slot.closes)
    assert world.slot.closes == {"A": 4_900_000}
