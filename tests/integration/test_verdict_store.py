"""Verdicts in PostgreSQL: batches, what the console's login sees, what is forgotten."""

import contextlib

import asyncpg
import pytest

from tradebox.adapters.postgres.connect import connected
from tradebox.adapters.postgres.pool import PgPool
from tradebox.adapters.postgres.verdicts import PgVerdicts
from tradebox.domain.market import Source
from tradebox.errors import StoreUnavailable
from tradebox.ports.verdicts import VerdictRow
from tradebox.supervision.clock import MonotonicClock

AGE = "UPDATE trade.tick_verdict SET recorded_at = recorded_at - interval '{} days'"


def row(check="spike", verdict="hold", price=1, count=1):
    return VerdictRow("SPY", Source.FINNHUB, check, verdict, "suspect", price, 9, 5, count)


@contextlib.asynccontextmanager
async def table_of(dsn):
    pool = PgPool(dsn, MonotonicClock(), connect_s_max=2.0)
    yield PgVerdicts(pool)
    await pool.close()


async def rows_of(dsn, query):
    async with connected(dsn) as connection:
        return [tuple(found) for found in await connection.fetch(query)]


@pytest.mark.asyncio
async def test_a_batch_is_written_whole_and_seen_by_the_console(pg_dsn, pg_console_dsn):
    async with table_of(pg_dsn) as table:
        await table.write([])
        await table.write([row(price=n) for n in range(600)] + [row("odd_lot", "flag", 7, 50)])
    query = "SELECT symbol, source, check_name, verdict, quality, price_micros, event_ns,"
    query += " first_event_ns, ticks FROM console.tick_verdict ORDER BY verdict_id"
    rows = await rows_of(pg_console_dsn, query)
    assert len(rows) == 601
    assert rows[0] == ("SPY", "finnhub", "spike", "hold", "suspect", 0, 9, 5, 1)
    assert rows[-1] == ("SPY", "finnhub", "odd_lot", "flag", "suspect", 7, 9, 5, 50)


@pytest.mark.asyncio
async def test_a_batch_with_one_impossible_row_writes_nothing(pg_dsn):
    async with table_of(pg_dsn) as table:
        with pytest.raises(asyncpg.CheckViolationError):
            await table.write([row(), row(verdict="accept")])
    assert await rows_of(pg_dsn, "SELECT 1 FROM trade.tick_verdict") == []


@pytest.mark.asyncio
async def test_flags_go_after_two_days_and_refusals_after_thirty(pg_dsn):
    verdicts = "SELECT verdict FROM trade.tick_verdict ORDER BY verdict_id"
    async with table_of(pg_dsn) as table:
        await table.write([row("odd_lot", "flag"), row("spike", "hold"), row("late", "drop")])
        assert await table.forget(2, 30) == 0
        await rows_of(pg_dsn, AGE.format(3))
        assert await table.forget(2, 30) == 1
        assert await rows_of(pg_dsn, verdicts) == [("hold",), ("drop",)]
        await rows_of(pg_dsn, AGE.format(28))
        assert await table.forget(2, 30) == 2


@pytest.mark.asyncio
async def test_without_postgresql_it_says_so():
    async with table_of("postgresql://trade_rw:x@127.0.0.1:1/tradebox") as table:
        with pytest.raises(StoreUnavailable):
            await table.write([row()])
