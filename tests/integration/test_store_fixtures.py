"""The fixtures that every other store test builds on."""

import asyncpg
import pytest
from redis.asyncio import Redis


@pytest.mark.asyncio
@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_sees_an_empty_migrated_database(pg_dsn, turn):
    connection = await asyncpg.connect(pg_dsn)
    try:
        assert await connection.fetchval("SELECT current_user") == "trade_rw"
        assert await connection.fetchval("SELECT count(*) FROM trade.run") == 0
        await connection.execute(
            "INSERT INTO trade.run (run_id, boot_epoch, profile, version) "
            "VALUES ('r', 1, 'sim', '')"
        )
    finally:
        await connection.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_sees_an_empty_redis(redis_url, turn):
    client = Redis.from_url(redis_url, protocol=3)
    try:
        assert await client.get("md:q:SPY") is None
        await client.set("md:q:SPY", "1", px=1000)
    finally:
        await client.aclose()
