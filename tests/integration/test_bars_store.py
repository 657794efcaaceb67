"""Minute bars in a real PostgreSQL: copied, partitioned by month, forgotten by month."""

from dataclasses import astuple

import asyncpg
import pytest
import pytest_asyncio

from support.ticks import S
from tradebox.actors.bars import DAY_NS
from tradebox.adapters.postgres.bars import PgMinuteBars
from tradebox.adapters.postgres.connect import connected
from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.market import Source
from tradebox.domain.minute_bars import MINUTE_NS, MinuteBar
from tradebox.supervision.clock import MonotonicClock

JUNE = 1_780_272_000 * S  # 2026-06-01 00:00 UTC


def bar(end_ns, symbol="SPY", close=101, **fields):
    values = {"open_micros": 100, "high_micros": 105, "low_micros": 99, "close_micros": close,
              "volume": 700, "ticks": 9, "source": Source.FINNHUB, "is_partial": False}  # fmt: skip
    return MinuteBar(symbol, end_ns, **{**values, **fields})


@pytest_asyncio.fixture
async def store(pg_dsn):
    pool = PgPool(pg_dsn, MonotonicClock())
    yield PgMinuteBars(pool)
    await pool.close()


async def rows(dsn, query="SELECT * FROM console.minute_bar ORDER BY symbol, end_ns"):
    async with connected(dsn) as connection:
        return [tuple(row) for row in await connection.fetch(query)]


@pytest.mark.asyncio
async def test_bars_come_back_as_they_were(store, pg_console_dsn):
    kept = [bar(JUNE + n * MINUTE_NS, symbol) for symbol in ("AAPL", "SPY") for n in range(3)]
    await store.put_minute_bars(kept)
    await store.put_minute_bars([])
    assert await rows(pg_console_dsn) == [astuple(one) for one in kept]


@pytest.mark.asyncio
async def test_writing_again_changes_nothing_and_adds_what_is_new(store, pg_dsn):
    await store.put_minute_bars([bar(JUNE), bar(JUNE + MINUTE_NS)])
    await store.put_minute_bars([bar(JUNE + MINUTE_NS, close=99), bar(JUNE + 2 * MINUTE_NS)])
    closes = await rows(pg_dsn, "SELECT close_micros FROM trade.minute_bar ORDER BY end_ns")
    assert closes == [(101,), (101,), (101,)]


@pytest.mark.asyncio
async def test_a_month_is_a_partition_and_old_months_are_forgotten_whole(store, pg_dsn):
    days = [JUNE + day * DAY_NS for day in (-40, -1, 0, 29, 30, 70)]
    await store.put_minute_bars([bar(day) for day in days])
    parts = await rows(
        pg_dsn, "SELECT DISTINCT tableoid::regclass::text FROM trade.minute_bar ORDER BY 1"
    )
    names = ["2026_04", "2026_05", "2026_06", "2026_07", "2026_08"]
    assert [name for (name,) in parts] == [f"trade.minute_bar_{name}" for name in names]
    assert await store.drop_minute_bars(JUNE + 29 * DAY_NS) == 2
    assert await store.drop_minute_bars(JUNE + 29 * DAY_NS) == 0
    assert [row[0] for row in await rows(pg_dsn, "SELECT end_ns FROM trade.minute_bar")] == days[2:]
    await store.put_minute_bars([bar(days[0])])
    assert len(await rows(pg_dsn)) == 5


@pytest.mark.asyncio
@pytest.mark.parametrize("at_ns", [0, 4_200_000_000 * S])
async def test_a_time_that_no_market_has_makes_no_partition(store, at_ns):
    with pytest.raises(asyncpg.RaiseError, match="no bar ends in"):
        await store.put_minute_bars([bar(at_ns + MINUTE_NS)])


@pytest.mark.asyncio
async def test_the_console_may_look_and_nobody_but_the_engine_may_make_or_drop(
    store, pg_console_dsn, pg_research_dsn
):
    await store.put_minute_bars([bar(JUNE)])
    for dsn in (pg_console_dsn, pg_research_dsn):
        assert len(await rows(dsn)) == 1
        async with connected(dsn) as connection:
            for statement in (
                f"SELECT trade.make_minute_bar_month({JUNE})",
                f"SELECT trade.drop_minute_bar_months({JUNE * 2})",
                "DELETE FROM trade.minute_bar",
            ):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
