"""One engine per database: a second run is told so and ends; the first never notices."""

import pytest

from support.books import is_clean
from support.run_bench import bench, eventually
from tradebox.adapters.embedded.secrets import Login
from tradebox.errors import ExitCode
from tradebox.supervision.control import ask_control


def header(box):
    path = box.socket_dir / "control" / "control.sock"
    blob = ask_control(path, {"ask": "status"}, 10.0)["engine"]["blob"] or {}
    return blob.get("header", {})


@pytest.mark.slow
@pytest.mark.xdist_group("faults")
def test_a_second_run_on_the_same_database_is_refused_and_changes_nothing():
    with bench() as box, bench() as other:
        run = box.run("--speed", "20").ready()
        is_clean(run)
        eventually(lambda: header(box).get("claim") == "held", "the database is ours")
        second = other.run(TRADEBOX_POSTGRES_URL=box.dsn(Login.POSTGRES))
        assert second.wait() == ExitCode.STORE
        assert "another engine holds this database" in second.out + second.err
        assert second.events("engine_ready") == [], "its migration met the claim before"
        ledger = other.home / "sim" / "ledger.jsonl"
        assert not ledger.exists() or '"order_placed"' not in ledger.read_text()
        assert header(box)["claim"] == "held"
        run.stop()
        assert other.processes() == box.processes() == []
