"""The market: bars out of ticks, order of events, and the same course however it is asked for."""

import pytest

from support.sim_market import SYMBOLS, market_at, run, trades
from tradebox.sim.exchange.market_port import MarketEvent, MarketView, QuoteChange, Trade
from tradebox.sim.market import hours
from tradebox.sim.market.data import contract_id, load


def test_the_market_is_what_the_exchange_asks_for() -> None:
    market: MarketView = market_at(hours.session(0).open_ns)
    assert [one.symbol for one in market.symbols()] == list(SYMBOLS)
    apple = market.instrument("AAPL")
    assert apple is not None
    assert (apple.primary_exchange, apple.currency) == ("NASDAQ", "USD")
    assert apple.con_id == contract_id("AAPL") == 567005236
    assert market.instrument("NONE") is None
    assert market.quote("NONE") is None
    assert market.bars("NONE", 60, 2**62, 5) == []


@pytest.mark.parametrize("number", [0, 17, 20, -1])
def test_the_prints_of_a_session_fold_to_the_real_bar(number: int) -> None:
    session = hours.session(number)
    market = market_at(session.open_ns - 1)
    found = trades(run(market, session.close_ns))
    for one in load().only(SYMBOLS).series:
        mine = [event for event in found if event.symbol == one.instrument.symbol]
        real = one.days[one.index(number)]
        cents = [event.price_micros // 10_000 for event in mine]
        assert (cents[0], max(cents), min(cents), cents[-1]) == real[:4]
        assert sum(event.size for event in mine) == real.volume
        figures = market.day(one.instrument.symbol)
        assert figures is not None
        assert (figures.open_micros, figures.high_micros) == (
            real.open * 10_000,
            real.high * 10_000,
        )
        assert (figures.low_micros, figures.volume) == (real.low * 10_000, real.volume)
        (bar,) = market.bars(one.instrument.symbol, 86_400, session.close_ns, 1)
        assert bar.end_ns == session.close_ns
        assert (bar.open_micros // 10_000, bar.close_micros // 10_000) == (real.open, real.close)


def test_real_days_lie_on_their_dates_then_turn_round() -> None:
    series = next(one for one in load().series if one.instrument.symbol == "AAPL")
    assert series.index(-288) == 0
    assert series.index(len(series.days) - series.first_index) == 0
    assert series.days[series.first_index].close == 101_44
    spy = next(one for one in load().series if one.instrument.symbol == "SPY")
    assert spy.index(0) == spy.index(20) == 0


def test_an_early_close_has_210_minutes_for_both_kinds_of_data() -> None:
    number = 0
    while not hours.session(number).is_early_close:
        number += 1
    session = hours.session(number)
    found = trades(run(market_at(session.open_ns - 1), session.close_ns + hours.MINUTE_NS))
    assert {event.symbol for event in found} == set(SYMBOLS)
    assert max(event.event_ns for event in found) < session.close_ns
    apple = next(one for one in load().series if one.instrument.symbol == "AAPL")
    size = sum(event.size for event in found if event.symbol == "AAPL")
    assert size == apple.days[apple.index(number)].volume


def test_events_come_in_order_and_a_trade_prints_at_its_quote() -> None:
    session = hours.session(3)
    events = run(market_at(session.open_ns - 1), session.open_ns + 20 * hours.MINUTE_NS)
    assert len(events) > 500
    times = [one.event_ns if isinstance(one, Trade) else one.quote.event_ns for one in events]
    assert times == sorted(times)
    last: dict[str, int] = {}
    for quoted, trade in zip(events[::2], events[1::2], strict=True):
        assert isinstance(quoted, QuoteChange)
        assert isinstance(trade, Trade)
        quote = quoted.quote
        assert quote.bid_micros < quote.ask_micros
        assert trade.price_micros in (quote.bid_micros, quote.ask_micros)
        assert min(quote.bid_size, quote.ask_size) >= 100
        assert quote.last_micros == last.get(trade.symbol, quote.last_micros)
        assert trade.event_ns % 1_000_000 == 0
        last[trade.symbol] = trade.price_micros


def test_the_course_is_the_same_however_it_is_asked_for() -> None:
    session = hours.session(5)
    until_ns = session.open_ns + 9 * hours.MINUTE_NS
    whole = run(market_at(session.open_ns - 1), until_ns)
    market = market_at(session.open_ns - 1)
    pieces: list[MarketEvent] = []
    for step in range(1, 10 * 9 + 1):
        market.prepare()
        pieces += run(market, session.open_ns + step * hours.MINUTE_NS // 10)
    assert pieces == whole
    late = market_at(session.open_ns + 4 * hours.MINUTE_NS + 12_345)
    ahead = late.next_trade("AAPL")
    rest = run(late, until_ns)
    assert rest == whole[-len(rest) :]
    assert ahead == next(one for one in trades(rest) if one.symbol == "AAPL")
    for symbol in SYMBOLS:
        assert late.quote(symbol) == market.quote(symbol)
        assert late.day(symbol) == market.day(symbol)
    alone = run(market_at(session.open_ns - 1, symbols=("NFLX",)), until_ns)
    assert alone == [one for one in whole if one.symbol == "NFLX"]
    other = run(market_at(session.open_ns - 1, seed=2), until_ns)
    assert other != whole


def test_the_state_in_the_middle_of_a_day_is_as_if_it_had_run() -> None:
    session = hours.session(2)
    middle_ns = session.open_ns + 200 * hours.MINUTE_NS + 33 * hours.SECOND_NS
    ran = market_at(session.open_ns - 1)
    run(ran, middle_ns)
    began = market_at(middle_ns)
    for symbol in SYMBOLS:
        assert began.quote(symbol) == ran.quote(symbol)
        assert began.day(symbol) == ran.day(symbol)
    assert began.next_event_ns() == ran.next_event_ns()


def test_a_market_before_its_first_print_is_quoted_from_the_day_before() -> None:
    session = hours.session(1)
    market = market_at(session.open_ns)
    quote, figures = market.quote("AAPL"), market.day("AAPL")
    assert quote is not None
    assert figures is not None
    assert quote.event_ns < hours.session(0).close_ns
    assert quote.last_micros == figures.previous_close_micros


def test_the_market_goes_over_the_night_without_losing_a_print() -> None:
    session, following = hours.session(7), hours.session(8)
    market = market_at(session.close_ns - hours.MINUTE_NS)
    events = trades(run(market, following.open_ns + hours.MINUTE_NS))
    both = [
        trade
        for at_ns in (session.close_ns - hours.MINUTE_NS, following.open_ns - 1)
        for trade in trades(run(market_at(at_ns), at_ns + hours.MINUTE_NS + 1))
    ]
    assert [one for one in events if one.event_ns < session.close_ns] == both[: len(events)][
        : sum(one.event_ns < session.close_ns for one in both)
    ]
    assert {one.event_ns > following.open_ns for one in events} == {True, False}


@pytest.mark.parametrize("interval_s", [5, 30, 60, 300, 1800, 3600])
def test_bars_of_every_length_fold_to_the_same_hour(interval_s: int) -> None:
    session = hours.session(4)
    end_ns = session.open_ns + 60 * hours.MINUTE_NS
    market = market_at(end_ns + hours.SECOND_NS)
    bars = market.bars("AAPL", interval_s, end_ns, 3600 // interval_s)
    bars = [bar for bar in bars if bar.end_ns > session.open_ns]
    (hour,) = market.bars("AAPL", 3600, end_ns, 1)
    assert (bars[0].open_micros, bars[-1].close_micros) == (hour.open_micros, hour.close_micros)
    assert max(bar.high_micros for bar in bars) == hour.high_micros
    assert min(bar.low_micros for bar in bars) == hour.low_micros
    assert sum(bar.volume for bar in bars) == hour.volume
    assert [bar.end_ns for bar in bars] == sorted({bar.end_ns for bar in bars})


def test_bars_do_not_tell_the_future() -> None:
    session = hours.session(4)
    market = market_at(session.open_ns + 90 * hours.SECOND_NS)
    (bar,) = market.bars("AAPL", 60, session.close_ns, 1)
    assert bar.end_ns == session.open_ns + hours.MINUTE_NS
    (day,) = market.bars("AAPL", 86_400, session.close_ns, 1)
    assert day.end_ns == hours.session(3).close_ns


def test_history_is_long_enough_for_indicators_and_bounded() -> None:
    market = market_at(hours.session(0).open_ns)
    for symbol in SYMBOLS:
        assert len(market.bars(symbol, 86_400, 2**62, 10_000)) == 288
    assert len(market.bars("AAPL", 60, 2**62, 1000)) == 1000
    for interval_s, count in ((0, 5), (-60, 5), (7, 5), (61, 5), (172_800, 5), (60, 0), (60, -1)):
        assert market.bars("AAPL", interval_s, 2**62, count) == []


def test_several_names_are_lively_on_the_first_days() -> None:
    for number in range(5):
        ranges = []
        for one in load().series:
            bar = one.days[one.index(number)]
            ranges.append((bar.high - bar.low) / bar.close)
        assert sum(share > 0.015 for share in ranges) >= 10
