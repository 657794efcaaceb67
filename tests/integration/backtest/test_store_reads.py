"""What is stored of runs answers for itself: by library and by the commands that read."""

import contextlib
import json
from dataclasses import replace
from types import SimpleNamespace

import asyncpg
import numpy as np
import pytest
import pytest_asyncio

from support.bar_files import seeded_bars
from support.stock_results import batch, run_spec, signed, stock_result
from support.stores import dsn_of
from tradebox.adapters.embedded.secrets import Login
from tradebox.backtest.data.arraystore import ArrayWriter
from tradebox.backtest.records import BatchTask, result_hash
from tradebox.backtest.scheduler_queue import TaskQueue
from tradebox.backtest.store import BacktestStore
from tradebox.backtest.store_reads import RunReader
from tradebox.cli.main import run_command_line
from tradebox.errors import ExitCode, NameAmbiguous, NotRunning

RUNS = ("20260101-100000-aaaa", "20260101-100000-abbb", "20260102-100000-cccc")
STOCKS = [
    stock_result("AAA", grade="D"),
    stock_result("BBB", grade="A"),
    stock_result("CCC", status="refused"),
    stock_result("DDD", status="mismatch", grade="F"),
]


@pytest.fixture
def research_dsn(stores, pg_database):
    return dsn_of(stores.home, Login.RESEARCH, pg_database)


@pytest_asyncio.fixture
async def reader(research_dsn):
    async with BacktestStore(research_dsn) as store:
        for number, run_id in enumerate(RUNS):
            spec = run_spec(run_id, [one.symbol for one in STOCKS])
            await store.create_run(spec, [spec.symbols])
            shown = STOCKS if number else [*STOCKS[:3], signed(replace(STOCKS[3], trials=7))]
            await store.save_batch(run_id, batch(0, shown))
            await store.finish_run(run_id, "done", {"wall_s": 2.5})
        yield RunReader(store)


@pytest.fixture
def command(research_dsn, monkeypatch, tmp_path, capsys):
    """Run a command on the test's database; return its exit code and what it printed."""

    @contextlib.contextmanager
    def stores_of_the_test(*_):
        yield SimpleNamespace(postgres_research=research_dsn)

    monkeypatch.setattr("tradebox.adapters.embedded.lease.stores", stores_of_the_test)
    monkeypatch.setenv("TRADEBOX_HOME", str(tmp_path / "home"))

    def call(*words):
        code = run_command_line(["backtest", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.mark.asyncio
async def test_a_run_is_named_by_its_id_its_beginning_or_last(reader):
    assert await reader.run_id(RUNS[0]) == RUNS[0]
    assert await reader.run_id("20260102") == RUNS[2]
    assert await reader.run_id("last") == RUNS[2]
    with pytest.raises(NameAmbiguous, match="20260101-100000-aaaa, 20260101-100000-abbb") as told:
        await reader.run_id("20260101")
    assert told.value.fields["candidates"] == RUNS[:2]
    for unknown in ("nope", ""):
        with pytest.raises(NotRunning, match="there is no run"):
            await reader.run_id(unknown)


@pytest.mark.asyncio
async def test_a_stock_comes_back_with_the_hash_it_was_stored_with(reader):
    found = (await reader.stock("last", "BBB")).result
    assert found.result_hash == STOCKS[1].result_hash == result_hash(found)
    for name in ("orders", "trades", "days", "equity"):
        assert np.array_equal(getattr(found, name), getattr(STOCKS[1], name)), name
    assert found.reasons == STOCKS[1].reasons
    with pytest.raises(NotRunning, match="ZZZ was not tested: only 1 bar"):
        await reader.stock("last", "ZZZ")
    with pytest.raises(NotRunning, match="has no stock QQQ"):
        await reader.stock("last", "QQQ")


@pytest.mark.asyncio
async def test_results_are_best_first_and_can_be_picked(reader):
    async def symbols(**wanted):
        return [row["symbol"] for row in await reader.results(RUNS[2], **wanted)]

    assert await symbols() == ["BBB", "AAA", "DDD", "CCC"]
    assert await symbols(grades=["A", "D"]) == ["BBB", "AAA"]
    assert await symbols(status="mismatch") == ["DDD"]


@pytest.mark.asyncio
async def test_what_was_skipped_is_told_with_its_reason_faults_first(reader):
    queue = TaskQueue(reader._store, RUNS[2], "test")
    skipped = await queue.skipped(10)
    assert [(one.symbol, one.status) for one in skipped] == [
        ("DDD", "mismatch"),
        ("ZZZ", "data"),
        ("CCC", "refused"),
    ]
    assert [one.why for one in skipped[1:]] == [
        "only 1 bar: at least 60 are needed",
        "too few bars",
    ]
    assert await queue.skipped(1) == skipped[:1]


@pytest.mark.asyncio
async def test_removing_a_run_takes_all_of_it_and_nothing_else(reader):
    sizes = await reader.sizes(RUNS[0])
    assert all(size > 0 for size in sizes.values())
    assert await reader.remove([RUNS[0], "unknown"]) == 1
    async with reader._store.connection() as connection:
        for table in ("run", "task", "result", "trade", "equity"):
            rows = await connection.fetch(f"SELECT DISTINCT run_id FROM backtest.{table}")
            assert {row["run_id"] for row in rows} == set(RUNS[1:])


@pytest.mark.asyncio
async def test_only_old_runs_that_nobody_works_on_are_old(reader):
    async with reader._store.connection() as connection:
        await connection.execute(
            "UPDATE backtest.run SET created_at = created_at - interval '9 days'"
            " WHERE run_id <> $1",
            RUNS[2],
        )
        await connection.execute(
            "UPDATE backtest.run SET state = 'running' WHERE run_id = $1", RUNS[1]
        )
        await connection.execute("UPDATE backtest.task SET claimed_at = clock_timestamp()")
    assert await reader.old_runs(8) == [RUNS[0]]
    async with reader._store.connection() as connection:
        await connection.execute("UPDATE backtest.task SET claimed_at = now() - interval '1 day'")
    assert await reader.old_runs(8) == list(RUNS[:2])
    assert await reader.old_runs(10) == []


@pytest.mark.asyncio
async def test_the_console_sees_and_the_traders_cannot_write(reader, stores, pg_database):
    console = await asyncpg.connect(dsn_of(stores.home, Login.CONSOLE, pg_database))
    trade = await asyncpg.connect(dsn_of(stores.home, Login.TRADE, pg_database))
    try:
        row = await console.fetchrow(
            "SELECT * FROM console.backtest_run WHERE run_id = $1", RUNS[2]
        )
        assert (row["symbol_count"], row["result_count"], row["task_ended"]) == (4, 4, 1)
        assert (row["grade_a"], row["grade_d"], row["grade_f"]) == (1, 1, 1)
        assert (row["refused_count"], row["mismatch_count"], row["failed_count"]) == (1, 1, 0)
        assert await console.fetchval("SELECT count(*) FROM console.backtest_result") == 12
        spark = await console.fetchval(
            "SELECT spark FROM console.backtest_equity WHERE run_id = $1 AND symbol = 'BBB'",
            RUNS[2],
        )
        assert len(spark) == 96
        for who, statement in (
            (console, "SELECT 1 FROM backtest.result"),
            (trade, "DELETE FROM backtest.result"),
            (trade, "UPDATE backtest.result SET grade = 'A'"),
            (trade, "UPDATE backtest.run SET expires_at = now()"),
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await who.execute(statement)
        assert await trade.fetchval("SELECT count(*) FROM backtest.result WHERE grade = 'A'") == 3
    finally:
        await console.close()
        await trade.close()


# --- the commands; each starts a loop of its own, so these tests have none ---


@pytest.fixture
def told(research_dsn, command):
    import asyncio

    async def fill():
        async with BacktestStore(research_dsn) as store:
            for number, run_id in enumerate(RUNS[1:]):
                spec = run_spec(run_id, [one.symbol for one in STOCKS], seed=number)
                await store.create_run(spec, [spec.symbols])
                shown = STOCKS if number else [*STOCKS[:3], signed(replace(STOCKS[3], trials=7))]
                await store.save_batch(run_id, batch(0, shown))
                await store.finish_run(run_id, "done", {"wall_s": 2.5})

    asyncio.run(fill())
    return command


def test_a_name_that_means_several_runs_is_refused_with_them(told, research_dsn):
    code, _, err = told("show", "2026010", "--json")
    assert code == ExitCode.CONFIG
    shown = json.loads(err)
    assert shown["candidates"] == list(RUNS[1:])
    assert "several runs begin so: 20260101-100000-abbb, 20260102-100000-cccc" in shown["error"]
    for words in (["explain", "2026", "BBB"], ["check", "2026"]):
        code, _, err = told(*words)
        assert (code, "give more of the id" in err) == (ExitCode.CONFIG, True), words


def test_list_and_show(told):
    code, out, _ = told("list")
    assert code == ExitCode.OK
    assert [line.split()[0] for line in out.splitlines()] == ["RUN", RUNS[2], RUNS[1]]
    code, out, _ = told("show", "last")
    assert "ZZZ was skipped: only 1 bar: at least 60 are needed" in out
    assert "mismatch 1" in out
    assert [line.split()[:2] for line in out.splitlines()[-4:]] == [
        ["BBB", "A"],
        ["AAA", "D"],
        ["DDD", "F"],
        ["CCC", "refused"],
    ]
    code, out, _ = told("show", "last", "--grade", "a", "--json")
    shown = json.loads(out)
    assert [row["symbol"] for row in shown["results"]] == ["BBB"]
    assert shown["bytes"]["result_bytes"] > 0


def test_compare_says_what_differs(told):
    _, out, _ = told("compare", "last", "last")
    assert "4 stocks equal, 0 differ" in out
    _, out, _ = told("compare", RUNS[1], RUNS[2], "--json")
    shown = json.loads(out)
    assert shown["asked"] == {"seed": [0, 1]}
    assert [row["symbol"] for row in shown["stocks"]] == ["DDD"]
    assert shown["equal"] == 3


def test_explain_says_why(told):
    code, out, _ = told("explain", "last", "AAA")
    assert code == ExitCode.OK
    assert "character: trends" in out
    assert "what C asks, out of sample:" in out
    assert "what D asks, out of sample:" in out
    assert "FAILS" in out
    assert "trials 200; verified by vectorbt's engine: every order agrees" in out
    _, out, _ = told("explain", "last", "CCC")
    assert "quality: too few bars" in out
    _, out, _ = told("explain", "last", "BBB", "--json")
    shown = json.loads(out)
    assert shown["is_hash_right"] is True
    assert shown["grade_derived_again"] in {"A", "B", "C", "D", "F"}
    code, _, err = told("explain", "last", "ZZZ")
    assert code == ExitCode.NOT_RUNNING
    assert "ZZZ was not tested: only 1 bar" in err


def test_a_report_is_written_whole_or_not(told, tmp_path):
    target = tmp_path / "run.html"
    code, _, _ = told("report", "last", "--html", str(target), "--symbol", "BBB")
    assert code == ExitCode.OK
    assert "BBB: A, trend_cross" in target.read_text()
    code, _, err = told("report", "last", "--html", str(tmp_path / "no" / "run.html"))
    assert code == ExitCode.CONFIG
    assert "cannot be written" in err
    code, _, err = told("report", "last", "--html", str(target), "--symbol", "QQQ")
    assert code == ExitCode.CONFIG
    assert "has no result of it" in err
    assert [path.name for path in tmp_path.glob("*.html")] == ["run.html"]


def test_clean_spares_what_is_at_work(told, tmp_path):
    from tradebox.config import find_home
    from tradebox.supervision.locks import hold_exclusive

    home = find_home(None)
    folder = home.lease_lock.parent
    folder.mkdir(parents=True)
    _, out, _ = told("clean", "--older-than", "0", "--dry-run")
    assert "would remove 2 runs" in out
    with hold_exclusive(folder / f"backtest-{RUNS[2]}.lock"):
        code, _, err = told("clean", RUNS[2])
        assert code == ExitCode.REFUSED
        assert "is at work" in err
        _, out, _ = told("clean", "--older-than", "0")
        assert f"removed 1 runs: {RUNS[1]}" in out
    code, _, err = told("clean", RUNS[1])
    assert code == ExitCode.NOT_RUNNING


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--limit", "0"],
        ["show", "last", "--grade", "E"],
        ["show", "last", "--status", "good"],
        ["report", "last", "--html", "x.html", "--stocks", "-1"],
        ["clean", "--older-than", "-1"],
        ["clean", "--older-than", "99999999999"],
        ["clean", "--older-than", "nan"],
        ["clean", "X", "--older-than", "1"],
        ["check", "last", "--stocks", "0"],
    ],
)
def test_bad_options_are_told(command, words):
    code, _, err = command(*words)
    assert code == ExitCode.CONFIG
    assert err.startswith("tradebox: --")


def test_results_are_made_again_with_the_same_hash(command, research_dsn, tmp_path):
    import asyncio

    from tradebox.backtest.worker import run_batch

    series = [seeded_bars(name, 900) for name in ("AAA", "BBB")]
    with ArrayWriter(tmp_path / "bars") as writer:
        for bars in series:
            writer.add(bars)
        path = writer.finish()
    spec = run_spec(symbols=("AAA", "BBB"), data_path=str(path), data_hash=path.name)
    made = run_batch(BatchTask(spec.brief, 0, spec.symbols))
    spoilt = [made.results[0], signed(replace(made.results[1], trials=1))]

    async def fill(run_id, results):
        async with BacktestStore(research_dsn) as store:
            await store.create_run(replace(spec, run_id=run_id), [spec.symbols])
            await store.save_batch(run_id, replace(made, results=tuple(results)))

    asyncio.run(fill("good", made.results))
    asyncio.run(fill("spoilt", spoilt))
    code, out, _ = command("check", "good")
    assert (code, out.splitlines()[0]) == (0, "run good: 2 of 2 results came out the same")
    code, out, _ = command("check", "spoilt", "--json")
    assert code == ExitCode.FAILED
    assert json.loads(out)["different"] == ["BBB"]
