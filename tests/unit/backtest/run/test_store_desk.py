"""The desk between a run and its store: who is told, and how often."""

import asyncio

import pytest

from tradebox.backtest.scheduler_store import Desk
from tradebox.supervision.clock import ManualClock


class NoMoreJobs:
    async def claim(self, count):
        return []


@pytest.mark.asyncio
async def test_a_nudge_with_nothing_to_do_is_no_news():
    told = []
    desk = Desk(
        "run", "hash", NoMoreJobs(), None, ManualClock(), ahead=2, wait_s_max=1.0,
        on_change=lambda: told.append(1),
    )  # fmt: skip
    working = asyncio.create_task(desk.work())
    for _ in range(5):
        await asyncio.sleep(0)
    assert desk.is_drained
    before = len(told)
    for _ in range(20):
        desk.nudge()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert len(told) == before, "each would be answered by another nudge, without end"
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
