"""The calendar of splits in PostgreSQL.

Rules of this file:
- one row a symbol and day; a later word replaces an earlier one.
"""

from collections.abc import Sequence
from datetime import date
from typing import Final

from tradebox.adapters.postgres.pool import PgPool
from tradebox.ports.splits import SplitRow

_KNOWN: Final = """
SELECT symbol, day, numerator, denominator, source FROM trade.split
WHERE day BETWEEN $1 AND $2 ORDER BY symbol, day
"""
_ADD: Final = """
INSERT INTO trade.split (symbol, day, numerator, denominator, source) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (symbol, day) DO UPDATE SET numerator = excluded.numerator,
    denominator = excluded.denominator, source = excluded.source, recorded_at = clock_timestamp()
"""


class PgSplits:
    """SplitPort on a PgPool."""

    def __init__(self, pool: PgPool) -> None:
        self._pool = pool

    async def splits(self, from_day: date, until_day: date) -> Sequence[SplitRow]:
        """Return what is announced for the days, both included. Raises: StoreUnavailable."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(_KNOWN, from_day, until_day)
        return [SplitRow(*row) for row in rows]

    async def add(self, row: SplitRow) -> None:
        """Announce a split; a later word for the same day replaces it. Raises: StoreUnavailable."""
        async with self._pool.connection() as connection:
            await connection.execute(_ADD, *row)
