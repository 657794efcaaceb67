"""Verdicts of the sanity filter in PostgreSQL: written in batches, kept for days.

Rules of this file:
- one call is one commit and one statement;
- a deletion takes a bounded number of rows: what is left goes the next time.
"""

from collections.abc import Sequence
from typing import Final

from tradebox.adapters.postgres.pool import STATEMENT_S_MAX, PgPool
from tradebox.ports.verdicts import VerdictRow

DELETED_ROWS_MAX: Final = 50_000

_WRITE: Final = """
INSERT INTO trade.tick_verdict (symbol, source, check_name, verdict, quality, price_micros,
                                event_ns, first_event_ns, ticks)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
                     $7::bigint[], $8::bigint[], $9::integer[])
"""
_FORGET: Final = """
DELETE FROM trade.tick_verdict WHERE verdict_id IN (
    SELECT verdict_id FROM trade.tick_verdict
    WHERE recorded_at < clock_timestamp() - make_interval(days => $2)
       OR (verdict = 'flag' AND recorded_at < clock_timestamp() - make_interval(days => $1))
    LIMIT $3)
"""


class PgVerdicts:
    """VerdictPort on a PgPool."""

    def __init__(self, pool: PgPool) -> None:
        self._pool = pool

    async def write(self, rows: Sequence[VerdictRow]) -> None:
        """Write a batch in one commit. Raises: StoreUnavailable."""
        if not rows:
            return
        columns = [list(column) for column in zip(*rows, strict=True)]
        async with self._pool.connection() as connection:
            await connection.execute(_WRITE, *columns)

    async def forget(self, flag_days: int, refusal_days: int) -> int:
        """Delete what is older, and say how many rows went. Raises: StoreUnavailable."""
        async with self._pool.connection() as connection:
            status = await connection.execute(
                _FORGET, flag_days, refusal_days, DELETED_ROWS_MAX, timeout=STATEMENT_S_MAX
            )
        return int(str(status).rpartition(" ")[2])
