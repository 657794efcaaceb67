"""The simulator as a process: its ready line, its end, its ports, and its memory of time."""

import asyncio
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from support.tws_bench import CONTRACT, RawClient, ids
from tradebox.adapters.marketclock import AffineMarketClock
from tradebox.errors import ConfigInvalid, ExitCode, NotRunning
from tradebox.sim.__main__ import main
from tradebox.sim.control.client import ask

DEADLINE_S = 20
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def start(home: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tradebox.sim", "--home", str(home), "--json", *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    )


@contextmanager
def running(home: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict]]:
    process = start(home, *arguments)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            assert selector.select(DEADLINE_S), "no ready line"
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, json.loads(line)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=DEADLINE_S)


def ended(process: subprocess.Popen[str], number: int) -> tuple[int, str, str]:
    process.send_signal(number)
    output, errors = process.communicate(timeout=DEADLINE_S)
    return process.returncode, output, errors


def refused(home: Path, *arguments: str) -> tuple[int, str]:
    process = start(home, *arguments)
    output, errors = process.communicate(timeout=DEADLINE_S)
    assert output == ""
    assert errors.count("\n") == 1, errors
    return process.returncode, errors


def control(ready: dict, path: str) -> dict:
    return httpx.get(ready["control"] + path, trust_env=False).json()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_one_ready_line_then_silence_then_an_end_in_order(tmp_path: Path, number: int) -> None:
    with running(tmp_path) as (process, ready):
        assert {
            "gateway_paper", "gateway_live", "accounts", "finnhub", "alphavantage", "yahoo",
            "control",
        } <= set(ready)  # fmt: skip
        assert ready["yahoo"].startswith("https://127.0.0.1:")
        assert set(ready["accounts"]) == {"paper", "live"}
        key = json.loads(Path(ready["identity_file"]).read_text())["finnhub_key"]
        assert key not in json.dumps(ready)
        quote = httpx.get(
            ready["finnhub"] + "/quote?symbol=AAPL",
            headers={"X-Finnhub-Token": key},
            trust_env=False,
        )
        assert quote.json()["c"] > 50
        assert ended(process, number) == (ExitCode.OK, "", "")


def test_a_kill_loses_no_order_and_no_time_and_comes_back_at_its_ports(tmp_path: Path) -> None:
    with running(tmp_path, "--speed", "200") as (process, ready):
        clock = AffineMarketClock(Path(ready["clock_file"]))
        rows = control(ready, "/ledger")["rows"]
        seen_ns = clock.now_ns()
        os.kill(process.pid, signal.SIGKILL)
        process.wait(DEADLINE_S)
    with running(tmp_path, "--speed", "200") as (process, again):
        assert AffineMarketClock(Path(again["clock_file"])).now_ns() >= seen_ns
        clock.refresh()
        assert clock.now_ns() >= seen_ns
        moved = [key for key in ready if ready[key] != again[key]]
        assert moved == []
        assert control(again, "/ledger")["rows"][: len(rows)] == rows
        assert ended(process, signal.SIGTERM)[0] == ExitCode.OK


def test_its_folder_leads_to_its_control_while_it_runs(tmp_path: Path) -> None:
    folder = tmp_path / "sim"
    with pytest.raises(NotRunning, match="no simulator runs"):
        ask(folder, "/clock")
    with running(tmp_path) as (process, _):
        assert ask(folder, "/clock")["speed"] == 20.0
        assert {"gateway", "finnhub"} < set(ask(folder, "/faults"))
        changed = ask(folder, "/faults/set", {"name": "finnhub.half_open"})
        assert changed["finnhub"] == {"half_open": [{"count": 0, "hits": 0}]}
        with pytest.raises(ConfigInvalid, match="there is no fault") as refusal:
            ask(folder, "/faults/set", {"name": "finnhub.none"})
        assert refusal.value.fields["value"] == "none"
        process.kill()
        process.wait(DEADLINE_S)
        with pytest.raises(NotRunning, match="does not answer"):
            ask(folder, "/clock")
    with running(tmp_path) as (process, _):
        assert ended(process, signal.SIGTERM)[0] == ExitCode.OK
    assert not (folder / "ready.json").exists()


def test_a_second_one_on_the_home_is_refused(tmp_path: Path) -> None:
    with running(tmp_path):
        code, errors = refused(tmp_path)
        assert code == ExitCode.HOME
        assert "another simulator runs" in errors


def test_a_taken_port_is_refused_by_name_and_number(tmp_path: Path) -> None:
    with running(tmp_path / "one") as (_, ready):
        for place, name in ((1, "gateway_live"), (2, "finnhub_ws"), (3, "control")):
            taken = ready[name].rpartition(":")[2]
            ports = ["0"] * 4
            ports[place] = taken
            code, errors = refused(tmp_path / "two", "--ports", ",".join(ports))
            assert (name, code) == (name, ExitCode.ADDRESS)
            assert taken in errors


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (("--speed", "0"), "speed=0.0"),
        (("--speed", "nan"), "speed=nan"),
        (("--speed", "1000"), "give 0.1 to 200"),
        (("--ports", "1,2"), "give 4"),
        (("--ports", "x"), "no list of numbers"),
        (("--ports", "4001,0,0,0"), "no real gateway's"),
        (("--ports", "0,0,0,70000"), "give 1 to 65535"),
        (("--ports", "5000,0,5000,0"), "port 5000 is given twice"),
        (("--symbols", "0"), "symbols=0 is out of range: give 1 to 2000"),
        (("--day", "tomorrow"), "day=tomorrow is no date: give YYYY-MM-DD"),
        (("--day", "2016-01-09"), "has no session: the next one is 2016-01-11"),
        (("--day", "1999-01-04"), "give 2016-01-04 to 2099-12-31"),
        (("--variant", "walks"), "variant='walks' is no NAME=VALUE"),
        (("--variant", "market_depth=x"), "give one of displayed, walks"),
        (("--variant", "oversell=refused", "--variant", "oversell=goes_short"), "given twice"),
        (("--script", "/none"), "script=/none is no file"),
        (("--tape", "/none"), "tape=/none is no file"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    tmp_path: Path, arguments: tuple[str, ...], match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--home", str(tmp_path / "home"), *arguments]) == ExitCode.CONFIG
    output, errors = capsys.readouterr()
    assert output == ""
    assert match in errors
    assert not (tmp_path / "home").exists()


def test_the_market_begins_on_the_day_that_is_said_and_never_goes_back(tmp_path: Path) -> None:
    for day in ("2017-03-08", "2017-03-08", "2026-11-20"):
        with running(tmp_path, "--day", day) as (process, ready):
            assert control(ready, "/clock")["session"] == day
            assert ended(process, signal.SIGTERM)[0] == ExitCode.OK
    code, errors = refused(tmp_path, "--day", "2017-03-08")
    assert code == ExitCode.CONFIG
    assert "has reached 2026-11-20 and never goes back: give a later day" in errors.replace(
        ";", ":"
    )


def test_a_script_row_that_could_not_happen_is_refused_at_the_start(tmp_path: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text('{"after_s": 900, "do": "fault", "name": "market.halt", "symbol": "NO"}')
    code, errors = refused(tmp_path / "home", "--script", str(script))
    assert code == ExitCode.CONFIG
    assert "there is no symbol 'NO'" in errors


def test_a_fault_that_waits_cannot_end_the_simulator(tmp_path: Path) -> None:
    folder = tmp_path / "sim"
    with running(tmp_path, "--speed", "200") as (process, _):
        for name, arguments in (
            ("market.halt", {"symbol": "NONE", "on": "open"}),
            ("finnhub.close_connection", {"code": 1, "after_s": 1.0}),
            ("yahoo.stream_close", {"code": 1005, "on": "order"}),
        ):
            with pytest.raises(ConfigInvalid):
                ask(folder, "/faults/set", {"name": name, "arguments": arguments})
        asked = {"name": "market.split", "arguments": {"symbol": "SPY", "after_s": 20.0}}
        assert ask(folder, "/faults/set", asked)["market"]["split"][0]["waits"]
        begin_ns = ask(folder, "/clock")["now_ns"]
        while ask(folder, "/clock")["now_ns"] < begin_ns + 30 * 10**9:
            assert process.poll() is None
        rows = ask(folder, "/ledger")["rows"]
        assert [row["symbol"] for row in rows if row["kind"] == "action_announced"] == ["SPY"]
        assert ended(process, signal.SIGTERM)[0] == ExitCode.OK


def test_a_script_with_the_brokers_acts_makes_one_ledger_at_any_speed(tmp_path: Path) -> None:
    buy = {"do": "submit", "side": "BUY", "quantity": 100}
    rows = [
        {**buy, "after_s": 2, "order_id": 1, "symbol": "AAPL"},
        {**buy, "after_s": 3, "order_id": 2, "symbol": "AAPL", "type": "LMT", "limit": 20.0},
        {"after_s": 4, "do": "fault", "name": "market.gap", "symbol": "NFLX", "on": "fill"},
        {"after_s": 5, "do": "fault", "name": "market.halt", "symbol": "SPY"},
        {"after_s": 6.5, "do": "fault", "name": "gateway.cancel_by_broker"},
        {"after_s": 7.25, "do": "fault", "name": "gateway.manual_order", "quantity": 3},
        {"after_s": 8, "do": "fault", "name": "gateway.correct_execution", "shares": 2},
        {**buy, "after_s": 9, "order_id": 3, "symbol": "NFLX", "quantity": 7},
    ]
    script = tmp_path / "script.jsonl"
    script.write_text("".join(json.dumps(row) + "\n" for row in rows))
    digests = set()
    for speed in ("7", "20", "200"):
        home = tmp_path / speed
        options = ("--speed", speed, "--seed", "9", "--script", str(script))
        with running(home, *options) as (_, ready):
            end = time.monotonic() + DEADLINE_S
            kept: list[dict] = []
            while not any(row.get("symbol") == "NFLX" and "exec_id" in row for row in kept):
                assert time.monotonic() < end
                kept = httpx.get(f"{ready['control']}/ledger?count=1000").json()["rows"]
            kinds = [row["kind"] for row in kept]
            assert {"price_gap", "halted", "correction"} <= set(kinds)
            digests.add(httpx.get(f"{ready['control']}/ledger/digest").json()["digest"])
    assert len(digests) == 1


def test_the_master_client_hears_of_every_order(tmp_path: Path) -> None:
    async def heard(address: tuple[str, int]) -> list[str]:
        owner, master, other = [await RawClient.open(address, number) for number in (1, 7, 2)]
        contract = ["0", "AAPL", "STK", *CONTRACT[3:]]
        owner.place(1, "BUY", 1, "LMT", limit="1.00", contract=contract)
        await owner.until(3, "1")
        said = await master.until(5, "AAPL")
        assert "5" not in ids(await other.sync())
        for client in (owner, master, other):
            await client.close()
        return said

    with running(tmp_path, "--master-client-id", "7") as (_, ready):
        host, _, port = ready["gateway_paper"].partition(":")
        assert asyncio.run(heard((host, int(port))))[24] == "1"


def test_a_person_is_told_that_all_of_it_is_simulated(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tradebox.sim", "--home", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        line = process.stdout.readline()
        process.terminate()
        rest = process.stdout.read()
        process.wait(DEADLINE_S)
    assert line.startswith("SIMULATED")
    assert "gateway_paper" in rest
    assert process.returncode == ExitCode.OK
