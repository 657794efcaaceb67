"""Minute bars in PostgreSQL: copied in bulk into a table that is partitioned by month.

Rules of this file:
- a month's partition is made before the first bar of it is written, by a function of the schema:
  the engine's role may make and drop nothing else;
- a COPY that meets a bar which is there (its answer was lost the first time) is done again row by
  row, leaving what is there.
"""

from collections.abc import Sequence
from dataclasses import astuple, fields
from datetime import UTC, datetime
from typing import Final

import asyncpg

from tradebox.adapters.postgres.pool import STATEMENT_S_MAX, PgPool
from tradebox.domain.minute_bars import MinuteBar

COLUMNS: Final = tuple(field.name for field in fields(MinuteBar))
NS_PER_S: Final = 1_000_000_000
_PUT: Final = """
INSERT INTO trade.minute_bar (symbol, end_ns, open_micros, high_micros, low_micros, close_micros,
                              volume, ticks, source, is_partial)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],
                     $6::bigint[], $7::bigint[], $8::integer[], $9::text[], $10::boolean[])
ON CONFLICT (symbol, end_ns) DO NOTHING
"""


class PgMinuteBars:
    """BarStore on a PgPool."""

    def __init__(self, pool: PgPool) -> None:
        self._pool = pool
        self._months: set[tuple[int, int]] = set()

    async def put_minute_bars(self, rows: Sequence[MinuteBar]) -> None:
        """Write bars, all or none; those that are there already are left.

        Raises: StoreUnavailable.
        """
        if not rows:
            return
        records = [astuple(row) for row in rows]
        async with self._pool.connection() as connection:
            for month, end_ns in {_month(row.end_ns): row.end_ns for row in rows}.items():
                if month not in self._months:
                    await connection.execute("SELECT trade.make_minute_bar_month($1)", end_ns)
                    self._months.add(month)
            try:
                await connection.copy_records_to_table(
                    "minute_bar", schema_name="trade", columns=COLUMNS, records=records
                )
            except asyncpg.UniqueViolationError:
                await connection.execute(
                    _PUT, *(list(column) for column in zip(*records, strict=True))
                )

    async def drop_minute_bars(self, before_ns: int) -> int:
        """Forget whole months that ended before a time; return how many.

        Raises: StoreUnavailable.
        """
        async with self._pool.connection() as connection:
            dropped: int = await connection.fetchval(
                "SELECT trade.drop_minute_bar_months($1)", before_ns, timeout=STATEMENT_S_MAX
            )
        if dropped:
            self._months.clear()
        return dropped


def _month(end_ns: int) -> tuple[int, int]:
    at = datetime.fromtimestamp(end_ns // NS_PER_S, UTC)
    return at.year, at.month
