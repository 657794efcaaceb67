"""The orders of one plan as the book has them: what is held, what works, what covers it.

Rules of this file:
- pure reads; what is to be done next is procedures.py's.
"""

from tradebox.domain.orders import OrderRole, OrderState, Side
from tradebox.execution.order_book import OrderBook, OrderRecord


class PlanOrders:
    """What is so of one plan's orders."""

    def __init__(self, plan_id: str, symbol: str, side: Side, book: OrderBook) -> None:
        self.plan_id = plan_id
        self.symbol = symbol
        self.side = side
        """BUY for a long plan."""
        self._book = book

    @property
    def records(self) -> list[OrderRecord]:
        """Every order of the plan, oldest first."""
        return self._book.of_plan(self.plan_id)

    @property
    def position(self) -> int:
        """Signed shares of the plan by booked fills."""
        return self._book.plan_position(self.plan_id)

    @property
    def held(self) -> int:
        """Shares held in the plan's direction; negative after an oversell."""
        return self.position * self.side.sign

    def working(self, *roles: OrderRole) -> list[OrderRecord]:
        """Return the plan's orders of these roles that may still work."""
        return [
            record for record in self.records if record.row.role in roles and not record.is_over
        ]

    @property
    def entry(self) -> OrderRecord | None:
        """The newest entry."""
        entries = [record for record in self.records if record.row.role is OrderRole.ENTRY]
        return entries[-1] if entries else None

    @property
    def armed_quantity(self) -> int:
        """Shares that armed stops would take off."""
        return sum(record.remaining for record in self.working(OrderRole.STOP) if record.is_armed)

    @property
    def in_flight_quantity(self) -> int:
        """Shares that working slices and exits may take off."""
        return sum(record.remaining for record in self.working(OrderRole.SLICE, OrderRole.EXIT))

    @property
    def is_covered(self) -> bool:
        """Stops and slices together are exactly the position."""
        return self.armed_quantity + self.in_flight_quantity == abs(self.position)

    @property
    def is_forked(self) -> bool:
        """Several copies of its stop work at the broker."""
        return any(record.copies.is_forked for record in self.working(OrderRole.STOP))

    @property
    def stop_was_taken(self) -> bool:
        """The broker ended the stop by itself, and none works."""
        return not self.working(OrderRole.STOP) and self.taken_stop() is not None

    def other_live_quantity(self, apart_from: OrderRecord | None = None) -> int:
        """Return the shares that the plan's other reducing orders may still take off."""
        reducers = self.working(OrderRole.STOP, OrderRole.SLICE, OrderRole.EXIT)
        return sum(record.remaining for record in reducers if record is not apart_from)

    def taken_stop(self) -> OrderRecord | None:
        """Return the newest stop where the broker ended it by itself, and for no known reason."""
        last = next((one for one in reversed(self.records) if one.row.role is OrderRole.STOP), None)
        if last is None or last.state is not OrderState.CANCELLED or last.is_ended_by_us:
            return None
        if last.change_wanted is not None:
            return None
        entry = self.entry
        is_cascade = entry is not None and entry.state is OrderState.CANCELLED
        return None if last.row.parent_ref is not None and is_cascade else last

    @property
    def stop_has_fired(self) -> bool:
        """A stop of the plan took shares off."""
        return any(record.booked for record in self.records if record.row.role is OrderRole.STOP)
