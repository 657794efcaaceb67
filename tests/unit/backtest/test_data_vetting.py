"""Every defect of a series has one answer: repaired, refused or noted, and it is listed."""

import re
from pathlib import Path

import numpy as np
import pytest

from support.bar_files import rows_of, seeded_bars, write_csv
from tradebox.backtest.data.series import PRICES, RawSeries
from tradebox.backtest.data.sources import FolderSource
from tradebox.backtest.data.vetting import VettingRules, latest_day, vet


def raw_of(bars, *, adjusted=True, factors=(), **columns):
    values = {name: getattr(bars, name) for name in (*PRICES, "volume")}
    return RawSeries(bars.symbol, {**values, **columns}, bars.day, adjusted, factors=factors)


def kinds(vetted):
    return {defect.kind: defect.action for defect in vetted.defects}


def changed(column, at, value):
    copy = column.copy()
    copy[at] = value
    return copy


def read(folder, rows, head=("date", "open", "high", "low", "close", "volume")):
    write_csv(folder, "AAA", rows, head)
    return vet(next(FolderSource(folder, adjusted=True).read(["AAA"])))


def test_a_good_series_passes_untouched():
    bars = seeded_bars()
    vetted = vet(raw_of(bars))
    assert vetted.defects == ()
    for name in ("day", *PRICES, "volume"):
        assert np.array_equal(getattr(vetted.bars, name), getattr(bars, name))
    assert vetted.bars.adjusted


@pytest.mark.parametrize(
    ("cell", "column", "kind"),
    [
        ("", 4, "nan_price"),
        ("nan", 1, "nan_price"),
        ("inf", 2, "nan_price"),
        ("n/a", 4, "nan_price"),
        ("0", 4, "price_not_positive"),
        ("-3.5", 3, "price_not_positive"),
        ("9e12", 2, "price_absurd"),
        ("2015-13-45", 0, "unreadable_day"),
        ("yesterday", 0, "unreadable_day"),
    ],
)
def test_one_bad_cell_costs_its_bar_and_is_listed(tmp_path, cell, column, kind):
    rows = rows_of(seeded_bars())
    rows[40][column] = cell
    vetted = read(tmp_path, rows)
    assert kinds(vetted) == {kind: "repaired"}
    assert len(vetted.bars) == 299
    assert vetted.defects[0].count == 1


@pytest.mark.parametrize("cell", ["", "0", "-1"])
def test_too_many_bad_cells_refuse_the_stock(tmp_path, cell):
    rows = rows_of(seeded_bars())
    for at in range(0, 300, 50):
        rows[at][4] = cell
    vetted = read(tmp_path, rows)
    assert vetted.bars is None
    assert "6 of 300 bars cannot be used" in vetted.refusal


def test_a_bar_of_a_day_to_come_is_left_out_and_a_future_refused():
    bars = seeded_bars()
    last = int(bars.day[-1])
    assert vet(raw_of(bars), day_max=last).defects == ()
    vetted = vet(raw_of(bars), day_max=last - 1)
    assert kinds(vetted) == {"future_day": "repaired"}
    assert len(vetted.bars) == 299
    assert vetted.bars.day[-1] < last
    to_come = vet(raw_of(bars), day_max=int(bars.day[0]) - 1)
    assert to_come.bars is None
    assert "300 of 300 bars cannot be used (a day that has not come yet)" in to_come.refusal


def test_tomorrow_is_the_last_day_a_bar_may_have():
    day = 20_000
    assert [latest_day(day * 86_400 + second) for second in (0, 86_399)] == [day + 1] * 2


def test_days_out_of_order_are_sorted(tmp_path):
    rows = rows_of(seeded_bars())
    shuffled = [*rows[150:], *rows[:150]]
    vetted = read(tmp_path, shuffled)
    assert kinds(vetted) == {"unsorted": "repaired"}
    assert np.array_equal(vetted.bars.close, seeded_bars().close)
    assert (np.diff(vetted.bars.day) > 0).all()


def test_equal_duplicates_are_kept_once_and_others_refused(tmp_path):
    rows = rows_of(seeded_bars())
    vetted = read(tmp_path, [*rows[:20], rows[19], *rows[20:]])
    assert kinds(vetted) == {"duplicate_day": "repaired"}
    assert len(vetted.bars) == 300
    other = [*rows[19][:4], "77.7", rows[19][5]]
    vetted = read(tmp_path, [*rows[:20], other, *rows[20:]])
    assert vetted.bars is None
    assert "1 duplicate days with different values" in vetted.refusal


@pytest.mark.parametrize("missing", ["open", "close", "volume", "date"])
def test_a_missing_column_is_named(tmp_path, missing):
    head = ("date", "open", "high", "low", "close", "volume")
    at = head.index(missing)
    rows = [[cell for place, cell in enumerate(row) if place != at]
            for row in rows_of(seeded_bars())]  # fmt: skip
    vetted = read(tmp_path, rows, [name for name in head if name != missing])
    assert vetted.bars is None
    assert vetted.refusal == f"missing column {missing}"


@pytest.mark.parametrize(
    ("count", "words"), [(0, "no bars"), (1, "only 1 bar"), (30, "only 30 bars")]
)
def test_too_few_bars_are_refused(tmp_path, count, words):
    vetted = read(tmp_path, rows_of(seeded_bars())[:count])
    assert vetted.bars is None
    assert words in vetted.refusal


def test_a_wrong_close_is_left_out():
    bars = seeded_bars()
    wrong = changed(bars.close, 100, bars.close[100] / 10)
    vetted = vet(raw_of(bars, close=wrong, low=changed(bars.low, 100, wrong[100])))
    assert kinds(vetted) == {"wrong_close": "repaired"}
    assert len(vetted.bars) == 299
    assert bars.day[100] not in vetted.bars.day


def test_a_real_crash_stays():
    bars = seeded_bars()
    scale = np.where(np.arange(300) < 100, 1.0, 0.43)
    fallen = {name: getattr(bars, name) * scale for name in PRICES}
    vetted = vet(raw_of(bars, **fallen))
    assert vetted.defects == ()
    assert len(vetted.bars) == 300
    within_a_day = changed(fallen["open"], 100, bars.open[100])
    high = changed(fallen["high"], 100, bars.high[100])
    vetted = vet(raw_of(bars, **{**fallen, "open": within_a_day, "high": high}))
    assert vetted.defects == ()
    assert len(vetted.bars) == 300


def test_a_range_that_does_not_hold_its_closes_is_widened_or_refused():
    bars = seeded_bars()
    high = changed(bars.high, [10, 11], np.maximum(bars.open, bars.close)[[10, 11]] * 0.999)
    vetted = vet(raw_of(bars, high=high))
    assert kinds(vetted) == {"range_broken": "repaired"}
    assert (vetted.bars.high >= np.maximum(vetted.bars.open, vetted.bars.close)).all()
    vetted = vet(raw_of(bars, high=bars.low * 0.9))
    assert vetted.bars is None
    assert "high or low does not hold open and close" in vetted.refusal


def test_bad_volume_is_none():
    bars = seeded_bars()
    vetted = vet(raw_of(bars, volume=changed(bars.volume, [5, 6], [np.nan, -3])))
    assert kinds(vetted) == {"bad_volume": "repaired", "zero_volume": "noted"}
    assert list(vetted.bars.volume[5:7]) == [0, 0]


def test_an_unadjusted_split_is_refused_or_repaired_by_its_action():
    bars = seeded_bars(adjusted=False)
    scale = np.where(np.arange(300) < 100, 1.0, 0.5)
    opens = (bars.close * 1.0)[99] * 0.5
    split = {name: getattr(bars, name) * scale for name in PRICES}
    split["open"] = changed(split["open"], 100, opens)
    split["low"], split["high"] = split["low"] * 0.97, split["high"] * 1.03
    plain = raw_of(bars, adjusted=False, **split)
    vetted = vet(plain)
    assert vetted.bars is None
    assert "unadjusted, and prices jump like a split" in vetted.refusal
    mended = vet(raw_of(bars, adjusted=False, factors=((int(bars.day[100]), 0.5),), **split))
    assert kinds(mended) == {"adjusted": "repaired"}
    assert mended.bars.adjusted
    assert mended.bars.close[99] == pytest.approx(bars.close[99] * 0.5)
    assert mended.bars.volume[99] == pytest.approx(bars.volume[99] * 2)
    assert kinds(vet(raw_of(bars, adjusted=True, **split))) == {"split_suspected": "noted"}


def test_series_know_whether_they_are_adjusted():
    bars = seeded_bars()
    assert vet(raw_of(bars, adjusted=False)).bars.adjusted is False
    unstated = vet(raw_of(bars, adjusted=None))
    assert unstated.bars.adjusted is True
    assert kinds(unstated) == {"adjustment_unstated": "noted"}


def test_holes_and_standing_prices():
    bars = seeded_bars()
    vetted = vet(raw_of(bars, close=np.full(300, 50.0), high=bars.high + 99, low=bars.low * 0.1))
    assert "the close does not move for 300 bars" in vetted.refusal
    late = RawSeries(
        "AAA", raw_of(bars).columns, bars.day + np.where(bars.day > bars.day[99], 15, 0)
    )
    assert kinds(vet(late))["gap"] == "noted"
    far = RawSeries(
        "AAA", raw_of(bars).columns, bars.day + np.where(bars.day > bars.day[99], 400, 0)
    )
    assert "no bars for" in vet(far).refusal


def test_the_rules_can_be_set():
    bars = seeded_bars(count=30)
    assert vet(raw_of(bars), VettingRules(bars_min=30)).bars is not None


def test_the_page_names_every_defect_and_no_other():
    root = Path(__file__).resolve().parents[3]
    source = (root / "src/tradebox/backtest/data/vetting.py").read_text()
    made = set(re.findall(r"_(?:note|drop|refuse)\(\s*\"([a-z_]+)\"", source))
    made |= set(re.findall(r"\(\"([a-z_]+)\", is_", source))
    page = (root / "docs/backtest-data.md").read_text()
    assert set(re.findall(r"^\| `([a-z_]+)` \|", page, re.MULTILINE)) - {"sample"} == made
