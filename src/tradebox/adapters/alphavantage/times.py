"""New York days and times of an answer as ns UTC.

Rules of this file:
- Alpha Vantage says dates and times of New York without an offset;
- a day's regular close is 16:00: on a half day that is later than the truth, never fresher than
  the moment it was asked.
"""

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

NEW_YORK: Final = ZoneInfo("America/New_York")
NS_PER_S: Final = 1_000_000_000


def day_of(at_ns: int) -> str:
    """Return the New York day of a time."""
    return datetime.fromtimestamp(at_ns // NS_PER_S, UTC).astimezone(NEW_YORK).date().isoformat()


def close_ns(day: str) -> int | None:
    """Return when a day's regular session ends; None where it is no day."""
    return moment_ns(f"{day} 16:00:00")


def moment_ns(text: str) -> int | None:
    """Return the time that YYYY-MM-DD HH:MM:SS of New York means; None where it is none."""
    try:
        moment = datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)
    except ValueError:
        return None
    return int(moment.timestamp()) * NS_PER_S
