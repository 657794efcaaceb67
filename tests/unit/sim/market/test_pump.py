"""The pump: what is due is delivered, vendors come last, the lease goes on, nights are skipped."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from support.sim_market import trades
from tradebox.domain.clock_map import ClockMap
from tradebox.errors import HomeUnusable
from tradebox.sim.exchange.market_port import MarketEvent
from tradebox.sim.market import hours
from tradebox.sim.market.clock import LEASE_NS, SimClock
from tradebox.sim.market.data import load
from tradebox.sim.market.market import Market
from tradebox.sim.market.pump import Pump
from tradebox.sim.market.replay import Replay
from tradebox.supervision.clock import ManualClock, yield_turn

DEADLINE_S = 20.0
SYMBOLS = ("SPY", "AAPL", "NFLX")


class Rig:
    """A pump whose real time is in the test's hands."""

    def __init__(self, path: Path, speed: float, not_before_ns: int = 0) -> None:
        self.timer = ManualClock(100.0)
        self.clock = SimClock(path, speed, self.mono_ns, not_before_ns)
        self.market = Market(Replay(load().only(SYMBOLS), 1), self.clock)
        self.begun_ns = self.clock.now_ns()
        self.market.begin(self.begun_ns)
        self.pump = Pump(self.market, self.clock, self.timer)
        self.events: list[MarketEvent] = []
        self.market.subscribe(self.events.append)
        self.turns: list[int] = []
        self.pump.after_turn(lambda: self.turns.append(len(self.events)))

    def mono_ns(self) -> int:
        return round(self.timer.now() * hours.SECOND_NS)

    def lease_ns(self) -> int:
        return ClockMap.decode(self.clock.encode()).lease_mono_ns

    async def pass_time(self, seconds: int) -> None:
        """Let real seconds pass, each with its lease renewed by the thread."""
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(seconds):
                before = self.lease_ns()
                await self.timer.run_for(1.0)
                while self.lease_ns() == before:
                    await yield_turn()
                await self.timer.run_for(0.01)


@asynccontextmanager
async def pumping(rig: Rig) -> AsyncIterator[asyncio.Future[None]]:
    task = asyncio.ensure_future(rig.pump.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, HomeUnusable):
            await task


@pytest.mark.asyncio
async def test_what_is_due_is_delivered_and_the_vendors_are_told_after_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "clock.json", 20.0)
    async with pumping(rig):
        await rig.pass_time(12)
    now_ns = rig.clock.now_ns()
    assert now_ns >= rig.begun_ns + 12 * 20 * hours.SECOND_NS
    late_ns = 300_000_000 * 20
    due = trades(rig.events)
    assert now_ns - late_ns < due[-1].event_ns <= now_ns
    other = Market(Replay(load().only(SYMBOLS), 1), rig.clock)
    other.begin(rig.begun_ns)
    assert trades(run_to(other, due[-1].event_ns)) == due
    assert rig.turns[-1] == len(rig.events)
    assert rig.turns == sorted(rig.turns)


def run_to(market: Market, until_ns: int) -> list[MarketEvent]:
    events: list[MarketEvent] = []
    market.subscribe(events.append)
    while not market.advance(until_ns, 100):
        pass
    return events


@pytest.mark.asyncio
async def test_the_lease_is_always_ahead_and_on_disk(tmp_path: Path) -> None:
    rig = Rig(tmp_path / "clock.json", 1.0)
    async with pumping(rig):
        for _ in range(8):
            await rig.pass_time(1)
            on_disk = ClockMap.decode((tmp_path / "clock.json").read_bytes())
            assert on_disk.lease_mono_ns == rig.lease_ns() > rig.mono_ns() + LEASE_NS // 2
            assert on_disk.at(rig.mono_ns()) == rig.clock.now_ns()


@pytest.mark.asyncio
async def test_a_night_is_skipped_and_no_print_of_either_day_is_lost(tmp_path: Path) -> None:
    today, following = hours.session(3), hours.session(4)
    start_ns = today.close_ns - 31 * hours.MINUTE_NS
    rig = Rig(tmp_path / "clock.json", 200.0, start_ns)
    assert rig.begun_ns == start_ns
    async with pumping(rig):
        await rig.pass_time(11)
    assert hours.session_from(rig.clock.now_ns()) == following
    seen = trades(rig.events)
    first = [one for one in seen if one.event_ns < today.close_ns]
    second = [one for one in seen if one.event_ns >= following.open_ns]
    assert len(first) + len(second) == len(seen)
    other = Market(Replay(load().only(SYMBOLS), 1), rig.clock)
    other.begin(start_ns)
    assert trades(run_to(other, today.close_ns)) == first
    assert len(second) > 10


@pytest.mark.asyncio
async def test_a_clock_file_that_cannot_be_written_ends_it(tmp_path: Path) -> None:
    folder = tmp_path / "sim"
    folder.mkdir()
    rig = Rig(folder / "clock.json", 20.0)
    async with pumping(rig) as task:
        shutil.rmtree(folder)
        async with asyncio.timeout(DEADLINE_S):
            while not task.done():
                await rig.timer.run_for(0.5)
        with pytest.raises(HomeUnusable, match="cannot be written"):
            task.result()
