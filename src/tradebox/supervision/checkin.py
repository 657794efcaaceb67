"""Signs of life: check-in slots, the watch on them, and the measure of loop lag.

Rules of this file:
1. A check-in is written by an actor's own receive loop, never on its behalf.
2. A watch that was itself late blames the loop, not the actor, and gives it half a limit more.
3. The lag thread only explains: it notes which frame held the loop; others decide.
"""

from __future__ import annotations

import bisect
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from tradebox.supervision.clock import Clock, TimerHandle
from tradebox.supervision.events import EventBus, LoopLag

FRAMES_SHOWN: Final = 3
RECENT: Final = 600
"""Lags kept one by one: half a minute at the meter's own pace."""
_BOUNDS_S: Final = tuple(0.0001 * 2.0**step for step in range(18))


class Slot(Protocol):
    """Where one actor's last check-in is written for somebody outside the process."""

    def write(self, now_s: float) -> None:
        """Note a check-in at `now_s` seconds of the monotonic clock."""
        ...

    def close(self) -> None:
        """Give the slot back: its actor has ended."""
        ...


class SlotBoard(Protocol):
    """Hands out slots; shared memory in production, nothing in tests."""

    def open(self, name: str, incarnation: int, limit_s: float) -> Slot | None:
        """Return a slot for an actor watched with this limit, None when there is no room."""
        ...


class CheckinWatch:
    """Calls `on_late(age_s)` once when check-ins stop for `limit_s`."""

    __slots__ = ("_clock", "_due", "_last", "_limit_s", "_on_late", "_timer")

    def __init__(
        self,
        clock: Clock,
        limit_s: float,
        last: Callable[[], float],
        on_late: Callable[[float], None],
    ) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._last = last
        self._on_late = on_late
        self._timer: TimerHandle | None = None
        self._due = 0.0
        self._arm(last() + limit_s)

    def _arm(self, due: float) -> None:
        self._due = due
        self._timer = self._clock.call_at(due, self._fire)

    def _fire(self) -> None:
        now = self._clock.now()
        if now - self._due > self._limit_s / 2:
            self._arm(now + self._limit_s / 2)
            return
        due = self._last() + self._limit_s
        if now >= due:
            self._on_late(now - self._last())
        else:
            self._arm(due)

    def cancel(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()


class LagFigures:
    """A histogram of lags with fixed bounds, doubling from 0.1 ms.

    Holds: quantile(p) is at least the true quantile, less than twice it above 0.1 ms.
    """

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS_S) + 1)
        self.count = 0
        self.max_s = 0.0
        self.recent: deque[float] = deque(maxlen=RECENT)

    def add(self, lag_s: float) -> None:
        """Count one lag."""
        self._counts[bisect.bisect_left(_BOUNDS_S, lag_s)] += 1
        self.recent.append(lag_s)
        self.count += 1
        self.max_s = max(self.max_s, lag_s)

    def quantile(self, share: float) -> float:
        """Return the upper bound of the bucket that holds this share, 0.0 when empty."""
        need = share * self.count
        seen = 0
        for at, count in enumerate(self._counts):
            seen += count
            if count and seen >= need:
                return min(_BOUNDS_S[at], self.max_s) if at < len(_BOUNDS_S) else self.max_s
        return 0.0


class LagMeter:
    """Measures how late the loop's timers come, and names the frame that held it.

    Units: seconds. `on_tick(now)` runs at each tick: the sign of life of the loop itself.
    """

    def __init__(
        self,
        clock: Clock,
        events: EventBus,
        *,
        interval_s: float = 0.05,
        limit_s: float = 0.1,
        on_tick: Callable[[float], None] | None = None,
    ) -> None:
        self._clock = clock
        self._events = events
        self._interval_s = interval_s
        self._limit_s = limit_s
        self._on_tick = on_tick
        self._timer: TimerHandle | None = None
        self._due = 0.0
        self._witness: _Witness | None = None
        self.figures = LagFigures()

    def start(self, *, frames: bool = False) -> None:
        """Begin on the running loop; `frames` adds the thread that looks who holds it."""
        assert self._timer is None, "a meter starts once"
        if frames:
            self._witness = _Witness(self._interval_s + self._limit_s, self._limit_s / 4)
            self._witness.start()
        self._arm()

    def _arm(self) -> None:
        self._due = self._clock.now() + self._interval_s
        self._timer = self._clock.call_at(self._due, self._tick)

    def _tick(self) -> None:
        now = self._clock.now()
        lag = max(0.0, now - self._due)
        self.figures.add(lag)
        culprit = self._witness.seen() if self._witness is not None else ""
        if lag > self._limit_s:
            self._events.publish(LoopLag(at_s=now, name="loop", lag_s=lag, culprit=culprit))
        if self._on_tick is not None:
            self._on_tick(now)
        self._arm()

    def stop(self) -> None:
        """End the ticks and the thread."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._witness is not None:
            self._witness.stop()
            self._witness = None


class _Witness:
    """The thread that looks at the loop's frame while no tick comes."""

    def __init__(self, late_s: float, look_s: float) -> None:
        self._late_s = late_s
        self._look_s = look_s
        self._last = time.monotonic()
        self._note = ""
        self._loop_thread = threading.get_ident()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="lag-witness", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def seen(self) -> str:
        """Return what was noted since the last tick, and begin a new one."""
        note, self._note = self._note, ""
        self._last = time.monotonic()
        return note

    def _look(self) -> None:
        while not self._ended.wait(self._look_s):
            if self._note or time.monotonic() - self._last < self._late_s:
                continue
            frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - documented
            lines: list[str] = []
            while frame is not None and len(lines) < FRAMES_SHOWN:
                code = frame.f_code
                lines.append(f"{code.co_filename}:{frame.f_lineno} {code.co_qualname}")
                frame = frame.f_back
            self._note = " < ".join(lines)
