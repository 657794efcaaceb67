"""A long batch lets others have their turn, and a pair that changes within one loses no tick."""

import asyncio
from types import SimpleNamespace

import pytest

from support.ticks import LIMITS, Market, tick
from tradebox.actors.feed import Feed
from tradebox.actors.feed_slot import AdmissionGate, FeedSlot
from tradebox.actors.market_hub import MarketHub
from tradebox.domain.market import Source
from tradebox.ports.ticks import TickBatch
from tradebox.supervision.clock import ManualClock, yield_turn
from tradebox.supervision.gate import EpochGate

NAMES = ("market.feed_a", "market.feed_b")
TICKS = 60


class Pair:
    """Two warm feeds; the first holds the epoch."""

    def __init__(self):
        self.market, self.admitted = Market(), []
        self.hub = MarketHub(self.market, LIMITS.stale_ns_max)
        self.hub.subscribe("paper", self.admitted.append, None)
        self.gate = AdmissionGate(EpochGate(1, 1), self.hub.deliver)
        self.clock = ManualClock()
        self.slot = FeedSlot(NAMES, self.gate, self.clock, self.market, lambda _: None)
        self.feeds = [self.warm(name) for name in NAMES]

    def warm(self, name):
        feed = Feed(self.slot, LIMITS, self.hub.counters, slice_s=0.0)
        feed.name, feed.incarnation = name, 1
        feed._ctx = SimpleNamespace(events=SimpleNamespace(publish=lambda _: None))
        self.slot.join(feed)
        self.slot.warmed(feed)
        return feed

    async def begin(self):
        for message in (
            self.slot.subscribe(frozenset({"SPY"})),
            self.slot.note_close("SPY", 100_000_000),
        ):
            for feed in self.feeds:
                await feed.handle(message)

    async def batch(self, feed):
        ticks = [
            tick(100 + n % 3 / 100, n, recv_s=n + 0.1, source=Source.FINNHUB, key=n, size=100 + n)
            for n in range(1, TICKS + 1)
        ]
        self.market.ns = ticks[-1].recv_ns
        await feed.handle(TickBatch(tuple(ticks), 0))


@pytest.fixture
def pair():
    return Pair()


@pytest.mark.asyncio
async def test_a_long_batch_gives_turns_away(pair):
    await pair.begin()
    seen = []

    async def controller():
        while len(pair.admitted) < TICKS:
            seen.append(len(pair.admitted))
            await yield_turn()

    await asyncio.gather(pair.batch(pair.feeds[0]), controller())
    assert len(set(seen)) > TICKS // 2, "it saw prices while the batch was under way"


@pytest.mark.asyncio
@pytest.mark.parametrize("turns", [1, TICKS // 2, TICKS - 1])
async def test_the_pair_may_swap_within_a_batch_and_no_tick_is_lost_or_twice(pair, turns):
    await pair.begin()
    active, standby = pair.feeds

    async def swap():
        for _ in range(turns):
            await yield_turn()
        assert pair.slot.swap()

    await asyncio.gather(pair.batch(active), pair.batch(standby), swap())
    assert pair.slot.active == NAMES[1]
    assert [one.key for one in pair.admitted] == list(range(1, TICKS + 1))
    assert [one.pub_seq for one in pair.admitted] == list(range(1, TICKS + 1))
    assert pair.gate.gaps == 0
    epochs = [one.epoch for one in pair.admitted]
    assert epochs == sorted(epochs)
    assert len(set(epochs)) == 2 or turns != TICKS // 2


async def behind(pair, settled):
    """Let the standby judge a batch alone, the active then so many ticks of it, 2 ms each."""
    await pair.begin()
    active, standby = pair.feeds
    await pair.batch(standby)
    task = asyncio.ensure_future(pair.batch(active))
    while len(pair.admitted) < settled:
        await yield_turn()
        pair.clock.advance(0.002)
    return task


@pytest.mark.asyncio
async def test_an_active_feed_that_is_slow_is_not_hung(pair):
    before = pair.slot.takeovers
    await (await behind(pair, TICKS))
    assert pair.slot.takeovers == before
    assert pair.slot.active == NAMES[0]


@pytest.mark.asyncio
async def test_an_active_feed_that_stops_halfway_is_hung(pair):
    task = await behind(pair, TICKS // 2)
    pair.clock.advance(0.01)
    assert pair.slot.active == NAMES[1]
    assert [one.key for one in pair.admitted] == list(range(1, TICKS + 1))
    await task
    assert len(pair.admitted) == TICKS
