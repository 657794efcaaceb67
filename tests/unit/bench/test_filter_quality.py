"""The sanity filter on recorded ticks: errors put in by seed, genuine gaps, beside a naive rule.

Rules of this file:
- the shipped minutes are enough for the promises; the recordings beside the repository say more,
  and are skipped where they are not.
"""

import gzip
import importlib
from pathlib import Path

import pytest

from tradebox.config import FilterSettings

ROOT = Path(__file__).resolve().parents[3]
STOCK = ROOT.parent / "shared" / "data" / "intraday" / "us_equity_XXX_2018-01-02_trades.csv.gz"
has_stock = pytest.mark.skipif(not STOCK.exists(), reason=f"{STOCK.name} is not on this machine")
SEEDS = (1, 2)


@pytest.fixture(scope="module")
def data():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield importlib.import_module("bench.filter_data")


@pytest.fixture(scope="module")
def bench(data):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield importlib.import_module("bench.filter_trial")


@pytest.fixture(scope="module")
def shipped(data):
    return data.bars(data.SHIPPED, FilterSettings())


@pytest.fixture(scope="module")
def stock(data):
    return data.trades(STOCK, FilterSettings())


def isolated(bench, recording, count_max):
    tally = bench.Tally()
    ticks = recording.ticks[:count_max]
    for seed in SEEDS:
        bench.trial(lambda: bench.OurRule(recording), ticks, 1, seed, tally)
    return tally.row()


def check_quality(bench, recording, count_max):
    """No isolated error of 3 % or more passes; of the genuine ticks fewer than one in a thousand
    is refused."""
    ticks = recording.ticks[:count_max]
    row = isolated(bench, recording, count_max)
    assert row["errors_of_3_percent_or_more"] > 50
    assert row["of_these_passed_live"] == row["of_these_passed_not_live"] == 0
    assert row["largest_error_passed_live_percent"] < 3
    assert bench.clean(lambda: bench.OurRule(recording), ticks)["refused_percent"] < 0.1


def test_the_shipped_minutes_are_a_month_of_sessions(data, shipped):
    assert len({tick.event_ns // data.DAY_NS for tick in shipped.ticks}) == 20
    assert len(shipped.ticks) == 20 * 390 * 4


def test_errors_are_put_in_by_seed_and_leave_the_rest_alone(bench, shipped):
    ticks = shipped.ticks[:3000]
    sent, errors = bench.corrupted(ticks, 3, 7)
    assert (sent, errors) == bench.corrupted(ticks, 3, 7)
    assert len(errors) % 3 == 0
    assert len(errors) > 20
    assert all((sent[n] == ticks[n]) == (n not in errors) for n in range(len(ticks)))
    assert errors != bench.corrupted(ticks, 3, 8)[1]


def test_on_shipped_minutes_no_isolated_error_of_three_percent_passes(bench, shipped):
    check_quality(bench, shipped, 12_000)


def test_a_genuine_gap_is_accepted_in_few_ticks_and_never_by_the_naive_rule(bench, shipped):
    ours = bench.gaps(lambda: bench.OurRule(shipped), shipped.ticks[:8000], 40, 3)
    assert ours["never_accepted_in_ticks"]["gaps"] == 0
    assert ours["ticks"]["max"] <= 30
    naive = bench.gaps(lambda: bench.NaiveRule(0.03), shipped.ticks[:8000], 40, 3)
    assert naive["never_accepted_in_ticks"]["gaps"] > 20


def test_the_naive_rule_passes_what_ours_does_not(bench, shipped):
    tally = bench.Tally()
    bench.trial(lambda: bench.NaiveRule(0.05), shipped.ticks[:12_000], 1, 1, tally)
    assert tally.row()["of_these_passed_live"] > 0


def written(path, header, rows):
    with gzip.open(path, "wt") as file:
        file.write("\n".join([header, *rows]) + "\n")
    return path


def test_a_stub_is_named_by_the_day_s_median_spread_and_counted_apart(bench, data, tmp_path):
    rows = [f"{1_515_000_000_000 + n * 1000},X,{99.9 - 12 * (n == 40)},100.1" for n in range(60)]
    quoted = written(tmp_path / "q.csv.gz", "ts_utc_ms,symbol,bid,ask", rows)
    recording = data.quotes(quoted, FilterSettings(), data.CENT_MICROS)
    assert recording.stubs == {41}
    found = bench.clean(lambda: bench.OurRule(recording), recording.ticks)
    assert (found["genuine"], found["refused"]) == (59, 0)
    assert found["stubs"] == {"seen": 1, "refused": 1}


def test_a_line_repeats_the_last_trade_that_sets_a_price_with_each_quote(data, tmp_path):
    trades = written(
        tmp_path / "t.csv.gz",
        "ts_utc_ms,symbol,price,size,cond",
        ["1515000001000,X,100,200,@", "1515000003000,X,90,200,W"],
    )
    quoted = written(
        tmp_path / "q.csv.gz",
        "ts_utc_ms,symbol,bid,ask",
        ["1515000000000,X,99,101", "1515000002000,X,99,101", "1515000004000,X,98,100"],
    )
    line = data.line(trades, quoted, FilterSettings())
    prices = [(one.price_micros // 1_000_000, one.is_quote) for one in line.ticks]
    assert prices == [(100, False), (100, True), (90, False), (100, True)]
    assert [one.key for one in line.ticks] == [1, 2, 3, 4]


@has_stock
def test_on_a_day_of_stock_trades_no_isolated_error_of_three_percent_passes(bench, stock):
    check_quality(bench, stock, 12_000)
