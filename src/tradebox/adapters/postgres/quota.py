"""The port QuotaPort on PostgreSQL: one row per key and day, counted by one statement.

Rules of this file:
- counting and judging are one statement: two clients never take the same last call.
"""

import datetime as dt
from typing import Final

from tradebox.adapters.postgres.pool import PgPool

_TAKE: Final = """
INSERT INTO trade.vendor_quota (account, day, calls)
    SELECT $1::text, $2::date, 1 WHERE $3::integer >= 1
ON CONFLICT (account, day) DO UPDATE
    SET calls = trade.vendor_quota.calls + 1, updated_at = clock_timestamp()
    WHERE trade.vendor_quota.calls < $3::integer
RETURNING calls
"""
_SPEND: Final = """
INSERT INTO trade.vendor_quota (account, day, calls) VALUES ($1, $2, $3)
ON CONFLICT (account, day) DO UPDATE
    SET calls = greatest(trade.vendor_quota.calls, excluded.calls), updated_at = clock_timestamp()
"""


class PgQuota:
    """QuotaPort on a PgPool."""

    def __init__(self, pool: PgPool) -> None:
        self._pool = pool

    async def take(self, account: str, day: str, calls_max: int) -> bool:
        """Count one call; False where the day has had so many."""
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(_TAKE, account, dt.date.fromisoformat(day), calls_max)
        return row is not None

    async def spend(self, account: str, day: str, calls: int) -> None:
        """Have the day count at least so many calls."""
        async with self._pool.connection() as connection:
            await connection.execute(_SPEND, account, dt.date.fromisoformat(day), calls)

    async def used(self, account: str, day: str) -> int:
        """Return how many calls the day has had."""
        async with self._pool.connection() as connection:
            calls: int | None = await connection.fetchval(
                "SELECT calls FROM trade.vendor_quota WHERE account = $1 AND day = $2",
                account,
                dt.date.fromisoformat(day),
            )
        return calls or 0
