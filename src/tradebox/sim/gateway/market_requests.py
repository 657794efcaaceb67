"""Requests about prices: streaming quotes, snapshots, historical bars.

Rules of this file:
- a missing price leaves as -1 with size 0;
- what streams is in streams.py; here a stream begins and ends;
- historical bars are stamped at their start on the wire, as the broker does.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from tradebox.errors import WireInvalid
from tradebox.sim.exchange.days import NEW_YORK
from tradebox.sim.exchange.market_port import SECOND_NS, Bar, Instrument, Quote
from tradebox.sim.gateway.followers import BarFollower
from tradebox.sim.gateway.order_messages import Fields, wire_time
from tradebox.sim.gateway.place_order import read_contract
from tradebox.sim.gateway.reference_requests import NO_SECURITY_TEXT
from tradebox.sim.gateway.session import Handler, Session
from tradebox.sim.gateway.streams import (
    CLOSE,
    DELAY_NS,
    LAST,
    OPEN,
    VOLUME,
    WAITING_EVENTS_MAX,
    Stream,
    say_halted,
    say_quote,
    say_range,
)
from tradebox.sim.gateway.times import epoch_ns, read_time
from tradebox.sim.gateway.wire import FieldReader, price_text

LIVE, FROZEN, DELAYED_TYPE, DELAYED_FROZEN = 1, 2, 3, 4
DELAYED_TEXT = "Requested market data is not subscribed. Displaying delayed market data."
NO_DATA_TEXT = "Historical Market Data Service error message:HMDS query returned no data"
TOO_MANY_TEXT = (
    "Historical Market Data Service error message:API historical data query pacing violation"
)
DAY_S = 86_400
HOUR_S = 3_600
BARS_MAX = 20_000
PIECE_BARS = 400
STREAMS_MAX = 5_000
_BAR_UNITS = {"sec": 1, "secs": 1, "min": 60, "mins": 60, "hour": 3_600, "hours": 3_600}
_BAR_UNITS |= {"day": DAY_S, "days": DAY_S, "week": 7 * DAY_S, "W": 7 * DAY_S}
_SPAN_UNITS = {"S": 1, "D": DAY_S, "W": 7 * DAY_S, "M": 31 * DAY_S, "Y": 366 * DAY_S}


def market_data(session: Session, reader: FieldReader) -> None:
    """Begin to stream a stock's quotes and trades, or send them once."""
    reader.skip()
    request_id = reader.integer()
    contract = read_contract(reader)
    if contract["secType"] == "BAG":
        reader.skip(4 * max(reader.integer(), 0))
    if reader.flag():
        reader.skip(3)
    reader.skip()
    is_snapshot = reader.flag()
    gateway = session.gateway
    instrument = gateway.find_instrument(contract)
    if instrument is None:
        session.say_error(request_id, 200, NO_SECURITY_TEXT)
        return
    refusal = gateway.take_fault(
        "refuse_market_data", client_id=session.client_id, symbol=instrument.symbol
    )
    if refusal:
        session.say_error(request_id, int(refusal["code"]), str(refusal["text"]))
        return
    if session.tick_fault("competing_session", instrument.symbol):
        session.say_error(request_id, 10197, "No market data during competing live session")
    streams = gateway.streams
    if streams.has(session, request_id):
        session.say_error(request_id, 322, "Error processing request: Duplicate ticker id")
        return
    if streams.count(session) >= STREAMS_MAX:
        session.say_error(request_id, 101, "Max number of tickers has been reached")
        return
    increment = price_text(instrument.increment_micros)
    session.send([81, request_id, increment, "9c0001", 3])
    stream = Stream(session, request_id, instrument.symbol)
    is_unsubscribed = session.tick_fault("delayed_data", instrument.symbol) is not None
    is_asked = session.data_type in (DELAYED_TYPE, DELAYED_FROZEN)
    stream.is_delayed = is_unsubscribed or (
        is_asked and gateway.exchange.settings.delayed_request == "delayed"
    )
    if is_unsubscribed:
        session.say_error(request_id, 10167, DELAYED_TEXT)
    session.send([58, 1, request_id, _said_type(session, is_delayed=stream.is_delayed)])
    _say_first(session, stream, instrument)
    if is_snapshot:
        session.send([57, 1, request_id])
    else:
        streams.add(stream)


def market_data_type(session: Session, reader: FieldReader) -> None:
    """Take note of the type of data that later streams are asked for."""
    reader.skip()
    wanted = reader.integer()
    if wanted not in (LIVE, FROZEN, DELAYED_TYPE, DELAYED_FROZEN):
        session.say_error(-1, 321, "Error validating request.-'bY' : cause - Invalid type")
        return
    session.data_type = wanted


def _said_type(session: Session, *, is_delayed: bool) -> int:
    """Return the type that is said of a stream: frozen where the market is closed."""
    gateway = session.gateway
    is_frozen = session.data_type in (FROZEN, DELAYED_FROZEN)
    is_frozen = is_frozen and not gateway.exchange.market.clock.is_open(gateway.now_ns())
    if is_delayed:
        return DELAYED_FROZEN if is_frozen else DELAYED_TYPE
    return FROZEN if is_frozen else LIVE


def cancel_market_data(session: Session, reader: FieldReader) -> None:
    """Stop a stream."""
    reader.skip()
    request_id = reader.integer()
    if not session.gateway.streams.remove(session, request_id):
        session.say_error(request_id, 300, f"Can't find EId with tickerId:{request_id}")


def historical_bars(session: Session, reader: FieldReader) -> None:
    """Send closed bars that end at the wanted time."""
    request_id = reader.integer()
    contract = read_contract(reader)
    reader.skip()
    end_text, bar_size, duration = reader.text(), reader.text(), reader.text()
    is_regular = reader.flag()
    reader.skip()
    is_epoch = reader.integer() == 2
    if contract["secType"] == "BAG":
        reader.skip(4 * max(reader.integer(), 0))
    is_kept = bool(reader.left) and reader.flag()
    instrument = session.gateway.find_instrument(contract)
    if instrument is None:
        session.say_error(request_id, 200, NO_SECURITY_TEXT)
        return
    asked = _Asked(
        request_id,
        instrument.symbol,
        end_text,
        bar_size,
        duration,
        is_epoch=is_epoch,
        is_kept=is_kept,
        is_whole=not is_regular,
    )
    if not session.gateway.work.add(session, request_id, lambda: _answer_bars(session, asked)):
        session.say_error(request_id, 162, TOO_MANY_TEXT)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request for historical bars."""

    request_id: int
    symbol: str
    end_text: str
    bar_size: str
    duration: str
    is_epoch: bool
    is_kept: bool
    is_whole: bool


def _answer_bars(session: Session, asked: _Asked) -> Iterator[None]:
    """Answer a request piece by piece: the work queue lets others have turns in between."""
    request_id, symbol, is_epoch = asked.request_id, asked.symbol, asked.is_epoch
    now_ns = session.gateway.now_ns()
    try:
        interval_s = _interval_s(asked.bar_size)
        end_ns = min(read_time(asked.end_text, now_ns), now_ns)
        bars = yield from _bars(session, asked, interval_s, end_ns)
    except (WireInvalid, ValueError) as error:
        session.say_error(request_id, 321, f"Error validating request.-'bT' : cause - {error}")
        return
    if not bars:
        session.say_error(request_id, 162, f"{NO_DATA_TEXT}: {symbol}@SMART Trades")
        return
    rows: Fields = []
    for index, bar in enumerate(bars):
        if index % PIECE_BARS == 0:
            yield
        start_ns = bar.end_ns - interval_s * SECOND_NS
        rows.append(_bar_date(bar, start_ns, interval_s, is_epoch=is_epoch))
        prices = (bar.open_micros, bar.high_micros, bar.low_micros, bar.close_micros)
        rows += [price_text(price) for price in prices]
        average = (bar.high_micros + bar.low_micros + bar.close_micros) // 3
        rows += [bar.volume, price_text(average), max(bar.volume // 100, 1)]
    first_ns = bars[0].end_ns - interval_s * SECOND_NS
    head: Fields = [17, request_id, wire_time(first_ns), wire_time(end_ns), len(bars)]
    session.send([*head, *rows])
    if asked.is_kept:

        def dated(start_ns: int) -> str:
            bar = Bar(start_ns + interval_s * SECOND_NS, 0, 0, 0, 0, 0)
            return _bar_date(bar, start_ns, interval_s, is_epoch=is_epoch)

        follower = BarFollower(
            session, request_id, symbol, interval_s, dated, is_whole=asked.is_whole
        )
        session.gateway.followers.add(follower)


def head_time(session: Session, reader: FieldReader) -> None:
    """Say when the stock's history begins."""
    request_id = reader.integer()
    contract = read_contract(reader)
    reader.skip(3)
    is_epoch = reader.integer() == 2
    gateway = session.gateway
    instrument = gateway.find_instrument(contract)
    if instrument is None:
        session.say_error(request_id, 200, NO_SECURITY_TEXT)
        return
    bars = gateway.exchange.market.bars(instrument.symbol, DAY_S, gateway.now_ns(), BARS_MAX)
    if not bars:
        session.say_error(request_id, 162, f"{NO_DATA_TEXT}: {instrument.symbol}@SMART Trades")
        return
    start = f"{_day(bars[0].end_ns)} 09:30:00"
    text = str(epoch_ns(start, NEW_YORK) // SECOND_NS) if is_epoch else start.replace(" ", "-")
    session.send([88, request_id, text])


MARKET_HANDLERS: dict[int, Handler] = {
    1: market_data,
    2: cancel_market_data,
    20: historical_bars,
    59: market_data_type,
    87: head_time,
    90: lambda _session, _reader: None,
}


def _say_first(session: Session, stream: Stream, instrument: Instrument) -> None:
    """Say what is known when a stream begins: of a delayed one, what was known then."""
    gateway, symbol = session.gateway, instrument.symbol
    market, now_ns = gateway.exchange.market, gateway.now_ns()
    quote, figures = market.quote(symbol), market.day(symbol)
    if stream.is_delayed:
        seen_ns, most = now_ns - DELAY_NS, WAITING_EVENTS_MAX // 2
        before = market.ticks(symbol, 0, seen_ns, -1)
        quote = before[0].quote if before else None
        stream.begin_delayed(market.ticks(symbol, seen_ns, now_ns, -most), figures)
    say_quote(stream, quote or Quote(0, 0, 0, 0, 0, 0, now_ns))
    if quote is not None and quote.last_micros > 0:
        last = price_text(quote.last_micros)
        session.send([1, 6, stream.request_id, stream.kind(LAST), last, quote.last_size, 0])
    bars = market.bars(symbol, DAY_S, now_ns, 1)
    if bars:
        close = price_text(bars[-1].close_micros)
        session.send([1, 6, stream.request_id, stream.kind(CLOSE), close, 0, 0])
    is_begun = not stream.is_delayed or stream.volume > 0
    if figures is not None and figures.open_micros > 0 and is_begun:
        if not stream.is_delayed:
            stream.volume = figures.volume
            say_range(stream, figures)
        first = price_text(figures.open_micros)
        session.send([1, 6, stream.request_id, stream.kind(OPEN), first, 0, 0])
        session.send([2, 6, stream.request_id, stream.kind(VOLUME), stream.volume])
    say_halted(stream, is_halted=market.is_halted(symbol))


def _bars(
    session: Session, asked: _Asked, interval_s: int, end_ns: int
) -> Generator[None, None, Sequence[Bar]]:
    """Return the bars of the duration: by count of sessions for days, by time for the rest."""
    symbol = asked.symbol
    count_text, _, unit = asked.duration.strip().partition(" ")
    if not count_text.isdecimal() or unit not in _SPAN_UNITS:
        raise WireInvalid("Invalid duration")
    number = int(count_text)
    span_s = number * _SPAN_UNITS[unit]
    market = session.gateway.exchange.market
    if unit == "D" and interval_s >= DAY_S:
        return market.bars(symbol, interval_s, end_ns, min(number, BARS_MAX))
    wanted = min(max(span_s // interval_s, 1), BARS_MAX)
    bars, until_ns = list[Bar](), end_ns
    while wanted > len(bars):
        # Latest first, about a session at a time.
        most = min(PIECE_BARS, wanted - len(bars))
        piece = market.bars(symbol, interval_s, end_ns, most, is_whole=asked.is_whole)
        bars[:0] = piece
        if len(piece) < most:
            break
        end_ns = piece[0].end_ns - 1
        yield
    if unit != "D":
        since_ns = until_ns - span_s * SECOND_NS
        return [bar for bar in bars if bar.end_ns > since_ns]
    days = sorted({_day(bar.end_ns) for bar in bars})[-number:]
    return [bar for bar in bars if _day(bar.end_ns) in days]


def _interval_s(bar_size: str) -> int:
    """Return the length of a bar like `5 mins`."""
    count, _, unit = bar_size.strip().partition(" ")
    if not count.isdecimal() or unit not in _BAR_UNITS or int(count) == 0:
        raise WireInvalid("Invalid bar size")
    return int(count) * _BAR_UNITS[unit]


def _bar_date(bar: Bar, start_ns: int, interval_s: int, *, is_epoch: bool) -> str:
    if interval_s >= DAY_S:
        return _day(bar.end_ns)
    return str(start_ns // SECOND_NS) if is_epoch else wire_time(start_ns)


def _day(end_ns: int) -> str:
    """Return the New York date that a bar which ends then belongs to."""
    return _day_of_hour((end_ns // SECOND_NS - 1) // HOUR_S)


@lru_cache(maxsize=4096)
def _day_of_hour(hours: int) -> str:
    """Return the New York date of an hour since the epoch: there, days begin with an hour."""
    moment = datetime.fromtimestamp(hours * HOUR_S, tz=UTC)
    return moment.astimezone(NEW_YORK).strftime("%Y%m%d")
