"""Time as a parameter: a monotonic clock for production, a manual one for tests.

Rules of this file:
1. It is the only file of the project that may call `asyncio.sleep`.
2. No timer below 1 ms: uvloop would spin. A timer never fires early.
3. `ManualClock` moves only when told, fires timers in the order of their time, then of their
   making, and lets the loop come to rest between two of them.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import time
from collections.abc import Callable
from typing import Protocol

TIMER_STEP_S = 0.001
_SETTLE_TURNS_MAX = 2_000
_BLIND_TURNS = 25


class TimerHandle(Protocol):
    """Something that will happen, and can be called off."""

    def cancel(self) -> None:
        """Call it off; harmless when it has happened already."""


class Clock(Protocol):
    """Monotonic seconds, and timers on them.

    Units: seconds since an arbitrary origin.
    """

    def now(self) -> float:
        """Return the seconds since the clock's origin; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Suspend the caller for at least `seconds`."""
        ...

    def call_at(self, when: float, callback: Callable[[], None]) -> TimerHandle:
        """Run `callback` on the loop once `now()` has reached `when`."""
        ...


async def yield_turn() -> None:
    """Let every other ready task run once."""
    await asyncio.sleep(0)


class _LoopTimer:
    """A loop timer that re-arms itself when a coarse loop fires it early."""

    __slots__ = ("_callback", "_handle", "_when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self._when = when
        self._callback: Callable[[], None] | None = callback
        self._handle: asyncio.Handle | None = None
        self._arm()

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        delay = self._when - time.monotonic()
        if delay <= 0:
            self._handle = loop.call_soon(self._fire)
        else:
            steps = max(1, math.ceil(delay / TIMER_STEP_S))
            self._handle = loop.call_later(steps * TIMER_STEP_S, self._fire)

    def _fire(self) -> None:
        if self._callback is None:
            return
        if time.monotonic() < self._when:
            self._arm()
            return
        callback, self._callback = self._callback, None
        callback()

    def cancel(self) -> None:
        self._callback = None
        if self._handle is not None:
            self._handle.cancel()


class MonotonicClock:
    """Real time that no wall clock step can move."""

    def now(self) -> float:
        """Return the seconds of the machine's monotonic clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Suspend for at least `seconds`; zero or less gives up one turn."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        await sleep_until(self, self.now() + seconds)

    def call_at(self, when: float, callback: Callable[[], None]) -> TimerHandle:
        """Run `callback` at `when`, rounded up to whole milliseconds."""
        return _LoopTimer(when, callback)


async def sleep_until(clock: Clock, when: float) -> None:
    """Suspend the caller until `clock` shows `when`."""
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.call_at(when, lambda: None if waiter.done() else waiter.set_result(None))
    try:
        await waiter
    finally:
        timer.cancel()


class _ManualTimer:
    __slots__ = ("callback", "seq", "when")

    def __init__(self, when: float, seq: int, callback: Callable[[], None]) -> None:
        self.when = when
        self.seq = seq
        self.callback: Callable[[], None] | None = callback

    def __lt__(self, other: _ManualTimer) -> bool:
        return (self.when, self.seq) < (other.when, other.seq)

    def cancel(self) -> None:
        self.callback = None


class ManualClock:
    """A clock that stands still until a test moves it.

    Holds: timers fire in the order of (when, made); now never goes back.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._seq = 0
        self._timers: list[_ManualTimer] = []

    def now(self) -> float:
        """Return the seconds the test has let pass."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Suspend until the test has moved the clock by `seconds`."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        await sleep_until(self, self._now + seconds)

    def call_at(self, when: float, callback: Callable[[], None]) -> TimerHandle:
        """Keep `callback` until the clock reaches `when`; never calls it at once."""
        self._seq += 1
        timer = _ManualTimer(max(when, self._now), self._seq, callback)
        heapq.heappush(self._timers, timer)
        return timer

    @property
    def pending(self) -> int:
        """How many timers still wait."""
        return sum(1 for timer in self._timers if timer.callback is not None)

    def next_due(self) -> float | None:
        """Return when the next timer fires; None when nothing waits."""
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0].when if self._timers else None

    def _due(self, until: float) -> _ManualTimer | None:
        when = self.next_due()
        return heapq.heappop(self._timers) if when is not None and when <= until else None

    def _fire(self, timer: _ManualTimer) -> None:
        self._now = max(self._now, timer.when)
        callback, timer.callback = timer.callback, None
        if callback is not None:
            callback()

    def advance(self, seconds: float) -> None:
        """Move the clock and fire what falls due, without letting the loop run."""
        until = self._now + seconds
        while (timer := self._due(until)) is not None:
            self._fire(timer)
        self._now = until

    async def run_for(self, seconds: float) -> None:
        """Move the clock by `seconds`; after each timer let the loop come to rest."""
        await self.run_until(self._now + seconds)

    async def run_until(self, until: float) -> None:
        """Move the clock to `until`; after each timer let the loop come to rest."""
        await settle()
        while (timer := self._due(until)) is not None:
            self._fire(timer)
            await settle()
        self._now = until
        await settle()


async def settle() -> None:
    """Yield until no task of this loop is ready to run.

    A loop that does not show its ready queue (uvloop) gets a fixed number of turns.
    """
    loop = asyncio.get_running_loop()
    ready = getattr(loop, "_ready", None)
    if ready is None:
        for _ in range(_BLIND_TURNS):
            await asyncio.sleep(0)
        return
    for _ in range(_SETTLE_TURNS_MAX):
        await asyncio.sleep(0)
        if not ready:
            return
    raise AssertionError("the loop does not come to rest: something spins")
