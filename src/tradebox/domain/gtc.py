"""How long a good-till-cancelled order of the broker lasts, and when it is to be renewed.

Rules of this file:
- pure; days are the exchange's calendar days;
- a change of an order gives it a new date, so a renewal is a change that changes nothing.
Source: IB, Order.Tif: GTC ends at the end of the calendar quarter after the current one.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

RENEW_DAYS: Final = 21
_ZONE: Final = ZoneInfo("America/New_York")
_NS_PER_S: Final = 1_000_000_000


def ends_on(placed: date) -> date:
    """Return the last day of an order that was placed or changed on a day."""
    quarter = (placed.month - 1) // 3 + 2
    year, month = placed.year + quarter // 4, quarter % 4 * 3 + 1
    return date(year, month, 1) - timedelta(days=1)


def needs_renewal(placed_ns: int, now_ns: int) -> bool:
    """Say whether an order ends within RENEW_DAYS.

    Holds:   an order that is renewed as soon as this says so never ends by itself.
    """
    placed, now = (
        datetime.fromtimestamp(at_ns // _NS_PER_S, tz=UTC).astimezone(_ZONE).date()
        for at_ns in (placed_ns, now_ns)
    )
    return ends_on(placed) - now <= timedelta(days=RENEW_DAYS)
