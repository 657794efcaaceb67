"""The calendar of splits in PostgreSQL."""

from datetime import date

import asyncpg
import pytest

from tradebox.adapters.postgres.pool import PgPool
from tradebox.adapters.postgres.splits import PgSplits
from tradebox.ports.splits import SplitRow
from tradebox.supervision.clock import MonotonicClock

DAY = date(2026, 11, 24)


@pytest.mark.asyncio
async def test_a_split_is_kept_by_its_day_and_a_later_word_replaces_it(pg_dsn):
    pool = PgPool(pg_dsn, MonotonicClock())
    calendar = PgSplits(pool)
    await calendar.add(SplitRow("NVDA", DAY, 4, 1, "person"))
    await calendar.add(SplitRow("GE", DAY, 1, 8, "person"))
    await calendar.add(SplitRow("NVDA", DAY, 10, 1, "yahoo"))
    await calendar.add(SplitRow("NVDA", date(2026, 11, 25), 2, 1, "yahoo"))
    assert await calendar.splits(DAY, DAY) == [
        ("GE", DAY, 1, 8, "person"),
        ("NVDA", DAY, 10, 1, "yahoo"),
    ]
    assert await calendar.splits(date(2026, 11, 23), date(2026, 11, 23)) == []
    with pytest.raises(asyncpg.CheckViolationError):
        await calendar.add(SplitRow("GE", DAY, 0, 8, "person"))
    await pool.close()
