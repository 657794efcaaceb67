"""Indicators, sizes and sessions, against hand figures and their stated properties."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebox.domain.indicators import true_range, wilder_atr
from tradebox.domain.market import Bar, Session
from tradebox.domain.orders import Side
from tradebox.domain.session import next_close_ns, session_at
from tradebox.domain.sizing import size_by_r, stop_below, towards_profit

CENT = Decimal("0.01")
prices = st.decimals("1", "5000", places=2)


def bars(*rows: tuple[str, str, str]) -> list[Bar]:
    return [
        Bar("X", 60, i, Decimal(c), Decimal(h), Decimal(low), Decimal(c), 1)
        for i, (h, low, c) in enumerate(rows)
    ]


HAND = bars(("10", "9", "9.5"), ("11", "10", "10.5"), ("10.6", "9.4", "9.6"),
            ("12", "11", "11.5"), ("11.8", "11.2", "11.4"))  # fmt: skip


def test_true_range_counts_the_gap():
    assert true_range(HAND[1], Decimal("9.5")) == Decimal("1.5")
    assert true_range(HAND[2], Decimal("10.5")) == Decimal("1.2")
    assert true_range(HAND[3], Decimal("9.6")) == Decimal("2.4")


def test_wilder_atr_by_hand():
    # True ranges 1.5, 1.2, 2.4, 0.6; the first average is (1.5 + 1.2) / 2 = 1.35,
    # then (1.35 + 2.4) / 2 = 1.875, then (1.875 + 0.6) / 2 = 1.2375.
    assert wilder_atr(HAND, 2) == Decimal("1.2375")
    assert wilder_atr(HAND, 4) == Decimal("1.425")
    assert wilder_atr(HAND, 5) is None
    assert wilder_atr([], 1) is None


@given(prices, prices, st.decimals("0", "100000", places=2))
def test_size_by_r_is_the_largest_that_stays_within_the_risk(entry, stop, risk):
    if entry == stop:
        with pytest.raises(AssertionError):
            size_by_r(entry, stop, risk)
        return
    size = size_by_r(entry, stop, risk)
    distance = abs(entry - stop)
    assert size * distance <= risk < (size + 1) * distance


@given(prices, st.decimals("0.001", "50", places=3), st.sampled_from(Side))
def test_a_stop_is_rounded_away_from_the_entry(entry, distance, side):
    stop = stop_below(entry, distance, side, CENT)
    assert stop % CENT == 0
    assert distance <= side.sign * (entry - stop) < distance + CENT


@given(st.decimals("1", "5000", places=5), st.sampled_from(Side))
def test_break_even_is_rounded_to_the_winning_side(price, side):
    moved = towards_profit(price, side, CENT)
    assert 0 <= side.sign * (moved - price) < CENT


def test_sessions():
    rows = [Session("X", "b", 100, 200), Session("X", "a", 10, 20)]
    assert session_at(rows, 10) == rows[1]
    assert session_at(rows, 20) is None
    assert [next_close_ns(rows, t) for t in (0, 10, 20, 199, 200)] == [20, 20, 200, 200, None]
