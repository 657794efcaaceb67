"""A server that takes no writes is away for whoever must write: it is retried, nothing crashes."""

import pytest

from tradebox.adapters.postgres.pool import PgPool
from tradebox.errors import StoreUnavailable
from tradebox.supervision.clock import MonotonicClock


@pytest.mark.asyncio
async def test_a_read_only_server_is_unavailable(pg_dsn):
    pool = PgPool(pg_dsn, MonotonicClock())
    try:
        with pytest.raises(StoreUnavailable, match="read-only"):
            async with pool.connection() as connection, connection.transaction(readonly=True):
                await connection.execute("INSERT INTO trade.switch (name, value) VALUES ('a', 'b')")
        assert not pool.is_up
    finally:
        await pool.close()
