"""The reconciler's turn: a look waits for the pace, and no longer once something presses."""

import asyncio
from types import SimpleNamespace

import pytest

from tradebox.actors.reconciler import ReconcilerActor
from tradebox.supervision.clock import ManualClock

TURNS = 20


class Link:
    """A link whose pace is spent but for what presses."""

    is_connected = has_listener = True

    def __init__(self):
        self.wake = None
        self.presses = False
        self.taken = 0

    def on_look_wanted(self, wake):
        self.wake = wake

    def look_wait_s(self):
        return 0.0 if self.presses else 0.7

    async def take_snapshot(self):
        self.presses = False
        self.taken += 1
        return True


async def turns():
    for _ in range(TURNS):
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_a_look_that_waits_for_its_turn_goes_at_once_when_something_presses():
    link, clock, tasks = Link(), ManualClock(0.0), []
    ctx = SimpleNamespace(
        clock=clock, spawn_io=lambda work: tasks.append(asyncio.ensure_future(work))
    )
    await ReconcilerActor(link).init(ctx)
    link.wake()
    await turns()
    assert link.taken == 0, "the pace is spent"
    link.presses = True
    link.wake()
    await turns()
    assert link.taken == 1, "and no time has passed"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
