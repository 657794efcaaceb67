"""Times as clients write them in requests.

Rules of this file:
- `YYYYMMDD-HH:MM:SS` is UTC; a zone may follow a time with a space; without one it is New York.
"""

from datetime import UTC, datetime, tzinfo

from tradebox.sim.exchange.days import NEW_YORK
from tradebox.sim.exchange.market_port import SECOND_NS


def read_time(text: str, default_ns: int) -> int:
    """Return a time, the default for empty text; a date alone is its last second.

    Raises: ValueError if it is no time.
    """
    if not text.strip():
        return default_ns
    date, dash, rest = text.strip().partition("-" if "-" in text else " ")
    time, _, zone_name = rest.strip().partition(" ")
    is_utc = dash == "-" or zone_name in ("UTC", "GMT")
    return epoch_ns(f"{date} {time or '23:59:59'}", UTC if is_utc else NEW_YORK)


def epoch_ns(text: str, zone: tzinfo) -> int:
    """Return the time of `YYYYMMDD HH:MM:SS` in a zone. Raises ValueError."""
    moment = datetime.strptime(text, "%Y%m%d %H:%M:%S").replace(tzinfo=zone)
    return int(moment.timestamp()) * SECOND_NS
