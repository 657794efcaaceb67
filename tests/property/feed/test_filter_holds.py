"""What the sanity filter promises, for any market, and the mutants that break each promise."""

import random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from support.ticks import LIMITS, T0, Filter, S
from tradebox.domain import tick_filter
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


def a_genuine_level_passes(seed, factor, wait_ms):
    made = known()
    price, at_s = walk(made, steps(seed))
    level = price * factor
    needed = 2 * LIMITS.confirm_ticks + 2
    wait_s = max(wait_ms / 1000, 2.1 / (LIMITS.confirm_ticks - 1))
    passed = [made.see(level, at_s + n * wait_s, size=n).passes for n in range(1, needed + 1)]
    assert passed[-1]
    assert abs(made.state.last_price_micros / 1e6 / level - 1) < 1e-6


def nothing_late_passes(seed):
    made, newest_ns = Filter(), 0
    for price, at_s, one in wild_ticks(seed):
        if made.see(price, at_s, **one).passes:
            event_ns = T0 + round(at_s * S)
            assert event_ns >= newest_ns - LIMITS.late_ns_max
            newest_ns = max(newest_ns, event_ns)


def live_is_positive_fresh_and_of_its_time(seed):
    made = Filter()
    for price, at_s, one in wild_ticks(seed):
        if made.see(price, at_s, **one).quality is Quality.LIVE:
            age_s = one["recv_s"] - at_s
            assert price > 0
            assert one["size"] >= 0
            assert -LIMITS.future_ns_max / S - 1e-6 <= age_s <= LIMITS.stale_ns_max / S + 1e-6


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
    a_genuine_level_passes: (seeds, factors, st.integers(200, 4000)),
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

real = {name: getattr(tick_filter, name) for name in ("_jump", "_hold", "_plain_refusal", "_pass")}


def keep_held_price(state, tick, limits, jump, *, is_open):
    state, judged = real["_hold"](state, tick, limits, jump, is_open=is_open)
    return state._replace(last_price_micros=tick.price_micros), judged


def remember_by_session(state, tick, limits, *, is_open):
    state, judged = real["_pass"](state, tick, limits, is_open=is_open)
    return state if is_open is not False else state._replace(recent_micros=()), judged


def no_sentinel(state, tick, limits):
    found = real["_plain_refusal"](state, tick, limits)
    return None if found in ("sentinel", "price", "future") and tick.price_micros else found


MUTANTS = {
    "confirms at once": ("_is_confirmed", lambda *_: True, isolated_jumps_never_pass),
    "confirms never": ("_is_confirmed", lambda *_: False, a_genuine_level_passes),
    "knows no jump": ("_jump", lambda *_: None, isolated_jumps_never_pass),
    "forgets what it saw": ("_remember", lambda state, *_: state, no_print_passes_twice),
    "takes a held price for the last": ("_hold", keep_held_price, a_held_price_is_never_last),
    "lets the session into the state": (
        "_pass",
        remember_by_session,
        the_session_changes_no_state,
    ),
    "takes the future": (
        "_plain_refusal",
        no_sentinel,
        live_is_positive_fresh_and_of_its_time,
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_caught(mutant, monkeypatch):
    name, replacement, promise = MUTANTS[mutant]
    monkeypatch.setattr(tick_filter, name, replacement)
    with pytest.raises(AssertionError):
        hold(promise, HUNT)


def test_a_filter_without_the_late_check_is_caught(monkeypatch):
    judge = tick_filter.judge

    def forgetful(state, one, limits, *, is_open=None):
        if state is not None:
            state = state._replace(last_event_ns=0)
        return judge(state, one, limits, is_open=is_open)

    monkeypatch.setattr("support.ticks.judge", forgetful)
    with pytest.raises(AssertionError):
        hold(nothing_late_passes, HUNT)
