"""The market from 04:00 to 20:00: prints, bars, past ticks and the clock around the session."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.sim_market import HandClock, run, trades
from tradebox.domain.clock_map import ClockMap
from tradebox.sim.exchange.market_port import CLOSING, OPENING, OUTSIDE, REGULAR
from tradebox.sim.market import hours, outside
from tradebox.sim.market.clock import AFTER_CLOSE_NS, SimClock
from tradebox.sim.market.data import load
from tradebox.sim.market.market import Market
from tradebox.sim.market.paths import Print, with_auction
from tradebox.sim.market.replay import Replay

DATA = load().only(("AAPL", "SPY"))
DAY = hours.session(2)


def whole_market(at_ns, *, is_whole=True):
    market = Market(Replay(DATA, 1, 0.1, is_whole=is_whole), HandClock(at_ns))
    market.begin(at_ns)
    return market


def prints_of(symbol, events):
    return [one for one in trades(events) if one.symbol == symbol]


@pytest.fixture(scope="module")
def day():
    """Return a market after a whole day, and what AAPL printed in it."""
    market = whole_market(DAY.before_ns)
    return market, prints_of("AAPL", run(market, DAY.after_ns))


def test_a_whole_day_leads_from_the_morning_into_the_evening(day):
    _, prints = day
    kinds = [one.kind for one in prints]
    first, last = kinds.index(OPENING), kinds.index(CLOSING)
    assert set(kinds[:first]) == {OUTSIDE} == set(kinds[last + 1 :])
    assert set(kinds[first + 1 : last]) == {REGULAR}
    assert min(first, len(kinds) - last) > 50
    for one in prints:
        is_in = DAY.open_ns <= one.event_ns < DAY.close_ns
        assert (one.kind == OUTSIDE) != is_in
        assert DAY.before_ns <= one.event_ns < DAY.after_ns
    assert abs(prints[first].price_micros / prints[first - 1].price_micros - 1) < 0.01
    closing = prints[last]
    assert closing.size > 10 * sum(one.size for one in prints[first + 1 : last]) / (last - first)


def test_the_session_itself_is_the_same_as_without(day):
    _, prints = day
    market = whole_market(DAY.open_ns, is_whole=False)
    session = prints_of("AAPL", run(market, DAY.close_ns))
    assert [one for one in prints if one.kind != OUTSIDE] == session
    figures = market.day("AAPL")
    assert figures.volume == sum(one.size for one in session)


def test_the_days_figures_are_those_of_the_session(day):
    market, prints = day
    session = [one for one in prints if one.kind != OUTSIDE]
    figures = market.day("AAPL")
    assert figures.open_micros == session[0].price_micros
    assert figures.last_micros == session[-1].price_micros
    assert market.quote("AAPL").last_micros == prints[-1].price_micros


@pytest.mark.parametrize("step_s", [30, 60, 1800, 3600])
def test_bars_of_the_whole_day_fold_what_was_printed(day, step_s):
    market, prints = day
    plain = market.bars("AAPL", step_s, DAY.after_ns, 86_400 // step_s)
    assert all(hours.is_open(bar.end_ns - 1) for bar in plain)
    bars = market.bars("AAPL", step_s, DAY.after_ns, 86_400 // step_s, is_whole=True)
    bars = [bar for bar in bars if bar.end_ns > DAY.before_ns]
    assert sum(bar.volume for bar in bars) == sum(one.size for one in prints)
    assert bars[0].open_micros == prints[0].price_micros
    assert bars[-1].close_micros == prints[-1].price_micros
    assert {(bar.end_ns - DAY.before_ns) % (step_s * hours.SECOND_NS) for bar in bars} == {0}


def test_past_ticks_are_the_prints(day):
    market, prints = day
    for is_whole in (True, False):
        past = market.ticks("AAPL", DAY.before_ns - 1, DAY.after_ns, 100_000, is_whole=is_whole)
        wanted = [one for one in prints if is_whole or one.kind != OUTSIDE]
        assert [one.trade for one in past] == wanted
        latest = market.ticks("AAPL", 0, DAY.after_ns, -20, is_whole=is_whole)
        assert [one.trade for one in latest] == wanted[-20:]


def test_a_market_begun_in_the_evening_is_where_the_running_one_is(day):
    market, _ = day
    begun = whole_market(DAY.after_ns - 1)
    assert begun.quote("AAPL") == market.quote("AAPL")
    assert begun.day("AAPL") == market.day("AAPL")


def test_halts_and_gaps_count_in_the_morning():
    market = whole_market(DAY.before_ns)
    run(market, DAY.before_ns + 200 * hours.MINUTE_NS)
    last = market.quote("AAPL").last_micros
    market.gap("AAPL", 500_000)
    market.halt("SPY")
    events = run(market, DAY.open_ns - 1)
    assert not prints_of("SPY", events)
    prices = [one.price_micros for one in prints_of("AAPL", events)]
    assert prices
    assert all(abs(price / last - 0.5) < 0.05 for price in prices)


def test_the_clock_plays_the_whole_day_and_skips_the_night(tmp_path):
    now = [10**9]
    clock = SimClock(tmp_path / "c", 200.0, lambda: now[0], is_whole=True)
    assert clock.now_ns() == hours.session(0).before_ns
    first = ClockMap.decode((tmp_path / "c").read_bytes())
    assert first.jump_from_ns == hours.session(0).after_ns + AFTER_CLOSE_NS
    assert first.jump_to_ns == hours.session(1).before_ns
    seen = set()
    while clock.now_ns() < hours.session(1).open_ns:
        now[0] += 4 * 10**9
        clock.renew()
        seen.add(hours.is_tradable(clock.now_ns()))
    assert seen <= {True, False}
    assert clock.now_ns() < hours.session(1).close_ns


@given(
    st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 600), st.booleans(), st.integers()
)
def test_prints_around_the_session_are_possible(start, end, count, is_before, seed):
    minutes = range(-count, 0) if is_before else range(390, 390 + count)
    found = outside.prints_between(
        start, end, minutes, 24.0, is_before=is_before, random=random.Random(seed)
    )
    assert set(found) <= set(minutes)
    for prints in found.values():
        offsets = [one.offset_ms for one in prints]
        assert offsets == sorted(set(offsets))
        assert all(one.price >= 1 and one.size >= 1 for one in prints)


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=50), st.sampled_from([0, -1]))
def test_an_auction_moves_shares_and_nothing_else(sizes, place):
    prints = [Print(index, 100, size) for index, size in enumerate(sizes)]
    found = with_auction(prints, place)
    assert [one[:2] for one in found] == [one[:2] for one in prints]
    assert sum(one.size for one in found) == sum(sizes)
    assert min(one.size for one in found) >= 1
    assert found[place].size >= prints[place].size
