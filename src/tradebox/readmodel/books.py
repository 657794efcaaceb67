"""What a command reads of the books: journal, orders, fills, positions and refused ticks.

Rules of this file:
- SELECT on the views of schema `console` alone, always with a limit, newest first;
- a filter that is not given is NULL and filters nothing: one statement a question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import orjson

from tradebox.errors import NotRunning, StoreUnavailable

ANSWER_S_MAX: Final = 10.0
ROWS_MAX: Final = 10_000

JOURNAL: Final = """
SELECT seq, at_ns, epoch, kind, account, plan_id, order_ref, symbol, data FROM console.event
WHERE ($1::text IS NULL OR account = $1) AND ($2::text IS NULL OR symbol = $2)
  AND ($3::text IS NULL OR plan_id = $3 OR order_ref = $3) AND ($4::text IS NULL OR kind = $4)
  AND ($5::bigint IS NULL OR seq > $5)
ORDER BY seq DESC LIMIT $6
"""
ORDERS: Final = """
SELECT order_ref, plan_id, account, symbol, role, side, quantity, filled, order_type, limit_price,
       stop_price, tif, order_id, state, created_at, updated_at FROM console.broker_order
WHERE ($1::text IS NULL OR account = $1) AND ($2::text IS NULL OR symbol = $2)
  AND ($3::text IS NULL OR plan_id = $3 OR order_ref = $3) AND ($4::text IS NULL OR state = $4)
  AND (NOT $5 OR state NOT IN ('filled', 'cancelled', 'rejected', 'expired', 'never_sent'))
ORDER BY created_at DESC, order_ref DESC LIMIT $6
"""
FILLS: Final = """
SELECT exec_id, order_ref, plan_id, account, symbol, side, quantity, price, at_ns, commission_usd,
       realised_usd, booked_at FROM console.fill
WHERE ($1::text IS NULL OR account = $1) AND ($2::text IS NULL OR symbol = $2)
  AND ($3::text IS NULL OR plan_id = $3 OR order_ref = $3)
ORDER BY at_ns DESC, exec_id DESC LIMIT $4
"""
POSITIONS: Final = """
SELECT account, symbol, quantity FROM console.position
WHERE ($1::text IS NULL OR account = $1) AND ($2::text IS NULL OR symbol = $2)
  AND (quantity <> 0 OR $3)
ORDER BY account, symbol LIMIT $4
"""
REFUSED: Final = """
SELECT found.* FROM unnest($1::text[]) AS wanted (symbol) CROSS JOIN LATERAL (
    SELECT verdict_id, symbol, source, check_name, verdict, price_micros, event_ns, recorded_at,
           quality, ticks
    FROM console.tick_verdict WHERE symbol = wanted.symbol AND verdict <> 'flag'
    ORDER BY verdict_id DESC LIMIT $2) AS found
ORDER BY verdict_id DESC
"""
FLAGGED: Final = """
SELECT symbol, source, check_name, quality, sum(ticks)::bigint AS ticks, max(event_ns) AS event_ns
FROM console.tick_verdict
WHERE symbol = ANY($1) AND verdict = 'flag' AND recorded_at > clock_timestamp() - interval '1 day'
GROUP BY symbol, source, check_name, quality ORDER BY ticks DESC LIMIT $2
"""

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """What is asked for; None filters nothing. about: the id of a plan or an order."""

    account: str | None = None
    symbol: str | None = None
    about: str | None = None
    limit: int = 50


async def journal(
    dsn: str, wanted: Filter, kind: str | None = None, after: int | None = None
) -> list[Record]:
    """Return the newest events, newest first. Raises StoreUnavailable, NotRunning."""
    arguments = (wanted.account, wanted.symbol, wanted.about, kind, after)
    rows = await _fetch(dsn, JOURNAL, wanted, arguments)
    return [{**row, "data": orjson.loads(row["data"])} for row in rows]


async def orders(
    dsn: str, wanted: Filter, state: str | None = None, *, working: bool = False
) -> list[Record]:
    """Return orders, newest first. Raises StoreUnavailable, NotRunning."""
    arguments = (wanted.account, wanted.symbol, wanted.about, state, working)
    return await _fetch(dsn, ORDERS, wanted, arguments)


async def fills(dsn: str, wanted: Filter) -> list[Record]:
    """Return fills, newest first. Raises StoreUnavailable, NotRunning."""
    return await _fetch(dsn, FILLS, wanted, (wanted.account, wanted.symbol, wanted.about))


async def positions(dsn: str, wanted: Filter, *, with_flat: bool = False) -> list[Record]:
    """Return positions by account and symbol. Raises StoreUnavailable, NotRunning."""
    return await _fetch(dsn, POSITIONS, wanted, (wanted.account, wanted.symbol, with_flat))


async def refused(dsn: str, symbols: Sequence[str], count: int) -> list[Record]:
    """Return the newest refused ticks, so many a symbol. Raises StoreUnavailable, NotRunning."""
    return await _fetch(dsn, REFUSED, Filter(limit=count), (list(symbols),))


async def flagged(dsn: str, symbols: Sequence[str]) -> list[Record]:
    """Return what passed with a remark in the last day, counted. Raises as `refused`."""
    return await _fetch(dsn, FLAGGED, Filter(limit=ROWS_MAX), (list(symbols),))


async def _fetch(dsn: str, sql: str, wanted: Filter, arguments: Sequence[object]) -> list[Record]:
    try:
        connection = await asyncpg.connect(
            dsn,
            timeout=ANSWER_S_MAX,
            command_timeout=ANSWER_S_MAX,
            server_settings={
                "application_name": "tradebox-command",
                "default_transaction_read_only": "on",
            },
        )
        try:
            rows = await connection.fetch(sql, *arguments, min(wanted.limit, ROWS_MAX))
        finally:
            await connection.close(timeout=1.0)
    except (
        asyncpg.UndefinedTableError,
        asyncpg.InvalidSchemaNameError,
        asyncpg.InvalidCatalogNameError,
    ) as error:
        raise NotRunning(
            "this home has no schema yet: run `tradebox db migrate` or `tradebox run` once"
        ) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        reason = str(error) or type(error).__name__
        raise StoreUnavailable(f"PostgreSQL does not answer: {reason}", reason=reason) from error
    return [dict(row) for row in rows]
