"""Minute bars: whatever the order of ticks, a bar is the fold of its own source's ticks."""

from collections import defaultdict
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from support.ticks import T0, S, admitted
from tradebox.domain.market import Quality, Source
from tradebox.domain.minute_bars import MINUTE_NS, BarBook

BEGIN_S = (-T0 // S) % 60
"""Seconds after T0 at which a minute begins."""


def one(at_s, price=100.0, symbol="SPY", **fields):
    return replace(admitted(symbol, price, BEGIN_S + at_s), **fields)


def fold(ticks):
    """The bar of one minute, the slow way."""
    by_time = sorted(ticks, key=lambda tick: tick.event_ns)
    first_ns, last_ns = by_time[0].event_ns, by_time[-1].event_ns
    prices = [tick.price_micros for tick in ticks]
    opens = [tick.price_micros for tick in ticks if tick.event_ns == first_ns]
    closes = [tick.price_micros for tick in ticks if tick.event_ns == last_ns]
    return (opens[0], max(prices), min(prices), closes[-1], sum(tick.size for tick in ticks))


def values(bar):
    return (bar.open_micros, bar.high_micros, bar.low_micros, bar.close_micros, bar.volume)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["SPY", "AAPL"]),
            st.integers(0, 20),
            st.integers(9_900, 10_100),
            st.integers(0, 900),
        ),
        max_size=120,
    )
)
def test_bars_are_the_fold_of_the_admitted_log(course):
    book, log, at_s = BarBook(), defaultdict(list), 0.0
    for symbol, wait_s, cents, late_ms in course:
        at_s += wait_s
        tick = one(max(0.0, at_s - late_ms / 1000), cents / 100, symbol)
        book.close_until(T0 + round((BEGIN_S + at_s) * S))
        book.take(tick)
        log[symbol, tick.event_ns // MINUTE_NS].append(tick)
    book.close_all()
    assert book.late == book.foreign == book.skipped == 0
    assert book.folded == len(course)
    found = {(bar.symbol, bar.end_ns // MINUTE_NS - 1): values(bar) for bar in book.done}
    assert len(found) == len(book.done), "a bar was handed out twice"
    assert found == {key: fold(ticks) for key, ticks in log.items()}


def test_a_late_tick_counts_while_its_bar_is_open_and_never_after():
    book = BarBook()
    book.take(one(59, 100))
    book.take(one(60.2, 101))
    book.take(one(59.9, 102))
    book.take(one(65.1, symbol="AAPL"))
    book.close_until(T0 + (BEGIN_S + 66) * S)
    assert [bar.close_micros for bar in book.done] == [102_000_000]
    book.take(one(59.95, 103))
    assert book.late == 1
    book.close_until(T0 + (BEGIN_S + 200) * S)
    book.take(one(119, 104))
    assert book.late == 2
    closes = [bar.close_micros for bar in book.done if bar.symbol == "SPY"]
    assert closes == [102_000_000, 101_000_000]


def test_an_engine_that_is_behind_closes_nothing_early():
    book = BarBook()
    for at_s in (1, 30):
        book.take(one(at_s))
    book.close_until(T0 + (BEGIN_S + 80) * S)
    assert not book.done, "the clock is past the minute, the ticks are not"
    book.take(one(59, 101))
    book.take(one(66, 102))
    book.close_until(T0 + (BEGIN_S + 81) * S)
    assert [(bar.close_micros, bar.ticks) for bar in book.done] == [(101_000_000, 3)]


def test_where_nothing_comes_any_more_the_clock_closes():
    book = BarBook()
    book.take(one(1))
    book.close_until(T0 + (BEGIN_S + 60) * S)
    assert not book.done
    book.close_until(T0 + (BEGIN_S + 66) * S)
    assert len(book.done) == 1


def test_sources_are_never_blended_in_one_bar():
    book = BarBook()
    book.take(one(60, 100))
    book.take(one(61, 105, source=Source.YAHOO))
    book.take(one(62, 101))
    book.take(one(121, 105, source=Source.YAHOO))
    book.close_all()
    first, second = book.done
    assert (first.source, first.high_micros, first.is_partial) == (
        Source.FINNHUB, 101_000_000, True)  # fmt: skip
    assert second.source is Source.YAHOO
    assert book.foreign == 1


def test_suspects_and_closes_of_the_day_are_in_no_bar():
    book = BarBook()
    book.take(one(1, 100, quality=Quality.SUSPECT))
    book.take(one(2, 100, quality=Quality.EOD))
    book.close_all()
    assert not book.done
    assert book.skipped == 2


def test_a_bar_that_was_begun_or_ended_in_its_middle_says_so():
    book = BarBook()
    for at_s in (30, 70, 130):
        book.take(one(at_s))
    book.close_until(T0 + (BEGIN_S + 130) * S)
    book.close_all()
    assert [bar.is_partial for bar in book.done] == [True, False, True]


def test_what_waits_is_bounded_and_what_is_dropped_is_counted():
    book = BarBook(done_max=3)
    for minute in range(10):
        book.take(one(60 * minute))
    book.close_all()
    assert len(book.done) == 3
    assert book.dropped == 7


def test_what_reaches_us_a_day_late_makes_no_bar_of_the_past():
    book = BarBook()
    tick = one(5.0, quality=Quality.STALE)
    book.take(replace(tick, recv_ns=tick.event_ns + 86_400 * S))
    book.take(replace(tick, recv_ns=tick.event_ns + 3600 * S))
    book.close_all()
    assert (book.skipped, book.folded, len(book.done)) == (1, 1, 1)
