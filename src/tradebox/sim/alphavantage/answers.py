"""What Alpha Vantage answers, as a pure function of the query, the key, the market and its time.

Rules of this file:
- every answer is HTTP 200, errors too; all numbers are strings;
- a free key sees closed sessions only; a premium key sees the present with `entitlement=realtime`
  and what was 15 minutes ago with `entitlement=delayed`, under another name;
- daily prices are as traded; the adjusted ones know splits and dividends.

Source: alphavantage.co documentation; the error texts as users of free keys report them.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction

from tradebox.sim.exchange.days import NEW_YORK
from tradebox.sim.exchange.market_port import MICROS, SECOND_NS, Bar
from tradebox.sim.market import hours
from tradebox.sim.market.actions import DIVIDEND, SPLIT
from tradebox.sim.market.history import DAY_S, fold_bars
from tradebox.sim.market.market import Market

Body = dict[str, object]
Query = Mapping[str, str]

COMPACT_ROWS = 100
FULL_ROWS = 5_000
BULK_SYMBOLS_MAX = 100
DELAY_NS = 15 * hours.MINUTE_NS
DELAYED_NAME = "Global Quote - DATA DELAYED BY 15 MINUTES"
INTERVALS = {"1min": 60, "5min": 300, "15min": 900, "30min": 1800, "60min": 3600}
BURST_TEXT = (
    "Thank you for using Alpha Vantage! Please consider spreading out your free API requests more "
    "sparingly (1 request per second). You may subscribe to any of the premium plans at "
    "https://www.alphavantage.co/premium/ to lift the free key rate limit (25 requests per day), "
    "raise the per-second burst limit, and instantly unlock all premium endpoints"
)
OLD_NOTE = (
    "Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per minute and "
    "500 calls per day. Please visit https://www.alphavantage.co/premium/ if you would like to "
    "target a higher API call frequency."
)
PREMIUM_TEXT = (
    "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe to any of "
    "the premium plans at https://www.alphavantage.co/premium/ to instantly unlock all premium "
    "endpoints"
)
NO_KEY_TEXT = (
    "the parameter apikey is invalid or missing. Please claim your free API key on "
    "(https://www.alphavantage.co/support/#api-key). It should take less than 20 seconds."
)
SAMPLE_TEXT = "This is illustrative sample data: realtime bulk quotes need a premium plan."


def invalid_call(function: str) -> Body:
    """Return the answer to a bad symbol or argument."""
    text = (
        "Invalid API call. Please retry or visit the documentation "
        f"(https://www.alphavantage.co/documentation/) for {function}."
    )
    return {"Error Message": text}


def premium() -> Body:
    """Return the answer to what the key may not have."""
    return {"Information": PREMIUM_TEXT}


class Answers:
    """Answers queries within the limits of their keys."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._functions: dict[str, Callable[[Query, bool], Body]] = {
            "GLOBAL_QUOTE": self._global_quote,
            "TIME_SERIES_DAILY": self._daily,
            "TIME_SERIES_DAILY_ADJUSTED": self._daily_adjusted,
            "TIME_SERIES_INTRADAY": self._intraday,
            "REALTIME_BULK_QUOTES": self._bulk,
            "SYMBOL_SEARCH": self._search,
            "MARKET_STATUS": self._status,
        }

    def answer(self, query: Query, *, is_premium: bool) -> Body:
        """Return the body that answers a query."""
        function = query.get("function", "").upper()
        handler = self._functions.get(function)
        if handler is None:
            text = f"This API function ({query.get('function', '')}) does not exist."
            return {"Error Message": text}
        return handler(query, is_premium)

    def _now_ns(self, query: Query, *, is_premium: bool) -> int:
        """Return the time whose data the key may see."""
        now_ns = self._market.clock.now_ns()
        wish = query.get("entitlement", "")
        if is_premium and wish == "realtime":
            return now_ns
        if is_premium and wish == "delayed":
            return now_ns - DELAY_NS
        return hours.session(hours.session_from(now_ns).number - 1).close_ns

    def _global_quote(self, query: Query, is_premium: bool) -> Body:  # noqa: FBT001 - one signature for all
        symbol = query.get("symbol", "").upper()
        if query.get("entitlement") and not is_premium:
            return premium()
        if not symbol:
            return invalid_call("GLOBAL_QUOTE")
        name = DELAYED_NAME if query.get("entitlement") == "delayed" else "Global Quote"
        if self._market.instrument(symbol) is None:
            return {name: {}}
        until_ns = self._now_ns(query, is_premium=is_premium)
        day, before = self._two_days(symbol, until_ns)
        change = day.close_micros - before.close_micros
        percent = change * 1_000_000 // before.close_micros
        return {
            name: {
                "01. symbol": symbol,
                "02. open": price(day.open_micros),
                "03. high": price(day.high_micros),
                "04. low": price(day.low_micros),
                "05. price": price(day.close_micros),
                "06. volume": str(day.volume),
                "07. latest trading day": date_of(day.end_ns),
                "08. previous close": price(before.close_micros),
                "09. change": price(change),
                "10. change percent": f"{price(percent * 100)}%",
            }
        }

    def _daily(self, query: Query, is_premium: bool) -> Body:  # noqa: FBT001 - one signature for all
        symbol = query.get("symbol", "").upper()
        size = query.get("outputsize", "compact")
        if size == "full" and not is_premium:
            return premium()
        if self._market.instrument(symbol) is None or size not in ("compact", "full"):
            return invalid_call("TIME_SERIES_DAILY")
        bars = self._days(symbol, self._now_ns(query, is_premium=is_premium), _rows(size))
        rows = {date_of(bar.end_ns): _row(bar) for bar in bars}
        label = "Daily Prices (open, high, low, close) and Volumes"
        return {
            "Meta Data": _meta(
                label, symbol, next(iter(rows), ""), {"4. Output Size": size.title()}
            ),
            "Time Series (Daily)": rows,
        }

    def _daily_adjusted(self, query: Query, is_premium: bool) -> Body:  # noqa: FBT001 - one signature for all
        symbol = query.get("symbol", "").upper()
        if not is_premium:
            return premium()
        if self._market.instrument(symbol) is None:
            return invalid_call("TIME_SERIES_DAILY_ADJUSTED")
        size = query.get("outputsize", "compact")
        bars = self._days(symbol, self._now_ns(query, is_premium=True), _rows(size))
        rows: dict[str, dict[str, str]] = {}
        factor = Fraction(1)
        for bar in bars:
            splits, dividend = self._of_day(symbol, bar.end_ns)
            rows[date_of(bar.end_ns)] = _adjusted_row(bar, factor, splits, dividend)
            factor /= splits
            factor *= 1 - Fraction(dividend, bar.close_micros)
        label = "Daily Time Series with Splits and Dividend Events"
        return {
            "Meta Data": _meta(
                label, symbol, next(iter(rows), ""), {"4. Output Size": size.title()}
            ),
            "Time Series (Daily)": rows,
        }

    def _intraday(self, query: Query, is_premium: bool) -> Body:  # noqa: FBT001 - one signature for all
        symbol, interval = query.get("symbol", "").upper(), query.get("interval", "")
        if query.get("entitlement") and not is_premium:
            return premium()
        if self._market.instrument(symbol) is None or interval not in INTERVALS:
            return invalid_call("TIME_SERIES_INTRADAY")
        size = query.get("outputsize", "compact")
        until_ns = self._now_ns(query, is_premium=is_premium)
        is_whole = query.get("extended_hours", "true").lower() != "false"
        most = _rows(size)
        bars = self._market.bars(symbol, INTERVALS[interval], until_ns, most, is_whole=is_whole)
        rows: dict[str, dict[str, str]] = {}
        for bar in reversed(bars):
            rows[_moment(bar.end_ns - INTERVALS[interval] * SECOND_NS)] = _row(bar)
        label = f"Intraday ({interval}) open, high, low, close prices and volume"
        further = {"4. Interval": interval, "5. Output Size": size.title()}
        return {
            "Meta Data": _meta(label, symbol, next(iter(rows), ""), further),
            f"Time Series ({interval})": rows,
        }

    def _bulk(self, query: Query, is_premium: bool) -> Body:  # noqa: FBT001 - one signature for all
        symbols = [part.strip().upper() for part in query.get("symbol", "").split(",")]
        known = [one for one in symbols[:BULK_SYMBOLS_MAX] if self._market.instrument(one)]
        now_ns = self._market.clock.now_ns()
        rows = [self._bulk_row(one, now_ns, is_sample=not is_premium) for one in known]
        message = "" if is_premium else SAMPLE_TEXT
        return {"endpoint": "Realtime Bulk Quotes", "message": message, "data": rows}

    def _bulk_row(self, symbol: str, now_ns: int, *, is_sample: bool) -> dict[str, str]:
        day, before = self._two_days(symbol, now_ns)
        unit = 0 if is_sample else 1
        close = day.close_micros * unit or 100 * MICROS
        change = close - before.close_micros
        return {
            "symbol": symbol,
            "timestamp": _moment(now_ns),
            "open": price(day.open_micros * unit or close),
            "high": price(day.high_micros * unit or close),
            "low": price(day.low_micros * unit or close),
            "close": price(close),
            "volume": str(day.volume * unit),
            "previous_close": price(before.close_micros),
            "change": price(change),
            "change_percent": price(change * 100 * MICROS // before.close_micros),
            "extended_hours_quote": "",
            "extended_hours_change": "",
            "extended_hours_change_percent": "",
        }

    def _search(self, query: Query, _is_premium: bool) -> Body:  # noqa: FBT001 - one signature for all
        wanted = query.get("keywords", "").upper()
        found = [
            {
                "1. symbol": one.symbol,
                "2. name": one.name,
                "3. type": "Equity",
                "4. region": "United States",
                "5. marketOpen": "09:30",
                "6. marketClose": "16:00",
                "7. timezone": "UTC-04",
                "8. currency": one.currency,
                "9. matchScore": "1.0000" if one.symbol == wanted else "0.5000",
            }
            for one in self._market.symbols()
            if wanted and (wanted in one.symbol or wanted in one.name.upper())
        ]
        return {"bestMatches": found[:10]}

    def _status(self, _query: Query, _is_premium: bool) -> Body:  # noqa: FBT001 - one signature for all
        is_open = hours.is_open(self._market.clock.now_ns())
        row = {
            "market_type": "Equity",
            "region": "United States",
            "primary_exchanges": "NASDAQ, NYSE, AMEX, BATS",
            "local_open": "09:30",
            "local_close": "16:15",
            "current_status": "open" if is_open else "closed",
            "notes": "",
        }
        return {"endpoint": "Global Market Open & Close Status", "markets": [row]}

    def _days(self, symbol: str, until_ns: int, count: int) -> Sequence[Bar]:
        """Return the daily bars as traded, newest first, the running session's among them."""
        bars = list(self._market.raw_bars(symbol, DAY_S, until_ns, count))
        session = hours.session_from(until_ns)
        if session.open_ns < until_ns:
            minutes = self._market.bars(symbol, 60, until_ns, session.minutes)
            today = [bar for bar in minutes if bar.end_ns > session.open_ns]
            if today:
                bars = [*bars[-(count - 1) :], fold_bars(today)]
        return bars[::-1]

    def _two_days(self, symbol: str, until_ns: int) -> tuple[Bar, Bar]:
        day, before = self._days(symbol, until_ns, 2)
        return day, before

    def _of_day(self, symbol: str, end_ns: int) -> tuple[Fraction, int]:
        """Return the split factor and the dividend of the session that ends then."""
        factor, dividend = Fraction(1), 0
        for action in self._market.actions(symbol):
            if date_of(action.at_ns) == date_of(end_ns):
                if action.kind == SPLIT:
                    factor *= Fraction(action.numerator, action.denominator)
                elif action.kind == DIVIDEND:
                    dividend += action.amount_micros
        return factor, dividend


def price(micros: int) -> str:
    """Return an amount with four decimals."""
    whole, part = divmod(abs(micros), MICROS)
    return f"{'-' if micros < 0 else ''}{whole}.{part // 100:04d}"


def date_of(at_ns: int) -> str:
    """Return the New York date of a time, as YYYY-MM-DD."""
    return _local(at_ns).strftime("%Y-%m-%d")


def _moment(at_ns: int) -> str:
    return _local(at_ns).strftime("%Y-%m-%d %H:%M:%S")


def _local(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns // SECOND_NS, UTC).astimezone(NEW_YORK)


def _rows(size: str) -> int:
    return FULL_ROWS if size == "full" else COMPACT_ROWS


def _row(bar: Bar) -> dict[str, str]:
    return {
        "1. open": price(bar.open_micros),
        "2. high": price(bar.high_micros),
        "3. low": price(bar.low_micros),
        "4. close": price(bar.close_micros),
        "5. volume": str(bar.volume),
    }


def _adjusted_row(bar: Bar, factor: Fraction, splits: Fraction, dividend: int) -> dict[str, str]:
    row = _row(bar)
    del row["5. volume"]
    row["5. adjusted close"] = price(round(bar.close_micros * factor))
    row["6. volume"] = str(bar.volume)
    row["7. dividend amount"] = price(dividend)
    row["8. split coefficient"] = f"{float(splits):.1f}"
    return row


def _meta(label: str, symbol: str, latest: str, further: Mapping[str, str]) -> dict[str, str]:
    head = {"1. Information": label, "2. Symbol": symbol, "3. Last Refreshed": latest, **further}
    return {**head, f"{len(head) + 1}. Time Zone": "US/Eastern"}
