"""The quota of a vendor's key in PostgreSQL: one statement counts and judges."""

import asyncio
import itertools

import pytest

from support.sim_market import market_at
from tradebox.adapters.alphavantage.client import AlphaVantage, AlphaVantageLimits
from tradebox.adapters.alphavantage.times import day_of
from tradebox.adapters.postgres.pool import PgPool
from tradebox.adapters.postgres.quota import PgQuota
from tradebox.errors import StoreUnavailable
from tradebox.sim.alphavantage.faults import alphavantage_faults
from tradebox.sim.alphavantage.server import AlphaVantage as StandIn
from tradebox.sim.http import HttpServer
from tradebox.sim.market import hours
from tradebox.supervision.clock import MonotonicClock

DAY = "2026-11-23"
NOON_NS = hours.session(5).open_ns + 150 * hours.MINUTE_NS


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


@pytest.mark.asyncio
async def test_an_engine_that_is_started_again_goes_on_counting(pg_dsn):
    market, faults = market_at(NOON_NS), alphavantage_faults()
    seconds = itertools.count(step=2)
    stand_in = StandIn(market, "free", "premium", faults, lambda: next(seconds))
    asked = []

    def take(request):
        asked.append(request.query["symbol"])
        return stand_in(request)

    server = HttpServer("alphavantage", take)
    host, port = await server.start()
    try:
        for engine in range(5):
            pool = PgPool(pg_dsn, MonotonicClock())
            client = AlphaVantage(
                f"http://{host}:{port}", "free", PgQuota(pool), market.clock, MonotonicClock(),
                limits=AlphaVantageLimits(25, 10, gap_s=0.0, retry_s=0.0),
                is_held=lambda symbol: symbol.startswith("HELD"),
            )  # fmt: skip
            try:
                for number in range(5):
                    await client.quote(f"S{engine}{number}")
                for number in range(5 if engine == 4 else 0):
                    await client.quote(f"HELD{number}")
                    await client.quote(f"HELD{number}X")
                used = await PgQuota(pool).used(client.account, day_of(NOON_NS))
            finally:
                await client.close()
                await pool.close()
    finally:
        await server.stop()
    assert used == len(asked) == 25
    assert len([one for one in asked if not one.startswith("HELD")]) == 15
