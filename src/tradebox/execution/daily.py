"""What is due by the calendar: a look at the session's open and close and each hour, GTC dates.

Rules of this file:
- a look is asked for, and never taken here; a renewal is marked, and sent by the stop's own desk;
- time is handed in: real for periods, market time for sessions and dates.
"""

from collections.abc import Iterable

from tradebox.domain.gtc import needs_renewal
from tradebox.domain.market_day import market_day
from tradebox.domain.orders import OrderRole, Tif
from tradebox.execution.order_book import OrderRecord


class Calendar:
    """Remembers when the account was last looked at, and which day's dates were checked."""

    def __init__(self, period_s: float, now_s: float) -> None:
        self._period_s = period_s
        self._looked_s = now_s
        self._was_open: bool | None = None
        self._day = ""

    def looked(self, now_s: float) -> None:
        """Take note of a reconcile."""
        self._looked_s = now_s

    def look_due(self, now_s: float, *, is_open: bool | None) -> str:
        """Return why a look is due now, or ""."""
        was_open, self._was_open = self._was_open, is_open
        if was_open is not None and is_open is not None and was_open != is_open:
            return "the session opened" if is_open else "the session closed"
        if now_s - self._looked_s >= self._period_s:
            self._looked_s = now_s
            return "hourly"
        return ""

    def mark_renewals(self, now_ns: int, orders: Iterable[OrderRecord]) -> int:
        """Once a market day: mark the stops whose date is near; return how many."""
        day = market_day(now_ns)
        if day == self._day:
            return 0
        self._day = day
        count = 0
        for record in orders:
            is_stop = record.row.role is OrderRole.STOP and record.row.tif is Tif.GTC
            if is_stop and record.placed_ns and needs_renewal(record.placed_ns, now_ns):
                record.is_ageing = True
                count += 1
        return count
