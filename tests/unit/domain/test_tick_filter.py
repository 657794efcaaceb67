"""The sanity filter, case by case."""

from dataclasses import replace

import pytest

from support.ticks import LIMITS, T0, USD, Filter, S, tick
from tradebox.config import FilterSettings
from tradebox.domain.filter_checks import PRICE_MICROS_MAX
from tradebox.domain.market import Quality, Source
from tradebox.domain.tick_filter import (
    Check,
    FilterLimits,
    SymbolState,
    Verdict,
    fingerprint,
    judge,
    with_previous_close,
)


@pytest.fixture
def quiet():
    """A filter that has seen thirty quiet seconds at 100 USD."""
    made = Filter()
    made.settle()
    assert made.state.last_price_micros == 100 * USD + 10_000
    return made


@pytest.mark.parametrize(
    ("one", "check"),
    [
        (tick(0), Check.SENTINEL),
        (tick(-1), Check.SENTINEL),
        (tick(-7), Check.PRICE),
        (replace(tick(1), price_micros=PRICE_MICROS_MAX), Check.PRICE),
        (tick(100, size=-1), Check.SIZE),
        (tick(100, 2.001, recv_s=0), Check.FUTURE),
    ],
)
def test_what_cannot_be_a_price_is_dropped_without_a_trace(quiet, one, check):
    moved = replace(one, event_ns=one.event_ns + 30 * S, recv_ns=one.recv_ns + 30 * S)
    before = quiet.state
    judged = quiet.take(moved)
    assert (judged.verdict, judged.check) == (Verdict.DROP, check)
    assert quiet.state == before


def test_a_symbol_nobody_asked_for_is_dropped():
    _, judged = judge(None, tick(100), LIMITS)
    assert (judged.verdict, judged.check) == (Verdict.DROP, Check.SUBSCRIBED)


def test_an_ordinary_tick_is_live(quiet):
    judged = quiet.see(100.02, 31)
    assert judged == (Verdict.ACCEPT, Check.NONE, Quality.LIVE)


def test_the_future_is_allowed_up_to_its_limit(quiet):
    assert quiet.see(100, 33, recv_s=31).passes
    assert quiet.see(100, 33.001, recv_s=31).check is Check.FUTURE


def test_the_same_print_counts_once(quiet):
    assert quiet.see(100, 31).passes
    again = quiet.see(100, 31)
    assert (again.verdict, again.check) == (Verdict.DROP, Check.DUPLICATE)
    assert quiet.see(100, 31, size=101).passes


def test_an_old_print_is_forgotten_after_the_window(quiet):
    quiet.see(100, 31)
    for n in range(8):
        quiet.see(100, 31.5 + n / 2)
    assert quiet.see(100, 34.99, size=7).passes
    assert all(seen[0] >= T0 + 33 * S - S // 2 for seen in quiet.state.seen)


def test_a_burst_in_falling_time_passes_but_a_late_tick_does_not(quiet):
    for place in range(4):
        assert quiet.see(100, 31 - place / 10, size=place).passes
    assert quiet.state.last_event_ns == T0 + 31 * S
    late = quiet.see(100, 29.9)
    assert (late.verdict, late.check) == (Verdict.DROP, Check.LATE)


def test_transport_limits_grow_with_the_clock_and_spans_do_not():
    limits = FilterLimits.of(FilterSettings(), speed=20)
    assert limits.future_ns_max == 20 * LIMITS.future_ns_max
    assert limits.late_ns_max == 20 * LIMITS.late_ns_max
    assert limits.stale_ns_max == 20 * LIMITS.stale_ns_max
    assert limits.confirm_span_ns == LIMITS.confirm_span_ns
    assert limits.hold_ns_max == LIMITS.hold_ns_max
    assert FilterLimits.of(FilterSettings(), speed=0.1) == LIMITS


def test_half_a_second_of_latency_at_speed_twenty_is_live():
    made = Filter(limits=FilterLimits.of(FilterSettings(), speed=20))
    end_s = made.settle()
    assert made.see(100, end_s, recv_s=end_s + 10) == (Verdict.ACCEPT, Check.NONE, Quality.LIVE)


def test_an_old_event_passes_as_stale(quiet):
    judged = quiet.see(100, 31, recv_s=46.001)
    assert judged == (Verdict.FLAG, Check.STALE, Quality.STALE)
    assert quiet.see(100, 31.5, recv_s=46.5).quality is Quality.LIVE


def test_outside_the_session_a_price_is_closed(quiet):
    judged = quiet.see(100, 31, is_open=False)
    assert judged == (Verdict.FLAG, Check.SESSION, Quality.CLOSED)
    assert quiet.see(100, 31.5, is_open=True).quality is Quality.LIVE
    assert quiet.see(100, 32, is_open=None).quality is Quality.LIVE


@pytest.mark.parametrize("factor", [0.1, 0.5, 0.97, 0.995, 1.005, 1.03, 1.5, 10])
def test_an_isolated_jump_is_held_and_the_next_ordinary_tick_clears_it(quiet, factor):
    before = quiet.state
    judged = quiet.see(100 * factor, 31)
    assert (judged.verdict, judged.check) == (Verdict.HOLD, Check.SPIKE)
    assert quiet.state.last_price_micros == before.last_price_micros
    assert quiet.see(100, 31.5) == (Verdict.ACCEPT, Check.NONE, Quality.LIVE)
    assert quiet.state.held == ()


def test_three_copies_of_one_bad_print_confirm_nothing(quiet):
    assert quiet.see(150, 31).verdict is Verdict.HOLD
    assert quiet.see(150, 31).check is Check.DUPLICATE
    assert quiet.see(150, 31).check is Check.DUPLICATE
    assert len(quiet.state.held) == 1


def test_a_new_level_is_accepted_after_three_ticks_over_two_seconds_unconfirmed(quiet):
    assert quiet.see(110, 31).verdict is Verdict.HOLD
    assert quiet.see(110.1, 31.5).verdict is Verdict.HOLD
    assert quiet.see(110, 32.9).verdict is Verdict.HOLD
    judged = quiet.see(110.2, 33)
    assert judged == (Verdict.FLAG, Check.REGIME, Quality.UNCONFIRMED)
    for n in range(59):
        assert quiet.see(110.1, 33.5 + n / 2).quality is Quality.UNCONFIRMED
    assert quiet.see(110.1, 63).quality is Quality.LIVE
    assert quiet.see(100, 64).verdict is Verdict.HOLD


def test_a_burst_that_outlasts_the_unconfirmed_time_is_live_only_after_sixteen_prices(quiet):
    judged = [quiet.see(150, 31 + n / 2).quality for n in range(6)]
    judged += [quiet.see(150, 80 + n / 2).quality for n in range(11)]
    assert Quality.LIVE not in judged[:15]
    assert judged[-1] is Quality.LIVE


def test_ticks_that_disagree_confirm_nothing(quiet):
    for n, price in enumerate([110, 111, 112, 113, 114, 115]):
        assert quiet.see(price, 31 + n).verdict is Verdict.HOLD


def test_more_than_half_needs_twice_the_ticks(quiet):
    for n in range(5):
        assert quiet.see(40, 31 + n).verdict is Verdict.HOLD
    assert quiet.see(40, 36).quality is Quality.UNCONFIRMED


def test_the_old_level_is_unconfirmed_once_while_two_wait_at_another(quiet):
    quiet.see(110, 31)
    assert quiet.see(100, 31.5).quality is Quality.LIVE
    quiet.see(110, 32)
    quiet.see(110, 32.5)
    assert quiet.see(100, 33) == (Verdict.FLAG, Check.CONTESTED, Quality.UNCONFIRMED)
    assert quiet.see(100, 33.5).quality is Quality.LIVE


def test_a_hold_expires_by_the_pace_of_its_symbol(quiet):
    quiet.see(110, 31)
    quiet.see(110, 32)
    assert quiet.see(110, 200).verdict is Verdict.HOLD
    assert len(quiet.state.held) == 1


def test_a_symbol_that_ticks_each_minute_takes_a_new_level_after_three_ticks():
    made = Filter()
    end_s = made.settle(count=40)
    for n in range(20):
        made.see(100, end_s + 60 * n, size=200 + n)
    end_s += 60 * 19
    verdicts = [made.see(110, end_s + 60 * n).verdict for n in (1, 2, 3)]
    assert verdicts == [Verdict.HOLD, Verdict.HOLD, Verdict.FLAG]


def test_a_second_source_confirms_at_once_and_makes_it_live(quiet):
    assert quiet.see(110, 31).verdict is Verdict.HOLD
    judged = quiet.see(110.1, 31.01, source=Source.IB)
    assert judged == (Verdict.ACCEPT, Check.NONE, Quality.LIVE)


def test_a_second_source_ends_an_unconfirmed_level(quiet):
    for n in range(3):
        quiet.see(110, 31 + n)
    assert quiet.see(110, 34).quality is Quality.UNCONFIRMED
    assert quiet.see(110.1, 34.5, source=Source.IB).quality is Quality.LIVE
    assert quiet.see(110, 35).quality is Quality.LIVE


def test_two_sources_more_than_half_away_still_need_twice_the_ticks(quiet):
    for n in range(5):
        source = Source.IB if n % 2 else Source.FINNHUB
        assert quiet.see(300, 31 + n / 20, source=source).verdict is Verdict.HOLD
    assert quiet.see(300, 31.25, source=Source.IB).quality is Quality.LIVE


def test_the_first_tick_near_the_previous_close_is_live():
    made = Filter(with_previous_close(SymbolState(), 100 * USD))
    assert made.see(101, 0).quality is Quality.LIVE


def test_a_first_tick_not_quite_near_needs_one_more_that_agrees():
    made = Filter(with_previous_close(SymbolState(), 100 * USD))
    assert made.see(102.9, 0).check is Check.FIRST
    assert made.see(102.9, 0.1, size=7).verdict is Verdict.HOLD
    assert made.see(102.9, 0.2).quality is Quality.LIVE


def test_the_first_tick_far_from_the_previous_close_is_held_then_unconfirmed():
    made = Filter(with_previous_close(SymbolState(), 100 * USD))
    assert made.see(103.1, 0) == (Verdict.HOLD, Check.FIRST, Quality.SUSPECT)
    assert made.see(103.1, 1).verdict is Verdict.HOLD
    assert made.see(103.1, 2).quality is Quality.UNCONFIRMED


def test_with_nothing_known_three_agreeing_ticks_begin_a_level():
    made = Filter()
    assert [made.see(50, at).verdict for at in (0, 1)] == [Verdict.HOLD] * 2
    assert made.see(50.1, 2).quality is Quality.LIVE


def test_after_a_long_gap_only_a_large_move_is_held(quiet):
    assert quiet.see(100.9, 30 + 601).passes
    other = Filter()
    end_s = other.settle()
    assert other.see(103.5, end_s + 601).verdict is Verdict.HOLD


def test_a_moving_market_is_not_held():
    made = Filter(with_previous_close(SymbolState(), 100 * USD))
    price, held = 100.0, 0
    for n in range(600):
        price *= 1 + (0.0006 if n % 5 else -0.0008)
        held += made.see(price, n / 2, size=n).verdict is Verdict.HOLD
    assert price > 115
    assert held == 0


def test_equal_states_have_equal_fingerprints_and_others_do_not(quiet):
    other = Filter()
    other.settle()
    assert fingerprint({"SPY": quiet.state}) == fingerprint({"SPY": other.state})
    other.see(100, 31)
    assert fingerprint({"SPY": quiet.state}) != fingerprint({"SPY": other.state})
    assert fingerprint({"SPY": quiet.state}) != fingerprint({"QQQ": quiet.state})
