"""The size model, the budget, and what the kernel says of processes."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebox.backtest import memory
from tradebox.backtest.memory import MIB, Budget, Grant, Held, SizeModel

BARS = st.lists(st.integers(1, 100_000), min_size=1, max_size=40)


@given(BARS, st.lists(st.integers(0, 1 << 33), max_size=30))
def test_a_prediction_never_falls_below_what_was_measured(bars, peaks):
    model = SizeModel()
    for peak in peaks:
        model.learn(bars, peak)
    assert model.predicted_bytes(bars) >= max(peaks, default=0) - 1
    assert model.predicted_bytes(bars) >= model.bare_bytes(bars)
    assert model.predicted_bytes([*bars, 10]) >= model.predicted_bytes(bars)


def test_the_margin_is_doubled_while_cold_and_learned_then():
    model, bars = SizeModel(), [2500]
    assert model.margin == memory.COLD_MARGIN
    for _ in range(memory.SAMPLES_MIN):
        model.learn(bars, int(1.1 * model.bare_bytes(bars)))
    assert model.margin == pytest.approx(1.1, abs=0.01)


@given(
    st.integers(1, 1 << 34),
    st.lists(st.tuples(st.integers(0, 1 << 32), st.integers(0, 1 << 32)), max_size=6),
)
def test_what_is_held_and_promised_stays_within_the_safe_share(limit, tasks):
    budget = Budget(limit)
    grants = []
    for pid, (held, granted) in enumerate(tasks, start=10):
        budget._by_pid[pid] = Held(held, held)
        grants.append(Grant(pid, granted))
    budget.tree_bytes = sum(held for held, _ in tasks)
    room = budget.room_bytes(grants)
    if room > 0:
        after = max(0, room) + budget.tree_bytes + budget.promised_bytes(grants)
        assert after <= limit * memory.SAFE_SHARE


def test_a_neighbour_that_eats_memory_leaves_less_to_promise(monkeypatch):
    budget = Budget(4 << 30)
    budget.tree_bytes = 300 * MIB
    monkeypatch.setattr(memory, "available_bytes", lambda: 64 << 30)
    free = budget.room_bytes([])
    monkeypatch.setattr(memory, "available_bytes", lambda: 400 * MIB)
    squeezed = budget.room_bytes([])
    assert squeezed == 400 * MIB - memory.KEEP_FREE_BYTES < free
    monkeypatch.setattr(memory, "available_bytes", lambda: 100 * MIB)
    assert budget.room_bytes([]) < 0


def test_a_control_group_counts_as_the_machine(tmp_path):
    (tmp_path / "memory.max").write_text("1000000000\n")
    (tmp_path / "memory.current").write_text("900000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 50000000\n")
    assert memory.available_bytes(control=tmp_path) == 150_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_bytes(control=tmp_path) > 150_000_000


def test_a_tree_is_a_process_and_all_below_it():
    code = "import subprocess,sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
        try:
            while len(memory.tree_of(child.pid)) < 2:
                assert child.poll() is None
            tree = memory.tree_of(os.getpid())
            assert {os.getpid(), *memory.tree_of(child.pid)} <= set(tree)
            assert all(memory.held_by(one).pss > 0 for one in (os.getpid(), child.pid))
        finally:
            child.communicate(b"\n")
    assert memory.held_by(child.pid) == Held()


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 MiB"), (1 << 30, "1,024 MiB"), (20 << 30, "20.0 GiB")]
)
def test_sizes_for_people(size, shown):
    assert memory.shown_size(size) == shown
