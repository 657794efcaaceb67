"""The two market clocks: wall time, and the simulator's time read from its clock file.

Rules of this file:
- neither ever goes backwards within a process, whatever the wall clock or the file do;
- `now_ns` is arithmetic alone, safe on the event loop; only `refresh` touches the file;
- the simulator renews its file every second and grants `LEASE_S` beyond: refresh at least each
  `REFRESH_S`, or time stands still until the next refresh.
"""

import time
from collections.abc import Callable
from pathlib import Path

from tradebox.config import Home, Settings
from tradebox.domain.clock_map import ClockMap
from tradebox.errors import NotRunning

REFRESH_S = 1.0
_CLOCK_FILE_BYTES_MAX = 4096


class WallMarketClock:
    """Market time is wall time.

    Holds: now_ns never falls, even if the wall clock is set back.
    """

    speed = 1.0

    def __init__(self, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._wall_ns = wall_ns
        self._last_ns = 0

    def now_ns(self) -> int:
        """Return market time in ns UTC."""
        self._last_ns = max(self._last_ns, self._wall_ns())
        return self._last_ns

    def refresh(self) -> bool:
        """Do nothing: the wall needs no file. Returns False: nothing changed."""
        return False


class AffineMarketClock:
    """The simulator's market time, from its clock file and CLOCK_MONOTONIC.

    Holds:   now_ns never falls, whatever `refresh` reads.
    Raises:  NotRunning at construction if there is no readable clock file.
    """

    def __init__(self, path: Path, mono_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._path = path
        self._mono_ns = mono_ns
        self._stamp: tuple[int, int] = (0, 0)
        self._last_ns = 0
        found = self._read()
        if found is None:
            raise NotRunning(
                f"no market clock at {path}: start the simulator first",
                field="path",
                value=str(path),
            )
        self._map = found

    @property
    def speed(self) -> float:
        """Return the market seconds per real second."""
        return self._map.speed

    def now_ns(self) -> int:
        """Return market time in ns UTC."""
        self._last_ns = max(self._last_ns, self._map.at(self._mono_ns()))
        return self._last_ns

    def refresh(self) -> bool:
        """Read the file again if it changed; say whether a new map was taken.

        A file that is missing or garbled for a moment leaves the old map in place.
        """
        found = self._read()
        if found is None:
            return False
        self._map = found
        return True

    def _read(self) -> ClockMap | None:
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp == self._stamp:
                return None
            with self._path.open("rb") as file:
                found = ClockMap.decode(file.read(_CLOCK_FILE_BYTES_MAX))
        except (OSError, ValueError):
            return None
        self._stamp = stamp
        return found


def market_clock_of(home: Home, settings: Settings) -> AffineMarketClock | WallMarketClock:
    """Return the market clock of a home's profile. Raises NotRunning where a sim never ran."""
    if settings.profile == "sim":
        return AffineMarketClock(home.sim_dir / "clock.json")
    return WallMarketClock()
