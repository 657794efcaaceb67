"""What a run did, read back from PostgreSQL: the only source of the run's summary.

Rules of this file:
- figures are counted from rows, never from an engine's memory, so a restarted engine loses none;
- cover is judged from positions and live orders, as the books have them.
"""

from dataclasses import dataclass
from typing import Any

from tradebox.adapters.postgres.pool import PgPool

LIVE_STATES = ("sending", "sent_unknown", "acked", "working", "partial")
RESTING_STATES = ("acked", "working", "partial")
PLANS_MAX = 1000


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run in figures. plans_closed and positions are rows of plain values."""

    orders_sent: int
    fills_booked: int
    plans_closed: list[dict[str, Any]]
    positions: list[dict[str, Any]]


class PgRunReport:
    """Reads reports on a PgPool."""

    def __init__(self, pool: PgPool) -> None:
        self._pool = pool

    async def report(self, run_id: str) -> RunReport:
        """Return what the run did so far. Raises StoreUnavailable."""
        async with self._pool.connection() as connection, connection.transaction():
            orders = await connection.fetchval(
                "SELECT count(*) FROM trade.broker_order"
                " WHERE run_id = $1 AND state NOT IN ('recorded', 'never_sent')",
                run_id,
            )
            fills = await connection.fetchval(
                "SELECT count(*) FROM trade.fill WHERE run_id = $1", run_id
            )
            steps = await connection.fetch(_STEPS, run_id, PLANS_MAX)
            positions = await connection.fetch(_POSITIONS, list(LIVE_STATES), list(RESTING_STATES))
        return RunReport(orders, fills, _plans(steps), [_position(row) for row in positions])


_STEPS = """
SELECT plan.plan_id, plan.symbol, plan.account, plan.close_reason, step.kind, step.price,
       step.quantity, step.source, step.at_ns, step.reason
FROM trade.plan JOIN trade.plan_step AS step USING (plan_id)
WHERE plan.plan_id IN (
    SELECT closed.plan_id FROM trade.plan AS closed
    WHERE closed.closed_at IS NOT NULL AND EXISTS (
        SELECT 1 FROM trade.plan_step AS done
        WHERE done.plan_id = closed.plan_id AND done.run_id = $1)
    ORDER BY closed.closed_at DESC LIMIT $2)
ORDER BY plan.closed_at, plan.plan_id, step.step_no
"""

_POSITIONS = """
SELECT account, symbol, coalesce(held.quantity, 0) AS quantity,
       coalesce(working.stop_quantity, 0)::integer AS stop_quantity,
       coalesce(working.in_flight_quantity, 0)::integer AS in_flight_quantity
FROM (SELECT account, symbol, quantity FROM trade.position WHERE quantity <> 0) AS held
LEFT JOIN (
    SELECT account, symbol,
           sum(quantity - filled) FILTER (WHERE role = 'stop' AND state = ANY($2))
               AS stop_quantity,
           sum(quantity - filled) FILTER (WHERE role IN ('slice', 'exit'))
               AS in_flight_quantity
    FROM trade.broker_order WHERE state = ANY($1) GROUP BY account, symbol
) AS working USING (account, symbol)
ORDER BY account, symbol
"""


def _plans(rows: list[Any]) -> list[dict[str, Any]]:
    plans: dict[str, dict[str, Any]] = {}
    for row in rows:
        plan = plans.setdefault(
            row["plan_id"],
            {
                "id": row["plan_id"],
                "symbol": row["symbol"],
                "account": row["account"],
                "reason": row["close_reason"],
                "steps": [],
            },
        )
        plan["steps"].append(
            {name: row[name] for name in ("kind", "price", "quantity", "source", "at_ns", "reason")}
        )
    return list(plans.values())


def _position(row: Any) -> dict[str, Any]:
    stop, in_flight = row["stop_quantity"], row["in_flight_quantity"]
    return {
        "account": row["account"],
        "symbol": row["symbol"],
        "quantity": row["quantity"],
        "stop_quantity": stop,
        "in_flight_quantity": in_flight,
        "covered": stop + in_flight == abs(row["quantity"]),
    }
