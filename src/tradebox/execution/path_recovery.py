"""From loaded books to desks and to the history that plans catch up with.

Rules of this file:
- pure reads: nothing is sent, nothing is changed;
- the events of a plan are its booked fills in order, then what holds now.
"""

from collections.abc import Iterable

from tradebox.domain.orders import OrderRole, Side
from tradebox.domain.path import (
    EntryClosed,
    EntryFilled,
    PathEvent,
    RecoveredPlan,
    RecoveredState,
    ReduceFilled,
)
from tradebox.execution.order_book import OrderBook
from tradebox.execution.path_views import Views, average_entry
from tradebox.execution.procedures import PlanDesk


def desk_of(plan_id: str, book: OrderBook) -> PlanDesk:
    """Return the desk of a plan whose orders are in the book."""
    records = book.of_plan(plan_id)
    assert records, plan_id
    entries = [record for record in records if record.row.role is OrderRole.ENTRY]
    first = (entries or records)[0].row
    side = first.side if entries else first.side.opposite
    desk = PlanDesk(plan_id, first.symbol, side, book)
    stops = [record.row.stop_price for record in records if record.row.role is OrderRole.STOP]
    desk.stop_level = next((price for price in reversed(stops) if price is not None), None)
    return desk


def recovered_state(desks: Iterable[PlanDesk], book: OrderBook, views: Views) -> RecoveredState:
    """Return what every plan with a desk holds, and how it came to it."""
    plans = {}
    for desk in desks:
        entry = desk.entry
        side = desk.side
        plans[desk.plan_id] = RecoveredPlan(
            holding=views.holding(desk.plan_id),
            entry_is_working=entry is not None and not entry.is_over,
            entry_filled=_entry_filled(desk),
            entry_average_price=average_entry(book, desk.plan_id, side),
            events=tuple(_history(desk, book, side)),
        )
    return RecoveredState(plans)


def _entry_filled(desk: PlanDesk) -> int:
    return sum(record.booked for record in desk.records if record.row.role is OrderRole.ENTRY)


def _history(desk: PlanDesk, book: OrderBook, side: Side) -> list[PathEvent]:
    events: list[PathEvent] = []
    filled = position = 0
    for fill in book.plan_fills(desk.plan_id):
        record = book.orders.get(fill.order_ref)
        role = record.row.role if record is not None else None
        position += fill.side.sign * fill.quantity
        if fill.side is side and role in (OrderRole.ENTRY, None):
            filled += fill.quantity
            left = 0 if record is None else max(0, record.row.quantity - filled)
            event: PathEvent = EntryFilled(
                desk.plan_id, fill.quantity, fill.price, filled, left, fill.at_ns
            )
        else:
            event = ReduceFilled(
                desk.plan_id,
                role or OrderRole.EXIT,
                fill.quantity,
                fill.price,
                abs(position),
                fill.at_ns,
            )
        events.append(event)
    entry = desk.entry
    if entry is not None and entry.is_over and entry.is_settled:
        at_ns = events[-1].at_ns if events else 0
        events.append(EntryClosed(desk.plan_id, entry.booked, entry.state.value, at_ns))
    return events
