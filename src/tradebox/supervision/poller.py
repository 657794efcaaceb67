"""A poll() loop for a process without threads: descriptors, named timers, and nothing else.

Rules of this file:
1. The only wait is `poll`; its timeout comes from the next timer.
2. A callback must not block; one that was called off while its turn was under way is skipped.
3. A timer has a key: setting it again replaces it.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Hashable
from typing import Final

READABLE: Final = select.POLLIN
WRITABLE: Final = select.POLLOUT
WAIT_NS_MAX: Final = 60_000_000_000
_MS: Final = 1_000_000

FdCallback = Callable[[int], None]
TimerCallback = Callable[[], None]


class Poller:
    """Calls back when a descriptor is ready or a moment has come.

    Units: nanoseconds of the monotonic clock.
    """

    def __init__(self) -> None:
        self._poll = select.poll()
        self._fds: dict[int, FdCallback] = {}
        self._timers: dict[Hashable, tuple[int, TimerCallback]] = {}

    def now_ns(self) -> int:
        """Return the monotonic clock."""
        return time.monotonic_ns()

    def watch(self, fd: int, mask: int, callback: FdCallback) -> None:
        """Call `callback(events)` when `fd` is ready; replaces what was set before."""
        self._poll.register(fd, mask)
        self._fds[fd] = callback

    def forget(self, fd: int) -> None:
        """Stop watching `fd`; to be called before it is closed. Harmless twice."""
        if self._fds.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def call_at(self, key: Hashable, when_ns: int, callback: TimerCallback) -> None:
        """Call `callback` once at `when_ns`."""
        self._timers[key] = (when_ns, callback)

    def call_off(self, key: Hashable) -> None:
        """Forget the timer of this key; harmless when there is none."""
        self._timers.pop(key, None)

    def _planned_ns(self) -> int:
        if not self._timers:
            return WAIT_NS_MAX
        first = min(when for when, _ in self._timers.values())
        return min(max(0, first - self.now_ns()), WAIT_NS_MAX)

    def turn(self, awake: Callable[[int, int], None]) -> None:
        """Wait for the next event, tell `awake(now_ns, planned_ns)`, and serve what is due."""
        planned_ns = self._planned_ns()
        ready = self._poll.poll(-(-planned_ns // _MS))
        awake(self.now_ns(), planned_ns)
        wanted = [(fd, events, self._fds.get(fd)) for fd, events in ready]
        for fd, events, callback in wanted:
            if callback is not None and self._fds.get(fd) is callback:
                callback(events)
        now = self.now_ns()
        due = sorted((when, repr(key), key) for key, (when, _) in self._timers.items())
        for when, _, key in due:
            timer = self._timers.get(key)
            if when <= now and timer is not None and timer[0] == when:
                del self._timers[key]
                timer[1]()
