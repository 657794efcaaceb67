"""`tradebox sim` alone: its options, its faults by command, kill -9, and two of them."""

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tradebox.cli.main import run_command_line
from tradebox.errors import ExitCode

DEADLINE_S = 30

pytestmark = pytest.mark.timeout(120)


@contextmanager
def simulator(home: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], dict]]:
    """Run `tradebox sim` until its ready line, and end it afterwards."""
    command = [sys.executable, "-m", "tradebox", "sim", "--home", str(home), "--json", *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                assert selector.select(DEADLINE_S), "no ready line"
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield process, json.loads(line)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=DEADLINE_S)


def asked(url: str) -> dict:
    return httpx.get(url, trust_env=False).json()


def test_every_option_reaches_the_world(tmp_path: Path) -> None:
    script, tape = tmp_path / "script.jsonl", tmp_path / "tape.csv"
    order = {"after_s": 1, "do": "submit", "order_id": 1, "symbol": "NEWCO", "side": "BUY"}
    script.write_text(json.dumps({**order, "quantity": 10}))
    trades = [f"NEWCO,{1_456_842_600_000_000_000 + n * 10**9},12.34,500" for n in range(1, 600)]
    tape.write_text("\n".join(["symbol,at_ns,price,size", *trades, ""]))
    options = ("--day", "2016-03-01", "--symbols", "60", "--seed", "9", "--speed", "50")
    more = ("--tape", str(tape), "--script", str(script), "--variant", "market_depth=walks")
    with simulator(tmp_path / "home", *options, *more) as (_, ready):
        assert (ready["speed"], ready["seed"]) == (50.0, 9)
        assert asked(f"{ready['control']}/clock")["session"] == "2016-03-01"
        names = [row["symbol"] for row in asked(f"{ready['control']}/market")["symbols"]]
        assert len(names) == 60
        assert {"NEWCO", "ZZAAA"} <= set(names)
        assert asked(f"{ready['control']}/variants")["market_depth"]["chosen"] == "walks"
        rows: list[dict] = []
        while not [row for row in rows if row["kind"] == "execution"]:
            rows = asked(f"{ready['control']}/ledger")["rows"]
        placed = [row for row in rows if row["kind"] == "order_placed"]
        assert [row["order_id"] for row in placed] == [1]


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run_command_line(["sim", "fault", *words])
    return (code, *capsys.readouterr())


def test_faults_are_listed_set_and_cleared_by_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ("--home", str(tmp_path))
    with simulator(tmp_path) as (process, ready):
        code, listed, _ = told(capsys, "list", *home, "--json")
        boards = json.loads(listed)
        assert code == ExitCode.OK
        assert set(boards) == {"gateway", "finnhub", "alphavantage", "yahoo", "market"}
        for board, rows in boards.items():
            name = f"{board}.{rows[0]['name']}"
            code, text, _ = told(capsys, "set", name, "on=close", "for_s=30", *home)
            assert (code, name in text) == (ExitCode.OK, True)
        code, text, _ = told(capsys, "list", *home)
        assert text.count("SET ") == len(boards)
        assert text.count("waits=True") == len(boards)
        assert told(capsys, "clear", "market", *home)[0] == ExitCode.OK
        assert "SET" in told(capsys, "list", *home)[1]
        assert told(capsys, "clear", *home) == (ExitCode.OK, "no fault is set\n", "")
        for words, match in (
            (("set", "nope"), "there is no fault 'nope': a name is"),
            (("set", "gateway.nope"), "there is no fault 'nope': `tradebox sim fault list`"),
            (("set", "gateway.drop_ack", "order_id=x"), "order_id=x: give a whole number"),
            (("set", "gateway.drop_ack", "order_id=1.5"), "give a whole number"),
            (("set", "gateway.drop_ack", "foo"), "'foo' is no KEY=VALUE: give e.g. symbol=AAPL"),
            (("set", "gateway.drop_ack", "bar=1"), "no argument 'bar': it has account"),
            (("set", "gateway.drop_ack", "on=never"), "on='never' is no cue: give one of order"),
            (("set", "gateway.drop_ack", "after_s=-1"), "after_s=-1.0 is out of range"),
            (("set", "finnhub.spike", "percent=nan"), "percent=nan: give a number"),
            (("set", "finnhub.spike", "percent=1e999"), "percent=1e999: give a number"),
            (("set", "gateway.close_after_order", "lost=maybe"), "lost=maybe: give true or false"),
            (("set", "market.halt", "symbol=NO", "on=open"), "there is no symbol 'NO'"),
            (("set", "yahoo.split_event", "days_ago=9999"), "days_ago=9999 is out of range"),
            (("clear", "gateway.nope"), "there is no fault 'nope'"),
        ):
            code, output, errors = told(capsys, *words, *home)
            assert (words, code, output) == (words, ExitCode.CONFIG, "")
            assert match in errors, words
        answer = httpx.post(
            f"{ready['control']}/faults/set",
            json={"name": "finnhub.spike", "argument": {"symbol": "AAPL"}},
            trust_env=False,
        )
        assert (answer.status_code, answer.json()["field"]) == (400, "argument")
        assert process.poll() is None
    code, _, errors = told(capsys, "list", *home)
    assert code == ExitCode.NOT_RUNNING
    assert "does not answer" in errors


def quota_left(ready: dict) -> int:
    """Return how often the free key of Alpha Vantage is answered until its day is spent."""
    key = json.loads(Path(ready["identity_file"]).read_text())["alphavantage_key"]
    query = f"{ready['alphavantage']}/query?function=MARKET_STATUS&apikey={key}"
    answers = [asked(query) for _ in range(30)]
    assert all("markets" in one or "Information" in one for one in answers)
    return sum("markets" in one for one in answers)


def test_a_kill_forgets_neither_ports_nor_spent_quotas(tmp_path: Path) -> None:
    with simulator(tmp_path, "--speed", "0.1") as (process, ready):
        assert quota_left(ready) == 1
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(DEADLINE_S)
    with simulator(tmp_path, "--speed", "0.1") as (_, again):
        assert again == ready
        assert quota_left(again) == 0


def test_two_homes_are_two_worlds_and_a_taken_port_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with simulator(tmp_path / "a") as (_, one), simulator(tmp_path / "b") as (_, two):
        assert set(one["accounts"].values()).isdisjoint(two["accounts"].values())
        assert one["control"] != two["control"]
        assert Path(one["yahoo_ca"]).read_text() != Path(two["yahoo_ca"]).read_text()
        for place, name in enumerate(("gateway_paper", "gateway_live", "finnhub_ws", "control")):
            taken = one[name].rpartition(":")[2]
            ports = ",".join(taken if index == place else "0" for index in range(4))
            words = ["sim", "--home", str(tmp_path / "c"), "--ports", ports]
            assert run_command_line(words) == ExitCode.ADDRESS
            errors = capsys.readouterr().err
            assert f"port {taken} for {name.removesuffix('_ws')} cannot be bound" in errors
        assert run_command_line(["sim", "--home", str(tmp_path / "a")]) == ExitCode.HOME
        assert "another simulator runs" in capsys.readouterr().err
