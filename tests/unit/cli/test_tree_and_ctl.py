"""`tradebox tree` and `ctl`: what they make of what the launcher answers."""

import json
from threading import Event

import pytest

from tradebox.cli import asking, ctl, status, tree
from tradebox.cli.main import run_command_line
from tradebox.config import Home
from tradebox.errors import ExitCode, NotRunning, StoreUnavailable
from tradebox.execution.kill_switch import write_kill_file

ROOT = {
    "name": "root", "type": "supervisor", "state": "running", "uptime_s": 5.25, "restarts": 0,
    "intensity": "0/3 in 10s", "last_reason": None, "mailbox_depth": 0, "checkin_age_s": 0.5,
    "epoch": None, "incarnation": 1,
}  # fmt: skip
LINK = {
    **ROOT, "name": "trading.live.link", "type": "worker", "restarts": 2, "intensity": None,
    "last_reason": "hung(checkin)", "uptime_s": 7200.0, "mailbox_depth": 3, "epoch": 77,
}  # fmt: skip
GONE = {
    **ROOT, "name": "alerts", "state": "restarting", "uptime_s": None, "checkin_age_s": None,
    "incarnation": None, "intensity": None,
}  # fmt: skip


def answering(answer):
    asked = []

    def ask(_home, what, **data):
        asked.append({"ask": what, **data})
        return answer

    return ask, asked


def test_every_column_of_a_child_is_shown_below_its_supervisor(monkeypatch, capsys, tmp_path):
    ask, _ = answering({"engine": {"blob": {"actors": [ROOT, LINK, GONE]}, "age_s": 0.3}})
    monkeypatch.setattr(tree, "ask", ask)
    assert run_command_line(["tree", "--home", str(tmp_path)]) == ExitCode.OK
    head, root, link, gone, age = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["CHILD", "TYPE", "STATE", "UPTIME"]
    assert root.split() == [
        "root", "supervisor", "running", "5.2s", "0", "0/3", "in", "10s", "0", "0.5s", "·", "1",
        "·",
    ]  # fmt: skip
    assert link.startswith("      link")
    assert link.split() == [
        "link", "worker", "running", "2.0h", "2", "·", "3", "0.5s", "77", "1", "hung(checkin)",
    ]  # fmt: skip
    assert gone.split() == ["alerts", "supervisor", "restarting", *"·0·0····"]
    assert age == "as of 0.3 s ago"


def test_status_is_tables_in_the_same_style(monkeypatch, capsys, tmp_path):
    blob = {
        "header": {"profile": "sim", "world": "SIMULATED"},
        "accounts": [{"name": "live", "account": "SIM1", "link": "CLEAN", "gateway": "h:1"}],
        "positions": [
            {"account": "live", "symbol": "SPY", "quantity": 4, "stop_quantity": 0,
             "in_flight_quantity": 0, "covered": False},
        ],
        "actors": [ROOT, LINK],
    }  # fmt: skip
    launcher = {"engine_pid": 7, "pid": 6, "uptime_s": 5.0, "generation": 2,
                "servers": [{"name": "postgres", "state": "ready", "pid": 9}]}  # fmt: skip
    ask, _ = answering({"launcher": launcher, "engine": {"blob": blob, "age_s": 0.000285063}})
    monkeypatch.setattr(status, "ask", ask)
    assert run_command_line(["status", "--home", str(tmp_path)]) == ExitCode.OK
    first, *tables = capsys.readouterr().out.split("\n\n")
    assert first.startswith("SIMULATED · profile sim · up 5 s · engine 7 (generation 2)")
    assert first.endswith("figures 0.0 s old")
    assert [[line.split() for line in table.splitlines()] for table in tables] == [
        [["ACCOUNT", "NUMBER", "LINK", "GATEWAY"], ["live", "SIM1", "CLEAN", "h:1"]],
        [["ACCOUNT", "SYMBOL", "QUANTITY", "STOP", "IN", "FLIGHT", "COVER"],
         ["live", "SPY", "4", "0", "0", "NOT", "COVERED"]],
        [["SERVER", "STATE", "PID"], ["postgres", "ready", "9"]],
        [["CHILD", "STATE", "RESTARTS", "LAST", "REASON"],
         ["root", "running", "0", "·"], ["trading.live.link", "running", "2", "hung(checkin)"]],
    ]  # fmt: skip


def test_the_tree_is_json_with_its_age(monkeypatch, capsys, tmp_path):
    ask, _ = answering({"engine": {"blob": {"actors": [ROOT]}, "age_s": 0.3}})
    monkeypatch.setattr(tree, "ask", ask)
    assert run_command_line(["tree", "--json", "--home", str(tmp_path)]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == {"age_s": 0.3, "children": [ROOT]}


def test_an_engine_that_told_nothing_yet_is_no_error(monkeypatch, capsys, tmp_path):
    ask, _ = answering({"engine": {"blob": None, "age_s": None}})
    monkeypatch.setattr(tree, "ask", ask)
    assert run_command_line(["tree", "--home", str(tmp_path)]) == ExitCode.OK
    assert "not reported yet" in capsys.readouterr().out


def test_a_failover_is_asked_of_the_engine(monkeypatch, capsys, tmp_path):
    ask, asked = answering({"answer": {"was": "a", "active": "b", "epoch": 9}})
    monkeypatch.setattr(ctl, "ask", ask)
    assert run_command_line(["ctl", "failover", "feed", "--home", str(tmp_path)]) == ExitCode.OK
    assert asked == [{"ask": "forward", "to": "swap_feeds", "data": {}}]
    assert "b is active now" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("why", "code"),
    [
        ("no warm standby to swap to", ExitCode.REFUSED),
        ("the engine is not there", ExitCode.NOT_RUNNING),
    ],
)
def test_a_refusal_says_why(monkeypatch, capsys, tmp_path, why, code):
    ask, _ = answering({"error": why})
    monkeypatch.setattr(ctl, "ask", ask)
    assert run_command_line(["ctl", "failover", "feed", "--home", str(tmp_path)]) == code
    assert why in capsys.readouterr().err


def test_nothing_runs_nothing_answers(capsys, tmp_path):
    for words in (["tree"], ["ctl", "failover", "feed"], ["ctl", "harm", "alerts"]):
        code = run_command_line([*words, "--home", str(tmp_path / "h")])
        assert code == ExitCode.NOT_RUNNING
        assert "nothing runs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotRunning("no schema yet"), ExitCode.NOT_RUNNING),
        (StoreUnavailable("PostgreSQL is away"), ExitCode.STORE),
    ],
)
def test_a_resume_that_the_database_does_not_take_lifts_nothing(
    monkeypatch, capsys, tmp_path, error, code
):
    def with_pool(*_):
        raise error

    monkeypatch.setattr(ctl, "with_pool", with_pool)
    home = Home(tmp_path)
    assert write_kill_file(home.kill_file, "enough")
    words = ["ctl", "resume", "--account", "paper", "--home", str(tmp_path)]
    assert run_command_line(words) == code
    assert f"{error.message}: nothing is lifted" in capsys.readouterr().err
    assert home.kill_file.read_text() == "enough\n"


def test_a_resume_lifts_rows_and_file(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(ctl, "with_pool", lambda *_: None)
    home = Home(tmp_path)
    assert write_kill_file(home.kill_file, "enough")
    words = ["ctl", "resume", "--account", "paper", "--json", "--home", str(tmp_path)]
    assert run_command_line(words) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["done"]
    assert not home.kill_file.exists()


def test_a_symbols_switch_is_lifted_alone(monkeypatch, capsys, tmp_path):
    switched = []
    monkeypatch.setattr(
        ctl, "_switch", lambda _place, value, _why, *names, **_: switched.append((value, *names))
    )
    home = Home(tmp_path)
    files = [home.kill_file, home.kill_file.with_name("KILL.AAPL")]
    assert all(write_kill_file(file, "enough") for file in files)
    words = ["--account", "paper", "--json", "--home", str(tmp_path)]
    assert run_command_line(["ctl", "resume", "aapl", *words]) == ExitCode.OK
    assert [file.exists() for file in files] == [True, False]
    assert run_command_line(["ctl", "resume", *words]) == ExitCode.OK
    assert [file.exists() for file in files] == [False, False]
    assert switched == [("off", "kill.AAPL"), ("off", "kill", "pause.paper")]
    capsys.readouterr()


def test_a_symbols_kill_is_a_file_a_row_and_a_word_to_the_engine(monkeypatch, capsys, tmp_path):
    ask, asked = answering({"answer": {"accounts": []}})
    switched = []
    monkeypatch.setattr(ctl, "ask", ask)
    monkeypatch.setattr(
        ctl, "_switch", lambda _place, value, _why, *names, **_: switched.append((value, *names))
    )
    words = ["ctl", "kill", "brk.b", "--reason", "enough", "--json", "--home", str(tmp_path)]
    assert run_command_line(words) == ExitCode.OK
    told = json.loads(capsys.readouterr().out)
    assert (told["symbol"], told["file"], told["database"]) == ("BRK.B", True, True)
    assert asked[0]["data"] == {"reason": "enough", "symbol": "BRK.B"}
    assert switched == [("on", "kill.BRK.B")]
    assert Home(tmp_path).kill_file.with_name("KILL.BRK.B").read_text() == "enough\n"


@pytest.mark.parametrize("word", ["", "../KILL", "A B", "1234"])
@pytest.mark.parametrize("words", [["kill"], ["resume", "--account", "paper"], ["split", "4:1"]])
def test_what_is_no_symbol_means_neither_all_nor_a_file(monkeypatch, capsys, tmp_path, word, words):
    monkeypatch.setattr(ctl, "_switch", lambda *_: pytest.fail("a switch was touched"))
    monkeypatch.setattr(ctl, "with_pool", lambda *_: pytest.fail("a row was written"))
    rest = ["--day", "2026-01-05"] if words[0] == "split" else []
    command = ["ctl", words[0], word, *words[1:], *rest, "--home", str(tmp_path)]
    assert run_command_line(command) == ExitCode.CONFIG
    assert "no symbol" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("words", [["pause"], ["resume"], ["flatten"], ["exit", "20260105-0001-A"]])
def test_an_account_that_the_running_profile_leaves_alone_is_named(
    monkeypatch, capsys, tmp_path, words
):
    ask, _ = answering({"engine": {"blob": {"header": {"profile": "paper"}}}})
    monkeypatch.setattr(asking, "ask", ask)
    monkeypatch.setattr(ctl, "_switch", lambda *_: pytest.fail("a switch was touched"))
    command = ["ctl", *words, "--account", "live", "--home", str(tmp_path)]
    assert run_command_line(command) == ExitCode.CONFIG
    assert "profile paper runs" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["resume"], ["pause"], ["flatten"]])
def test_a_server_that_hangs_is_given_up_with_a_word(monkeypatch, capsys, tmp_path, words):
    never = Event()
    monkeypatch.setattr(ctl, "with_pool", lambda *_: never.wait())
    monkeypatch.setattr(ctl, "in_time", lambda call, _limit_s: asking.in_time(call, 0.05))
    try:
        command = ["ctl", *words, "--account", "paper", "--home", str(tmp_path)]
        assert run_command_line(command) == ExitCode.STORE
        assert "did not answer in" in capsys.readouterr().err
    finally:
        never.set()


def test_what_a_call_on_the_stores_raises_comes_through():
    def fails():
        raise NotRunning("no schema yet")

    with pytest.raises(NotRunning, match="no schema yet"):
        asking.in_time(fails, 5.0)
    assert asking.in_time(lambda: 7, 5.0) == 7
