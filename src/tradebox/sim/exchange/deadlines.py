"""When an order ends by itself: good-till dates, and the broker's own limit for GTC orders.

Rules of this file:
- times are UTC epoch nanoseconds; 0 means that the order has no such end;
- the end of a DAY order is the session's, and the exchange's business.

Source: IB's description of time in force (a GTC order ends with the next calendar quarter; a
change gives it a new date).
"""

from datetime import UTC, datetime, timedelta

from tradebox.sim.exchange.days import NEW_YORK
from tradebox.sim.exchange.market_port import SECOND_NS
from tradebox.sim.exchange.orders import Ticket, Tif

ON_CLOSE_CUTOFF_NS = 10 * 60 * SECOND_NS
"""So long before the close, orders for the close are no longer taken."""


def end_of_life_ns(ticket: Ticket, at_ns: int) -> int:
    """Return when an order that is placed or changed now ends by its time in force."""
    if ticket.tif is Tif.GTD:
        return ticket.good_till_ns
    if ticket.tif is Tif.GTC:
        return next_quarter_end_ns(at_ns)
    return 0


def next_quarter_end_ns(at_ns: int) -> int:
    """Return 16:00 in New York on the last day of the quarter after the present one."""
    moment = datetime.fromtimestamp(at_ns // SECOND_NS, UTC).astimezone(NEW_YORK)
    quarters = moment.year * 4 + (moment.month - 1) // 3 + 2
    first_after = datetime(quarters // 4, quarters % 4 * 3 + 1, 1, 16, tzinfo=NEW_YORK)
    return int((first_after - timedelta(days=1)).timestamp()) * SECOND_NS
