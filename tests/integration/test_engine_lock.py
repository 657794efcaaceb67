"""One engine per database, on a real PostgreSQL: held, in doubt, lost."""

import asyncio
import contextlib

import pytest

from tradebox.adapters.postgres.connect import connected
from tradebox.adapters.postgres.engine_lock import PgEngineLock, owner_of
from tradebox.ports.claim import Claim
from tradebox.supervision.clock import MonotonicClock

DEADLINE_S = 20.0
pytestmark = pytest.mark.asyncio


async def tended_until(lock, wanted):
    clock = MonotonicClock()
    async with asyncio.timeout(DEADLINE_S):
        while await lock.tend() is not wanted:
            await clock.sleep(0.02)


@contextlib.asynccontextmanager
async def lock_of(dsn, owner):
    lock = PgEngineLock(dsn, owner)
    try:
        yield lock
    finally:
        await lock.close()


async def end_sessions_of(dsn, owner):
    """End them, and wait until PostgreSQL has forgotten them."""
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1"
    clock = MonotonicClock()
    async with connected(dsn) as connection, asyncio.timeout(DEADLINE_S):
        while await connection.fetch(query, f"tradebox engine {owner}"):
            await clock.sleep(0.01)


async def test_nothing_is_known_before_the_first_answer(pg_dsn):
    async with lock_of(pg_dsn, "a") as lock:
        assert lock.claim is Claim.UNASKED
        assert not lock.claim.may_send
        assert await lock.tend() is Claim.HELD
        assert (lock.claim.may_send, lock.reason) == (True, "")


async def test_another_engine_is_fenced_and_stays_so_when_the_first_has_left(pg_dsn):
    async with lock_of(pg_dsn, "a") as first, lock_of(pg_dsn, "b") as second:
        assert await first.tend() is Claim.HELD
        assert await second.tend() is Claim.LOST
        assert "tradebox engine a" in second.reason
        assert not second.claim.may_send
        await first.close()
        assert await second.tend() is Claim.LOST
    async with lock_of(pg_dsn, "b") as third:
        await tended_until(third, Claim.HELD)


async def test_the_predecessor_of_this_home_is_waited_for(pg_dsn):
    async with lock_of(pg_dsn, "a") as old, lock_of(pg_dsn, "a") as new:
        assert await old.tend() is Claim.HELD
        assert await new.tend() is Claim.UNSURE
        assert new.claim.may_send
        old._connection.terminate()
        await tended_until(new, Claim.HELD)


async def test_a_session_that_ends_is_doubted_at_once_and_taken_again(pg_dsn):
    async with lock_of(pg_dsn, "a") as lock:
        await lock.tend()
        await end_sessions_of(pg_dsn, "a")
        async with asyncio.timeout(DEADLINE_S):
            while lock.claim is Claim.HELD:
                await MonotonicClock().sleep(0.01)
        assert lock.claim is Claim.UNSURE
        await tended_until(lock, Claim.HELD)


async def test_who_lost_its_session_to_another_engine_never_acts_again(pg_dsn):
    async with lock_of(pg_dsn, "a") as lock, lock_of(pg_dsn, "b") as other:
        await lock.tend()
        await end_sessions_of(pg_dsn, "a")
        assert await other.tend() is Claim.HELD
        assert await lock.tend() is Claim.LOST


async def test_out_of_reach_is_doubt_and_not_an_error():
    lock = PgEngineLock("postgresql://nobody@127.0.0.1:1/none", "a", connect_s_max=2.0)
    assert await lock.tend() is Claim.UNSURE
    assert lock.claim.may_send
    assert lock.reason
    await lock.close()


async def test_databases_of_one_server_do_not_share_their_lock(pg_dsn):
    async with lock_of(pg_dsn, "a") as lock:
        await lock.tend()
        async with connected(pg_dsn) as connection:
            held = await connection.fetch("SELECT database FROM pg_locks WHERE locktype='advisory'")
            here = await connection.fetchval(
                "SELECT oid FROM pg_database WHERE datname = current_database()"
            )
        assert here in [row["database"] for row in held]


async def test_an_owner_is_one_home_on_one_machine(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    assert owner_of(one) == owner_of(one)
    assert owner_of(one) != owner_of(other)
