"""When the broker resets its servers: no entries then, nor shortly before.

Rules of this file:
- the windows are data: IB's published resets of the North American servers, New York time;
- entries stop FREEZE_MIN minutes ahead, so that no order is under way when it begins.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

FREEZE_MIN: Final = 5
_ZONE: Final = ZoneInfo("America/New_York")
_DAY_MIN: Final = 24 * 60
_WEEK_MIN: Final = 7 * _DAY_MIN
_NS_PER_S: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ResetWindow:
    """One stretch of a week in New York time; days count from Monday = 0."""

    day: int
    start_min: int
    length_min: int

    def contains(self, week_min: int) -> bool:
        """Return whether a minute of the week is inside, the freeze before it included."""
        begin = self.day * _DAY_MIN + self.start_min - FREEZE_MIN
        return (week_min - begin) % _WEEK_MIN < self.length_min + FREEZE_MIN


_NIGHTLY: Final = tuple(ResetWindow(day, 15, 90) for day in (0, 1, 2, 3, 4, 6))
_WEEKEND: Final = ResetWindow(4, 23 * 60, 4 * 60)
RESETS: Final = (*_NIGHTLY, _WEEKEND)
"""00:15 to 01:45 on every day but Saturday, and Friday 23:00 to Saturday 03:00."""


def in_reset(now_ns: int) -> bool:
    """Return whether the broker's servers may be resetting at this time (ns UTC)."""
    moment = datetime.fromtimestamp(now_ns // _NS_PER_S, tz=UTC).astimezone(_ZONE)
    week_min = moment.weekday() * _DAY_MIN + moment.hour * 60 + moment.minute
    return any(window.contains(week_min) for window in RESETS)
