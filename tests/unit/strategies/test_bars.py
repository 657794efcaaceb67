"""Cuts of a series: views that reach nothing beyond their end."""

import os
import subprocess
import sys

import numpy as np
import pytest

from support.price_series import walk
from tradebox.strategies.indicators import Indicators


def test_a_cut_shares_its_memory_and_knows_no_more():
    bars = walk(1, 100)
    part = bars.cut(40)
    assert len(part) == 40
    assert np.shares_memory(part.close, bars.close)
    assert part.close.base is not None
    assert part.symbol == bars.symbol
    assert (part.adjusted, part.currency) == (bars.adjusted, bars.currency)


def test_a_slice_begins_where_it_says():
    bars = walk(1, 100)
    assert bars.slice(10, 20).day.tolist() == bars.day[10:20].tolist()


def test_a_slice_backwards_is_a_bug():
    with pytest.raises(AssertionError):
        walk(1, 10).slice(5, 2)


def test_an_indicator_is_computed_once():
    indicators = Indicators(walk(1, 100))
    assert indicators.sma(5) is indicators.sma(5)
    assert indicators.sma(5) is not indicators.sma(6)


def test_ranges_end_one_bar_earlier():
    indicators = Indicators(walk(1, 60))
    high, low = indicators.bars.high, indicators.bars.low
    assert indicators.highest(10)[30] == high[20:30].max()
    assert indicators.lowest(10)[30] == low[20:30].min()


def test_a_period_longer_than_the_series_is_unknown():
    assert np.isnan(Indicators(walk(1, 5)).atr(14)).all()


def test_no_data_frames_are_loaded_for_an_indicator():
    code = (
        "import sys, numpy as np; from tradebox.strategies.bars import Bars\n"
        "from tradebox.strategies.indicators import Indicators\n"
        "a = np.arange(1.0, 40.0); b = Bars('A', a.astype(np.int32), a, a, a, a, a)\n"
        "Indicators(b).sma(5)\n"
        "print([m for m in ('pandas', 'polars') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert found.stdout.strip() == "[]"
