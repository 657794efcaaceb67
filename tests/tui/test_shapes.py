"""Figures drawn as characters: the strip of an hour, rates, histograms, ways, slippage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebox.backtest import store_encoding
from tradebox.readmodel.research import R_BIN
from tradebox_tui.order_rows import merged
from tradebox_tui.screens.feeds import Rates
from tradebox_tui.screens.orders import path_cell, slippage_cell
from tradebox_tui.screens.tree import STRIP_NS, strip
from tradebox_tui.text import MINUS
from tradebox_tui.widgets.run_plot import histogram

NOW = 10 * STRIP_NS


@given(st.lists(st.integers() | st.none() | st.text()), st.integers(1, 30))
def test_a_strip_has_its_cells_whatever_the_stamps(stamps, cells):
    assert len(strip(stamps, NOW, cells)) == cells


@pytest.mark.parametrize(
    ("ages", "shown"),
    [
        ([], "────"),
        ([0], "───●"),
        ([STRIP_NS - 1], "●───"),
        ([STRIP_NS], "────"),
        ([-1], "────"),
        ([1, 2, STRIP_NS // 2], "─●─2"),
        ([1] * 30, "───9"),
    ],
)
def test_a_strip_shows_when(ages, shown):
    assert strip([NOW - age for age in ages], NOW, 4) == shown


def test_rates_are_of_two_readings_and_never_negative():
    rates = Rates()
    for at_s, ticks in ((0, 100), (2, 120), (2, 120), (4, 120), (6, 5)):
        rates.take([{"symbol": "X", "ticks": ticks}, {"symbol": "Y"}], at_s * 1_000_000_000)
    assert list(rates.of("X")) == [10.0, 0.0, 0.0]
    assert list(rates.of("Y")) == []


BINS = st.dictionaries(st.integers(-12, 40), st.integers(1, 900), min_size=1)


@given(BINS, st.integers(1, 60))
def test_a_histogram_counts_every_trade_and_no_row_crosses_zero(counts, height):
    lines = histogram(list(counts.items()), R_BIN, 60, height)
    assert sum(int(line[-1][0]) for line in lines) == sum(counts.values())
    assert len(lines) <= max(2, height)
    for line in lines:
        low, _, high = line[0][0].split()
        assert float(low) >= 0 or float(high) <= 0
        assert line[1][1] == ("good" if float(low) >= 0 else "bad")


def test_bins_are_as_wide_as_those_that_are_stored():
    assert R_BIN == store_encoding.R_BIN
    r = np.array([-9.0, -1.0, -0.01, 0.0, 0.24, 0.25, 99.0, np.nan])
    assert store_encoding.r_bins(r) == {"-12": 1, "-4": 1, "-1": 1, "0": 2, "1": 1, "40": 1}
    assert store_encoding.r_bins(r[:0]) == {}


def order(ref, first_ns, **more):
    return {"order_ref": ref, "first_ns": first_ns, "state": "working", "path": ["working"], **more}


def test_what_the_engine_tells_stands_over_what_the_books_keep():
    kept = [
        order("a", 1, state="filled", path=["sending", "filled"]),
        order("b", 2, path=["sending", "acked", "working"], fill_quantity=40, average_price="9"),
    ]
    told = [
        order("c", 5),
        order("b", 7, state="partial", path=["partial"], fill_quantity=0, average_price=None),
    ]
    rows = merged(kept, told)
    assert [row["order_ref"] for row in rows] == ["a", "b", "c"]
    assert rows[1]["path"] == ["sending", "acked", "working", "partial"]
    assert (rows[1]["state"], rows[1]["first_ns"]) == ("partial", 2)
    assert (rows[1]["fill_quantity"], rows[1]["average_price"]) == (40, "9")
    assert merged([], told) == told
    assert [row["order_ref"] for row in merged(kept, [])] == ["a", "b"]


REFS = st.lists(st.integers(0, 30), unique=True)


@given(REFS, REFS)
def test_every_order_is_listed_once(kept, told):
    rows = merged([order(str(at), at) for at in kept], [order(str(at), 30 - at) for at in told])
    assert sorted(row["order_ref"] for row in rows) == sorted({str(at) for at in (*kept, *told)})


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ({"state": "filled", "path": ["sending", "acked", "filled"]}, "Sent→Ack→Filled"),
        ({"state": "rejected", "path": ["sending"]}, "Sent→Rej"),
        ({"state": "working"}, "Work"),
        ({"state": "odd", "path": []}, "odd"),
    ],
)
def test_the_way_ends_where_the_order_is(row, shown):
    assert "".join(text for text, _ in path_cell(row)) == shown


@pytest.mark.parametrize(
    ("side", "paid", "shown", "style"),
    [
        ("BUY", "100.10", "+0.10", "bad"),
        ("SELL", "100.10", f"{MINUS}0.10", "good"),
        ("SELL", "99.90", "+0.10", "bad"),
        ("BUY", "100.00", "+0.00", ""),
        ("BUY", None, "·", "dim"),
    ],
)
def test_slippage_is_worse_when_positive(side, paid, shown, style):
    row = {"side": side, "average_price": paid, "reference_price": "100.00"}
    assert slippage_cell(row) == (shown, style)
