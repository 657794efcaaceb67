"""What a console reads of the past: rows of the views in schema `console`, with their queries.

Rules of this file:
- SELECT alone, always with a limit, newest last;
- prices are Decimal as stored, times ns UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

STEPS_MAX, BARS_MAX, EVENTS_MAX, ORDERS_MAX = 200, 1000, 500, 300

STEPS_SQL = f"""
SELECT step_no, kind, price, quantity, source, at_ns, reason FROM
  (SELECT * FROM console.plan_step WHERE plan_id = $1 ORDER BY step_no DESC LIMIT {STEPS_MAX}) AS s
ORDER BY step_no
"""  # noqa: S608 - the limit is a constant of this file
BARS_SQL = """
SELECT end_ns, open, high, low, close, volume FROM
  (SELECT * FROM console.bar WHERE symbol = $1 AND interval_s = $2 AND end_ns <= $3
   ORDER BY end_ns DESC LIMIT $4) AS b
ORDER BY end_ns
"""
_EVENT = "seq, at_ns, epoch, kind, account, plan_id, order_ref, symbol, data::text AS data"
EVENTS_SQL = f"""
SELECT {_EVENT} FROM
  (SELECT * FROM console.event
   WHERE ($1::text IS NULL OR plan_id = $1 OR order_ref = $1 OR symbol = $1)
   AND ($3::bigint IS NULL OR seq < $3) ORDER BY seq DESC LIMIT $2) AS e
ORDER BY seq
"""  # noqa: S608 - constants of this file
EVENTS_AFTER_SQL = f"""
SELECT {_EVENT} FROM console.event
WHERE ($1::text IS NULL OR plan_id = $1 OR order_ref = $1 OR symbol = $1) AND seq > $3
ORDER BY seq LIMIT $2
"""  # noqa: S608 - constants of this file
ORDERS_SQL = """
SELECT o.order_ref, o.plan_id, o.account, o.symbol, o.role, o.side, o.quantity, o.filled,
       o.order_type, o.limit_price, o.stop_price, o.order_id, o.state, e.first_ns, e.at_ns,
       coalesce(e.path, '{}') AS path, f.average_price, coalesce(f.quantity, 0) AS fill_quantity
FROM (SELECT * FROM console.broker_order
      WHERE created_at > clock_timestamp() - interval '24 hours'
         OR state NOT IN ('filled', 'cancelled', 'rejected', 'expired', 'never_sent')
      ORDER BY created_at DESC, order_ref DESC LIMIT $1) AS o
LEFT JOIN LATERAL
  (SELECT min(at_ns) AS first_ns, max(at_ns) AS at_ns,
          array_agg(data ->> 'state' ORDER BY seq) FILTER (WHERE kind = 'order_moved') AS path
   FROM console.event WHERE order_ref = o.order_ref) AS e ON true
LEFT JOIN
  (SELECT order_ref, sum(price * quantity) / sum(quantity) AS average_price,
          sum(quantity)::integer AS quantity
   FROM console.fill WHERE quantity > 0 GROUP BY order_ref) AS f USING (order_ref)
ORDER BY o.created_at, o.order_ref
"""
SCHEMA_SQL = "SELECT max(number) AS number FROM trade_meta.migration"


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step that a plan took, with its reason."""

    step_no: int
    kind: str
    price: Decimal
    quantity: int | None
    source: str
    at_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class BarRow:
    """OHLCV over a closed interval, stamped at its end."""

    end_ns: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event of the journal; data is its JSON text."""

    seq: int
    at_ns: int
    epoch: int
    kind: str
    account: str | None
    plan_id: str | None
    order_ref: str | None
    symbol: str | None
    data: str


def step_row(record: Mapping[str, Any]) -> StepRow:
    """Return a row of STEPS_SQL."""
    return StepRow(**dict(record))


def bar_row(record: Mapping[str, Any]) -> BarRow:
    """Return a row of BARS_SQL."""
    return BarRow(**dict(record))


def order_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of ORDERS_SQL as the dashboard writes orders."""
    row = dict(record)
    path = [state for at, state in enumerate(row["path"]) if state != row["path"][at - 1] or not at]
    return {**row, "path": path, "reference_price": row["stop_price"]}


def event_row(record: Mapping[str, Any]) -> EventRow:
    """Return a row of EVENTS_SQL."""
    return EventRow(**dict(record))
