"""When a gateway cannot be relied on: the broker's nightly resets, the weekly login.

Rules of this file:
- the windows are configuration, in New York time; their default is what IB publishes;
- entries stop `freeze_min` minutes ahead, so that no order is under way when one begins.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self
from zoneinfo import ZoneInfo

_ZONE: Final = ZoneInfo("America/New_York")
_DAY_MIN: Final = 24 * 60
_WEEK_MIN: Final = 7 * _DAY_MIN
_NS_PER_S: Final = 1_000_000_000
DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@dataclass(frozen=True, slots=True)
class ResetWindow:
    """One stretch of a week in New York time; days count from Monday = 0."""

    day: int
    start_min: int
    length_min: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the window of "Mon 00:15 90": day, start, minutes. Raises ValueError."""
        day, start, minutes = text.split()
        hour, minute = start.split(":")
        window = cls(DAYS.index(day), int(hour) * 60 + int(minute), int(minutes))
        if not (0 <= window.start_min < _DAY_MIN and 0 < window.length_min < _WEEK_MIN):
            raise ValueError(text)
        return window

    def left_min(self, week_min: int, freeze_min: int) -> int | None:
        """Return the minutes until its end, the freeze before it included; None outside."""
        begin = self.day * _DAY_MIN + self.start_min - freeze_min
        passed = (week_min - begin) % _WEEK_MIN
        whole = self.length_min + freeze_min
        return whole - passed if passed < whole else None


@dataclass(frozen=True, slots=True)
class LinkWindows:
    """The windows of one gateway."""

    windows: tuple[ResetWindow, ...] = ()
    freeze_min: int = 5

    @classmethod
    def of(cls, texts: Iterable[str], freeze_min: int) -> Self:
        """Return the windows that settings name. Raises ValueError."""
        return cls(tuple(ResetWindow.parse(text) for text in texts), freeze_min)

    def left_min(self, now_ns: int) -> int | None:
        """Return the minutes until no window holds any more, None outside (ns UTC)."""
        moment = datetime.fromtimestamp(now_ns // _NS_PER_S, tz=UTC).astimezone(_ZONE)
        week_min = moment.weekday() * _DAY_MIN + moment.hour * 60 + moment.minute
        found = (window.left_min(week_min, self.freeze_min) for window in self.windows)
        return max((left for left in found if left is not None), default=None)

    def contains(self, now_ns: int) -> bool:
        """Say whether a window, or the freeze before it, is on."""
        return self.left_min(now_ns) is not None
