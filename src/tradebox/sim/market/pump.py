"""Drives the market along its clock: delivers what is due, prepares what is next, keeps the lease.

Rules of this file:
- one turn delivers a bounded number of prints, then lets everybody else on the loop have a turn;
- after each turn the vendors are told, so that one frame carries what one turn brought;
- the lease is renewed each `RENEW_S`, its disk write in a thread: an order never waits for it.
"""

import asyncio
from collections.abc import Callable

from tradebox.sim.market.clock import SimClock
from tradebox.sim.market.market import Market
from tradebox.supervision.clock import Clock, yield_turn

RENEW_S = 1.0
TURN_S_MIN = 0.005
TURN_S_MAX = 0.25
PRINTS_PER_TURN = 100


class Pump:
    """Two endless tasks over one market; `run` ends only by cancellation or a fault."""

    def __init__(self, market: Market, clock: SimClock, timer: Clock) -> None:
        self._market = market
        self._clock = clock
        self._timer = timer
        self._after_turn: list[Callable[[], None]] = []
        self._on_time: list[Callable[[int], None]] = []
        self._stops: list[Callable[[], int]] = []

    def after_turn(self, callback: Callable[[], None]) -> None:
        """Call back after each turn that may have delivered something."""
        self._after_turn.append(callback)

    def on_time(self, callback: Callable[[int], None]) -> None:
        """Call back with each market time up to which everything was delivered."""
        self._on_time.append(callback)

    def stop_at(self, next_ns: Callable[[], int]) -> None:
        """Deliver up to this time exactly before anything later; it is asked each turn."""
        self._stops.append(next_ns)

    def turn(self, now_ns: int) -> bool:
        """Deliver a bounded part of what is due; say whether all of it is delivered."""
        until_ns = min([now_ns, *(max(0, next_ns()) for next_ns in self._stops)])
        is_done = self._market.advance(until_ns, PRINTS_PER_TURN)
        if is_done:
            for reach in self._on_time:
                reach(until_ns)
        return is_done and until_ns >= now_ns

    async def run(self) -> None:
        """Run until cancelled.

        Raises: HomeUnusable if the clock file can no longer be written.
        """
        tasks = (
            asyncio.ensure_future(self._deliver()),
            asyncio.ensure_future(self._keep_lease()),
        )
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _deliver(self) -> None:
        while True:
            is_done = self.turn(self._clock.now_ns())
            for callback in self._after_turn:
                callback()
            if not is_done:
                await yield_turn()
                continue
            self._market.prepare()
            due_s = self._clock.mono_s_of(self._market.next_event_ns()) - self._timer.now()
            await self._timer.sleep(min(TURN_S_MAX, max(TURN_S_MIN, due_s)))

    async def _keep_lease(self) -> None:
        while True:
            await self._timer.sleep(RENEW_S)
            proposal = self._clock.proposal()
            await asyncio.to_thread(self._clock.write, proposal)
            self._clock.adopt(proposal)
