"""Results in a real PostgreSQL: whole, once, and the same when read back."""

import asyncio
import dataclasses

import asyncpg
import pytest
import pytest_asyncio

from support.stock_results import batch, run_spec, stock_result
from support.stores import dsn_of
from tradebox.adapters.embedded.secrets import Login
from tradebox.backtest.records import run_hash
from tradebox.backtest.store import BacktestStore
from tradebox.errors import NotRunning, StoreUnavailable

BATCHES = (("AAA", "BBB"), ("CCC",))


@pytest.fixture
def research_dsn(stores, pg_database):
    return dsn_of(stores.home, Login.RESEARCH, pg_database)


@pytest_asyncio.fixture
async def store(research_dsn):
    async with BacktestStore(research_dsn) as made:
        yield made


async def count(store, table):
    async with store.connection() as connection:
        return await connection.fetchval(f"SELECT count(*) FROM backtest.{table}")


async def created(store):
    await store.create_run(run_spec(), BATCHES)
    return [stock_result("AAA"), stock_result("BBB", trades=0), stock_result("CCC", grade="A")]


@pytest.mark.asyncio
async def test_a_run_comes_back_as_it_was_created_and_twice_is_once(store):
    await store.create_run(run_spec(), BATCHES)
    await store.create_run(run_spec(), BATCHES)
    assert await store.load_spec("run-1") == run_spec()
    assert await count(store, "task") == 2
    with pytest.raises(NotRunning, match="no run other"):
        await store.load_spec("other")


@pytest.mark.asyncio
async def test_a_batch_stored_twice_is_stored_once(store):
    one, two, three = await created(store)
    assert await store.save_batch("run-1", batch(0, [one, two])) is True
    assert await store.save_batch("run-1", batch(0, [one, two])) is False
    assert await store.save_batch("run-1", batch(1, [three])) is True
    assert [await count(store, name) for name in ("result", "trade", "equity")] == [3, 3, 3]
    ended = await store.finish_run("run-1", "done", {"wall_s": 1.5})
    assert (ended["state"], ended["task_ended"], ended["result_count"]) == ("done", 2, 3)
    assert (ended["grade_a"], ended["grade_c"], ended["figures"]) == (1, 2, {"wall_s": 1.5})
    assert ended["run_hash"] == run_hash(
        (each.symbol, each.result_hash) for each in (one, two, three)
    )


@pytest.mark.asyncio
async def test_a_batch_cut_off_leaves_nothing_and_the_next_try_stores_all(store, research_dsn):
    one, two, _ = await created(store)
    spoilt = dataclasses.replace(two, status="no such status")
    with pytest.raises(asyncpg.CheckViolationError):
        await store.save_batch("run-1", batch(0, [one, spoilt]))
    assert await count(store, "result") == 0
    assert await store.save_batch("run-1", batch(0, [one, two])) is True
    assert [await count(store, name) for name in ("result", "trade", "equity")] == [2, 2, 2]


@pytest.mark.asyncio
async def test_a_lost_connection_in_the_middle_is_unavailable_and_can_be_said_again(
    store, stores, pg_database
):
    one, two, _ = await created(store)
    owner = await asyncpg.connect(dsn_of(stores.home, Login.POSTGRES, pg_database))
    try:
        await owner.execute("BEGIN")
        await owner.execute("LOCK TABLE backtest.equity")
        saving = asyncio.create_task(store.save_batch("run-1", batch(0, [one, two])))
        victim = None
        while victim is None:
            victim = await owner.fetchval(
                "SELECT pid FROM pg_locks WHERE NOT granted"
                " AND relation = 'backtest.equity'::regclass"
            )
        await owner.execute("SELECT pg_terminate_backend($1)", victim)
        with pytest.raises(StoreUnavailable):
            await saving
        await owner.execute("ROLLBACK")
    finally:
        await owner.close()
    assert await count(store, "result") == 0
    assert await store.save_batch("run-1", batch(0, [one, two])) is True
    assert [await count(store, name) for name in ("result", "trade", "equity")] == [2, 2, 2]


@pytest.mark.asyncio
async def test_nobody_there_is_unavailable_at_once():
    with pytest.raises(StoreUnavailable, match="check TRADEBOX_POSTGRES_URL"):
        await BacktestStore("postgresql://research_rw:x@127.0.0.1:1/tradebox").open()


@pytest.mark.asyncio
async def test_a_removed_batch_is_told_apart(store):
    one, *_ = await created(store)
    with pytest.raises(NotRunning, match="no batch 9"):
        await store.save_batch("run-1", batch(9, [one]))


@pytest.mark.asyncio
async def test_a_full_disk_is_unavailable_and_leaves_nothing(store, stores, pg_database):
    one, two, _ = await created(store)
    owner = await asyncpg.connect(dsn_of(stores.home, Login.POSTGRES, pg_database))
    try:
        await owner.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " RAISE EXCEPTION 'could not extend file: No space left on device'"
            " USING ERRCODE = 'disk_full'; END $$;"
            "CREATE TRIGGER full_disk BEFORE INSERT ON backtest.equity"
            " FOR EACH ROW WHEN (NEW.symbol = 'BBB') EXECUTE FUNCTION full_disk()"
        )
        with pytest.raises(StoreUnavailable, match="No space left on device"):
            await store.save_batch("run-1", batch(0, [one, two]))
        assert [await count(store, name) for name in ("result", "trade", "equity")] == [0, 0, 0]
        await owner.execute("DROP TRIGGER full_disk ON backtest.equity")
    finally:
        await owner.close()
    assert await store.save_batch("run-1", batch(0, [one, two])) is True
    assert [await count(store, name) for name in ("result", "trade", "equity")] == [2, 2, 2]


@pytest.mark.asyncio
async def test_a_lost_answer_of_a_commit_doubles_nothing(store):
    """The commit is through, its answer is not: the same batch is said again."""
    one, two, _ = await created(store)
    await store.save_batch("run-1", batch(0, [one, two]))
    before = await rows(store)
    assert await store.save_batch("run-1", batch(0, [one, two])) is False
    assert await rows(store) == before


async def rows(store):
    async with store.connection() as connection:
        return await connection.fetch(
            "SELECT r.*, t.orders, e.equity, r.xmin::text AS x FROM backtest.result r"
            " JOIN backtest.trade t USING (run_id, symbol)"
            " JOIN backtest.equity e USING (run_id, symbol) ORDER BY symbol"
        )


@pytest.mark.asyncio
async def test_a_stock_that_moved_to_another_batch_is_there_once(store):
    one, two, _ = await created(store)
    await store.save_batch("run-1", batch(0, [one, two]))
    await store.save_batch("run-1", batch(1, [two]))
    assert [await count(store, name) for name in ("result", "trade", "equity")] == [2, 2, 2]


@pytest.mark.asyncio
async def test_a_database_without_the_schema_says_what_to_do(stores):
    store = BacktestStore(dsn_of(stores.home, Login.POSTGRES, "postgres"))
    with pytest.raises(NotRunning, match="run `tradebox db migrate`"):
        await store.load_spec("run-1")
    await store.close()
