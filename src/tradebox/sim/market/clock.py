"""The simulator's clock: who owns the map, moves its lease on, and resumes it after a death.

Rules of this file:
- one owner; everybody else reads the file;
- the lease is on disk before it is used, so a resumed clock starts where no reader has been before;
- closed hours are skipped `AFTER_CLOSE_NS` after the close, to the next open, never backwards;
  where the whole day is played, from the end of the evening to the next morning at 04:00;
- time stands still while the simulator is down, and while it is stalled for longer than a lease.
"""

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tradebox.domain.clock_map import ClockMap, speed_to_ppm
from tradebox.errors import HomeUnusable
from tradebox.sim.market import hours

LEASE_NS = 5 * hours.SECOND_NS
"""How far beyond the present the file grants time; real nanoseconds."""

AFTER_CLOSE_NS = 60 * hours.SECOND_NS
"""How long the market stays closed before the jump; market nanoseconds."""

OPEN_LEFT_NS_MIN = 30 * hours.MINUTE_NS
"""A start with less of the session left goes to the next open."""


def write_atomically(path: Path, text: str) -> None:
    """Replace a file in one step: a reader sees the old text or the new, a crash too.

    Raises: HomeUnusable if the disk refuses.
    """
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with suppress(OSError):
            Path(temporary).unlink()
        raise HomeUnusable(f"{path} cannot be written: {error}", path=str(path)) from error


class SimClock:
    """The market's time, for the process that owns it.

    not_before_ns: a time that was seen for certain, for a folder whose clock file was lost.
    begin_ns: the market time at which this clock began.
    is_whole: the trading before and after the session is lived through, not skipped.
    Holds: now_ns never falls, not over restarts nor kills either; it is inside a session or less
           than AFTER_CLOSE_NS after one; a reader of the file at the same moment sees the same.
    """

    def __init__(
        self,
        path: Path,
        speed: float,
        mono_ns: Callable[[], int] = time.monotonic_ns,
        not_before_ns: int = 0,
        *,
        is_whole: bool = False,
    ) -> None:
        self._path = path
        self._is_whole = is_whole
        self._not_before_ns = not_before_ns
        self._speed_ppm = speed_to_ppm(speed)
        self._mono_ns = mono_ns
        self._map = self._begin()
        self.begin_ns = self._map.market_ns
        self.write(self._map)

    @property
    def speed(self) -> float:
        """Return the market seconds per real second."""
        return self._map.speed

    @property
    def path(self) -> Path:
        """Return the clock file."""
        return self._path

    def now_ns(self) -> int:
        """Return the market time. Units: UTC epoch nanoseconds."""
        return self._map.at(self._mono_ns())

    def is_open(self, now_ns: int, /) -> bool:
        """Say whether the regular session is open at that market time."""
        return hours.is_open(now_ns)

    def is_tradable(self, now_ns: int, /) -> bool:
        """Say whether anything may trade at that market time: in the session or around it."""
        return hours.is_tradable(now_ns)

    def next_change_ns(self, at_ns: int, /) -> int:
        """Return when the session or the trading around it begins or ends, or the day changes."""
        return hours.next_change_ns(at_ns)

    def mono_s_of(self, market_ns: int) -> float:
        """Return the monotonic second at which a market time is reached."""
        return self._map.mono_of(market_ns) / hours.SECOND_NS

    def encode(self) -> str:
        """Return the map in force, as the file has it."""
        return self._map.encode()

    def proposal(self) -> ClockMap:
        """Return the map for the next lease; it is in force once it was written and adopted."""
        now_mono_ns = self._mono_ns()
        old = self._map
        market_ns = old.at(now_mono_ns)
        is_past_jump = old.has_jump and market_ns >= old.jump_to_ns
        if is_past_jump or now_mono_ns > old.lease_mono_ns:
            return self._map_from(market_ns, now_mono_ns)
        return ClockMap(
            market_ns=old.market_ns,
            mono_ns=old.mono_ns,
            speed_ppm=old.speed_ppm,
            lease_mono_ns=now_mono_ns + LEASE_NS,
            jump_from_ns=old.jump_from_ns,
            jump_to_ns=old.jump_to_ns,
        )

    def write(self, proposal: ClockMap) -> None:
        """Put a map on disk; may block, may run in another thread. Raises HomeUnusable."""
        write_atomically(self._path, proposal.encode())

    def adopt(self, proposal: ClockMap) -> None:
        """Put a written map in force."""
        self._map = proposal

    def renew(self) -> None:
        """Propose, write and adopt in one go; blocks for the disk."""
        proposal = self.proposal()
        self.write(proposal)
        self.adopt(proposal)

    def _begin(self) -> ClockMap:
        resumed_ns = max(self._resumed_ns(), self._not_before_ns)
        is_whole = self._is_whole
        session = hours.session_of(resumed_ns, is_whole=is_whole)
        if session.end_ns(is_whole=is_whole) - resumed_ns < OPEN_LEFT_NS_MIN:
            session = hours.session(session.number + 1)
        begin_ns = session.begin_ns(is_whole=is_whole)
        return self._map_from(max(resumed_ns, begin_ns), self._mono_ns())

    def _resumed_ns(self) -> int:
        try:
            return ClockMap.decode(self._path.read_bytes()).end_ns()
        except FileNotFoundError:
            return hours.session(0).begin_ns(is_whole=self._is_whole)
        except (OSError, ValueError) as error:
            raise HomeUnusable(
                f"the market clock {self._path} cannot be read ({error}); remove the simulator's"
                " folder to begin a new market",
                path=str(self._path),
            ) from error

    def _map_from(self, market_ns: int, mono_ns: int) -> ClockMap:
        is_whole = self._is_whole
        session = hours.session_of(market_ns, is_whole=is_whole)
        before = hours.session(session.number - 1)
        ended_ns = before.end_ns(is_whole=is_whole)
        if ended_ns <= market_ns < ended_ns + AFTER_CLOSE_NS:
            session = before
        return ClockMap(
            market_ns=market_ns,
            mono_ns=mono_ns,
            speed_ppm=self._speed_ppm,
            lease_mono_ns=mono_ns + LEASE_NS,
            jump_from_ns=session.end_ns(is_whole=is_whole) + AFTER_CLOSE_NS,
            jump_to_ns=hours.session(session.number + 1).begin_ns(is_whole=is_whole),
        )
