"""`tradebox ctl split` and `ctl confirm`: what a person says of a split."""

import asyncio
import json
from contextlib import contextmanager
from datetime import date
from types import SimpleNamespace

import asyncpg
import pytest

from tradebox.adapters.embedded import lease
from tradebox.cli import ctl
from tradebox.cli.main import run_command_line
from tradebox.errors import ExitCode


@pytest.fixture
def split(pg_dsn, monkeypatch, tmp_path, capsys):
    """Return what runs the command and gives its code and words."""

    @contextmanager
    def stores(home, settings):
        yield SimpleNamespace(postgres_trade=pg_dsn)

    monkeypatch.setattr(lease, "stores", stores)
    monkeypatch.setenv("TRADEBOX_HOME", str(tmp_path))

    def ask(*words):
        code = run_command_line(["ctl", *words])
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    return ask


def rows_of(dsn):
    async def fetch():
        connection = await asyncpg.connect(dsn)
        rows = await connection.fetch("SELECT symbol, day, numerator, denominator FROM trade.split")
        await connection.close()
        return [tuple(row) for row in rows]

    return asyncio.run(fetch())


def test_a_split_is_announced_for_its_day(split, pg_dsn):
    code, text = split("split", "nvda", "4:1", "--day", "2026-11-24", "--json")
    assert code == ExitCode.OK
    assert json.loads(text)["symbol"] == "NVDA"
    assert rows_of(pg_dsn) == [("NVDA", date(2026, 11, 24), 4, 1)]


@pytest.mark.parametrize(
    "ratio", ["4", "4:0", "0:1", "4/1", "-2:1", "1.5:1", "9999:1", "1:1", "3:3"]
)
def test_what_is_no_ratio_is_refused(split, pg_dsn, ratio):
    code, text = split("split", "NVDA", "--day", "2026-11-24", "--", ratio)
    assert code == ExitCode.CONFIG
    assert "no ratio" in text
    assert rows_of(pg_dsn) == []


def test_a_confirmation_goes_to_the_engine(split, monkeypatch):
    asked = []

    def ask(_home, what, **data):
        asked.append({"ask": what, **data})
        return {"answer": {"symbol": "NVDA", "numerator": 4, "denominator": 1}}

    monkeypatch.setattr(ctl, "ask", ask)
    assert split("confirm", "nvda") == (ExitCode.OK, "NVDA: 4 for 1 is confirmed\n")
    assert asked == [{"ask": "forward", "to": "confirm_level", "data": {"symbol": "NVDA"}}]


def test_nothing_to_confirm_is_told(split, monkeypatch):
    refused = {"error": "nothing of NVDA waits for a person"}
    monkeypatch.setattr(ctl, "ask", lambda *_, **__: refused)
    code, text = split("confirm", "NVDA")
    assert code == ExitCode.REFUSED
    assert "nothing of NVDA waits" in text
