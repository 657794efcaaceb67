"""A line of market data: prices meet the broker's times, whatever comes first."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradebox.adapters.ibkr.quotes.line import DataType, Line

USD = 1_000_000
BID_SIZE, BID, ASK, ASK_SIZE, LAST, LAST_SIZE, TIME = 0, 1, 2, 3, 4, 5, 45
T = 1_300_000_000


def line():
    return Line("SPY", 1, 0.0)


def traded(one, price, at_s, size=100):
    """Let the price come first, as the simulator sends it."""
    return [each for each in (one.price(LAST, price, size), one.time(TIME, at_s)) if each]


def test_a_price_is_shown_with_the_time_that_follows_it():
    one = line()
    assert one.price(LAST, 100 * USD, 7) is None
    shown = one.time(TIME, T)
    assert (shown.price_micros, shown.size, shown.event_s) == (100 * USD, 7, T)
    assert not shown.is_quote
    assert not one.is_waiting


def test_a_time_that_comes_first_belongs_to_the_price_behind_it():
    one = line()
    traded(one, 100 * USD, T)
    assert one.time(TIME, T + 600) is None
    assert one.price(LAST, 101 * USD, 5) is None
    shown = one.paused()
    assert (shown.price_micros, shown.event_s) == (101 * USD, T + 600)
    assert one.overdue() is None


def test_a_price_without_any_time_is_never_shown():
    one = line()
    one.price(LAST, 100 * USD, 5)
    one.price(BID, 99 * USD, 5)
    assert one.paused() is None
    assert one.overdue() is None


def test_a_price_that_waited_for_nothing_gets_the_last_time_said():
    one = line()
    traded(one, 100 * USD, T)
    one.price(LAST, 101 * USD, 5)
    assert one.paused() is None
    assert one.is_waiting
    shown = one.overdue()
    assert (shown.price_micros, shown.event_s) == (101 * USD, T)


def test_a_price_behind_a_used_time_waits_for_its_own():
    one = line()
    one.price(LAST, 100 * USD, 5)
    assert one.time(TIME, T).price_micros == 100 * USD
    one.price(LAST, 101 * USD, 5)
    assert one.paused() is None
    assert one.time(TIME, T + 3).price_micros == 101 * USD


def test_a_time_alone_is_another_trade_at_the_same_price():
    one = line()
    traded(one, 100 * USD, T)
    assert one.time(TIME, T + 5) is None
    assert one.paused() is None
    shown = one.overdue()
    assert (shown.price_micros, shown.event_s, shown.is_quote) == (100 * USD, T + 5, False)


def test_a_time_that_is_said_again_shows_nothing():
    one = line()
    traded(one, 100 * USD, T)
    assert one.time(TIME, T) is None
    assert one.paused() is None
    assert one.overdue() is None


def test_two_prices_before_one_time_are_both_shown():
    one = line()
    traded(one, 100 * USD, T)
    one.price(LAST, 101 * USD, 5)
    first = one.price(LAST, 102 * USD, 5)
    assert (first.price_micros, first.event_s) == (101 * USD, T)
    assert one.time(TIME, T + 1).price_micros == 102 * USD


def test_an_older_trade_that_is_repeated_is_not_shown():
    one = line()
    traded(one, 100 * USD, T)
    one.price(LAST, 90 * USD, 5)
    assert one.time(TIME, T - 60) is None
    assert one.overdue() is None
    assert traded(one, 101 * USD, T + 1)[0].event_s == T + 1


@pytest.mark.parametrize("bad", [None, 0, -USD])
def test_a_price_that_is_none_takes_the_last_one_along(bad):
    one = line()
    traded(one, 100 * USD, T)
    one.price(LAST, bad, 0)
    assert one.time(TIME, T + 9) is None
    one.price(BID, 99 * USD, 5)
    assert one.overdue() is None
    assert traded(one, 101 * USD, T + 10)[0].price_micros == 101 * USD


def test_only_what_is_no_sentinel_counts_as_unsound():
    one = line()
    for bad in (0, -USD, None, -5 * USD):
        one.price(LAST, bad, 0)
    assert one.unsound == 2


def test_a_side_without_size_or_with_minus_one_is_no_quote():
    one = line()
    one.price(BID, 99 * USD, 5)
    one.price(ASK, 101 * USD, 5)
    assert one.quote == (99 * USD, 101 * USD)
    one.size(BID_SIZE, 0)
    assert one.quote == (0, 101 * USD)
    one.size(BID_SIZE, 3)
    one.price(ASK, -USD, 0)
    assert one.quote == (99 * USD, 0)


def test_a_changed_quote_is_shown_beside_the_last_trade_and_its_time():
    one = line()
    traded(one, 100 * USD, T)
    one.price(BID, 99 * USD, 5)
    shown = one.overdue()
    assert shown.is_quote
    assert (shown.price_micros, shown.size, shown.event_s) == (100 * USD, 0, T)
    assert (shown.bid_micros, shown.ask_micros) == (99 * USD, 0)
    assert one.overdue() is None


def test_a_print_carries_the_quote_so_that_it_is_not_shown_twice():
    one = line()
    one.price(BID, 99 * USD, 5)
    one.price(ASK, 101 * USD, 5)
    (shown,) = traded(one, 100 * USD, T)
    assert (shown.bid_micros, shown.ask_micros) == (99 * USD, 101 * USD)
    assert not one.is_waiting


@pytest.mark.parametrize("kind", [66, 67, 68, 88])
def test_a_delayed_tick_makes_the_line_delayed_and_forgets_what_was_live(kind):
    one = line()
    traded(one, 100 * USD, T)
    if kind == 88:
        one.time(kind, T - 900)
    else:
        one.price(kind, 90 * USD, 5)
    assert one.data_type is DataType.DELAYED
    assert one.overdue() is None


def test_delayed_prices_are_shown_as_delayed():
    one = line()
    one.become(DataType.DELAYED)
    one.price(68, 90 * USD, 5)
    shown = one.time(88, T - 900)
    assert (shown.price_micros, shown.data_type) == (90 * USD, DataType.DELAYED)


def test_live_types_of_a_line_that_is_called_delayed_do_not_make_it_live():
    one = line()
    one.become(DataType.DELAYED)
    assert traded(one, 100 * USD, T)[0].data_type is DataType.DELAYED


def test_what_was_delayed_is_not_mixed_into_what_is_live_again():
    one = line()
    one.price(68, 90 * USD, 5)
    one.time(88, T - 900)
    one.become(DataType.LIVE)
    one.price(BID, 99 * USD, 5)
    assert one.overdue() is None
    assert traded(one, 100 * USD, T)[0].data_type is DataType.LIVE


SAID = st.one_of(
    st.tuples(
        st.just("price"),
        st.sampled_from([BID, ASK, LAST, 66, 67, 68, 6, 9]),
        st.one_of(st.none(), st.integers(-2 * USD, 200 * USD)),
        st.integers(0, 500),
    ),
    st.tuples(st.just("size"), st.sampled_from([0, 3, 5, 8, 69, 70, 71, 74]), st.integers(0, 500)),
    st.tuples(st.just("time"), st.sampled_from([TIME, 88]), st.integers(T, T + 50)),
    st.tuples(st.just("become"), st.sampled_from(list(DataType))),
    st.tuples(st.sampled_from(["paused", "overdue"])),
)


@settings(max_examples=300)
@given(st.lists(SAID, max_size=60))
def test_what_is_shown_is_a_price_of_this_kind_at_a_time_of_the_brokers(said):
    one, seen_s, last_s = line(), set(), 0
    prices: set[int] = set()
    for name, *arguments in said:
        before = one.data_type
        shown = getattr(one, name)(*arguments)
        if one.data_type is not before:
            prices, seen_s, last_s = set(), set(), 0
        if name == "time":
            seen_s.add(arguments[1])
        if name == "price" and arguments[0] in (LAST, 68) and arguments[1] is not None:
            prices.add(arguments[1])
        if shown is None:
            continue
        assert shown.price_micros > 0
        assert shown.price_micros in prices
        assert shown.event_s in seen_s
        assert shown.event_s >= last_s
        assert min(shown.bid_micros, shown.ask_micros) >= 0
        assert shown.data_type is one.data_type
        last_s = shown.event_s
