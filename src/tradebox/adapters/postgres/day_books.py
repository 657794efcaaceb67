"""What a market day brought before this engine started, from PostgreSQL.

Rules of this file:
- counts end at the epoch of this engine: what follows, it tells itself, and nothing counts twice;
- a day is looked for among the last EVENTS_MAX events, so that an old journal delays no start;
- a plan that cannot be read is left out: this is for people's eyes, and the books still have it.
"""

from collections.abc import Mapping
from typing import Any, Final

from tradebox.adapters.postgres.plans import PLAN_QUERY, stored_plan
from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.events import PlanRow
from tradebox.domain.market import Quality
from tradebox.domain.plan_document import document_from
from tradebox.domain.plan_rows import plan_row
from tradebox.domain.plan_state import state_from_json
from tradebox.errors import PlanInvalid
from tradebox.ports.day_books import DayBooks

PLANS_MAX: Final = 200
EVENTS_MAX: Final = 50_000

_PLANS: Final = f"""
SELECT plan.*, ended.at_ns FROM ({PLAN_QUERY}) AS plan
JOIN (SELECT plan_id, max(at_ns) AS at_ns FROM trade.plan_step
      WHERE kind = 'exit' AND at_ns >= $1 GROUP BY plan_id) AS ended USING (plan_id)
WHERE plan.state = 'closed' AND plan.machine IS NOT NULL
ORDER BY ended.at_ns DESC, plan_id DESC LIMIT {PLANS_MAX}
"""  # noqa: S608 - constants of this file and of plans.py
_EVENTS: Final = f"""
SELECT count(*) FILTER (WHERE kind = 'fill_booked') AS fills,
       count(*) FILTER (WHERE kind = 'intent_denied') AS denied,
       count(DISTINCT order_ref) FILTER (WHERE kind = 'order_moved') AS rejected
FROM trade.event
WHERE seq > (SELECT coalesce(max(seq), 0) - {EVENTS_MAX} FROM trade.event)
  AND at_ns >= $1 AND epoch < $2
  AND (kind IN ('fill_booked', 'intent_denied')
       OR (kind = 'order_moved' AND data ->> 'state' = 'rejected'))
"""  # noqa: S608 - constants of this file


class PgDayBooks:
    """Reads days on a PgPool. epoch: of this engine."""

    def __init__(self, pool: PgPool, epoch: int) -> None:
        self._pool = pool
        self._epoch = epoch

    async def day(self, since_ns: int) -> DayBooks:
        """Return the day that began at a market time. Raises StoreUnavailable."""
        async with self._pool.connection() as connection:
            plans = await connection.fetch(_PLANS, since_ns)
            counts = await connection.fetchrow(_EVENTS, since_ns, self._epoch)
        rows = [row for row in (_closed(dict(found)) for found in reversed(plans)) if row]
        return DayBooks(tuple(rows), counts["fills"], counts["denied"], counts["rejected"])


def _closed(values: dict[str, Any]) -> PlanRow | None:
    at_ns = int(values.pop("at_ns"))
    plan = stored_plan(values)
    machine: Mapping[str, Any] = plan.machine or {}
    try:
        document, state = document_from(plan.document), state_from_json(dict(machine))
    except (PlanInvalid, KeyError, TypeError, ValueError):
        return None
    return plan_row(
        plan.account,
        document,
        state,
        tick=None,
        quality=Quality.STALE,
        now_ns=at_ns,
        is_demo=plan.is_demo,
    )
