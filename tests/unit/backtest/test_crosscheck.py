"""Two sources of one stock: factors do not matter, returns and missing days do."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebox.backtest.data.crosscheck import cross_check
from tradebox.backtest.data.series import NO_DAY, RawSeries

DAYS = np.arange(19_000, 19_400, dtype=np.int32)
CLOSE = 100 * np.exp(np.cumsum(np.random.default_rng(7).normal(0, 0.01, len(DAYS))))


def raw(close=CLOSE, day=DAYS, **fields):
    return RawSeries("A", {"close": np.asarray(close, float)}, np.asarray(day), **fields)


@given(factor=st.floats(0.01, 100), first=st.integers(0, 50), last=st.integers(300, 400))
def test_holds_a_series_agrees_with_itself_times_any_factor(factor, first, last):
    found = cross_check(raw(), raw(CLOSE[first:last] * factor, DAYS[first:last]))
    assert found.word == "agrees"
    assert (found.off_days, found.missing_ours, found.missing_theirs) == (0, 0, 0)
    assert found.days == last - first
    assert found.level == pytest.approx(factor, rel=1e-4)


def test_a_wrong_close_is_two_days_off_and_named():
    theirs = CLOSE.copy()
    theirs[200] *= 1.1
    found = cross_check(raw(), raw(theirs))
    assert (found.word, found.off_days) == ("agrees", 2)
    assert [one.day for one in found.worst] == ["2022-07-27", "2022-07-28"]
    assert found.worst[0].theirs - found.worst[0].ours == pytest.approx(0.1, abs=0.01)


def test_an_unadjusted_split_and_noise_differ():
    theirs = CLOSE * np.where(np.arange(len(CLOSE)) % 40 == 0, 1.01, 1.0)
    assert cross_check(raw(), raw(theirs)).word == "differs"


def test_missing_days_are_counted_on_both_sides_inside_the_common_span():
    ours, theirs = np.delete(np.arange(400), range(50, 60)), np.delete(np.arange(400), [70, 71])
    found = cross_check(raw(CLOSE[ours], DAYS[ours]), raw(CLOSE[theirs], DAYS[theirs]))
    assert (found.missing_ours, found.missing_theirs) == (10, 2)
    assert found.word == "differs"
    assert found.off_days == 0, "a gap is no return"


def test_a_sources_own_factors_are_applied():
    jump = 200
    theirs = np.where(np.arange(len(CLOSE)) < jump, CLOSE * 4, CLOSE)
    plain = raw(theirs, adjusted=False)
    known = raw(theirs, adjusted=False, factors=((int(DAYS[jump]), 0.25),))
    assert cross_check(raw(), plain).off_days == 1
    assert cross_check(raw(), known).off_days == 0


def test_values_that_are_none_do_not_count():
    close, day = CLOSE.copy(), DAYS.copy()
    close[5], close[6], close[7], day[8] = np.nan, 0.0, -1.0, NO_DAY
    found = cross_check(raw(close, day), raw())
    assert (found.missing_ours, found.word) == (4, "differs")


@pytest.mark.parametrize(
    "theirs",
    [
        RawSeries("A", problem="no such series"),
        raw(CLOSE[:1], DAYS[:1]),
        raw(CLOSE, DAYS + 5000),
        raw([], np.empty(0, np.int32)),
        RawSeries("A", {}, DAYS),
    ],
)
def test_no_overlap_says_so(theirs):
    found = cross_check(raw(), theirs)
    assert found.word == "no overlap"
    assert found.problem
