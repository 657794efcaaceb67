"""Batches, ids, the code hash, progress, and when a live controller counts as short of cores."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebox.backtest import scheduler_spec
from tradebox.backtest.progress import Progress
from tradebox.backtest.scheduler_budget import LEAST_BYTES, least_budget_bytes, refuse_too_small
from tradebox.backtest.scheduler_pressure import LivePressure
from tradebox.backtest.scheduler_spec import LOST_SHARE_MAX, batches_of, code_hash, new_run_id
from tradebox.cli import progress as progress_line
from tradebox.errors import ConfigInvalid
from tradebox.supervision.launch_errors import ControlUnreachable

SECOND_NS = 1_000_000_000


@given(st.integers(0, 3000), st.integers(1, 64), st.integers(1, 300))
def test_batches_hold_every_stock_once_and_risk_little(stocks, workers, stocks_max):
    symbols = tuple(f"S{number}" for number in range(stocks))
    batches = batches_of(symbols, workers, stocks_max)
    assert tuple(symbol for batch in batches for symbol in batch) == symbols
    for batch in batches:
        assert len(batch) <= stocks_max
        assert len(batch) == 1 or workers * len(batch) <= LOST_SHARE_MAX * stocks


def test_ids_differ_and_sort_by_time():
    assert new_run_id(0) != new_run_id(0)
    assert new_run_id(0) < new_run_id(1)
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{4}", new_run_id())


def test_the_code_hash_follows_what_can_change_a_result(monkeypatch):
    before = code_hash()
    assert before == code_hash()
    names = [name for name, _ in scheduler_spec._modules()]
    assert "tradebox.backtest/kernel.py" in names
    assert "tradebox.strategies/catalogue.py" in names
    assert not [name for name in names if "scheduler" in name or "report" in name]
    monkeypatch.setattr(scheduler_spec, "_version", lambda name: "other")
    assert code_hash() != before


def test_progress_tells_rate_rest_memory_and_what_it_waits_for():
    progress = Progress("r", total=100, workers=2, budget_bytes=1 << 30)
    assert progress.left_s is None
    progress.mark(0.0)
    progress.done, progress.waits_for = 40, "PostgreSQL"
    progress.mark(10.0)
    assert progress.stocks_per_s == 4.0
    assert progress.left_s == 15.0
    line = progress.line()
    assert "40/100 stocks" in line
    assert "ETA 0:15" in line
    assert "of 1,024 MiB" in line
    assert "waits: PostgreSQL" in line


def test_the_rate_does_not_forget_when_it_is_asked_often():
    progress = Progress("r", total=10_000)
    for turn in range(5000):
        progress.done = turn
        progress.mark(turn / 1000)
    assert progress.stocks_per_s > 900


def test_progress_is_plain_values_too():
    progress = Progress("r", total=10, workers=2, budget_bytes=1 << 30)
    assert progress.figures()["left_s"] is None
    progress.mark(0.0)
    progress.done = 5
    progress.mark(5.0)
    told = progress.figures()
    assert (told["done"], told["total"], told["stocks_per_s"], told["left_s"]) == (5, 10, 1.0, 5.0)
    assert told["budget_bytes"] == 1 << 30


def test_off_a_terminal_progress_is_a_line_now_and_then(capsys, monkeypatch):
    now_s = [100.0]
    monkeypatch.setattr(progress_line.time, "monotonic", lambda: now_s[0])
    progress = Progress("r", total=10)
    for as_json in (False, True):
        shown = progress_line.ProgressLine(json=as_json)
        shown.tell(progress)
        for _ in range(20):
            now_s[0] += progress_line.LINE_S / 10
            shown.tell(progress)
        shown.note("X is skipped: why")
        shown.end()
        lines = capsys.readouterr().err.splitlines()
        told = [line for line in lines if "skipped" not in line]
        assert len(told) == 2
        assert len(lines) == (2 if as_json else 3)  # with --json the summary names what is skipped
        if as_json:
            assert json.loads(told[0])["progress"]["total"] == 10
        else:
            assert "0/10 stocks" in told[0]


def test_steps_tell_rate_and_rest(capsys, monkeypatch):
    now_s = [100.0]
    monkeypatch.setattr(progress_line.time, "monotonic", lambda: now_s[0])
    shown = progress_line.ProgressLine(json=False)
    told = shown.steps("stocks read")
    for done in range(1, 8):
        now_s[0] += 1.0
        told(done, 10)
    (line,) = capsys.readouterr().err.splitlines()
    assert "5/10 stocks read  1.0/s  ETA 0:05" in line


@given(st.integers(0, 2 << 30), st.integers(0, 20_000), st.booleans())
def test_a_budget_that_was_told_is_enough(tree, bars, is_warm):
    least = least_budget_bytes(tree, bars, is_warm=is_warm)
    assert least >= LEAST_BYTES == least_budget_bytes()
    refuse_too_small(least, tree, bars, is_warm=is_warm)
    with pytest.raises(ConfigInvalid, match=f"give --memory-budget {least >> 20}MiB"):
        refuse_too_small(least - 1, tree, bars, is_warm=is_warm)


def test_one_figure_for_a_budget_below_one_task():
    told = set()
    for tree, bars in ((0, 0), (64 << 20, 756), (100 << 20, 2520)):
        with pytest.raises(ConfigInvalid) as refused:
            refuse_too_small(64 << 20, tree, bars)
        told.add(refused.value.message)
    assert len(told) == 1


def test_an_empty_run_is_done():
    assert "[########################] 0/0" in Progress("r", total=0).line()


class Engine:
    """An engine whose wait for a core, age and lag are told."""

    def __init__(self, folder: Path) -> None:
        self.stat = folder / "7" / "task" / "7" / "schedstat"
        self.stat.parent.mkdir(parents=True)
        self.now_ns, self.waited_ns, self.age_s, self.lag_ms = 0, 0, 0.1, 1.0
        self.is_gone = False

    def ask(self, _path):
        if self.is_gone:
            raise ControlUnreachable("socket", "gone")
        header = {"vitals": {"lag_max_ms": self.lag_ms}}
        engine = {"age_s": self.age_s, "blob": {"header": header}}
        return {"launcher": {"engine_pid": 7}, "engine": engine}

    def later(self, wait_ns=0):
        self.now_ns += SECOND_NS
        self.waited_ns += wait_ns
        self.stat.write_text(f"1 {self.waited_ns} 1\n")


def pressure_of(engine, folder):
    socket = folder / "socket"
    socket.touch()
    return LivePressure(socket, 0.05, ask=engine.ask, proc=folder, clock_ns=lambda: engine.now_ns)


def test_a_controller_that_waits_for_cores_is_under_pressure(tmp_path):
    engine = Engine(tmp_path)
    watch = pressure_of(engine, tmp_path)
    engine.later()
    assert not watch.look().is_high
    engine.later(wait_ns=SECOND_NS // 100)
    assert not watch.look().is_high
    engine.later(wait_ns=SECOND_NS // 5)
    found = watch.look()
    assert found.is_high
    assert "20%" in found.why
    engine.later()
    assert not watch.look().is_high


def test_silence_and_lag_are_pressure_too_and_no_engine_is_none(tmp_path):
    engine = Engine(tmp_path)
    watch = pressure_of(engine, tmp_path)
    engine.later()
    assert not watch.look().is_high
    engine.lag_ms = 500.0
    assert watch.look().why == "the engine's loop lagged"
    assert not watch.look().is_high
    engine.age_s = 60.0
    assert watch.look().is_high
    engine.is_gone = True
    assert not watch.look().runs
    assert not LivePressure(tmp_path / "none", 0.05, ask=engine.ask).look().runs
