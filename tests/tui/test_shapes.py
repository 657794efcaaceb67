"""Figures drawn as characters: the strip of an hour, rates, histograms, ways, slippage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=80), st.integers(1, 40))
def test_a_histogram_counts_every_value(values, height):
    lines = histogram(values, 60, height)
    assert sum(int(line[-1][0]) for line in lines) == len(values)


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
