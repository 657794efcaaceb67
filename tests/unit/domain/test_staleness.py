"""How old a price may be: by hours, by source, by how often the symbol trades."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.ticks import S
from tradebox.config import FilterSettings, TierSettings
from tradebox.domain.market import Session, Source
from tradebox.domain.staleness import AgeLimits, Hours, hours_at, usual_gap_ns

LIMITS = AgeLimits.of(TierSettings(), FilterSettings())


def at(text):
    """UTC nanoseconds of a moment; New York is four hours behind in summer, five in winter."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


WEEK = (
    Session("XNYS", "2026-11-25", at("2026-11-25T14:30"), at("2026-11-25T21:00")),
    Session("XNYS", "2026-11-27", at("2026-11-27T14:30"), at("2026-11-27T18:00"), True),
    Session("XNYS", "2026-11-30", at("2026-11-30T14:30"), at("2026-11-30T21:00")),
)


@pytest.mark.parametrize(
    ("moment", "hours"),
    [
        ("2026-11-25T08:59", Hours.CLOSED),
        ("2026-11-25T09:00", Hours.PRE),
        ("2026-11-25T14:29", Hours.PRE),
        ("2026-11-25T14:30", Hours.REGULAR),
        ("2026-11-25T20:59", Hours.REGULAR),
        ("2026-11-25T21:00", Hours.POST),
        ("2026-11-26T00:59", Hours.POST),
        ("2026-11-26T01:00", Hours.CLOSED),
        ("2026-11-26T15:00", Hours.CLOSED),
        ("2026-11-27T17:59", Hours.REGULAR),
        ("2026-11-27T18:00", Hours.POST),
        ("2026-11-27T21:59", Hours.POST),
        ("2026-11-27T22:00", Hours.CLOSED),
        ("2026-11-28T15:00", Hours.CLOSED),
    ],
    ids=str,
)
def test_the_hours_of_thanksgiving_week(moment, hours):
    assert hours_at(WEEK, at(moment)) is hours


def test_hours_that_nobody_knows_count_as_regular():
    assert hours_at(WEEK, at("2027-06-01T15:00"), is_known=False) is Hours.UNKNOWN
    assert Hours.UNKNOWN.is_regular


@pytest.mark.parametrize(
    ("source", "gap_s", "limit_s"),
    [
        (Source.FINNHUB, 0, 15),
        (Source.FINNHUB, 0.5, 15),
        (Source.FINNHUB, 4, 40),
        (Source.FINNHUB, 60, 120),
        (Source.IB, 0.2, 5),
        (Source.IB, 30, 60),
        (Source.YAHOO, 60, 90),
    ],
)
def test_the_limit_of_a_symbol_follows_its_own_silence(source, gap_s, limit_s):
    gap_ns = round(gap_s * S)
    assert LIMITS.limit_ns(source, gap_ns, Hours.REGULAR, is_up=True) == limit_s * S


def test_a_provider_that_is_not_well_has_no_patience():
    assert LIMITS.limit_ns(Source.FINNHUB, 60 * S, Hours.REGULAR, is_up=False) == 15 * S


def test_outside_the_session_the_limit_is_wide_and_at_night_there_is_none():
    assert LIMITS.limit_ns(Source.FINNHUB, S, Hours.PRE, is_up=True) == 600 * S
    assert LIMITS.limit_ns(Source.FINNHUB, S, Hours.POST, is_up=True) == 600 * S
    assert LIMITS.limit_ns(Source.FINNHUB, S, Hours.CLOSED, is_up=True) is None


def test_limits_grow_with_the_clocks_speed():
    fast = AgeLimits.of(TierSettings(), FilterSettings(), 20.0)
    assert fast.limit_ns(Source.FINNHUB, 0, Hours.REGULAR, is_up=True) == 300 * S


@given(st.sampled_from(list(Source)), st.integers(0, 10**12), st.integers(0, 10**12))
def test_limits_stand_within_bounds_and_never_fall_with_the_silence(source, one, other):
    rule = LIMITS.rules[source]
    low, high = sorted((one, other))
    first = LIMITS.limit_ns(source, low, Hours.REGULAR, is_up=True)
    second = LIMITS.limit_ns(source, high, Hours.REGULAR, is_up=True)
    assert rule.live_ns <= first <= second <= rule.quiet_ns


@given(st.lists(st.integers(1, 10**13), min_size=1, max_size=50))
def test_the_usual_silence_stays_within_what_was_seen(silences):
    gap_ns = 0
    for silence_ns in silences:
        gap_ns = usual_gap_ns(gap_ns, silence_ns)
        assert 0 < gap_ns <= min(max(silences), 600 * S)
