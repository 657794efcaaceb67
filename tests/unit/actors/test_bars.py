"""The bars actor: PostgreSQL away costs room, never a wrong bar; what is dropped is counted."""

from dataclasses import replace

import pytest

from support.manual_tree import manual_tree
from support.ticks import LIMITS, T0, Market, S, admitted
from tradebox.actors.bars import DAY_NS, Bars
from tradebox.actors.market_hub import MarketHub
from tradebox.domain.events import AlertRaised
from tradebox.domain.minute_bars import BarBook
from tradebox.errors import StoreUnavailable
from tradebox.supervision.spec import ChildSpec, ChildType
from tradebox.supervision.supervisor import Supervisor

pytestmark = pytest.mark.asyncio


class Store:
    """Minute bars by key; can be away, or lose its answer after the write."""

    def __init__(self):
        self.rows = {}
        self.is_away = self.loses_answer = False
        self.dropped_before = []

    async def put_minute_bars(self, rows):
        if self.is_away:
            raise StoreUnavailable("away")
        for row in rows:
            self.rows.setdefault((row.symbol, row.end_ns), row)
        if self.loses_answer:
            self.loses_answer = False
            raise StoreUnavailable("lost")

    async def drop_minute_bars(self, before_ns):
        self.dropped_before.append(before_ns)
        return 0


class World:
    def __init__(self, done_max=100):
        self.market, self.store = Market(), Store()
        self.hub = MarketHub(self.market, LIMITS.stale_ns_max)
        self.book = BarBook(done_max=done_max)
        self.bars = []
        self.sent = 0

    def make(self):
        self.bars.append(Bars(self.book, self.store, self.hub, self.market, 40))
        return self.bars[-1]

    def root(self):
        leaf = ChildSpec(id="bars", start=self.make)
        return ChildSpec(
            id="root", start=lambda: Supervisor(None, [leaf]), type=ChildType.SUPERVISOR
        )

    async def minutes(self, harness, count):
        """A tick each ten seconds, a look each minute."""
        for _ in range(count):
            for _ in range(6):
                self.market.ns += 10 * S
                self.sent += 1
                self.hub.deliver(admitted("SPY", 100, (self.market.ns - T0) / S, seq=self.sent))
            await harness.run(1.0)


async def test_each_minute_becomes_one_row():
    world = World()
    async with manual_tree(world.root()) as harness:
        await world.minutes(harness, 10)
        assert 8 <= len(world.store.rows) <= 10
    assert sum(row.ticks for row in world.store.rows.values()) == world.sent
    assert world.bars[0].written == len(world.store.rows)
    assert not world.book.done


async def test_a_bar_that_cannot_be_true_is_told_and_its_neighbours_are_written():
    world = World()
    async with manual_tree(world.root()) as harness:
        told = harness.runtime.events.subscribe(AlertRaised)
        await world.minutes(harness, 1)
        world.hub.deliver(
            replace(admitted("QQQ", 50, (world.market.ns - T0) / S), size=-1)  # a bug upstream
        )
        await world.minutes(harness, 5)
        assert {row.symbol for row in world.store.rows.values()} == {"SPY"}
        assert world.book.refused == 1
        alert = await told.get()
    assert (alert.kind, alert.text) == ("bar_refused", "QQQ: a negative volume")


async def test_away_for_ten_minutes_everything_comes_back():
    world = World()
    async with manual_tree(world.root()) as harness:
        await world.minutes(harness, 3)
        before = len(world.store.rows)
        world.store.is_away = True
        await world.minutes(harness, 10)
        assert len(world.store.rows) == before
        assert not world.bars[0].is_up
        assert world.bars[0].failures == 10
        world.store.is_away = False
        await world.minutes(harness, 1)
        assert world.bars[0].is_up
    assert sum(row.ticks for row in world.store.rows.values()) == world.sent
    assert world.book.dropped == 0


async def test_away_for_too_long_the_oldest_are_dropped_and_counted():
    world = World(done_max=5)
    async with manual_tree(world.root()) as harness:
        world.store.is_away = True
        await world.minutes(harness, 20)
        world.store.is_away = False
    ends = sorted(end_ns for _, end_ns in world.store.rows)
    assert len(ends) == 5
    assert world.book.dropped == 16
    assert ends[-1] == -(-world.market.ns // (60 * S)) * 60 * S, "the newest are there"


async def test_a_lost_answer_doubles_nothing():
    world = World()
    async with manual_tree(world.root()) as harness:
        await world.minutes(harness, 2)
        world.store.loses_answer = True
        await world.minutes(harness, 3)
    assert sum(row.ticks for row in world.store.rows.values()) == world.sent


async def test_old_months_are_swept_once_a_day():
    world = World()
    async with manual_tree(world.root()) as harness:
        await world.minutes(harness, 5)
        world.market.ns += DAY_NS
        await world.minutes(harness, 5)
    assert len(world.store.dropped_before) == 2
    assert T0 - 40 * DAY_NS <= world.store.dropped_before[0] < T0 - 39 * DAY_NS
