"""The handler of the Yahoo port: cookie, consent, crumb, chart and quote, by host and path.

Rules of this file:
- every host of Yahoo is this one port; which page is meant, the Host header says;
- a cookie is given by fc.yahoo.com, or by the consent form where a fault script asks for it;
- the chart needs no crumb, as at the real vendor; the quote needs cookie and crumb.

Source: the requests of yfinance 1.7.0.
"""

import json
from dataclasses import replace
from hashlib import blake2b
from http import HTTPStatus

from tradebox.sim.exchange.market_port import MICROS
from tradebox.sim.faults import FaultBoard
from tradebox.sim.http import HttpAnswer, HttpRequest
from tradebox.sim.market import hours
from tradebox.sim.market.actions import DIVIDEND, SPLIT, Action
from tradebox.sim.market.market import Market
from tradebox.sim.yahoo.chart import (
    BadWish,
    ChartRow,
    ChartWish,
    chart_body,
    failed,
    quote_row,
    read_wish,
    rows_of,
)

CHART = "/v8/finance/chart/"
FUNDAMENTALS = "/ws/fundamentals-timeseries/"
SUMMARY = "/v10/finance/quoteSummary/"
COOKIE_AGE_S = 31_557_600
NOT_FOUND_TEXT = "No data found, symbol may be delisted"
TOO_MANY = "Too Many Requests\r\n"
HTML = "text/html; charset=utf-8"
_HTML_PAGE = "<html><head><title>Yahoo</title></head><body>Will be right back...</body></html>"
_CONSENT_FORM = (
    "<html><body><form method='post'><input type='hidden' name='csrfToken' value='{token}'>"
    "<input type='hidden' name='sessionId' value='{session}'></form></body></html>"
)


class Yahoo:
    """The handler of one port; the secret makes its cookies and crumbs its own."""

    def __init__(self, market: Market, secret: str, faults: FaultBoard) -> None:
        self._market = market
        self._secret = secret
        self._faults = faults

    def __call__(self, request: HttpRequest) -> HttpAnswer:
        """Answer one request."""
        symbol = _symbol_of(request.path)
        take = self._faults.take
        slow = take("slow", symbol=symbol)
        delay_s = float(slow["delay_s"]) if slow else 0.0
        if take("reset", symbol=symbol):
            return HttpAnswer(HTTPStatus.OK, "", delay_s=delay_s, is_reset=True)
        if take("rate_limit", symbol=symbol):
            answer = HttpAnswer(HTTPStatus.TOO_MANY_REQUESTS, TOO_MANY, HTML)
        elif take("server_error", symbol=symbol):
            answer = HttpAnswer(HTTPStatus.SERVICE_UNAVAILABLE, _HTML_PAGE, HTML)
        elif take("html_page", symbol=symbol):
            answer = HttpAnswer(HTTPStatus.OK, _HTML_PAGE, HTML)
        else:
            answer = self._route(request)
        return replace(answer, delay_s=delay_s)

    def _route(self, request: HttpRequest) -> HttpAnswer:
        if request.path.startswith(CHART):
            return self._chart(request, request.path.removeprefix(CHART))
        match request.host, request.path:
            case _, "/v1/test/getcrumb":
                return self._crumb(request)
            case _, "/v7/finance/quote":
                return self._quote(request)
            case _, path if path.startswith(SUMMARY):
                return self._summary(request, path.removeprefix(SUMMARY))
            case _, path if path.startswith(FUNDAMENTALS):
                nothing: object = {"timeseries": {"result": [{"meta": {}}], "error": None}}
                return HttpAnswer(HTTPStatus.OK, nothing)
            case "fc.yahoo.com", _:
                headers = {} if self._faults.take("consent") else self._cookie()
                return HttpAnswer(HTTPStatus.NOT_FOUND, "", HTML, headers)
            case "guce.yahoo.com", "/copyConsent":
                return HttpAnswer(HTTPStatus.OK, _HTML_PAGE, HTML, self._cookie())
            case (("guce.yahoo.com" | "consent.yahoo.com"), _):
                form = _CONSENT_FORM.format(token=self._word("csrf"), session=self._word("session"))
                return HttpAnswer(HTTPStatus.OK, form, HTML)
            case _:
                return HttpAnswer(HTTPStatus.NOT_FOUND, _HTML_PAGE, HTML)

    # -- cookie and crumb -----------------------------------------------------------------

    def _word(self, purpose: str) -> str:
        return blake2b(f"{purpose}|{self._secret}".encode(), digest_size=8).hexdigest()

    def _cookie(self) -> dict[str, str]:
        attributes = f"Max-Age={COOKIE_AGE_S}; Domain=.yahoo.com; Path=/; Secure; HttpOnly"
        return {"Set-Cookie": f"A3=d={self._word('cookie')}; {attributes}"}

    def _has_cookie(self, request: HttpRequest) -> bool:
        return f"A3=d={self._word('cookie')}" in request.headers.get("cookie", "")

    def _crumb(self, request: HttpRequest) -> HttpAnswer:
        if self._faults.take("crumb_limit"):
            return HttpAnswer(HTTPStatus.TOO_MANY_REQUESTS, TOO_MANY, HTML)
        if not self._has_cookie(request):
            return HttpAnswer(HTTPStatus.UNAUTHORIZED, "<html></html>", HTML)
        return HttpAnswer(HTTPStatus.OK, self._word("crumb"), "text/plain")

    def _quote(self, request: HttpRequest) -> HttpAnswer:
        is_known = request.query.get("crumb") == self._word("crumb") and self._has_cookie(request)
        if not is_known or self._faults.take("bad_crumb"):
            error = {"code": "Unauthorized", "description": "Invalid Crumb"}
            return HttpAnswer(
                HTTPStatus.UNAUTHORIZED, {"finance": {"result": None, "error": error}}
            )
        wanted = request.query.get("symbols", "").upper().split(",")
        found = [one for name in wanted if (one := self._market.instrument(name.strip()))]
        rows = [quote_row(self._market, one) for one in found]
        return HttpAnswer(HTTPStatus.OK, {"quoteResponse": {"result": rows, "error": None}})

    def _summary(self, request: HttpRequest, symbol: str) -> HttpAnswer:
        if request.query.get("crumb") != self._word("crumb"):
            error = {"code": "Unauthorized", "description": "Invalid Crumb"}
            return HttpAnswer(
                HTTPStatus.UNAUTHORIZED, {"finance": {"result": None, "error": error}}
            )
        instrument = self._market.instrument(symbol.upper())
        if instrument is None:
            text = f"Quote not found for symbol: {symbol}"
            error = {"code": "Not Found", "description": text}
            body = {"quoteSummary": {"result": None, "error": error}}
            return HttpAnswer(HTTPStatus.NOT_FOUND, body)
        row = quote_row(self._market, instrument)
        kept = ("symbol", "quoteType", "exchange", "shortName", "longName")
        modules = {"quoteType": {name: row[name] for name in kept}}
        return HttpAnswer(HTTPStatus.OK, {"quoteSummary": {"result": [modules], "error": None}})

    # -- the chart ------------------------------------------------------------------------

    def _chart(self, request: HttpRequest, symbol: str) -> HttpAnswer:
        crumb = request.query.get("crumb", "")
        if crumb and (crumb != self._word("crumb") or self._faults.take("bad_crumb")):
            body = failed("Unauthorized", "Invalid Crumb")
            return HttpAnswer(HTTPStatus.UNAUTHORIZED, body)
        instrument = self._market.instrument(symbol.upper())
        if instrument is None or self._faults.take("not_found", symbol=symbol):
            return HttpAnswer(HTTPStatus.NOT_FOUND, failed("Not Found", NOT_FOUND_TEXT))
        symbol = instrument.symbol
        try:
            wish = read_wish(request.query, self._market.clock.now_ns())
        except BadWish as error:
            body = failed("Unprocessable Entity", str(error))
            return HttpAnswer(HTTPStatus.UNPROCESSABLE_ENTITY, body)
        whole = [] if self._faults.take("empty_result", symbol=symbol) else self._rows(symbol, wish)
        starts = [row.start_s for row in whole]
        rows = self._with_nulls(symbol, whole)
        actions = self._actions(symbol)
        body = chart_body(self._market, instrument, wish, rows, actions, starts)
        if self._faults.take("missing_zone", symbol=symbol):
            del _meta_of(body)["exchangeTimezoneName"]
        if fault := self._faults.take("stale_time", symbol=symbol):
            meta = _meta_of(body)
            meta["regularMarketTime"] = int(str(meta["regularMarketTime"])) - int(fault["age_s"])
        text = json.dumps(body)
        if self._faults.take("truncated", symbol=symbol):
            text = text[: len(text) // 2]
        return HttpAnswer(HTTPStatus.OK, text)

    def _rows(self, symbol: str, wish: ChartWish) -> list[ChartRow]:
        rows = rows_of(self._market, symbol, wish)
        if fault := self._faults.take("missing_bars", symbol=symbol):
            rows = rows[: max(0, len(rows) - int(fault["bars"]))]
        if rows and (fault := self._faults.take("spike", symbol=symbol)):
            last = rows[-1]
            close = last.bar.close_micros
            close += round(close * float(fault["percent"]) / 100)
            high = max(last.bar.high_micros, close)
            bar = replace(last.bar, close_micros=close, high_micros=high)
            rows[-1] = replace(last, bar=bar)
        return rows

    def _with_nulls(self, symbol: str, rows: list[ChartRow]) -> list[ChartRow | None]:
        fault = self._faults.take("null_rows", symbol=symbol)
        every = max(1, int(fault["every"])) if fault else 0
        return [None if every and index % every == 0 else row for index, row in enumerate(rows)]

    def _actions(self, symbol: str) -> list[Action]:
        """Return the symbol's splits and dividends, and the ones a fault script makes up."""
        actions = list(self._market.actions(symbol))
        begun = hours.session_begun(self._market.clock.now_ns()).number
        if fault := self._faults.take("split_event", symbol=symbol):
            day = hours.session(begun - int(fault["days_ago"]))
            ratio = int(fault["numerator"]), int(fault["denominator"])
            actions.append(Action(SPLIT, symbol, day.number, day.open_ns, *ratio))
        if fault := self._faults.take("dividend_event", symbol=symbol):
            day = hours.session(begun - int(fault["days_ago"]))
            amount = round(float(fault["amount"]) * MICROS)
            actions.append(Action(DIVIDEND, symbol, day.number, day.open_ns, amount_micros=amount))
        return actions


def _symbol_of(path: str) -> str:
    return path.removeprefix(CHART).upper() if path.startswith(CHART) else ""


def _meta_of(body: dict[str, object]) -> dict[str, object]:
    chart = body["chart"]
    assert isinstance(chart, dict)
    meta = chart["result"][0]["meta"]
    assert isinstance(meta, dict)
    return meta
