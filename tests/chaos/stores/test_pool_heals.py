"""The pool, the journal and the bus while their servers come and go."""

import asyncio
import os
import signal

import asyncpg
import pytest

from tradebox.adapters.embedded import postgres, valkey
from tradebox.adapters.embedded.addresses import redis_url, superuser_dsn
from tradebox.adapters.embedded.processes import servers_in
from tradebox.adapters.embedded.secrets import Login
from tradebox.adapters.postgres.pool import BACKOFF_S_MAX, PgLane, PgPool
from tradebox.adapters.redis import client
from tradebox.adapters.redis.bus import RedisBus
from tradebox.config import Settings
from tradebox.errors import BusUnavailable, StoreUnavailable
from tradebox.supervision.clock import ManualClock, MonotonicClock

WAIT_S = 20.0


async def until_up(probe):
    clock = MonotonicClock()
    deadline = clock.now() + WAIT_S
    while True:
        try:
            await probe()
        except (StoreUnavailable, BusUnavailable):
            assert clock.now() < deadline, "did not come back"
            await clock.sleep(0.02)
        else:
            return


@pytest.mark.asyncio
async def test_a_pool_without_a_server_starts_down_and_comes_up_by_itself(home):
    pool = PgPool(superuser_dsn(home), MonotonicClock())
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            async with pool.connection():
                pass
    assert not pool.is_up
    assert pool.reason
    await asyncio.to_thread(postgres.start, home, 32, durable=False)
    await until_up(pool.probe)
    async with pool.connection() as connection:
        assert await connection.fetchval("SELECT 1") == 1
    assert pool.is_up
    assert pool.reason == ""
    for pid in servers_in(home.postgres_dir, "postgres"):
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(StoreUnavailable):
        async with pool.connection() as connection:
            await connection.fetchval("SELECT 1")
    assert not pool.is_up
    await asyncio.to_thread(postgres.start, home, 32, durable=False)
    await until_up(pool.probe)
    await pool.close()
    assert (pool.is_up, pool.reason) == (False, "closed")
    await until_up(pool.probe)
    await pool.close()


@pytest.mark.asyncio
async def test_a_server_killed_inside_a_transaction_is_store_unavailable(pg_dsn, pg_owner_dsn):
    pool, owner = PgPool(pg_dsn, MonotonicClock()), PgPool(pg_owner_dsn, MonotonicClock())

    async def lose():
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO trade.run (run_id, boot_epoch, profile, version)"
                " VALUES ('lost', 1, 'sim', '')"
            )
            async with owner.connection() as other:
                pid = connection.get_server_pid()
                await other.execute("SELECT pg_terminate_backend($1, 5000)", pid)
            await connection.fetchval("SELECT 1")

    with pytest.raises(StoreUnavailable):
        await lose()
    await until_up(pool.probe)
    async with pool.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM trade.run") == 0
    await pool.close()
    await owner.close()


@pytest.mark.asyncio
async def test_nobody_waits_for_a_dead_server_twice(tmp_path):
    clock = ManualClock()
    pool = PgPool(f"postgresql://a:b@/x?host={tmp_path}", clock)
    attempts = 0

    async def attempt():
        nonlocal attempts
        made = pool._make

        async def counted():
            nonlocal attempts
            attempts += 1
            return await made()

        pool._make = counted
        try:
            async with pool.connection():
                raise AssertionError("there is no server")
        except StoreUnavailable:
            pool._pool = None
            pool._make = made

    for _ in range(50):
        await attempt()
    assert attempts == 1
    for _ in range(10):
        clock.advance(BACKOFF_S_MAX)
        await attempt()
        await attempt()
    assert attempts == 11
    clock.advance(BACKOFF_S_MAX * 0.45)
    await attempt()
    assert attempts == 11, "the wait has grown to its limit, less the jitter"


@pytest.mark.asyncio
async def test_a_statement_error_is_not_an_outage(pg_dsn):
    pool = PgPool(pg_dsn, MonotonicClock())
    with pytest.raises(asyncpg.UndefinedTableError):
        async with pool.connection() as connection:
            await connection.execute("SELECT * FROM nowhere")
    assert pool.is_up
    insert = "INSERT INTO trade.switch (name, value) VALUES ('a', 'b')"
    with pytest.raises(asyncpg.UniqueViolationError):
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(f"{insert}; {insert}")
    async with pool.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM trade.switch") == 0
    await pool.close()


@pytest.mark.asyncio
async def test_a_statement_that_takes_too_long_is_given_up(pg_dsn):
    pool = PgPool(pg_dsn, MonotonicClock(), statement_s_max=0.05)
    with pytest.raises(StoreUnavailable):
        async with pool.connection() as connection:
            await connection.execute("SELECT pg_sleep(30)")
    await until_up(pool.probe)
    await pool.close()


@pytest.mark.asyncio
async def test_a_connection_left_in_a_transaction_is_rolled_back_before_the_next_user(pg_dsn):
    loop, seen = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: seen.append(context["message"]))
    pool = PgPool(pg_dsn, MonotonicClock(), connections_max=1)
    async with pool.connection() as connection:
        await connection.execute("BEGIN; INSERT INTO trade.switch (name, value) VALUES ('a', 'b')")
    async with pool.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM trade.switch") == 0
    assert seen
    await pool.close()


@pytest.mark.asyncio
async def test_no_more_connections_than_allowed_and_all_given_back(pg_dsn, pg_owner_dsn):
    pool = PgPool(pg_dsn, MonotonicClock(), connections_max=3)
    count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'trade_rw' AND datname ="

    async def work(number):
        async with pool.connection() as connection:
            if number % 5 == 0:
                with pytest.raises(asyncpg.DivisionByZeroError):
                    await connection.fetchval("SELECT 1 / 0")
            return await connection.fetchval(f"{count} current_database()")

    assert max(await asyncio.gather(*(work(number) for number in range(40)))) <= 3
    await pool.close()
    await pool.close()


@pytest.mark.asyncio
async def test_while_a_kept_pool_is_down_only_its_probes_wait(home, monkeypatch):
    await asyncio.to_thread(postgres.start, home, 32, durable=False)
    dsn, clock = superuser_dsn(home), MonotonicClock()
    pool = PgPool(dsn, clock, connect_s_max=0.3, statement_s_max=0.3, is_kept=True)
    lane = PgLane(pool)
    lenders = (pool.connection, pool.connection, lane.connection)
    for lend in lenders:
        async with lend() as connection:
            assert await connection.fetchval("SELECT 1") == 1
    frozen = servers_in(home.postgres_dir, "postgres")
    assert len(frozen) > 3, "the sessions are processes of their own"
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable):
            async with pool.connection() as connection:
                await connection.fetchval("SELECT 1")
        with monkeypatch.context() as patch:
            patch.setattr(pool, "_acquire", None)  # to ask the server would be a TypeError
            for lend in lenders * 20:
                with pytest.raises(StoreUnavailable):
                    async with lend():
                        raise AssertionError("the server does not answer")
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                await pool.probe()
        assert not pool.is_up
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    await until_up(pool.probe)
    for lend in lenders:
        async with lend() as connection:
            assert await connection.fetchval("SELECT 1") == 1
    await pool.close()


@pytest.mark.asyncio
async def test_the_bus_starts_down_comes_up_and_heals(home):
    bus = RedisBus(redis_url(home, Settings(), Login.REDIS_ENGINE))
    with pytest.raises(BusUnavailable):
        await bus.probe()
    assert (bus.is_up, bool(bus.reason)) == (False, True)
    first = await asyncio.to_thread(valkey.start, home)
    await until_up(bus.probe)
    assert (bus.is_up, bus.reason) == (True, "")
    os.kill(first.pid, signal.SIGKILL)
    with pytest.raises(BusUnavailable):
        await bus.probe()
    await asyncio.to_thread(valkey.start, home)
    await until_up(bus.probe)
    await bus.close()
    assert not bus.is_up
    await until_up(bus.probe)
    await bus.close()


@pytest.mark.asyncio
async def test_a_hung_redis_costs_a_bounded_wait(home, monkeypatch):
    running = await asyncio.to_thread(valkey.start, home)
    monkeypatch.setattr(
        client.make_client,
        "__kwdefaults__",
        {**client.make_client.__kwdefaults__, "answer_s_max": 0.1},
    )
    bus = RedisBus(redis_url(home, Settings(), Login.REDIS_ENGINE))
    await bus.probe()
    os.kill(running.pid, signal.SIGSTOP)
    try:
        with pytest.raises(BusUnavailable):
            await bus.probe()
    finally:
        os.kill(running.pid, signal.SIGCONT)
    await until_up(bus.probe)
    await bus.close()
