"""Finnhub's REST answers, as a pure function of the request, the market and the moment.

Rules of this file:
- every request of a known key counts against its limit, refused ones too;
- `/quote` says seconds where the stream says milliseconds, and zeros for a symbol it does not know;
- what a free key may not have is 403, for ever;
- the calls of the last minute are known after a restart too.

Source: finnhub.io API documentation; the limits, the 403 of candles and the zeros as users of
free keys report them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from tradebox.sim.calls import KeptCalls
from tradebox.sim.exchange.market_port import MICROS, SECOND_NS, Instrument
from tradebox.sim.faults import FaultBoard
from tradebox.sim.market import hours
from tradebox.sim.market.market import DayFigures, Market

PREFIX = "/api/v1"
PER_MINUTE_MAX = 60
PER_SECOND_MAX = 30
NO_ACCESS = "You don't have access to this resource."
LIMIT_REACHED = "API limit reached. Please try again later. Remaining Limit: 0"
_MIC = {"NASDAQ": "XNAS", "NYSE": "XNYS", "ARCA": "ARCX"}
_SEARCH_RESULTS_MAX = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: HTTPStatus
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json; charset=utf-8"


class RateLimit:
    """At most 60 calls in a running minute and 30 in a second. Units: seconds."""

    def __init__(self, kept: KeptCalls) -> None:
        self._kept = kept
        self._calls = kept.times("finnhub")

    def take(self, now_s: float) -> bool:
        """Count a call; say whether it is within the limits."""
        while self._calls and self._calls[0] <= now_s - 60:
            self._calls.popleft()
        if len(self._calls) >= PER_MINUTE_MAX:
            return False
        if len(self._calls) >= PER_SECOND_MAX and self._calls[-PER_SECOND_MAX] > now_s - 1:
            return False
        self._calls.append(now_s)
        self._kept.keep()
        return True

    def headers(self, now_s: float, wall_s: float) -> dict[str, str]:
        """Return the headers that every answer carries; reset is in epoch seconds."""
        oldest = self._calls[0] if self._calls else now_s
        return {
            "X-Ratelimit-Limit": str(PER_MINUTE_MAX),
            "X-Ratelimit-Remaining": str(PER_MINUTE_MAX - len(self._calls)),
            "X-Ratelimit-Reset": str(int(wall_s + max(0.0, oldest + 60 - now_s)) + 1),
        }


class Rest:
    """The REST side of one key."""

    def __init__(self, market: Market, faults: FaultBoard, key: str, kept: KeptCalls) -> None:
        self._market = market
        self._faults = faults
        self._key = key
        self._limit = RateLimit(kept)

    def answer(self, target: str, key_header: str, now_s: float, wall_s: float) -> Answer:
        """Answer a GET request.

        Units: now_s monotonic seconds, for the limits; wall_s epoch seconds, for the headers.
        """
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        key = key_header or query.get("token", "")
        if key != self._key or self._faults.take("bad_key"):
            text = "Invalid API key" if key else "Please use an API key."
            return _error(HTTPStatus.UNAUTHORIZED, text)
        if self._faults.take("server_error"):
            page = "<html><head><title>502 Bad Gateway</title></head><body></body></html>"
            return Answer(HTTPStatus.BAD_GATEWAY, page, content_type="text/html")
        if self._faults.take("plain_429"):
            text = "API limit reached. Please sign up for a free account to get more."
            return Answer(HTTPStatus.TOO_MANY_REQUESTS, text, content_type="text/plain")
        is_allowed = self._limit.take(now_s)
        headers = self._limit.headers(now_s, wall_s)
        if not is_allowed or self._faults.take("rate_limit"):
            headers["X-Ratelimit-Remaining"] = "0"
            return _error(HTTPStatus.TOO_MANY_REQUESTS, LIMIT_REACHED, headers)
        if self._faults.take("no_access"):
            return _error(HTTPStatus.FORBIDDEN, NO_ACCESS, headers)
        return self._route(parts.path.removeprefix(PREFIX), query, headers)

    def _route(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Answer:
        data: object
        match path:
            case "/quote":
                if not query.get("symbol"):
                    text = "Missing parameter: symbol"
                    return _error(HTTPStatus.UNPROCESSABLE_ENTITY, text, headers)
                data = self._quote(query["symbol"])
            case "/stock/market-status":
                data = self._market_status(query.get("exchange", "US"))
            case "/stock/market-holiday":
                data = self._holidays(query.get("exchange", "US"))
            case "/stock/symbol":
                data = [_listing(one) for one in self._market.symbols()]
            case "/search":
                data = self._search(query.get("q", ""))
            case "/stock/candle":
                return _error(HTTPStatus.FORBIDDEN, NO_ACCESS, headers)
            case _:
                return _error(HTTPStatus.NOT_FOUND, "Endpoint not found.", headers)
        text = json.dumps(data)
        if self._faults.take("truncated"):
            text = text[: len(text) // 2]
        return Answer(HTTPStatus.OK, text, headers)

    def _quote(self, symbol: str) -> dict[str, object]:
        day = self._market.day(symbol)
        zeros: dict[str, object] = {"c": 0, "d": None, "dp": None, "h": 0, "l": 0, "o": 0}
        zeros |= {"pc": 0, "t": 0}
        if day is None or self._faults.take("zero_quote", symbol=symbol):
            return zeros
        if self._faults.take("partial_quote", symbol=symbol):
            return zeros | {"c": price_number(_last(day)), "t": day.last_ns // SECOND_NS}
        return _quote_of(day, self._market.clock.now_ns())

    def _market_status(self, exchange: str) -> dict[str, object]:
        now_ns = self._market.clock.now_ns()
        is_open = self._market.clock.is_open(now_ns)
        return {
            "exchange": exchange,
            "holiday": None,
            "isOpen": is_open,
            "session": _session_of(now_ns),
            "t": now_ns // SECOND_NS,
            "timezone": "America/New_York",
        }

    def _holidays(self, exchange: str) -> dict[str, object]:
        """Return the closed days and the early closes of this year and the next, latest first."""
        now = datetime.fromtimestamp(self._market.clock.now_ns() // SECOND_NS, UTC)
        first = date(now.year, 1, 1)
        days = [first + timedelta(days=number) for number in range(2 * 365)]
        rows = [
            {"atDate": str(day), "eventName": name, "tradingHour": trading}
            for day in reversed(days)
            for name, trading in [_special(day)]
            if name
        ]
        return {"data": rows, "exchange": exchange, "timezone": "America/New_York"}

    def _search(self, text: str) -> dict[str, object]:
        wanted = text.upper()
        found = [
            {
                "description": one.name.upper(),
                "displaySymbol": one.symbol,
                "symbol": one.symbol,
                "type": "Common Stock",
            }
            for one in self._market.symbols()
            if wanted and (wanted in one.symbol or wanted in one.name.upper())
        ]
        return {"count": len(found), "result": found[:_SEARCH_RESULTS_MAX]}


def price_number(micros: int) -> float:
    """Return a price as the JSON number that prints as its shortest decimal."""
    return micros / MICROS


def _special(day: date) -> tuple[str, str]:
    """Return what is special about a weekday, and its hours; nothing of an ordinary one."""
    if day in hours.holidays(day.year):
        return "Market holiday", ""
    is_short = day.weekday() < 5 and hours.is_early_close(day)
    return ("Early close", "09:30-13:00") if is_short else ("", "")


def _last(day: DayFigures) -> int:
    return day.last_micros or day.previous_close_micros


def _quote_of(day: DayFigures, now_ns: int) -> dict[str, object]:
    last, before = _last(day), day.previous_close_micros
    percent = (Decimal(last - before) * 100 / Decimal(before)).quantize(Decimal("0.0001"))
    return {
        "c": price_number(last),
        "d": price_number(last - before),
        "dp": float(percent),
        "h": price_number(day.high_micros or last),
        "l": price_number(day.low_micros or last),
        "o": price_number(day.open_micros or last),
        "pc": price_number(before),
        "t": (day.last_ns or now_ns) // SECOND_NS,
    }


def _listing(one: Instrument) -> dict[str, object]:
    return {
        "currency": one.currency,
        "description": one.name.upper(),
        "displaySymbol": one.symbol,
        "figi": f"BBG{one.con_id:09d}",
        "mic": _MIC[one.primary_exchange],
        "symbol": one.symbol,
        "type": "Common Stock",
    }


def _error(status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, json.dumps({"error": text}), headers or {})


def _session_of(now_ns: int) -> str | None:
    """Return the name of the part of the trading day that a market time lies in."""
    if hours.is_open(now_ns):
        return "regular"
    if not hours.is_tradable(now_ns):
        return None
    return "pre-market" if now_ns >= hours.session_from(now_ns).before_ns else "post-market"
