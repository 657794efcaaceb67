"""The chart answer of Yahoo Finance (v8), as a pure function of the query, market and moment.

Rules of this file:
- bars are stamped at their start, in whole seconds; days at the session's open;
- prices are split-adjusted, `adjclose` is adjusted for dividends too;
- the running session is a live bar of its own; before its first print there is none.

Source: the answers that yfinance 1.7.0 parses, and what it needs of `meta`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from tradebox.sim.exchange.days import NEW_YORK
from tradebox.sim.exchange.market_port import MICROS, SECOND_NS, Bar, Instrument
from tradebox.sim.market import hours
from tradebox.sim.market.actions import DIVIDEND, SPLIT, Action
from tradebox.sim.market.history import DAY_S, fold_bars
from tradebox.sim.market.market import Market

Meta = dict[str, object]

RANGES = ("1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max")
_RANGE_DAYS = dict(zip(RANGES[:9], (1, 5, 30, 91, 182, 365, 730, 1826, 3652), strict=True))
INTRADAY_S = {"1m": 60, "2m": 120, "5m": 300, "15m": 900, "30m": 1800, "60m": 3600, "1h": 3600}
INTRADAY_S["90m"] = 5400
LONG_INTERVALS = ("1d", "5d", "1wk", "1mo", "3mo")
MINUTE_DAYS_MAX = 8
BARS_MAX = 20_000
DAY_BARS_MAX = 1_000
EXCHANGES = {"NASDAQ": "NMS", "NYSE": "NYQ", "ARCA": "PCX"}


@dataclass(frozen=True, slots=True)
class ChartWish:
    """What a chart request asks for. Units: UTC ns; the range is kept as it was said."""

    interval: str
    begin_ns: int
    end_ns: int
    range_text: str = ""
    is_extended: bool = False


@dataclass(frozen=True, slots=True)
class ChartRow:
    """One bar with its start. Units: seconds, micros, shares."""

    start_s: int
    bar: Bar


class BadWish(Exception):
    """The request cannot be answered; the text says why."""


def read_wish(query: Mapping[str, str], now_ns: int) -> ChartWish:
    """Return what the query asks for.

    Raises: BadWish for an unknown range or interval, or for too many days of minutes.
    """
    interval = query.get("interval", "1d")
    if interval not in INTRADAY_S and interval not in LONG_INTERVALS:
        raise BadWish(f"Invalid input - interval={interval} is not supported.")
    range_text = query.get("range", "")
    is_extended = query.get("includePrePost", "").lower() == "true"
    if "period1" in query:
        begin_ns, end_ns = _seconds(query["period1"]), _seconds(query.get("period2", ""))
        end_ns = end_ns or now_ns
        range_text = ""
    elif (range_text or "1mo") in RANGES:
        range_text = range_text or "1mo"
        begin_ns, end_ns = _begin_of(range_text, now_ns, is_whole=is_extended), now_ns
    else:
        raise BadWish(f"Invalid input - range={range_text} is not supported.")
    if interval == "1m" and end_ns - begin_ns > (MINUTE_DAYS_MAX + 1) * hours.SECOND_NS * DAY_S:
        raise BadWish(
            "1m data not available for the requested time. Only 8 days worth of 1m granularity "
            "data are allowed to be fetched per request."
        )
    return ChartWish(interval, begin_ns, min(end_ns, now_ns), range_text, is_extended)


def rows_of(market: Market, symbol: str, wish: ChartWish) -> list[ChartRow]:
    """Return the bars of a wish, oldest first."""
    step_s = INTRADAY_S.get(wish.interval)
    if step_s is not None:
        most = BARS_MAX if wish.range_text != "1d" else DAY_BARS_MAX
        bars = market.bars(symbol, step_s, wish.end_ns, most, is_whole=wish.is_extended)
        rows = [
            ChartRow(_intraday_start(bar, step_s, is_whole=wish.is_extended), bar) for bar in bars
        ]
        return [row for row in rows if row.start_s * SECOND_NS >= wish.begin_ns]
    days = market.bars(symbol, DAY_S, wish.end_ns, BARS_MAX)
    rows = [ChartRow(_open_s(bar.end_ns), bar) for bar in days]
    rows = [row for row in rows if row.start_s * SECOND_NS >= wish.begin_ns]
    live = _live_bar(market, symbol, wish.end_ns)
    if live is not None:
        rows.append(ChartRow(_open_s(live.end_ns), live))
    return rows if wish.interval == "1d" else _gathered(rows, wish.interval)


def chart_body(
    market: Market,
    instrument: Instrument,
    wish: ChartWish,
    rows: Sequence[ChartRow | None],
    actions: Sequence[Action],
    starts: Sequence[int],
) -> dict[str, object]:
    """Return the body; a row of None is said as nulls. starts: the time of each row, seconds."""
    quote: dict[str, list[float | int | None]] = {
        "open": [None if row is None else _number(row.bar.open_micros) for row in rows],
        "high": [None if row is None else _number(row.bar.high_micros) for row in rows],
        "low": [None if row is None else _number(row.bar.low_micros) for row in rows],
        "close": [None if row is None else _number(row.bar.close_micros) for row in rows],
        "volume": [None if row is None else row.bar.volume for row in rows],
    }
    result: dict[str, object] = {"meta": _meta(market, instrument, wish, rows)}
    indicators: dict[str, object] = {"quote": [quote if starts else {}]}
    if starts:
        result["timestamp"] = list(starts)
    if wish.interval in LONG_INTERVALS:
        adjusted = [None if row is None else _number(_adjusted(row, actions)) for row in rows]
        indicators["adjclose"] = [{"adjclose": adjusted} if starts else {}]
    events = _events(actions, wish)
    if events:
        result["events"] = events
    result["indicators"] = indicators
    return {"chart": {"result": [result], "error": None}}


def failed(code: str, text: str) -> dict[str, object]:
    """Return the body of a refusal."""
    return {"chart": {"result": None, "error": {"code": code, "description": text}}}


def quote_row(market: Market, instrument: Instrument) -> dict[str, object]:
    """Return a row of the v7 quote answer."""
    symbol = instrument.symbol
    day, quote, now_ns = market.day(symbol), market.quote(symbol), market.clock.now_ns()
    assert day is not None, symbol
    assert quote is not None, symbol
    last = day.last_micros or day.previous_close_micros
    return {
        "symbol": symbol,
        "shortName": instrument.name,
        "longName": instrument.name,
        "quoteType": "EQUITY",
        "currency": instrument.currency,
        "exchange": EXCHANGES[instrument.primary_exchange],
        "exchangeTimezoneName": "America/New_York",
        "marketState": _state(now_ns),
        "regularMarketPrice": _number(last),
        "regularMarketOpen": _number(day.open_micros or last),
        "regularMarketDayHigh": _number(day.high_micros or last),
        "regularMarketDayLow": _number(day.low_micros or last),
        "regularMarketVolume": day.volume,
        "regularMarketPreviousClose": _number(day.previous_close_micros),
        "regularMarketTime": (day.last_ns or now_ns) // SECOND_NS,
        "bid": _number(quote.bid_micros),
        "ask": _number(quote.ask_micros),
        "tradeable": False,
    }


def _meta(
    market: Market, instrument: Instrument, wish: ChartWish, rows: Sequence[ChartRow | None]
) -> Meta:
    now_ns, symbol = market.clock.now_ns(), instrument.symbol
    day = market.day(symbol)
    assert day is not None, symbol
    last = day.last_micros or day.previous_close_micros
    first = next((row for row in rows if row is not None), None)
    session = hours.session_from(now_ns)
    offset_s = _offset_s(now_ns)
    periods = _periods(session)
    meta: Meta = {
        "currency": instrument.currency,
        "symbol": symbol,
        "exchangeName": EXCHANGES[instrument.primary_exchange],
        "fullExchangeName": instrument.primary_exchange,
        "instrumentType": "EQUITY",
        "firstTradeDate": 345_479_400,
        "regularMarketTime": (day.last_ns or now_ns) // SECOND_NS,
        "hasPrePostMarketData": True,
        "gmtoffset": offset_s,
        "timezone": periods["regular"]["timezone"],
        "exchangeTimezoneName": "America/New_York",
        "regularMarketPrice": _number(last),
        "regularMarketDayHigh": _number(day.high_micros or last),
        "regularMarketDayLow": _number(day.low_micros or last),
        "regularMarketVolume": day.volume,
        "longName": instrument.name,
        "shortName": instrument.name,
        "chartPreviousClose": _number(first.bar.open_micros if first else last),
        "priceHint": 2,
        "currentTradingPeriod": periods,
        "dataGranularity": wish.interval,
        "range": wish.range_text,
        "validRanges": list(RANGES),
    }
    if wish.interval in INTRADAY_S:
        meta["tradingPeriods"] = _trading_periods(rows, wish, session)
    return meta


def _periods(session: hours.Hours) -> dict[str, dict[str, object]]:
    """Return when a day's three sessions begin and end, in seconds."""
    offset_s = _offset_s(session.open_ns)
    zone = {"timezone": "EDT" if offset_s == -14_400 else "EST", "gmtoffset": offset_s}
    open_s, close_s = session.open_ns // SECOND_NS, session.close_ns // SECOND_NS
    return {
        "pre": {**zone, "start": open_s - 19_800, "end": open_s},
        "regular": {**zone, "start": open_s, "end": close_s},
        "post": {**zone, "start": close_s, "end": close_s + 14_400},
    }


def _trading_periods(
    rows: Sequence[ChartRow | None], wish: ChartWish, present: hours.Hours
) -> object:
    """Return the periods of every session that the bars lie in."""
    sessions = {
        one.number: one
        for row in rows
        if row is not None
        for one in [hours.session_from(row.start_s * SECOND_NS)]
    } or {present.number: present}
    days = [_periods(one) for one in sessions.values()]
    if not wish.is_extended:
        return [[day["regular"]] for day in days]
    return {name: [[day[name]] for day in days] for name in ("pre", "regular", "post")}


def _events(actions: Sequence[Action], wish: ChartWish) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for action in actions:
        if not wish.begin_ns <= action.at_ns <= wish.end_ns:
            continue
        at_s = action.at_ns // SECOND_NS
        if action.kind == SPLIT:
            found.setdefault("splits", {})[str(at_s)] = {
                "date": at_s,
                "numerator": float(action.numerator),
                "denominator": float(action.denominator),
                "splitRatio": f"{action.numerator}:{action.denominator}",
            }
        else:
            amount = {"amount": _number(action.amount_micros), "date": at_s}
            found.setdefault("dividends", {})[str(at_s)] = amount
    return found


def _adjusted(row: ChartRow, actions: Sequence[Action]) -> int:
    """Return a close less the dividends paid after it, in proportion. Units: micros."""
    factor = Fraction(1)
    for action in actions:
        if action.kind == DIVIDEND and action.at_ns // SECOND_NS > row.start_s:
            factor *= 1 - Fraction(action.amount_micros, max(row.bar.close_micros, 1))
    return max(0, round(row.bar.close_micros * factor))


def _live_bar(market: Market, symbol: str, end_ns: int) -> Bar | None:
    session = hours.session_from(end_ns)
    day = market.day(symbol)
    is_running = session.open_ns <= end_ns and day is not None and day.last_ns > session.open_ns
    if not is_running or day is None or end_ns < market.clock.now_ns():
        return None
    return Bar(
        session.close_ns,
        day.open_micros,
        day.high_micros,
        day.low_micros,
        day.last_micros,
        day.volume,
    )


def _gathered(rows: Sequence[ChartRow], interval: str) -> list[ChartRow]:
    """Return days gathered into weeks, months or quarters, stamped at their first midnight."""
    groups: dict[int, list[ChartRow]] = {}
    for row in rows:
        groups.setdefault(_group_s(row.start_s, interval), []).append(row)
    return [
        ChartRow(start_s, fold_bars([row.bar for row in group]))
        for start_s, group in groups.items()
    ]


def _group_s(start_s: int, interval: str) -> int:
    """Return the second that a day's group is stamped with."""
    if interval == "5d":
        return start_s - start_s % (5 * DAY_S)
    moment = datetime.fromtimestamp(start_s, UTC).astimezone(NEW_YORK)
    day = moment.replace(hour=0, minute=0, second=0)
    if interval == "1wk":
        day -= timedelta(days=day.weekday())
    else:
        months = 3 if interval == "3mo" else 1
        day = day.replace(day=1, month=(day.month - 1) // months * months + 1)
    return int(day.timestamp())


def _begin_of(range_text: str, now_ns: int, *, is_whole: bool) -> int:
    begun = hours.session_of(now_ns, is_whole=is_whole)
    if now_ns < begun.begin_ns(is_whole=is_whole):
        begun = hours.session(begun.number - 1)
    if range_text == "max":
        return 0
    if range_text == "ytd":
        moment = datetime.fromtimestamp(now_ns // SECOND_NS, UTC).astimezone(NEW_YORK)
        return int(moment.replace(month=1, day=1, hour=0).timestamp()) * SECOND_NS
    days = _RANGE_DAYS[range_text]
    if days <= 5:
        return hours.session(begun.number - days + 1).begin_ns(is_whole=is_whole)
    return now_ns - days * DAY_S * SECOND_NS


def _seconds(text: str) -> int:
    """Return a period's time in nanoseconds, 0 where it is none."""
    sign = -1 if text.startswith("-") else 1
    digits = text.removeprefix("-")
    is_number = digits.isascii() and digits.isdecimal() and len(digits) < 12
    return sign * int(digits) * SECOND_NS if is_number else 0


def _intraday_start(bar: Bar, step_s: int, *, is_whole: bool) -> int:
    """Return a bar's start; a day's last bar may be short and keeps the grid of its begin."""
    session = hours.session_of(bar.end_ns - 1, is_whole=is_whole)
    begin_s, end_s = session.begin_ns(is_whole=is_whole) // SECOND_NS, bar.end_ns // SECOND_NS
    return begin_s + (end_s - begin_s - 1) // step_s * step_s


def _state(now_ns: int) -> str:
    if hours.is_open(now_ns):
        return "REGULAR"
    if not hours.is_tradable(now_ns):
        return "CLOSED"
    return "PRE" if now_ns >= hours.session_from(now_ns).before_ns else "POST"


def _open_s(end_ns: int) -> int:
    return hours.session_from(end_ns - 1).open_ns // SECOND_NS


def _offset_s(at_ns: int) -> int:
    moment = datetime.fromtimestamp(at_ns // SECOND_NS, UTC).astimezone(NEW_YORK)
    offset = moment.utcoffset()
    return int(offset.total_seconds()) if offset else 0


def _number(micros: int) -> float:
    return micros / MICROS
