"""Intents and rows made from what is known: a stop's, an order's own, and of orders never sent.

Rules of this file:
- pure; nothing is minted, gated or sent here.
"""

from collections.abc import Iterable
from decimal import Decimal

from tradebox.domain.orders import OrderIntent, OrderRole, OrderState, OrderType, Side, Tif
from tradebox.execution.order_book import OrderRecord
from tradebox.ports.order_store import Change, OrderMoved, OrderRow


def stop_intent(
    like: OrderIntent,
    ref: str,
    side: Side,
    quantity: int,
    price: Decimal,
    parent_ref: str | None = None,
) -> OrderIntent:
    """Return a protective stop for the plan and contract of another intent."""
    return OrderIntent(
        order_ref=ref,
        plan_id=like.plan_id,
        account=like.account,
        symbol=like.symbol,
        con_id=like.con_id,
        role=OrderRole.STOP,
        side=side,
        quantity=quantity,
        order_type=OrderType.STOP,
        tif=Tif.GTC,
        stop_price=price,
        parent_ref=parent_ref,
        reason=like.reason,
    )


def intent_of(record: OrderRecord) -> OrderIntent:
    """Return what was meant with an order that is in the book."""
    row = record.row
    return OrderIntent(
        order_ref=row.order_ref,
        plan_id=row.plan_id,
        account=row.account,
        symbol=row.symbol,
        con_id=row.con_id,
        role=row.role,
        side=row.side,
        quantity=row.quantity,
        order_type=row.order_type,
        tif=row.tif,
        stop_price=row.stop_price,
        parent_ref=row.parent_ref,
    )


def never_sent(rows: Iterable[OrderRow], cause: str) -> list[Change]:
    """Return what to say of rows whose bytes never left."""
    return [
        OrderMoved(
            row.order_ref,
            OrderState.NEVER_SENT,
            0,
            row.quantity,
            row.limit_price,
            row.stop_price,
            cause,
        )
        for row in rows
    ]
