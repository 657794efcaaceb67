"""From the order path's recovered history to the totals a plan machine catches up with.

Rules of this file:
- pure; the history is complete or absent: a plan without one never sent anything.
"""

from tradebox.domain.orders import OrderRole
from tradebox.domain.path import EntryClosed, EntryFilled, RecoveredPlan, ReduceFilled
from tradebox.domain.plan_state import Tally
from tradebox.domain.plan_turn import Book


def book_of(recovered: RecoveredPlan | None, now_ns: int) -> Book:
    """Return the totals of a plan's booked history.

    Holds:   the result's position is the sum of the booked fills.
    """
    if recovered is None:
        return Book(at_ns=now_ns)
    entry, sliced, closing, stopped = Tally(), Tally(), Tally(), 0
    is_closed, at_ns = False, 0
    for event in recovered.events:
        at_ns = max(at_ns, event.at_ns)
        if isinstance(event, EntryFilled):
            entry = entry.plus(event.quantity, event.price)
            is_closed = is_closed or event.remaining == 0
        elif isinstance(event, EntryClosed):
            is_closed = True
        elif isinstance(event, ReduceFilled) and event.role is OrderRole.SLICE:
            sliced = sliced.plus(event.quantity, event.price)
        elif isinstance(event, ReduceFilled):
            closing = closing.plus(event.quantity, event.price)
            stopped += event.quantity if event.role is OrderRole.STOP else 0
    holding = recovered.holding
    return Book(
        entry_is_known=True,
        entry_is_closed=is_closed,
        entry=entry,
        sliced=sliced,
        closing=closing,
        stopped=stopped,
        stop_price=holding.stop_price if holding.stop_quantity else None,
        stop_quantity=holding.stop_quantity,
        at_ns=at_ns or now_ns,
    )
