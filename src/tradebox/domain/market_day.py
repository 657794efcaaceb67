"""The exchange's calendar day at a market time.

Rules of this file:
- days are New York's, whatever zone the machine is in;
- instants are ns UTC.
"""

from datetime import UTC, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

_ZONE: Final = ZoneInfo("America/New_York")
_NS_PER_S: Final = 1_000_000_000


def market_day(now_ns: int) -> str:
    """Return the exchange's calendar day at a market time, ISO."""
    return _moment(now_ns).date().isoformat()


def day_start_ns(now_ns: int) -> int:
    """Return when the exchange's calendar day of a market time began."""
    begin = datetime.combine(_moment(now_ns).date(), time.min, tzinfo=_ZONE)
    return int(begin.timestamp()) * _NS_PER_S


def _moment(now_ns: int) -> datetime:
    return datetime.fromtimestamp(now_ns / _NS_PER_S, tz=UTC).astimezone(_ZONE)
