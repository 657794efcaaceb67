"""`tradebox data`: fetch from the stand-in's Yahoo, list, check against a second source."""

import asyncio
import csv
import gzip
import json
from contextlib import asynccontextmanager

import pytest

from support.sim_market import market_at
from tradebox.adapters.yahoo.worker import ROUTE_VARIABLE
from tradebox.backtest.data.yahoo import HISTORY_VARIABLE
from tradebox.cli import data
from tradebox.cli.main import run_command_line
from tradebox.errors import ExitCode
from tradebox.sim.http import HttpServer
from tradebox.sim.market import hours
from tradebox.sim.yahoo.authority import authority_file, server_context
from tradebox.sim.yahoo.faults import yahoo_faults
from tradebox.sim.yahoo.server import Yahoo

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180), pytest.mark.xdist_group("yahoo")]

NOON_NS = hours.session(300).open_ns + 150 * hours.MINUTE_NS


@asynccontextmanager
async def yahoo(folder, monkeypatch):
    """Serve the stand-in's Yahoo and lead the command to it; hand back what it was asked."""
    faults, asked = yahoo_faults(), []
    handler = Yahoo(market_at(NOON_NS), "s", faults)

    def take(request):
        asked.append(request.path)
        return handler(request)

    server = HttpServer("yahoo", take, tls=server_context(folder))
    _, port = await server.start()
    monkeypatch.setattr(data, "sim_route", lambda *_: f"{port},{authority_file(folder)}")
    try:
        yield faults, asked
    finally:
        await server.stop()


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """Return what runs a command and gives its code, its JSON and its words."""
    for name in (ROUTE_VARIABLE, HISTORY_VARIABLE):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)

    async def call(*words, json_too=True):
        monkeypatch.delenv(HISTORY_VARIABLE, raising=False)
        line = ["data", *words, "--home", str(tmp_path / "home"), *(["--json"] * json_too)]
        code = await asyncio.to_thread(run_command_line, line)
        told = capsys.readouterr()
        text = told.out if code == ExitCode.OK else told.err.splitlines()[-1]
        return code, json.loads(text) if json_too else text

    return call


async def test_fetch_list_check(run, tmp_path, monkeypatch):
    async with yahoo(tmp_path, monkeypatch) as (faults, asked):
        code, told = await run("fetch", "aapl", "SPY", "NOPE", "--period", "1y")
        assert code == ExitCode.OK
        assert (told["source"], told["fetched"], told["failed"]) == ("yahoo@stand-in", 2, 1)
        by_symbol = {row["symbol"]: row for row in told["rows"]}
        assert "Yahoo has no bars" in by_symbol["NOPE"]["problem"]
        assert by_symbol["AAPL"]["last_day"] == str(hours.session(299).day)
        assert by_symbol["AAPL"]["refusal"] == ""
        before = len(asked)
        code, kept = await run("fetch", "SPY", "--period", "1y")
        assert (code, kept["kept"], len(asked)) == (ExitCode.OK, 1, before)
        code, rows = await run("list")
        assert {row["state"] for row in rows} == {"usable"}
        code, again = await run("fetch", "SPY", "--period", "1y", "--force")
        assert again["rows"][0]["data_hash"] == by_symbol["SPY"]["data_hash"]
        assert len(asked) > before

        code, rows = await run("list")
        assert [row["symbol"] for row in rows] == ["AAPL", "SPY"]
        assert {row["period"] for row in rows} == {"1y"}
        code, text = await run("list", json_too=False)
        assert "USABLE UNTIL" in text
        assert by_symbol["AAPL"]["data_hash"][:12] in text

        other = _copy(tmp_path, data_folder(tmp_path), "AAPL", spoil=100)
        code, report = await run("check", "--period", "1y", "--against", str(other))
        against = {row["symbol"]: row["against"] for row in report["rows"]}
        assert code == ExitCode.OK
        assert (against["AAPL"]["word"], against["AAPL"]["off_days"]) == ("agrees", 2)
        assert against["SPY"]["word"] == "no overlap"
        code, text = await run(
            "check", "AAPL", "--period", "1y", "--against", str(other), json_too=False
        )
        assert "agrees" in text
        assert "AAPL 2017" in text or "AAPL 2016" in text

        faults.set("html_page")
        words = [f"S{number}" for number in range(9)]
        code, refused = await run("fetch", *words, "--period", "1y")
        assert code == ExitCode.VENDOR
        assert "5 stocks in a row failed" in refused["error"]


def data_folder(tmp_path):
    return tmp_path / "home" / "data" / "history" / "yahoo@stand-in" / "1y"


def _copy(tmp_path, folder, symbol, *, spoil):
    """Write a kept series as a second source, one close of it wrong."""
    lines = gzip.decompress((folder / f"{symbol}.csv.gz").read_bytes()).decode().splitlines()
    rows = list(csv.reader(lines))
    rows[spoil][4] = str(float(rows[spoil][4]) * 1.05)
    place = tmp_path / "second"
    place.mkdir()
    with (place / f"{symbol}.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return place


async def test_damage_is_told(run, tmp_path, monkeypatch):
    async with yahoo(tmp_path, monkeypatch):
        await run("fetch", "SPY", "--period", "1y")
    (data_folder(tmp_path) / "SPY.csv.gz").write_bytes(b"")
    code, report = await run("check", "--period", "1y")
    assert code == ExitCode.OK
    assert report["rows"][0]["state"] == "damaged"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("fetch",), ExitCode.CONFIG, "give symbols, or --universe FILE"),
        (("fetch", "A", "--universe", "x"), ExitCode.CONFIG, "one of the two"),
        (("fetch", "--universe", "none.txt"), ExitCode.CONFIG, "no such file or name"),
        (("fetch", "A", "--period", "7y"), ExitCode.CONFIG, "give one of 1y, 2y"),
        (("fetch", "A B"), ExitCode.CONFIG, "SYMBOL='A B': give 1 to"),
        (("fetch", "A"), ExitCode.CONFIG, "start `tradebox run` first"),
        (("check",), ExitCode.NOT_RUNNING, "no history of any stock"),
        (("check", "SPY"), ExitCode.NOT_RUNNING, "no history of SPY"),
        (
            ("check", "--against", "/no/such"),
            ExitCode.CONFIG,
            "--against=/no/such: there is no such folder: give a folder of CSV files",
        ),
        (("check", "--against", "yahoo"), ExitCode.CONFIG, "another one than Yahoo"),
        (("check", "--tolerance-bps", "0"), ExitCode.CONFIG, "more than 0, up to 10000"),
        (("check", "--period", "7y"), ExitCode.CONFIG, "give one of"),
    ],
)
async def test_a_mistake_is_told_with_its_code(run, words, code, said):
    got, refused = await run(*words)
    assert (got, said in refused["error"]) == (code, True), refused


async def test_nothing_kept_is_an_empty_list(run):
    assert await run("list") == (ExitCode.OK, [])
