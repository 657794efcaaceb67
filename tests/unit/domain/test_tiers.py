"""The tier policy by its sentences: who serves when, and why it changes."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.ticks import USD, S, tick
from support.tier_world import (
    AV,
    FINNHUB,
    IB,
    LIMITS,
    LIVE,
    LIVE_S,
    SYMBOL,
    YAHOO,
    TierWorld,
)
from tradebox.config import FilterSettings, TierSettings
from tradebox.domain.breaker import ProviderKind
from tradebox.domain.filter_values import Check, Judged, SymbolState, Verdict
from tradebox.domain.market import Quality, Source, Tick
from tradebox.domain.staleness import Hours
from tradebox.domain.tier_values import (
    PriceAged,
    ProviderMoved,
    SourceSwitched,
    SwitchReason,
    SymbolPinned,
    TierLimits,
    rebased,
)


def switches(world):
    return [(note.before, note.after, note.reason)
            for note in world.notes if isinstance(note, SourceSwitched)]  # fmt: skip


def fail_finnhub(world):
    """Ticks for a while, then the socket is gone and the price has become stale."""
    world.stream(FINNHUB, 30)
    world.close(FINNHUB)
    world.wait(16)


def test_the_first_source_serves_at_once_and_others_stand_by():
    world = TierWorld()
    assert world.tick(FINNHUB).serves
    assert not world.tick(YAHOO).serves
    assert not world.tick(AV).serves
    assert switches(world) == [(None, FINNHUB, SwitchReason.FIRST)]


def test_a_lower_tier_waits_at_the_start_until_the_better_ones_had_their_time():
    world = TierWorld()
    assert not world.tick(YAHOO).serves
    world.close(FINNHUB)
    world.wait(6)
    assert world.machine.polled()[AV] == {SYMBOL}
    assert not world.tick(YAHOO).serves, "Alpha Vantage is still being asked"
    world.wait(16)
    assert world.tick(YAHOO).serves


def test_a_lost_socket_hands_on_after_the_grace():
    world = TierWorld()
    world.stream(FINNHUB, 30)
    assert world.machine.polled() == {AV: frozenset(), YAHOO: frozenset()}
    world.close(FINNHUB)
    world.wait(4)
    assert world.machine.polled()[AV] == frozenset()
    world.wait(2)
    assert world.machine.polled()[AV] == {SYMBOL}
    assert world.tick(AV, 100.2).serves
    assert switches(world)[-1] == (FINNHUB, AV, SwitchReason.PROVIDER_DOWN)


def test_two_down_leaves_the_third_and_three_down_leaves_a_stale_price():
    world = TierWorld()
    fail_finnhub(world)
    for _ in range(5):
        world.tell(AV, ProviderKind.FAILED)
    world.wait(6)
    assert world.machine.polled()[AV] == frozenset()
    assert world.machine.polled()[YAHOO] == {SYMBOL}
    assert world.tick(YAHOO, 100.3).serves
    for _ in range(5):
        world.tell(YAHOO, ProviderKind.FAILED)
    world.wait(95)
    aged = [note for note in world.notes if isinstance(note, PriceAged)]
    assert aged[-1].is_stale
    assert aged[-1].source is YAHOO


def test_a_stale_price_is_said_once_and_a_fresh_one_too():
    world = TierWorld()
    world.stream(FINNHUB, 30)
    world.wait(200)
    world.tick(FINNHUB)
    said = [note.is_stale for note in world.notes if isinstance(note, PriceAged)]
    assert said == [True, False]


@pytest.mark.parametrize("hours", [Hours.PRE, Hours.POST, Hours.CLOSED])
def test_outside_the_session_silence_is_no_fault(hours):
    world = TierWorld()
    world.stream(FINNHUB, 30)
    world.hours = hours
    world.wait(500, step_s=10.0)
    assert world.machine.polled() == {AV: frozenset(), YAHOO: frozenset()}
    assert not [note for note in world.notes if isinstance(note, PriceAged)]


def test_a_night_is_no_silence():
    world = TierWorld()
    world.stream(FINNHUB, 30)
    world.now_s += 17.5 * 3600
    world.wait(1)
    assert not [note for note in world.notes if isinstance(note, PriceAged)]
    assert world.machine.polled()[AV] == frozenset()


def test_a_halt_is_no_silence():
    world = TierWorld()
    world.stream(FINNHUB, 30)
    world.machine.halt(SYMBOL, is_halted=True)
    world.wait(1000, step_s=5.0)
    assert not [note for note in world.notes if isinstance(note, PriceAged)]
    assert world.machine.polled()[AV] == frozenset()


def test_a_symbol_that_trades_rarely_is_not_stale_for_it():
    world = TierWorld()
    for _ in range(10):
        world.wait(30)
        world.tick(FINNHUB)
    world.notes.clear()
    world.wait(100)
    assert not [note for note in world.notes if isinstance(note, PriceAged)]
    world.wait(30)
    assert [note.is_stale for note in world.notes if isinstance(note, PriceAged)] == [True]


def test_a_silent_symbol_is_handed_on_only_to_a_newer_price():
    world = TierWorld()
    world.stream(FINNHUB, 30)
    world.wait(60)
    assert world.machine.polled()[AV] == {SYMBOL}
    assert not world.tick(YAHOO, lag_s=61).serves, "the same last trade, seen by another"
    world.wait(11)
    assert world.tick(YAHOO, lag_s=1).serves
    assert switches(world)[-1] == (FINNHUB, YAHOO, SwitchReason.SILENT)


def test_back_to_the_better_one_only_after_its_time_and_the_dwell():
    world = TierWorld()
    fail_finnhub(world)
    assert world.tick(AV).serves
    world.open(FINNHUB)
    for second in range(119):
        world.wait(1)
        world.tick(AV)
        assert not world.tick(FINNHUB, 100.1).serves, second
    world.wait(2)
    world.tick(AV)
    assert world.tick(FINNHUB, 100.1).serves
    assert switches(world)[-1] == (AV, FINNHUB, SwitchReason.RECOVERED)


def test_not_back_while_the_prices_differ():
    world = TierWorld()
    fail_finnhub(world)
    world.tick(AV)
    world.open(FINNHUB)
    for _ in range(200):
        world.wait(1)
        world.tick(AV, 100.0)
        assert not world.tick(FINNHUB, 100.6).serves
    world.wait(1)
    world.tick(AV, 100.0)
    assert world.tick(FINNHUB, 100.4).serves


def test_a_delayed_price_does_not_keep_the_live_one_away():
    world = TierWorld()
    fail_finnhub(world)
    assert world.tick(AV, 99.0, 900.0, delay_s=900).serves
    world.open(FINNHUB)
    for _ in range(121):
        world.wait(1)
        world.tick(AV, 99.0, 900.0, delay_s=900)
        ruling = world.tick(FINNHUB, 100.0)
    assert ruling.serves


def test_a_better_one_is_taken_at_once_where_the_serving_one_is_gone():
    world = TierWorld()
    fail_finnhub(world)
    world.tick(AV)
    world.open(FINNHUB)
    for _ in range(5):
        world.tell(AV, ProviderKind.FAILED)
    world.wait(10)
    assert world.tick(FINNHUB).serves


def test_closes_of_the_day_serve_last_of_all():
    limits = replace(LIMITS, eod=frozenset({AV}))
    world = TierWorld(limits)
    fail_finnhub(world)
    assert world.machine.polled() == {AV: frozenset(), YAHOO: {SYMBOL}}
    assert not world.tick(AV, 100.0, 60_000.0, is_eod=True).serves
    assert world.tick(YAHOO).serves
    for _ in range(5):
        world.tell(YAHOO, ProviderKind.FAILED)
    world.wait(100)
    assert world.machine.polled()[AV] == {SYMBOL}
    assert world.tick(AV, 100.0, 60_000.0, is_eod=True).serves
    world.wait(400, step_s=5.0)
    assert world.tick(FINNHUB).serves is False, "its socket is not back"
    world.open(FINNHUB)
    assert world.tick(FINNHUB).serves
    assert switches(world)[-1] == (AV, FINNHUB, SwitchReason.BETTER)


def test_too_many_switches_pin_the_symbol_on_the_quiet_side_and_say_so():
    world = TierWorld()
    world.stream(FINNHUB, 30)
    for _ in range(4):
        world.close(FINNHUB)
        world.wait(16)
        world.tick(AV)
        world.open(FINNHUB)
        for _ in range(26):
            world.wait(5)
            world.tick(AV)
            world.tick(FINNHUB)
    assert len(switches(world)) == 4, "the first, away, back, away"
    assert world.machine.serving(SYMBOL) is AV
    assert [note.source for note in world.notes if isinstance(note, SymbolPinned)] == [AV]
    for _ in range(3700 // 5):
        world.wait(5)
        world.tick(AV)
        world.tick(FINNHUB)
    assert world.machine.serving(SYMBOL) is FINNHUB


def test_the_brokers_stream_outranks_for_what_is_near_and_for_nothing_else():
    near, far = TierWorld(is_near=True), TierWorld()
    for world in (near, far):
        world.tick(FINNHUB)
        for _ in range(130):
            world.wait(1)
            world.tick(IB)
            world.tick(FINNHUB)
    assert near.machine.serving(SYMBOL) is IB
    assert far.machine.serving(SYMBOL) is FINNHUB
    near.wait(16)
    assert near.tick(FINNHUB).serves, "the broker fell silent"


def test_nobody_waits_for_the_broker():
    world = TierWorld(is_near=True)
    assert world.tick(FINNHUB).serves


def test_a_symbol_that_the_key_does_not_cover_costs_no_provider():
    world = TierWorld()
    world.tell(FINNHUB, ProviderKind.FORBIDDEN, SYMBOL)
    assert world.machine.is_up(FINNHUB)
    world.wait(1)
    assert world.machine.polled()[AV] == {SYMBOL}


def test_a_key_that_covers_nothing_is_a_provider_down():
    world = TierWorld()
    world.tell(AV, ProviderKind.FORBIDDEN)
    fail_finnhub(world)
    assert world.machine.polled() == {AV: frozenset(), YAHOO: {SYMBOL}}


def test_half_open_asks_for_one_liquid_symbol_and_three_fresh_answers_close():
    world = TierWorld()
    fail_finnhub(world)
    for _ in range(5):
        world.tell(AV, ProviderKind.FORBIDDEN)
        world.tell(YAHOO, ProviderKind.FAILED)
    world.wait(20)
    assert world.machine.polled()[YAHOO] == {"SPY"}
    for place in range(3):
        assert not world.machine.is_up(YAHOO), place
        probe = tick(500.0, world.now_s - 2, recv_s=world.now_s, source=YAHOO, key=place + 1)
        world.each(lambda machine, probe=probe: machine.tick(probe, passes=False).notes)
    assert world.machine.is_up(YAHOO)
    assert world.machine.polled()[YAHOO] == {SYMBOL}
    moved = [note.state for note in world.notes
             if isinstance(note, ProviderMoved) and note.source is YAHOO]  # fmt: skip
    assert moved == ["open", "half_open", "closed"]


def test_a_stale_answer_is_no_good_probe():
    world = TierWorld()
    for _ in range(5):
        world.tell(YAHOO, ProviderKind.FAILED)
    world.wait(20)
    for place in range(5):
        probe = tick(500.0, world.now_s - 600, recv_s=world.now_s, source=YAHOO, key=place + 1)
        world.each(lambda machine, probe=probe: machine.tick(probe, passes=False).notes)
    assert not world.machine.is_up(YAHOO)


def test_who_is_not_there_is_neither_waited_for_nor_asked():
    limits = TierLimits.of(TierSettings(), FilterSettings(), unused=frozenset({AV}))
    world = TierWorld(limits)
    fail_finnhub(world)
    assert world.machine.polled() == {YAHOO: {SYMBOL}}
    assert world.tick(YAHOO).serves
    assert not world.tick(AV).serves


def test_a_symbol_nobody_wants_has_no_track():
    world = TierWorld()
    world.machine.subscribed(frozenset({"MSFT"}), frozenset())
    assert world.machine.serving(SYMBOL) is None
    assert not world.machine.tick(tick(100.0, symbol=SYMBOL), passes=True).serves


def test_the_limits_grow_with_the_clocks_speed():
    fast = TierLimits.of(TierSettings(), FilterSettings(), 20.0)
    assert fast.grace_ns == 20 * LIMITS.grace_ns
    assert fast.breaker.pause_ns == 20 * LIMITS.breaker.pause_ns
    assert TierLimits.of(TierSettings(), FilterSettings(), 0.5) == LIMITS


@pytest.mark.parametrize(
    ("source", "fields", "lag_s", "judged", "quality"),
    [
        (Source.FINNHUB, {}, 1, Quality.LIVE, Quality.LIVE),
        (Source.FINNHUB, {}, 20, Quality.STALE, Quality.STALE),
        (Source.YAHOO, {}, 20, Quality.STALE, Quality.LIVE),
        (Source.YAHOO, {}, 100, Quality.STALE, Quality.STALE),
        (Source.YAHOO, {"delay_s": 900}, 1, Quality.LIVE, Quality.DELAYED),
        (Source.ALPHAVANTAGE, {"is_eod": True}, 1, Quality.LIVE, Quality.EOD),
        (Source.ALPHAVANTAGE, {"is_eod": True, "delay_s": 900}, 1, Quality.EOD, Quality.EOD),
        (Source.ALPHAVANTAGE, {"is_eod": True, "delay_s": 86_400}, 1, Quality.EOD, Quality.STALE),
        (Source.YAHOO, {}, 1, Quality.UNCONFIRMED, Quality.UNCONFIRMED),
    ],
)
def test_a_price_is_worth_what_its_source_may_say(source, fields, lag_s, judged, quality):
    one = replace(tick(100.0, -lag_s, recv_s=0, source=source), **fields)
    verdict = Judged(Verdict.FLAG, Check.STALE, judged)
    assert TierWorld().machine.quality(one, verdict) is quality


def test_a_rebased_filter_keeps_the_old_level_as_a_reference():
    state = SymbolState(last_event_ns=5 * S, last_price_micros=100, recent_micros=(99, 100))
    after = rebased(state)
    assert (after.last_price_micros, after.previous_close_micros) == (0, 100)
    assert after.recent_micros == ()
    assert rebased(after).previous_close_micros == 100


@settings(max_examples=200, derandomize=True, database=None, deadline=None)
@given(
    source=st.sampled_from(sorted(LIVE_S)),
    gaps_s=st.lists(st.floats(0.5, 90), max_size=6),
    lag_s=st.floats(0, 400),
    hours=st.sampled_from(list(Hours)),
)
def test_no_price_is_live_beyond_the_limit_of_its_source(source, gaps_s, lag_s, hours):
    world = TierWorld(hours=hours)
    for gap_s in gaps_s:
        world.wait(gap_s)
        world.tick(source)
    event_ns = world.at_ns(world.now_s - lag_s)
    one = Tick(SYMBOL, 100 * USD, 100, event_ns, world.at_ns(), source, 99)
    quality = world.machine.quality(one, LIVE)
    rule = LIMITS.ages.rules[source]
    if lag_s > rule.quiet_ns / S:
        assert quality is Quality.STALE
    if lag_s > LIVE_S[source] and not gaps_s and hours.is_regular:
        assert quality is Quality.STALE, "nothing says that it trades rarely"
    if lag_s <= LIVE_S[source]:
        assert quality is Quality.LIVE


def test_a_live_price_ages_though_its_source_goes_on_with_delayed_ones():
    world = TierWorld()
    world.stream(FINNHUB, 5)
    world.close(FINNHUB)
    world.wait(3)
    world.stream(AV, 30, every_s=5.0)
    assert world.machine.serving(SYMBOL) is AV
    until_s = world.now_s + 900
    while world.now_s < until_s - 30:
        world.wait(30)
        behind = Tick(SYMBOL, 100 * USD, 100, world.at_ns(world.now_s - 900), world.at_ns(), AV,
                      99, delay_s=900)  # fmt: skip
        world.each(lambda machine, one=behind: machine.tick(one, passes=True).notes)
    aged = [note.is_stale for note in world.notes if isinstance(note, PriceAged)]
    assert aged[-1:] == [True], "nobody has seen a newer price"


def test_a_late_tick_of_another_source_takes_nothing_over():
    world = TierWorld()
    world.tick(FINNHUB)
    world.close(FINNHUB)
    world.wait(3)
    world.tick(AV, lag_s=0.1)
    world.wait(3)
    behind = Tick(SYMBOL, 100 * USD, 100, world.at_ns(-1.0), world.at_ns(), AV, 99)
    assert not world.machine.tick(behind, passes=True).serves, "older than what is shown"
    assert world.tick(AV, lag_s=0.1).serves
