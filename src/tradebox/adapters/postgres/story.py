"""The chain behind an order, a plan or a symbol, read from the journal.

Rules of this file:
- the journal alone is asked, in its order: what is not in it did not happen;
- an order's chain holds what led its plan to it: the plan's own rows up to the order's end.
"""

from typing import Any, Final

from tradebox.adapters.postgres.pool import PgPool

ROWS_MAX: Final = 2000
PLANS_MAX: Final = 3

_COLUMNS = "seq, recorded_at, at_ns, kind, account, plan_id, order_ref, symbol, data"
_OF_PLANS = f"""
SELECT {_COLUMNS} FROM trade.event
WHERE plan_id = ANY ($1::text[])
   OR order_ref IN (SELECT order_ref FROM trade.broker_order WHERE plan_id = ANY ($1::text[]))
   OR (kind = 'commission_seen' AND data ->> 'exec_stem' IN
       (SELECT exec_stem FROM trade.fill WHERE plan_id = ANY ($1::text[])))
ORDER BY seq LIMIT {ROWS_MAX}
"""  # noqa: S608 - constants of this file
_OF_SYMBOL = f"""
SELECT {_COLUMNS} FROM trade.event
WHERE symbol = $1 AND plan_id IS NULL AND order_ref IS NULL
ORDER BY seq DESC LIMIT 50
"""  # noqa: S608 - constants of this file
_PLAN_KINDS: Final = frozenset(
    {
        "plan_requested",
        "plan_proposed",
        "plan_approved",
        "plan_state",
        "plan_step",
        "intent_denied",
    }
)


class PgStory:
    """Reads chains of the journal."""

    def __init__(self, pool: PgPool) -> None:
        self._pool = pool

    async def why(self, what: str) -> tuple[str, list[dict[str, Any]]]:
        """Return ("plan", "order" or "symbol", its rows, oldest first); ("", []) if unknown."""
        async with self._pool.connection() as connection:
            if await connection.fetchval("SELECT 1 FROM trade.plan WHERE plan_id = $1", what):
                return "plan", _plain(await connection.fetch(_OF_PLANS, [what]))
            order = await connection.fetchrow(
                "SELECT order_ref, plan_id FROM trade.broker_order WHERE order_ref = $1"
                " OR order_ref IN (SELECT order_ref FROM trade.order_perm"
                " WHERE perm_id::text = $1) LIMIT 1",
                what,
            )
            if order is not None:
                rows = _plain(await connection.fetch(_OF_PLANS, [order["plan_id"]]))
                return "order", _of_order(rows, order["order_ref"])
            plans = await connection.fetch(
                "SELECT plan_id FROM trade.plan WHERE symbol = $1"
                " ORDER BY created_at DESC LIMIT $2",
                what.upper(),
                PLANS_MAX,
            )
            rows = _plain(await connection.fetch(_OF_SYMBOL, what.upper()))
            if plans:
                ids = [row["plan_id"] for row in plans]
                rows += _plain(await connection.fetch(_OF_PLANS, ids))
        rows.sort(key=lambda row: int(row["seq"]))
        return ("symbol" if rows else ""), rows


def _of_order(rows: list[dict[str, Any]], ref: str) -> list[dict[str, Any]]:
    """Keep an order's own rows, and what its plan did up to its last one."""
    own = [row["seq"] for row in rows if row["order_ref"] == ref]
    last = max(own, default=0)
    return [
        row
        for row in rows
        if row["order_ref"] == ref or (row["kind"] in _PLAN_KINDS and row["seq"] <= last)
    ]


def _plain(rows: list[Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in rows]
