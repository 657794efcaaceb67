"""One provider's breaker: when it opens, how long, and what closes it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.ticks import T0, S
from tradebox.domain.breaker import (
    CALLS_KEPT,
    Breaker,
    BreakerLimits,
    BreakerState,
    ProviderKind,
    ProviderTold,
    passed,
    pause_ns,
    probed,
    told,
)
from tradebox.domain.market import Source

LIMITS = BreakerLimits()
COUNTED = BreakerLimits(is_probed=False)
OK, FAILED = ProviderKind.OK, ProviderKind.FAILED


def after(breaker, *kinds, at_s=0.0, step_s=1.0, symbol="", limits=LIMITS):
    for place, kind in enumerate(kinds):
        at_ns = T0 + round((at_s + place * step_s) * S)
        breaker = told(breaker, ProviderTold(Source.YAHOO, kind, at_ns, symbol), limits)
    return breaker


def test_five_failures_in_half_a_minute_open_it():
    four = after(Breaker(), *[FAILED] * 4)
    assert four.is_usable
    assert after(four, FAILED, at_s=4).state is BreakerState.OPEN
    assert after(four, FAILED, at_s=40).is_usable, "the four were long ago"


def test_more_than_half_of_ten_calls_failing_opens_it():
    wide = BreakerLimits(failures_max=100)
    even = [OK, FAILED] * 5
    assert after(Breaker(), *even, limits=wide).is_usable
    assert after(Breaker(), *even, FAILED, limits=wide).state is BreakerState.OPEN
    assert after(Breaker(), *[FAILED] * 9, limits=wide).is_usable, "too few calls to judge"


def test_too_many_calls_count_as_failures_and_one_symbol_never():
    assert after(Breaker(), *[ProviderKind.THROTTLED] * 5).state is BreakerState.OPEN
    assert after(Breaker(), *[ProviderKind.FORBIDDEN] * 50, symbol="X") == Breaker()


def test_a_refused_key_is_down_without_being_tried_and_an_answer_lifts_it():
    refused = after(Breaker(), ProviderKind.FORBIDDEN)
    assert not refused.is_usable
    assert refused.state is BreakerState.CLOSED
    assert after(refused, OK, at_s=9).is_usable


def test_a_refused_key_is_tried_once_an_hour():
    refused = after(Breaker(), ProviderKind.FORBIDDEN)
    hour_ns = T0 + 3600 * S
    assert not passed(refused, hour_ns - 1, LIMITS).is_usable
    again = passed(refused, hour_ns, LIMITS)
    assert again.is_usable
    still = after(again, ProviderKind.FORBIDDEN, at_s=3601)
    assert not passed(still, hour_ns + 3600 * S, LIMITS).is_usable
    assert passed(still, hour_ns + 3601 * S, LIMITS).is_usable


def test_a_lost_connection_is_down_at_once_and_up_again_with_the_next():
    lost = after(Breaker(), ProviderKind.OPENED, ProviderKind.CLOSED)
    assert not lost.is_usable
    assert lost.down_ns == T0 + S
    assert after(lost, ProviderKind.CLOSED, at_s=5) == lost, "told twice is one loss"
    back = after(lost, ProviderKind.OPENED, at_s=9)
    assert back.is_usable
    assert back.up_ns == T0 + 9 * S


def test_a_connection_that_is_lost_again_and_again_opens_it():
    flapping = [ProviderKind.OPENED, ProviderKind.CLOSED] * 5
    assert after(Breaker(), *flapping).state is BreakerState.OPEN


def open_at(at_s=4.0, limits=LIMITS):
    return after(Breaker(), *[FAILED] * 5, at_s=at_s - 4.0, limits=limits)


def test_a_pause_ends_in_half_open_and_three_fresh_probes_close_it():
    opened = open_at()
    assert passed(opened, opened.until_ns - 1, LIMITS) == opened
    half = passed(opened, opened.until_ns, LIMITS)
    assert half.state is BreakerState.HALF_OPEN
    assert not half.is_usable
    one = probed(half, half.until_ns, LIMITS, is_fresh=True)
    two = probed(one, half.until_ns + S, LIMITS, is_fresh=True)
    assert two.state is BreakerState.HALF_OPEN
    stale = probed(two, half.until_ns + S, LIMITS, is_fresh=False)
    assert stale.good == 0, "only fresh ones in a row count"
    closed = probed(two, half.until_ns + 2 * S, LIMITS, is_fresh=True)
    assert closed.is_usable
    assert closed.up_ns == half.until_ns + 2 * S


def test_an_ok_alone_does_not_close_half_open_and_a_failure_opens_it_for_longer():
    opened = open_at()
    half = passed(opened, opened.until_ns, LIMITS)
    at_s = (half.until_ns - T0) / S
    assert after(half, OK, at_s=at_s).state is BreakerState.HALF_OPEN
    again = after(half, FAILED, at_s=at_s)
    assert again.state is BreakerState.OPEN
    assert again.until_ns - half.until_ns > 1.9 * (opened.until_ns - T0 - 4 * S)


def test_where_calls_are_counted_time_alone_closes_it():
    opened = open_at(limits=COUNTED)
    closed = passed(opened, opened.until_ns, COUNTED)
    assert closed.is_usable
    again = after(closed, *[FAILED] * 5, at_s=(opened.until_ns - T0) / S, limits=COUNTED)
    assert again.pauses == 2, "soon after the pause it is the same trouble"


def test_after_a_quiet_minute_the_next_pause_is_short_again():
    opened = open_at(limits=COUNTED)
    closed = passed(opened, opened.until_ns, COUNTED)
    later_s = (opened.until_ns - T0) / S + 61
    assert after(closed, *[FAILED] * 5, at_s=later_s, limits=COUNTED).pauses == 1


@given(st.sampled_from(list(Source)), st.integers(1, 60))
def test_pauses_never_get_shorter_and_have_an_end(source, pauses):
    one, following = pause_ns(source, pauses, LIMITS), pause_ns(source, pauses + 1, LIMITS)
    assert one <= following <= 1.1 * LIMITS.pause_ns_max
    assert one >= LIMITS.pause_ns


@given(st.lists(st.tuples(st.sampled_from(list(ProviderKind)), st.integers(0, 40)), max_size=80))
def test_memory_is_bounded_and_good_news_never_opens(course):
    breaker, at_s = Breaker(), 0
    for kind, wait_s in course:
        at_s += wait_s
        breaker = passed(breaker, T0 + at_s * S, LIMITS)
        following = after(breaker, kind, at_s=at_s)
        if kind in (OK, ProviderKind.OPENED):
            assert (following.state is BreakerState.OPEN) == (breaker.state is BreakerState.OPEN)
        breaker = following
        assert len(breaker.calls) <= CALLS_KEPT
        assert hash(breaker) == hash(breaker._replace())


@pytest.mark.parametrize("kind", list(ProviderKind))
def test_an_open_breaker_stays_open_whatever_is_said(kind):
    assert after(open_at(), kind, at_s=5).state is BreakerState.OPEN
