"""The twenty checks of the sanity filter by their numbers: what passes, and what does not.

Numbers 3, 5, 6, 7, 13 and 14 have more cases in test_tick_filter.py.
"""

from dataclasses import replace

import pytest

from support.ticks import LIMITS, T0, USD, Filter, S, quote, tick
from tradebox.config import FilterSettings
from tradebox.domain.bar_check import Corners, bar_defect
from tradebox.domain.filter_sources import moved
from tradebox.domain.filter_values import (
    NOWHERE,
    NUMBER,
    Around,
    Band,
    Check,
    FilterLimits,
    KnownSplit,
    SymbolState,
    Verdict,
)
from tradebox.domain.luld import half_width
from tradebox.domain.market import Quality, Source
from tradebox.domain.splits import split_like
from tradebox.domain.tick_filter import (
    fingerprint,
    is_blocked,
    is_halted,
    judge,
    with_level_confirmed,
    with_previous_close,
    with_split,
)

HOURS = Around(T0 - 3600 * S, T0 + 5 * 3600 * S)
NIGHT_S = 17 * 3600.0


@pytest.fixture
def quiet():
    """A filter that has seen thirty quiet seconds at 100 USD, in regular hours."""
    made = Filter(around=HOURS)
    made.settle()
    return made


def limits(**changes):
    return FilterLimits.of(FilterSettings(**changes))


def test_every_number_from_one_to_twenty_is_there():
    assert set(NUMBER.values()) == set(range(1, 21))
    assert set(NUMBER) == set(Check) - {Check.NONE}


# --- 1, 2: type and sentinel --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price_micros", "check"),
    [
        (1, None),
        (999_999_999_999, None),
        (1_000_000_000_000, Check.PRICE),
        (-2, Check.PRICE),
        (0, Check.SENTINEL),
        (-1_000_000, Check.SENTINEL),
    ],
)
def test_1_and_2_a_price_is_positive_bounded_and_no_mark_for_none(price_micros, check):
    one = replace(tick(1), price_micros=price_micros)
    judged = Filter().take(one)
    assert judged.check == (Check.FIRST if check is None else check)


def test_1_an_unwanted_symbol_is_dropped():
    assert judge(None, tick(100), LIMITS)[1].check is Check.SUBSCRIBED


# --- 3: duplicates ------------------------------------------------------------------------------


def test_3_a_quote_is_the_same_only_with_the_same_sides(quiet):
    assert quiet.take(quote(99.99, 100.01, 31)).passes
    assert quiet.take(quote(99.99, 100.01, 31)).check is Check.DUPLICATE
    assert quiet.take(quote(99.98, 100.02, 31)).passes


# --- 4: future ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "ahead_s", "passes"),
    [
        (Source.FINNHUB, 2.0, True),
        (Source.FINNHUB, 2.001, False),
        (Source.YAHOO, 5.0, True),
        (Source.YAHOO, 5.001, False),
        (Source.IB, 4.0, True),
    ],
)
def test_4_sources_of_whole_seconds_may_be_further_ahead(quiet, source, ahead_s, passes):
    judged = quiet.see(100, 31 + ahead_s, recv_s=31, source=source)
    assert (judged.check is not Check.FUTURE) is passes


# --- 5: late ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "behind_s", "passes"),
    [
        (Source.FINNHUB, 1.0, True),
        (Source.FINNHUB, 1.001, False),
        (Source.IB, 2.0, True),
        (Source.IB, 2.001, False),
    ],
)
def test_5_a_source_of_whole_seconds_may_be_one_second_later(quiet, source, behind_s, passes):
    quiet.see(100, 31)
    judged = quiet.see(100, 31 - behind_s, source=source, size=7)
    assert (judged.check is not Check.LATE) is passes


# --- 6: freshness -------------------------------------------------------------------------------


def test_6_a_delayed_price_is_delayed_and_moves_no_live_level(quiet):
    before = quiet.state
    judged = quiet.take(tick(100.5, -900, recv_s=31, source=Source.ALPHAVANTAGE, delay_s=900))
    assert judged == (Verdict.FLAG, Check.DELAYED, Quality.DELAYED)
    assert quiet.state._replace(rest=before.rest) == before
    assert quiet.see(100, 31) == (Verdict.ACCEPT, Check.NONE, Quality.LIVE)


def test_6_a_close_of_the_day_is_eod(quiet):
    judged = quiet.take(tick(100.5, -9000, recv_s=31, source=Source.ALPHAVANTAGE, is_eod=True))
    assert judged == (Verdict.FLAG, Check.EOD, Quality.EOD)


def test_6_a_delayed_spike_is_held_too(quiet):
    def late(price, at_s):
        one = tick(price, at_s - 900, recv_s=at_s, source=Source.ALPHAVANTAGE, delay_s=900)
        return quiet.take(one)

    assert late(100.1, 31).quality is Quality.DELAYED
    assert late(150, 32).verdict is Verdict.HOLD
    assert late(100.1, 33).quality is Quality.DELAYED


def test_6_a_level_that_delayed_prices_alone_have_shown_is_no_more_than_unconfirmed(quiet):
    def late(price, at_s):
        one = tick(price, at_s - 900, recv_s=at_s, source=Source.ALPHAVANTAGE, delay_s=900)
        return quiet.take(one)

    assert late(100.1, 31).quality is Quality.DELAYED
    spiked = [late(120.1, 91 + 60 * n) for n in range(8)]
    assert {one.verdict for one in spiked[:2]} == {Verdict.HOLD}
    passed = [one for one in spiked if one.passes]
    assert passed, "a genuine gap is taken in the end"
    assert {one.quality for one in passed} == {Quality.UNCONFIRMED}
    assert quiet.see(100, 600).quality is not Quality.DELAYED, "it moves no live level"


# --- 8: sizes -----------------------------------------------------------------------------------


def test_8_an_odd_lot_is_a_last_price_with_a_remark(quiet):
    assert quiet.see(100, 31, size=99) == (Verdict.FLAG, Check.ODD_LOT, Quality.LIVE)
    assert quiet.see(100, 31.5, size=100).verdict is Verdict.ACCEPT
    assert quiet.see(100, 32, size=0).verdict is Verdict.ACCEPT
    assert quiet.see(100, 32.5, size=-1).check is Check.SIZE


def test_8_odd_lots_confirm_half_as_much(quiet):
    verdicts = [quiet.see(110, 31 + n, size=50).verdict for n in range(6)]
    assert verdicts == [Verdict.HOLD] * 5 + [Verdict.FLAG]


# --- 9: conditions ------------------------------------------------------------------------------


def test_9_a_sale_that_sets_no_last_price_is_dropped_by_the_source_s_own_codes():
    made = Filter(limits=limits(conditions_ineligible={"finnhub": ("W", "4")}))
    end_s = made.settle()
    assert made.take(tick(90, end_s, conditions=("I", "4"))).check is Check.CONDITION
    assert made.take(tick(100, end_s + 1, conditions=("I",))).passes
    assert made.take(tick(100, end_s + 2, source=Source.IB, conditions=("4",))).passes


def test_9_nothing_is_assumed_of_codes_without_a_map(quiet):
    assert quiet.take(tick(100, 31, conditions=("1", "24", "12"))).quality is Quality.LIVE


# --- 10, 11, 12: quotes -------------------------------------------------------------------------


def test_10_a_crossed_quote_is_suspect_and_held_once_it_lasts(quiet):
    assert quiet.take(quote(99.99, 100.01, 31)).quality is Quality.LIVE
    assert quiet.take(quote(100.02, 100, 32)) == (Verdict.FLAG, Check.CROSSED, Quality.SUSPECT)
    assert quiet.take(quote(100.03, 100, 33)).verdict is Verdict.FLAG
    assert quiet.take(quote(100.02, 100, 33.1)) == (Verdict.HOLD, Check.CROSSED, Quality.SUSPECT)
    assert quiet.take(quote(99.99, 100.01, 34)).quality is Quality.LIVE
    assert quiet.take(quote(100.02, 100, 35)).verdict is Verdict.FLAG


def test_10_a_locked_quote_passes_with_a_remark(quiet):
    assert quiet.take(quote(100, 100, 31)) == (Verdict.FLAG, Check.LOCKED, Quality.LIVE)


def test_11_a_spread_far_beyond_the_usual_is_suspect(quiet):
    for n in range(20):
        assert quiet.take(quote(99.995, 100.005, 31 + n / 2)).verdict is Verdict.ACCEPT
    assert quiet.take(quote(97.6, 102.4, 42)).verdict is Verdict.ACCEPT
    assert quiet.take(quote(97, 103, 43)) == (Verdict.FLAG, Check.WIDE, Quality.SUSPECT)


def test_11_a_quote_whose_sides_hold_the_last_price_is_no_word_for_another_level(quiet):
    for n in range(40):
        stub = quiet.take(quote(94, 100.04, 30 + n))
        assert (stub.verdict, stub.check) == (Verdict.HOLD, Check.WIDE)
    assert quiet.state.held == ()
    assert quiet.see(100.01, 71).quality is Quality.LIVE


def test_11_a_bad_last_price_told_again_with_each_quote_never_passes(quiet):
    for n in range(40):
        sides = {"bid_micros": 99_990_000, "ask_micros": (10_001 + n % 2) * 10_000}
        bad = quiet.see(90.0, 30 + n, size=0, source=Source.IB, is_quote=True, **sides)
        assert not bad.passes


def test_11_a_quote_that_has_moved_away_is_a_voice_for_its_level(quiet):
    judged = [quiet.take(quote(106 + n / 100, 106.04, 30 + n)) for n in range(3)]
    assert [one.check for one in judged] == [Check.SPIKE, Check.SPIKE, Check.REGIME]


def test_12_a_trade_far_outside_the_quote_is_held(quiet):
    assert quiet.take(quote(99.75, 99.8, 31)).passes
    assert quiet.see(100.04, 31.5).passes
    assert quiet.see(100.06, 32) == (Verdict.HOLD, Check.OUTSIDE, Quality.SUSPECT)


def test_12_a_wide_spread_allows_for_as_much(quiet):
    quiet.take(quote(99.5, 100, 31))
    assert quiet.see(100.2, 31.5).passes


@pytest.mark.parametrize(("recv_s", "passes"), [(36, False), (36.001, True)])
def test_12_a_quote_that_came_long_ago_is_no_measure(quiet, recv_s, passes):
    quiet.take(quote(99.75, 99.8, 29, recv_s=31))
    assert quiet.see(100.06, 31, recv_s=recv_s).passes is passes


def test_12_a_quote_that_is_itself_held_is_no_measure(quiet):
    assert quiet.take(quote(99.99, 100.01, 30)).passes
    assert quiet.take(quote(101.99, 102.01, 30.1)).check is Check.SPIKE
    assert quiet.see(100, 30.2).quality is Quality.LIVE


def test_12_trades_outside_a_stuck_quote_are_believed_once_two_agree(quiet):
    quiet.take(quote(99.75, 99.8, 31))
    answers = []
    for n in range(6):
        quiet.take(quote(99.75, 99.8, 32 + n))
        answers.append(quiet.see(100.06, 32.1 + n, size=100 + n))
        answers.append(quiet.see(100.06, 32.5 + n, size=200 + n))
    assert [one.verdict for one in answers[:2]] == [Verdict.HOLD, Verdict.ACCEPT]


# --- 15: LULD -----------------------------------------------------------------------------------


def test_15_the_band_holds_what_the_exchange_would_not_have_traded():
    made = Filter(limits=limits(luld_tier=1), around=HOURS)
    price, at_s = 100.0, 0.0
    made.settle()
    at_s = 30.0
    while made.state.rest.band is None or price < made.state.rest.band.high_micros / USD:
        at_s += 0.1
        price += 0.05
        judged = made.see(price, at_s)
    assert judged == (Verdict.HOLD, Check.LULD, Quality.SUSPECT)
    assert price == pytest.approx(made.state.rest.band.high_micros / USD, abs=0.06)


def test_15_an_auction_print_is_never_held_by_the_band(quiet):
    for n in range(70):
        quiet.see(100, 31 + n / 2, size=n + 100)
    narrow = quiet.state.rest._replace(band=Band(100 * USD, 99_990_000, 100_010_000))
    quiet.state = quiet.state._replace(rest=narrow)
    assert quiet.see(100.02, 66.2).check is Check.LULD
    quiet.limits = limits(conditions_auction={"finnhub": ("O", "5", "6")})
    assert quiet.take(tick(100.02, 66.3, conditions=("6",))).passes


def test_15_there_is_no_band_before_the_open_nor_at_the_close(quiet):
    narrow = quiet.state.rest._replace(band=Band(100 * USD, 99_990_000, 100_010_000))
    quiet.state = quiet.state._replace(rest=narrow)
    assert quiet.see(100.02, 31).check is Check.LULD
    quiet.around = Around(T0 + 40 * S, T0 + 50 * S)
    assert quiet.see(100.02, 32).passes
    quiet.see(100, 49)
    assert quiet.see(100.02, 50).passes


def test_15_after_a_pause_nothing_is_left_of_the_band(quiet):
    narrow = quiet.state.rest._replace(band=Band(100 * USD, 99_990_000, 100_010_000))
    quiet.state = quiet.state._replace(rest=narrow)
    assert quiet.see(100.2, 31 + 340).passes


@pytest.mark.parametrize(
    ("reference", "tier", "is_end", "width"),
    [
        (100.0, 2, False, 10.0),
        (100.0, 1, False, 5.0),
        (100.0, 1, True, 10.0),
        (100.0, 2, True, 10.0),
        (3.0, 2, False, 0.6),
        (3.0, 2, True, 1.2),
        (0.75, 2, False, 0.15),
        (0.5, 2, False, 0.15),
        (0.1, 2, False, 0.075),
        (0.1, 1, True, 0.15),
    ],
)
def test_15_the_bands_by_price_tier_and_time_of_day(reference, tier, is_end, width):
    assert half_width(round(reference * USD), tier, is_end=is_end) == round(width * USD)


# --- 16: splits ---------------------------------------------------------------------------------


def first_prints(price, state=None, source=Source.FINNHUB):
    """A filter that knows a close of 100 USD, and its answers to the first prints of the day."""
    made = Filter(state or with_previous_close(SymbolState(), 100 * USD))
    return made, [made.see(price, n, source=source) for n in range(40)]


@pytest.mark.parametrize("price", [50, 49.1, 50.9, 33.3, 25, 20, 10, 5, 200, 2000])
def test_16_a_first_price_at_a_split_s_ratio_blocks_its_symbol(price):
    made, answers = first_prints(price)
    assert {(one.verdict, one.check) for one in answers} == {(Verdict.HOLD, Check.SPLIT)}
    assert is_blocked(made.state)


@pytest.mark.parametrize("price", [100, 97, 103, 55, 45, 70, 150])
def test_16_another_first_price_is_confirmed_as_any_other(price):
    made, answers = first_prints(price)
    assert not is_blocked(made.state)
    assert answers[-1].quality is Quality.LIVE


def test_16_two_sources_alone_do_not_lift_the_block():
    made, _ = first_prints(50)
    answers = [made.see(50, 50 + n, source=Source.IB) for n in range(20)]
    assert {one.check for one in answers} == {Check.SPLIT}


def test_16_a_person_lifts_the_block():
    made, _ = first_prints(50)
    made.state = with_level_confirmed(made.state)
    assert not is_blocked(made.state)
    assert made.see(50.4, 60).quality is Quality.LIVE
    assert made.see(100, 61).verdict is Verdict.HOLD


def test_16_a_calendar_that_knows_of_it_lets_it_pass():
    day = KnownSplit(2, 1, T0 - S, T0 + 86_400 * S)
    made, answers = first_prints(50, with_split(with_previous_close(SymbolState(), 100 * USD), day))
    assert {one.quality for one in answers} == {Quality.LIVE}
    made, _ = first_prints(50)
    made.state = with_split(made.state, day)
    assert made.see(50, 60).quality is Quality.LIVE


def test_16_a_calendar_s_other_day_or_other_ratio_does_not():
    known = with_previous_close(SymbolState(), 100 * USD)
    for day in (KnownSplit(3, 1, T0 - S, T0 + S), KnownSplit(2, 1, T0 - 9 * S, T0)):
        made, _ = first_prints(50, with_split(known, day))
        assert is_blocked(made.state)


def test_16_one_bad_first_print_blocks_only_until_the_old_level_is_seen_again():
    made = Filter(with_previous_close(SymbolState(), 100 * USD))
    assert made.see(50, 0).check is Check.SPLIT
    assert made.see(100, 1) == (Verdict.FLAG, Check.SPLIT, Quality.SUSPECT)
    assert made.see(100, 2).quality is Quality.SUSPECT
    assert made.see(100, 3).quality is Quality.LIVE
    assert not is_blocked(made.state)


def test_16_the_morning_after_is_a_first_print_too_and_the_afternoon_is_not():
    made, other = Filter(), Filter()
    made.settle()
    assert made.see(50, 31).check is Check.SPIKE
    other.settle()
    assert other.see(50, NIGHT_S).check is Check.SPLIT


def test_16_without_a_block_a_confirmation_changes_nothing(quiet):
    assert with_level_confirmed(quiet.state) == quiet.state


@pytest.mark.parametrize(("price", "found"), [(50, (2, 1)), (300, (1, 3)), (47, None), (91, None)])
def test_16_the_ratio_may_be_two_percent_beside(price, found):
    assert split_like(price * USD, 100 * USD, LIMITS) == found


# --- 17: halts ----------------------------------------------------------------------------------


def test_17_while_halted_prices_are_suspect_and_silence_is_no_alarm(quiet):
    assert quiet.take(tick(100, 31, source=Source.IB, conditions=("halted",))).check is Check.HALT
    assert is_halted(quiet.state)
    judged = quiet.see(100, 32, recv_s=90)
    assert judged == (Verdict.FLAG, Check.HALT, Quality.SUSPECT)
    assert quiet.see(100, 32.5, size=7).check is Check.HALT
    assert quiet.take(tick(100, 33, source=Source.IB)).passes
    assert not is_halted(quiet.state)
    assert quiet.see(100, 34).quality is Quality.LIVE


def test_17_the_same_quote_again_tells_a_halt_and_its_end(quiet):
    assert quiet.take(quote(99.99, 100.01, 31)).passes
    assert quiet.take(quote(99.99, 100.01, 31, conditions=("halted",))).check is Check.HALT
    assert quiet.take(quote(99.99, 100.01, 31, conditions=("halted",))).check is Check.DUPLICATE
    assert quiet.take(quote(99.99, 100.01, 31)).quality is Quality.LIVE
    assert not is_halted(quiet.state)


def test_17_the_price_after_a_halt_is_a_reopening(quiet):
    quiet.take(tick(100, 31, source=Source.IB, conditions=("halted",)))
    reopening = tick(102.5, 100, source=Source.IB, conditions=("resumed",))
    assert quiet.take(reopening).verdict is Verdict.HOLD
    assert quiet.see(102.5, 100.3, source=Source.IB).passes


# --- 18: frozen ---------------------------------------------------------------------------------


def standing_still(made, until_s, around):
    made.around = around
    judged = None
    for n in range(int(until_s / 10)):
        judged = made.see(100, 31 + 10 * n, size=100 + n)
    return judged


def movers(at_s):
    return tuple((name, T0 + round(at_s * S)) for name in ("AAPL", "MSFT", "QQQ"))


def test_18_a_price_that_stands_still_while_three_others_move_is_suspect(quiet):
    judged = standing_still(quiet, 330, HOURS._replace(movers=movers(320)))
    assert judged == (Verdict.FLAG, Check.FROZEN, Quality.SUSPECT)
    assert quiet.see(100.01, 400).quality is Quality.LIVE


@pytest.mark.parametrize(
    ("until_s", "around"),
    [
        (330, HOURS),
        (330, HOURS._replace(movers=movers(320)[:2])),
        (330, HOURS._replace(movers=(*movers(320)[:2], ("SPY", T0 + 320 * S)))),
        (290, HOURS._replace(movers=movers(280))),
        (330, NOWHERE._replace(movers=movers(320))),
        (330, HOURS._replace(movers=movers(5))),
    ],
)
def test_18_a_price_may_stand_still_with_all_others_for_a_while_or_at_night(quiet, until_s, around):
    assert standing_still(quiet, until_s, around).quality is Quality.LIVE


def test_18_who_moved_is_kept_for_few_symbols_and_renewed_now_and_then():
    around, states = NOWHERE, {}
    for n in range(1000):
        name = f"S{n % 50}"
        made = states.setdefault(name, Filter())
        before = made.state
        made.see(100 + n / 1000, n)
        around = moved(around, before, made.state, name)
        assert len(around.movers) <= 4
        assert len({name for name, _ in around.movers}) == len(around.movers)
    assert T0 + 900 * S < around.movers[0][1] <= around.movers[-1][1]


# --- 19: disputes -------------------------------------------------------------------------------


def two_sources(made, other, start_s, count):
    """Feed two sources in turn, a second apart, and return the last answers."""
    answers = []
    for n in range(count):
        answers.append(made.see(100, start_s + n, size=100 + n))
        answers.append(made.see(other, start_s + n + 0.5, size=100 + n, source=Source.IB))
    return answers


def test_19_sources_that_differ_for_three_seconds_are_disputed(quiet):
    answers = two_sources(quiet, 100.6, 31, 8)
    assert answers[0].quality is Quality.LIVE
    assert answers[4].quality is Quality.LIVE
    assert answers[-2].quality is Quality.DISPUTED


def test_19_sources_that_agree_are_not(quiet):
    answers = two_sources(quiet, 100.2, 31, 8)
    assert {one.quality for one in answers} == {Quality.LIVE}


def test_19_the_first_agreement_ends_it(quiet):
    two_sources(quiet, 100.6, 31, 8)
    assert quiet.see(100, 40).quality is Quality.DISPUTED
    quiet.see(100, 40.5, source=Source.IB)
    assert quiet.see(100, 41).quality is Quality.LIVE


def test_19_a_poll_of_half_a_minute_ago_is_no_witness(quiet):
    quiet.see(101, 31, source=Source.YAHOO, size=0)
    for n in range(20):
        assert quiet.see(100, 37 + n, size=100 + n).quality is Quality.LIVE


def test_19_a_wide_spread_allows_a_wider_difference(quiet):
    for n in range(30):
        quiet.take(quote(99.6, 100.4, 31 + n / 10))
    answers = two_sources(quiet, 101.5, 35, 6)
    assert Quality.DISPUTED not in {one.quality for one in answers}


# --- 20: bars -----------------------------------------------------------------------------------


def bar(first=10, high=11, low=9, last=10, volume=1, end_s=60, before_s=None):
    corners = Corners(*(round(price * USD) for price in (first, high, low, last)))
    return bar_defect(corners, volume, end_s * S, None if before_s is None else before_s * S)


@pytest.mark.parametrize(
    ("defect", "is_sound"),
    [
        (bar(), True),
        (bar(9, 9, 9, 9, 0), True),
        (bar(high=9.9), False),
        (bar(low=10.1), False),
        (bar(low=0), False),
        (bar(volume=-1), False),
        (bar(end_s=61), False),
    ],
)
def test_20_a_bar_holds_its_open_and_close(defect, is_sound):
    assert (defect == "") is is_sound


def test_20_bars_follow_each_other():
    assert bar(end_s=120, before_s=60) == ""
    assert bar(end_s=60, before_s=60) != ""
    assert bar(end_s=60, before_s=120) != ""


# --- the state ----------------------------------------------------------------------------------


def test_every_part_of_the_state_has_its_place_in_the_fingerprint(quiet):
    plain = fingerprint({"SPY": quiet.state})
    quiet.take(tick(100, 31, source=Source.IB, conditions=("halted",)))
    assert fingerprint({"SPY": quiet.state}) != plain
