"""A connection kept from use to use does not keep its pool from closing."""

import asyncio

import pytest

from tradebox.adapters.postgres.pool import PgLane, PgPool
from tradebox.supervision.clock import ManualClock, MonotonicClock


@pytest.mark.asyncio
async def test_a_pool_closes_while_a_lane_holds_a_connection_and_both_begin_anew(pg_dsn):
    pool = PgPool(pg_dsn, ManualClock())  # its clock stands: nothing is ended by a time limit
    lane = PgLane(pool)
    for _ in range(2):
        async with lane.connection() as connection:
            assert await connection.fetchval("SELECT 1") == 1
        async with asyncio.timeout(10):
            await pool.close()


@pytest.mark.asyncio
async def test_a_lane_whose_server_ended_it_while_nobody_used_it_takes_another(
    pg_dsn, pg_owner_dsn
):
    pool, owner = PgPool(pg_dsn, ManualClock()), PgPool(pg_owner_dsn, ManualClock())
    lane = PgLane(pool)
    async with lane.connection() as connection:
        pid = connection.get_server_pid()
    async with owner.connection() as other:
        await other.execute("SELECT pg_terminate_backend($1, 5000)", pid)
    clock = MonotonicClock()
    deadline = clock.now() + 10.0
    while pool._pool.get_size():  # until asyncpg has read that the connection is gone
        assert clock.now() < deadline, "asyncpg keeps a connection that has ended"
        await clock.sleep(0.01)
    async with lane.connection() as connection:
        assert await connection.fetchval("SELECT 1") == 1
        assert connection.get_server_pid() != pid
    await pool.close()
    await owner.close()
