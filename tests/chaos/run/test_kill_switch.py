"""`tradebox ctl kill` while PostgreSQL answers nobody: file and memory stop entries, each alone."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.books import account, is_clean, settled
from support.run_bench import KEPT_PLAN, Bench, bench, eventually
from tradebox.config import Home

pytestmark = [pytest.mark.xdist_group("kills"), pytest.mark.timeout(400)]


@pytest.fixture
def box() -> Iterator[Bench]:
    with bench() as made:
        yield made


def server_pid(box: Bench, name: str) -> int:
    rows = {row["name"]: row for row in box.status().get("servers", [])}
    return int(rows[name]["pid"])


def refused(box: Bench, symbol: str) -> set[str]:
    rows = box.rows("SELECT check_name FROM trade.denial WHERE symbol = $1", symbol)
    return {row["check_name"] for row in rows}


def wants_in(box: Bench, symbol: str) -> Path:
    """Arm a plan that enters at the market; return the file it came of."""
    file = box.folder / f"{symbol}.toml"
    file.write_text(KEPT_PLAN.format(symbol=symbol))
    box.json("plan", "add", str(file), "--account", "live")
    return file


def test_a_kill_without_postgresql_stops_entries_by_memory_and_by_file(box: Bench) -> None:
    run = box.run("--speed", "60", TRADEBOX_SIM_DEMO_PLANS="false").ready()
    plan_id = box.keep_a_plan(run, "live")
    settled(box, "the entry")
    pid = server_pid(box, "postgres")
    os.kill(pid, signal.SIGSTOP)
    try:
        told = box.json("ctl", "kill", "--reason", "enough")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert told == {
        "done": True,
        "entries": "stopped",
        "file": True,
        "database": False,
        "memory": ["live", "paper"],
    }
    assert box.rows("SELECT 1 FROM trade.switch WHERE name = 'kill' AND value = 'on'") == []

    kill_file = Home(box.home).kill_file
    kept = kill_file.read_text()
    assert kept == "enough\n"
    kill_file.unlink()
    wants_in(box, "AAPL")
    eventually(lambda: "kill_switch" in refused(box, "AAPL"), "memory alone refuses")
    kill_file.write_text(kept)

    generation = box.status()["generation"]
    os.kill(box.status()["pid"], signal.SIGKILL)
    run.ready(generation + 1)
    is_clean(run)
    wants_in(box, "MSFT")
    eventually(lambda: "kill_switch" in refused(box, "MSFT"), "the file alone refuses")

    assert box.json("ctl", "exit", plan_id, "--account", "live")["done"]
    eventually(lambda: not account(box, "live")["positions"], "the exit leaves")
    summary = run.stop()
    assert summary["orders_sent"] >= 1
    assert summary["positions"] == []
