"""The same stocks by this process and by a pool's worker: the same hashes, the same rows."""

import itertools

import pytest

from support.price_series import walk
from tradebox.backtest import worker
from tradebox.backtest.cluster import run_sent
from tradebox.backtest.data.arraystore import ArrayWriter
from tradebox.backtest.pool import ProcessPool, SerialPool
from tradebox.backtest.records import BatchTask, RunBrief
from tradebox.backtest.store_encoding import RESULT_COLUMNS
from tradebox.config import BacktestSettings

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("backtest-pool")]
HASH, STATUS = RESULT_COLUMNS.index("result_hash"), RESULT_COLUMNS.index("status")
SYMBOLS = tuple(f"W{seed}" for seed in range(3))
GRANT = 1 << 30


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> BatchTask:
    with ArrayWriter(tmp_path_factory.mktemp("bars")) as writer:
        for seed, symbol in enumerate(SYMBOLS):
            writer.add(walk(seed, 900, symbol=symbol))
        folder = writer.finish()
    config = BacktestSettings().model_dump(mode="json")
    names = ("trend_cross", "donchian_breakout")
    brief = RunBrief("r", 1, names, str(folder), folder.name, "c", config)
    return BatchTask(brief, 0, SYMBOLS)


def hashes(outcome) -> dict[str, str]:
    assert {row.result[STATUS] for row in outcome.batch.rows} <= {"ok", "refused"}
    return {row.symbol: row.result[HASH] for row in outcome.batch.rows}


@pytest.fixture(scope="module")
def expected(task) -> dict[str, str]:
    return hashes(worker.run_granted(worker.run_batch, task, None))


def test_hashes_are_there_and_differ(expected):
    assert set(expected) == set(SYMBOLS)
    assert len(set(expected.values())) == len(SYMBOLS)


def test_a_worker_of_a_pool_comes_to_the_same(task, expected, tmp_path):
    pool = ProcessPool(2, tmp_path / "board")
    try:
        pool.start()
        futures = [slot.submit(task, GRANT) for slot in pool.slots]
        for future in futures:
            outcome = future.result(60)
            assert hashes(outcome) == expected
            assert outcome.batch.peak_bytes < GRANT
            assert outcome.private_bytes > 0
    finally:
        pool.close()


def test_this_process_comes_to_the_same(task, expected):
    pool = SerialPool()
    try:
        pool.start()
        assert hashes(pool.slots[0].submit(task, GRANT).result(60)) == expected
    finally:
        pool.close()


def test_bars_that_were_sent_give_the_same(task, expected, tmp_path, monkeypatch):
    folder = worker.Path(task.run.data_path)
    files = {each.name: each.read_bytes() for each in folder.iterdir()}
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for _ in range(2):
        assert hashes(run_sent(worker.run_batch, task, files)) == expected


def test_the_order_of_the_stocks_does_not_matter(task, expected):
    for order in itertools.islice(itertools.permutations(SYMBOLS), 1, 3):
        turned = BatchTask(task.run, 1, order)
        assert hashes(worker.run_granted(worker.run_batch, turned, None)) == expected


def test_a_fault_in_a_stock_is_its_result_and_the_batch_goes_on(task, monkeypatch):
    from tradebox.backtest import pipeline

    honest = pipeline.run_stock

    def spoiled(bars, *rest):
        if bars.symbol == "W1":
            raise ZeroDivisionError("spoiled")
        return honest(bars, *rest)

    monkeypatch.setattr(pipeline, "run_stock", spoiled)
    results = {each.symbol: each for each in worker.run_batch(task).results}
    assert results["W1"].status == "failed"
    assert "ZeroDivisionError: spoiled" in results["W1"].reasons[0].text
    assert {results[name].status for name in ("W0", "W2")} <= {"ok", "refused"}
    assert results["W1"].result_hash
