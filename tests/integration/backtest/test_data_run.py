"""Bad data at the command: a clear message each, the bad stock skipped, the run goes on."""

import contextlib
import json
from types import SimpleNamespace

import pytest

from support.bar_files import HEAD, rows_of, seeded_bars, write_csv
from tradebox.cli.main import run_command_line
from tradebox.errors import ExitCode

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def run(pg_research_dsn, monkeypatch, tmp_path, capsys):
    """Run `backtest run` in this process on the test's database."""

    @contextlib.contextmanager
    def stores_of_the_test(*_):
        yield SimpleNamespace(postgres_research=pg_research_dsn)

    monkeypatch.setattr("tradebox.adapters.embedded.lease.stores", stores_of_the_test)
    monkeypatch.setattr("tradebox.cli.backtest._migrated", lambda *_: None)
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("TRADEBOX_HOME", str(home))

    def call(*words):
        code = run_command_line(["backtest", "run", "--executor", "serial", *words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def with_cells(rows, column, cell, step=20):
    return [[*row[:column], cell, *row[column + 1 :]] if at % step == 0 else row
            for at, row in enumerate(rows)]  # fmt: skip


def spoilt(folder):
    """Write one good stock and one of each kind of bad ones; return why each is skipped."""
    rows = rows_of(seeded_bars("X", 300))
    write_csv(folder, "GOOD", rows)
    write_csv(folder, "UNSORTED", rows[::-1])
    write_csv(folder, "TWICE", [*rows, rows[0]])
    bad = {
        "COLUMN": ([row[:5] for row in rows], "missing column volume"),
        "ONE": (rows[:1], "only 1 bar: at least 60 are needed"),
        "NONE": ([], "no bars"),
        "NAN": (with_cells(rows, 4, "nan"), "a price is missing (NaN)"),
        "ZERO": (with_cells(rows, 1, "0"), "a price is zero or negative"),
        "NEGATIVE": (with_cells(rows, 3, "-2"), "a price is zero or negative"),
        "DOUBT": ([*rows, [rows[0][0], "1", "1", "1", "1", "1"]], "duplicate days"),
    }
    for symbol, (cells, _) in bad.items():
        write_csv(folder, symbol, cells, HEAD[:5] if symbol == "COLUMN" else HEAD)
    return {symbol: why for symbol, (_, why) in bad.items()}


def test_bad_stocks_are_reported_and_skipped_and_the_run_goes_on(run, tmp_path):
    why = spoilt(tmp_path / "csv")
    code, out, err = run("--data", f"dir:{tmp_path / 'csv'}")
    assert code == ExitCode.OK
    assert ": done  3/3 stocks" in out
    assert f"refused  {len(why)}" in out
    skipped = {line.split()[1]: line for line in err.splitlines() if " is skipped: " in line}
    assert set(skipped) == set(why)
    assert all(text in skipped[symbol] for symbol, text in why.items())


def test_a_universe_with_unknown_stocks_runs_the_known_ones(run, tmp_path):
    (tmp_path / "stocks.txt").write_text("AAPL\nNOSUCH\n")
    code, out, err = run("--data", "sample", "--universe", str(tmp_path / "stocks.txt"), "--json")
    assert code == ExitCode.OK
    shown = json.loads(out)
    assert (shown["results"], shown["refused_data"]) == (1, 1)
    assert err == ""


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--data", "dir:{0}/empty"), ExitCode.CONFIG, "lists no symbols"),
        (("--data", "dir:{0}/nowhere"), ExitCode.CONFIG, "there is no such folder"),
        (("--data", "excel:x"), ExitCode.CONFIG, "no such source"),
        (("--data", "dir:{0}/one"), ExitCode.REFUSED, "none of 1 stocks can be used; ONE: only 1"),
        (("--universe", "{0}/none.txt"), ExitCode.CONFIG, "it holds no symbols"),
        (("--universe", "sp500"), ExitCode.CONFIG, "no such file or name"),
        (("--data", "yahoo"), ExitCode.CONFIG, "start `tradebox run` first"),
    ],
)
def test_what_cannot_run_is_one_line_and_nothing_is_stored(run, tmp_path, words, code, text):
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.txt").write_text("# nobody\n")
    write_csv(tmp_path / "one", "ONE", rows_of(seeded_bars())[:1])
    given, out, err = run(*(word.format(tmp_path) for word in words))
    assert given == code
    assert text in err
    assert len(err.splitlines()) == 1
    assert out == ""


@pytest.mark.parametrize("cut", [None, -1])
def test_a_run_is_resumed_by_the_names_the_other_commands_take(run, tmp_path, cut):
    (tmp_path / "stocks.txt").write_text("AAPL\n")
    _, out, _ = run("--universe", str(tmp_path / "stocks.txt"), "--json")
    begun = json.loads(out)
    code, out, err = run("--resume", begun["run_id"][:cut] if cut else "last", "--json")
    assert (code, err) == (ExitCode.OK, "")
    again = json.loads(out)
    assert (again["run_id"], again["run_hash"]) == (begun["run_id"], begun["run_hash"])
