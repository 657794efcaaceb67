"""Shares of a plan that a person sold (or bought back) at the broker, past our orders.

Rules of this file:
- pure; the broker's word alone is not enough: the stop that would have sold them must still rest,
  unfilled, in the same read, and no other order of ours may have a part in it;
- where several plans, or a person's own shares, could be meant, nobody's are taken off.
"""

from dataclasses import dataclass

from tradebox.domain.orders import OrderRole
from tradebox.execution.order_book import OrderBook
from tradebox.execution.reconcile import PositionGap


@dataclass(frozen=True, slots=True)
class Missing:
    """Signed shares that are no longer there, and the plan whose they were."""

    plan_id: str
    shares: int


def missing_shares(gap: PositionGap, book: OrderBook, started_ns: int) -> Missing | None:
    """Return what a plan lost past our orders, by a read that began at started_ns; None: unclear.

    Holds:   never more than the plan holds; never while an order of ours in the symbol is under
             way, or its stop is not at rest: a split takes the stop away, so it is none.
    """
    sign = 1 if gap.books > 0 else -1
    lost = min(sign * (gap.books - gap.broker), abs(gap.books))
    plan_ids = {
        plan_id
        for plan_id in book.plan_ids()
        if book.plan_position(plan_id) and book.of_plan(plan_id)[0].row.symbol == gap.symbol
    }
    if lost <= 0 or len(plan_ids) != 1:
        return None
    (plan_id,) = plan_ids
    if book.plan_position(plan_id) != gap.books:
        return None
    records = book.of_plan(plan_id)
    if any(record.is_unknown or not record.is_settled for record in records):
        return None
    works = [record for record in records if not record.is_over]
    rests = all(
        record.row.role is OrderRole.STOP
        and record.filled == 0
        and record.seen_ns == started_ns
        and record.cancel_asked_s is None
        for record in works
    )
    return Missing(plan_id, -sign * lost) if works and rests else None
