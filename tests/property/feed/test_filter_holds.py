"""What the sanity filter promises, for any market, and the mutants that break each promise."""

import random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from support.ticks import LIMITS, T0, Filter, S, tick
from tradebox.domain import filter_hold, filter_jump, tick_filter
from tradebox.domain.filter_values import (
    BUCKETS,
    HELD_TICKS_MAX,
    MEDIAN_TICKS,
    RING_TICKS,
    SOURCES_MAX,
    Check,
)
from tradebox.domain.market import Quality, Source
from tradebox.domain.tick_filter import SymbolState, Verdict, with_previous_close

RUN = settings(
    max_examples=60, derandomize=True, database=None, deadline=None, report_multiple_bugs=False
)

HUNT = settings(RUN, phases=[Phase.generate], max_examples=300)
seeds = st.integers(0, 2**32)
factors = st.one_of(st.floats(0.1, 0.969), st.floats(1.032, 10.0))


def steps(seed):
    """An ordinary market: (move in basis points, milliseconds since the last, size)."""
    rng = random.Random(seed)
    count = rng.randint(20, 80)
    return [(rng.randint(-8, 8), rng.randint(100, 2500), rng.randint(0, 500)) for _ in range(count)]


def wild_ticks(seed):
    """Anything: (price in USD, second, fields), often near 100 USD, often in the past."""
    rng, at_ms, sent = random.Random(seed), 0, []
    for _ in range(rng.randint(1, 60)):
        near = 100 + rng.randint(-20, 20) / 100
        price = rng.choice([near, near, near, near * 1.1, rng.choice([0, -1, -3, 100, 300])])
        at_ms += rng.choice([rng.randint(0, 900), rng.randint(-1500, 3000), 0])
        latency_ms = rng.choice([0, 100, rng.randint(-3000, 0), rng.randint(10_000, 20_000)])
        source = rng.choice([Source.FINNHUB, Source.FINNHUB, Source.IB])
        one = {"size": rng.randint(-1, 3), "recv_s": (at_ms + latency_ms) / 1000, "source": source}
        sent.append((price, at_ms / 1000, one))
        if rng.random() < 0.2:
            sent.append(rng.choice(sent))
    return sent


def walk(made, moves, price=100.0, at_s=0.0):
    """Feed an ordinary market; return its last price and time."""
    for bps, wait_ms, size in moves:
        price *= 1 + bps / 10_000
        at_s += wait_ms / 1000
        made.see(price, at_s, size=size)
    return price, at_s


def known():
    return Filter(with_previous_close(SymbolState(), 100_000_000))


# --- the promises -----------------------------------------------------------------------------


def isolated_jumps_never_pass(seed, factor, copies):
    made = known()
    price, at_s = walk(made, steps(seed))
    bad = price * factor
    for _ in range(copies):
        assert not made.see(bad, at_s + 0.5, size=7).passes
    price, at_s = walk(made, steps(seed + 1), price, at_s + 1)
    assert abs(made.state.last_price_micros / 1e6 / price - 1) < 1e-6


def a_genuine_level_passes(seed, factor, wait_ms, noise):
    """Whatever its pace: from 500 ticks a second to one each quarter of an hour."""
    made = known()
    price, at_s = walk(made, steps(seed))
    rng, level, passed = random.Random(seed), price * factor, []
    wait_s = wait_ms / 1000
    needed = max(4 * LIMITS.confirm_ticks, int(2.1 / wait_s)) + 3
    for n in range(1, needed + 1):
        now = level * (1 + rng.uniform(-noise, noise))
        passed.append(made.see(now, at_s + n * wait_s, size=n).passes)
    assert passed[-1]
    assert abs(made.state.last_price_micros / 1e6 / level - 1) < 0.002


def a_market_that_runs_away_passes(seed, bps, wait_ms):
    made = known()
    price, at_s = walk(made, steps(seed))
    for n in range(1, 100):
        price *= 1 + bps / 10_000
        made.see(price, at_s + n * wait_ms / 1000, size=100 + n)
    assert abs(made.state.last_price_micros / 1e6 / price - 1) < 0.35


def isolated_spikes_never_pass_live(seed, factor):
    """At the first tick, in the warm-up, after a pause, by any of the sources."""
    rng, made = random.Random(seed), known()
    price, at_s = 100.0, 0.0
    for n in range(120):
        price *= 1 + rng.randint(-8, 8) / 10_000
        at_s += rng.choice([0.1, 1.0, 1.0, 1.0, 30.0, 700.0])
        is_bad = n % 7 == 3 or n == 0
        source = rng.choice([Source.FINNHUB, Source.FINNHUB, Source.IB])
        judged = made.see(price * (factor if is_bad else 1), at_s, size=n, source=source)
        assert not (is_bad and judged.passes and judged.check is not Check.SPLIT)


def the_state_is_bounded(seed):
    rng, made, at_s = random.Random(seed), Filter(), 0.0
    for n in range(200):
        at_s += rng.choice([0.001, 0.1, 1.0, 30.0, 40_000.0 if n % 97 == 0 else 1.0])
        price = rng.choice([100, 100.01, 110, 50, 3])
        bid = rng.choice([0, price - 0.01, price + 0.02])
        made.take(
            tick(
                price,
                at_s,
                size=n,
                source=rng.choice(list(Source)),
                conditions=rng.choice([(), ("halted",), ("resumed",)]),
                bid_micros=round(bid * 1e6),
                ask_micros=round((price + 0.01) * 1e6),
                delay_s=rng.choice([0, 0, 900]),
            )
        )
        state, rest = made.state, made.state.rest
        assert len(state.recent_micros) <= MEDIAN_TICKS
        assert len(state.seen) <= RING_TICKS
        assert len(state.held) <= HELD_TICKS_MAX
        assert len(rest.means) <= BUCKETS
        assert len(rest.said) <= SOURCES_MAX
        assert rest.slow is None or rest.slow.rest.slow is None
        hash(state)


def the_same_ticks_give_the_same_state(seed):
    one, other = Filter(), Filter()
    for price, at_s, fields in wild_ticks(seed):
        assert one.see(price, at_s, **fields) == other.see(price, at_s, **fields)
        assert one.state == other.state
        assert hash(one.state) == hash(other.state)


def nothing_late_passes(seed):
    made, newest_ns = Filter(), 0
    for price, at_s, one in wild_ticks(seed):
        if made.see(price, at_s, **one).passes:
            event_ns = T0 + round(at_s * S)
            rounding_ns = S if one["source"] is Source.IB else 0
            assert event_ns >= newest_ns - LIMITS.late_ns_max - rounding_ns
            newest_ns = max(newest_ns, event_ns)


def live_is_positive_fresh_and_of_its_time(seed):
    made = Filter()
    for price, at_s, one in wild_ticks(seed):
        if made.see(price, at_s, **one).quality is Quality.LIVE:
            age_s = one["recv_s"] - at_s
            assert price > 0
            assert one["size"] >= 0
            is_coarse = one["source"] is Source.IB
            ahead_ns = LIMITS.future_coarse_ns_max if is_coarse else LIMITS.future_ns_max
            assert -ahead_ns / S - 1e-6 <= age_s <= LIMITS.stale_ns_max / S + 1e-6


def a_drop_changes_nothing_but_what_was_seen(seed):
    made = Filter()
    for price, at_s, one in wild_ticks(seed):
        before = made.state
        if made.see(price, at_s, **one).verdict is Verdict.DROP:
            assert made.state._replace(seen=()) == before._replace(seen=())


def the_session_changes_no_state(seed, hours):
    one_way, other = Filter(), Filter()
    for place, (price, at_s, one) in enumerate(wild_ticks(seed)):
        one_way.see(price, at_s, **one)
        other.see(price, at_s, is_open=hours[place % len(hours)], **one)
    assert one_way.state == other.state


def a_held_price_is_never_last(seed):
    made = Filter()
    for price, at_s, one in wild_ticks(seed):
        before = made.state.last_price_micros
        if not made.see(price, at_s, **one).passes:
            assert made.state.last_price_micros == before


def no_print_passes_twice(seed):
    made, passed = Filter(), set()
    for price, at_s, one in wild_ticks(seed):
        if made.see(price, at_s, **one).passes:
            mark = (round(price * 1e6), at_s, one["size"])
            assert mark not in passed
            passed.add(mark)


PROMISES = {
    isolated_jumps_never_pass: (seeds, factors, st.integers(1, 4)),
    a_genuine_level_passes: (
        seeds,
        factors,
        st.one_of(st.integers(2, 200), st.integers(200, 4000), st.integers(4000, 900_000)),
        st.floats(0, 0.0012),
    ),
    a_market_that_runs_away_passes: (
        seeds,
        st.one_of(st.floats(-120, -30), st.floats(30, 120)),
        st.integers(200, 60_000),
    ),
    isolated_spikes_never_pass_live: (seeds, factors),
    the_state_is_bounded: (seeds,),
    the_same_ticks_give_the_same_state: (seeds,),
    nothing_late_passes: (seeds,),
    live_is_positive_fresh_and_of_its_time: (seeds,),
    a_drop_changes_nothing_but_what_was_seen: (seeds,),
    the_session_changes_no_state: (
        seeds,
        st.lists(st.sampled_from([True, False, None]), min_size=1),
    ),
    a_held_price_is_never_last: (seeds,),
    no_print_passes_twice: (seeds,),
}


def hold(promise, run=RUN):
    run(given(*PROMISES[promise])(promise))()


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_the_filter_keeps(promise):
    hold(promise)


# --- the mutants --------------------------------------------------------------------------------

real_hold, real_grade, real_refusal = (
    tick_filter.hold,
    tick_filter._grade,
    tick_filter.refusal,
)


def keep_held_price(state, one, jump, limits, known):
    state, is_confirmed = real_hold(state, one, jump, limits, known)
    return state._replace(last_price_micros=one.price_micros), is_confirmed


def remember_by_session(state, one, limits, odd, *, is_open, around):
    judged = real_grade(state, one, limits, odd, is_open=is_open, around=around)
    made_by_session.append(is_open)
    return judged


made_by_session = []


def no_sentinel(state, one, limits):
    found = real_refusal(state, one, limits)
    return None if found in ("sentinel", "price", "future") and one.price_micros else found


def book_by_session(state, one, limits, known, around):
    """A filter whose level depends on whether the session was open."""
    booked = real_book(state, one, limits, known, around)
    was_closed = made_by_session and made_by_session[-1] is False
    return booked._replace(recent_micros=()) if was_closed else booked


real_book = tick_filter._book


def hoard(state, one, limits):
    return (*state.seen, (one.event_ns, one.price_micros, one.size))


MUTANTS = {
    "confirms at once": (filter_hold, "_enough", lambda _, held, *__: held,
                         isolated_jumps_never_pass),
    "confirms never": (filter_hold, "_enough", lambda *_: None, a_genuine_level_passes),
    "forgets what it held": (filter_hold, "PACE", 0, a_genuine_level_passes),
    "sees no trend": (filter_hold, "_is_trend", lambda *_: False, a_market_that_runs_away_passes),
    "knows no jump": (tick_filter, "find_jump", lambda *_: None, isolated_jumps_never_pass),
    "believes any first price": (filter_jump, "_first", lambda *_: None,
                                 isolated_spikes_never_pass_live),
    "forgets what it saw": (tick_filter, "remembered", lambda *_: (), no_print_passes_twice),
    "remembers for ever": (tick_filter, "remembered", hoard, the_state_is_bounded),
    "takes a held price for the last": (tick_filter, "hold", keep_held_price,
                                        a_held_price_is_never_last),
    "takes the future": (tick_filter, "refusal", no_sentinel,
                         live_is_positive_fresh_and_of_its_time),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught(mutant, monkeypatch):
    module, name, replacement, promise = MUTANTS[mutant]
    monkeypatch.setattr(module, name, replacement)
    with pytest.raises(AssertionError):
        hold(promise, HUNT)


def test_a_filter_that_remembers_the_session_is_caught(monkeypatch):
    monkeypatch.setattr(tick_filter, "_grade", remember_by_session)
    monkeypatch.setattr(tick_filter, "_book", book_by_session)
    with pytest.raises(AssertionError):
        hold(the_session_changes_no_state, HUNT)


def test_a_filter_without_the_late_check_is_caught(monkeypatch):
    judge = tick_filter.judge

    def forgetful(state, one, limits, *, is_open, around):
        if state is not None:
            state = state._replace(last_event_ns=0)
        return judge(state, one, limits, is_open=is_open, around=around)

    monkeypatch.setattr("support.ticks.judge", forgetful)
    with pytest.raises(AssertionError):
        hold(nothing_late_passes, HUNT)
