"""What stands before the bytes of an order: its intent, in one statement and one commit.

Rules of this file:
- a statement is made once for each shape (how many orders, with a plan's state or without), so
  that a connection prepares it once;
- values travel as themselves, not as a document that the server takes apart: bytes wait for it;
- its first part claims the batch id, and where that is known already nothing else happens.
"""

from functools import cache
from typing import Any

import orjson

from tradebox.domain.plan_state import PlanState
from tradebox.ports.order_store import Batch, OrderRecorded, OrderRow, PlanMoved

Statement = tuple[Any, ...]
"""A statement and its arguments."""

_SHARED = 11
_OF_A_PLAN = 3
_OF_AN_ORDER = 12
_ROW = """
order_ref, role, side, quantity, order_type, limit_price, stop_price, tif, parent_ref, order_id,
reason
"""
_ROW_TYPES = (
    "text", "text", "text", "integer", "text", "numeric", "numeric", "text", "text", "bigint",
    "text", "jsonb",
)  # fmt: skip


def intent_statement(batch: Batch) -> Statement | None:
    """Return the statement that writes a batch of intents; None where it holds anything else.

    A batch for it: the new orders of one plan, and maybe the state that the plan is in by them.
    """
    plan: PlanMoved | None = None
    intents: list[OrderRecorded] = []
    for change in batch.changes:
        if isinstance(change, OrderRecorded):
            intents.append(change)
        elif isinstance(change, PlanMoved) and plan is None:
            plan = change
        else:
            return None
    if not intents or not _is_one(intents, plan):
        return None
    row = intents[0].row
    values: list[Any] = [
        batch.batch_id, batch.at_ns, batch.run_id, batch.epoch, batch.account.value, row.plan_id,
        row.symbol, row.account_id, row.con_id, row.client_id, row.state.value,
    ]  # fmt: skip
    if plan is not None:
        values += (plan.state.phase.value, machine_text(plan.state), plan_news(plan))
    for intent in intents:
        values += _values(intent)
    return _statement(len(intents), has_plan=plan is not None), *values


def _is_one(intents: list[OrderRecorded], plan: PlanMoved | None) -> bool:
    """Say whether all orders are of one plan and new, and the state is that plan's."""
    shared = {
        (row.plan_id, row.symbol, row.account_id, row.con_id, row.client_id, row.state, row.filled)
        for row in (intent.row for intent in intents)
    }
    (plan_id, symbol, *_, filled), *others = shared
    is_its = plan is None or (plan.plan_id, plan.symbol) == (plan_id, symbol)
    return not others and is_its and filled == 0


def machine_text(state: PlanState) -> str:
    """Return a plan's state as JSON."""
    return orjson.dumps(state, default=str).decode()


def plan_news(plan: PlanMoved) -> dict[str, str] | None:
    """Return what the journal is told of a plan; None where it stays in its phase."""
    before, after = plan.before, plan.state.phase
    return None if before is after else {"from": before.value, "to": after.value, "reason": ""}


def intent_news(intent: OrderRecorded) -> dict[str, Any]:
    """Return what the journal is told of an order."""
    row = intent.row
    return {
        "role": row.role.value,
        "side": row.side.value,
        "quantity": row.quantity,
        "order_type": row.order_type.value,
        "limit_price": None if row.limit_price is None else str(row.limit_price),
        "stop_price": None if row.stop_price is None else str(row.stop_price),
        "tif": row.tif.value,
        "order_id": row.order_id,
        "parent_ref": row.parent_ref,
        "reason": row.reason,
        "evidence": intent.evidence,
    }


def _values(intent: OrderRecorded) -> tuple[Any, ...]:
    row: OrderRow = intent.row
    return (
        row.order_ref, row.role.value, row.side.value, row.quantity, row.order_type.value,
        row.limit_price, row.stop_price, row.tif.value, row.parent_ref, row.order_id, row.reason,
        intent_news(intent),
    )  # fmt: skip


@cache
def _statement(orders: int, *, has_plan: bool) -> str:
    """Return the statement of a shape."""
    first = _SHARED + (_OF_A_PLAN if has_plan else 0) + 1
    rows, notes = [], []
    for order in range(orders):
        numbers = range(first + order * _OF_AN_ORDER, first + (order + 1) * _OF_AN_ORDER)
        marks = [f"${n}::{kind}" for n, kind in zip(numbers, _ROW_TYPES, strict=True)]
        rows.append(f"({', '.join(marks[:-1])})")
        notes.append(f"({order + 1}, 'order_intent', {marks[0]}, {marks[-1]})")
    plan = ""
    if has_plan:
        plan = """
plan AS (
    UPDATE trade.plan AS p
    SET state = $12, machine = $13::text::jsonb, updated_at = clock_timestamp()
    FROM claim WHERE p.plan_id = $6
),"""
        notes.insert(0, "(0, 'plan_state', NULL, $14::jsonb)")
    return f"""
WITH claim AS (
    INSERT INTO trade.batch (batch_id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING batch_id
),{plan}
events AS (
    INSERT INTO trade.event
        (at_ns, run_id, epoch, kind, account, plan_id, order_ref, symbol, data)
    SELECT $2, $3, $4, new.kind, $5, $6, new.order_ref, $7, new.data
    FROM claim, (VALUES {", ".join(notes)}) AS new(place, kind, order_ref, data)
    WHERE new.data IS NOT NULL
    ORDER BY new.place
)
INSERT INTO trade.broker_order
    (plan_id, account, account_id, symbol, con_id, client_id, state, filled, run_id, epoch, {_ROW})
SELECT $6, $5, $8, $7, $9, $10, $11, 0, $3, $4, new.*
FROM claim, (VALUES {", ".join(rows)}) AS new({_ROW})
ON CONFLICT (order_ref) DO NOTHING
"""  # noqa: S608 - constants of this file
