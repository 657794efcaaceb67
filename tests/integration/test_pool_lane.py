"""A connection kept from use to use does not keep its pool from closing."""

import asyncio

import pytest

from tradebox.adapters.postgres.pool import PgLane, PgPool
from tradebox.supervision.clock import ManualClock


@pytest.mark.asyncio
async def test_a_pool_closes_while_a_lane_holds_a_connection_and_both_begin_anew(pg_dsn):
    pool = PgPool(pg_dsn, ManualClock())  # its clock stands: nothing is ended by a time limit
    lane = PgLane(pool)
    for _ in range(2):
        async with lane.connection() as connection:
            assert await connection.fetchval("SELECT 1") == 1
        async with asyncio.timeout(10):
            await pool.close()
