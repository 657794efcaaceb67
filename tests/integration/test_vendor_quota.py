"""The quota of a vendor's key in PostgreSQL: one statement counts and judges."""

import asyncio

import pytest

from tradebox.adapters.postgres.pool import PgPool
from tradebox.adapters.postgres.quota import PgQuota
from tradebox.errors import StoreUnavailable
from tradebox.supervision.clock import MonotonicClock

DAY = "2026-11-23"


@pytest.mark.asyncio
async def test_no_call_beyond_the_limit_however_many_ask_at_once(pg_dsn):
    pools = [PgPool(pg_dsn, MonotonicClock()) for _ in range(3)]
    try:
        quotas = [PgQuota(pool) for pool in pools]
        taken = await asyncio.gather(*(quotas[n % 3].take("av:1", DAY, 25) for n in range(40)))
        assert sum(taken) == 25
        assert await quotas[0].used("av:1", DAY) == 25
        assert not await quotas[1].take("av:1", DAY, 15)
        assert await quotas[1].take("av:1", "2026-11-24", 15), "another day"
        assert await quotas[2].take("av:2", DAY, 15), "another key"
        assert not await quotas[2].take("av:3", DAY, 0)
        assert await quotas[0].used("av:3", DAY) == 0
    finally:
        for pool in pools:
            await pool.close()


@pytest.mark.asyncio
async def test_a_spent_day_stays_spent_over_restarts(pg_dsn):
    for number in range(2):
        pool = PgPool(pg_dsn, MonotonicClock())
        try:
            quota = PgQuota(pool)
            if number == 0:
                assert await quota.take("av:1", DAY, 25)
                await quota.spend("av:1", DAY, 25)
                await quota.spend("av:1", DAY, 3)
            assert await quota.used("av:1", DAY) == 25
            assert not await quota.take("av:1", DAY, 25)
        finally:
            await pool.close()


@pytest.mark.asyncio
async def test_a_store_that_is_away_is_an_error_of_its_own():
    pool = PgPool("postgresql://nobody@127.0.0.1:1/none", MonotonicClock())
    with pytest.raises(StoreUnavailable):
        await PgQuota(pool).take("av:1", DAY, 25)
    await pool.close()
