"""The New York calendar day that a market time belongs to.

Rules of this file:
- dates are text, YYYYMMDD; times are UTC epoch nanoseconds;
- whether a day has a session is the market's knowledge, not this file's.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from tradebox.sim.exchange.market_port import SECOND_NS

NEW_YORK = ZoneInfo("America/New_York")


def trading_day(at_ns: int) -> str:
    """Return the New York date of a market time, as YYYYMMDD."""
    moment = datetime.fromtimestamp(at_ns // SECOND_NS, tz=UTC)
    return moment.astimezone(NEW_YORK).strftime("%Y%m%d")


def day_bounds(at_ns: int) -> tuple[int, int]:
    """Return when the New York day of a market time begins and when the next one does."""
    moment = datetime.fromtimestamp(at_ns // SECOND_NS, tz=UTC).astimezone(NEW_YORK)
    first = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    after = (first + timedelta(days=1)).replace(tzinfo=NEW_YORK)
    return int(first.timestamp()) * SECOND_NS, int(after.timestamp()) * SECOND_NS
