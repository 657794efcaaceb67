"""The handler of the Alpha Vantage port: keys, limits, faults, and JSON or CSV.

Rules of this file:
- an unknown key is refused; the free and the premium key are those of the home;
- a fault script goes before limits, limits before answers;
- the faults that spoil an answer spoil a real one.
"""

import json
from collections.abc import Callable
from datetime import date, timedelta
from http import HTTPStatus
from typing import Any, Protocol

from tradebox.sim.alphavantage.answers import (
    BURST_TEXT,
    DELAYED_NAME,
    NO_KEY_TEXT,
    OLD_NOTE,
    Answers,
    Body,
    date_of,
    invalid_call,
    premium,
    price,
)
from tradebox.sim.alphavantage.quota import FreeQuota, PremiumQuota
from tradebox.sim.calls import KeptCalls
from tradebox.sim.exchange.market_port import MICROS
from tradebox.sim.faults import FaultBoard
from tradebox.sim.http import HttpAnswer, HttpRefusal, HttpRequest
from tradebox.sim.market.market import Market

PATH = "/query"
HTML_PAGE = (
    "<!DOCTYPE html><html><head><title>application-error.html</title></head>"
    "<body><h1>Application error</h1></body></html>"
)
_QUOTE = "Global Quote"
_DAY_NS = 86_400 * 10**9


class Quota(Protocol):
    """How much a key may ask."""

    def take(self, now_s: float, market_ns: int) -> bool:
        """Count a call; say whether it is within the limits."""
        ...


class AlphaVantage:
    """The handler of one port with its two keys."""

    def __init__(
        self,
        market: Market,
        free_key: str,
        premium_key: str,
        faults: FaultBoard,
        now_s: Callable[[], float],
        calls: KeptCalls | None = None,
    ) -> None:
        self._market = market
        kept = calls or KeptCalls()
        self._quotas: dict[str, Quota] = {
            free_key: FreeQuota(kept),
            premium_key: PremiumQuota(kept),
        }
        self._premium_key = premium_key
        self._faults = faults
        self._now_s = now_s
        self._answers = Answers(market)

    def __call__(self, request: HttpRequest) -> HttpAnswer:
        """Answer one request. Raises HttpRefusal, which is an answer too."""
        if request.path != PATH or request.method != "GET":
            raise HttpRefusal(HTTPStatus.NOT_FOUND, f"there is no {request.path}")
        symbol = request.query.get("symbol", "").upper()
        take = self._faults.take
        slow = take("slow", symbol=symbol)
        delay_s = float(slow["delay_s"]) if slow else 0.0
        if take("reset", symbol=symbol):
            return HttpAnswer(HTTPStatus.OK, "", delay_s=delay_s, is_reset=True)
        if take("server_error", symbol=symbol):
            return _page(HTTPStatus.SERVICE_UNAVAILABLE, delay_s)
        if take("html_page", symbol=symbol):
            return _page(HTTPStatus.OK, delay_s)
        body = self._body(request, symbol)
        if request.query.get("datatype") == "csv" and (table := _csv(body)):
            return HttpAnswer(HTTPStatus.OK, table, "application/x-download", delay_s=delay_s)
        text = json.dumps(body, indent=4)
        if take("truncated", symbol=symbol):
            text = text[: len(text) // 2]
        return HttpAnswer(HTTPStatus.OK, text, delay_s=delay_s)

    def _body(self, request: HttpRequest, symbol: str) -> Body:
        take, query = self._faults.take, request.query
        key = query.get("apikey", "")
        quota = self._quotas.get(key)
        if quota is None:
            return {"Error Message": NO_KEY_TEXT}
        is_allowed = quota.take(self._now_s(), self._market.clock.now_ns())
        if not is_allowed or take("burst_limit", symbol=symbol) or take("day_spent", symbol=symbol):
            return {"Information": BURST_TEXT}
        scripted: dict[str, Body] = {
            "old_note": {"Note": OLD_NOTE},
            "bad_key": {"Error Message": NO_KEY_TEXT},
            "premium_only": premium(),
            "invalid_call": invalid_call(query.get("function", "")),
            "empty_quote": {_QUOTE: {}},
            "empty_object": {},
        }
        for name, body in scripted.items():
            if take(name, symbol=symbol):
                return body
        return self._spoiled(
            self._answers.answer(query, is_premium=key == self._premium_key), symbol
        )

    def _spoiled(self, body: Body, symbol: str) -> Body:
        """Return the answer with what fault scripts do to a quote, or to each of a bulk."""
        rows = body.get("data")
        if isinstance(rows, list):
            return {**body, "data": [self._spoiled_row(dict(row)) for row in rows]}
        name = next((key for key in body if key.startswith(_QUOTE)), "")
        quote = body.get(name)
        if not isinstance(quote, dict) or not quote:
            return body
        take = self._faults.take
        if take("blank_values", symbol=symbol):
            blanks = {"02. open": "", "05. price": "None", "03. high": "-", "04. low": "--"}
            quote = {**quote, **blanks}
        if take("wrong_symbol", symbol=symbol):
            quote = {**quote, "01. symbol": "ZZZZ"}
        if fault := take("spike", symbol=symbol):
            quote = {**quote, "05. price": _moved(quote["05. price"], fault["percent"])}
        if fault := take("stale_day", symbol=symbol):
            bars = self._market.raw_bars(
                symbol, 86_400, self._market.clock.now_ns() - int(fault["days"]) * _DAY_NS, 1
            )
            if bars:
                quote = {**quote, "07. latest trading day": date_of(bars[0].end_ns)}
        if take("delayed_suffix", symbol=symbol):
            name = DELAYED_NAME
        return {name: quote}

    def _spoiled_row(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return one row of a bulk with what fault scripts do to it; it has no delayed twin."""
        take, symbol = self._faults.take, str(row["symbol"])
        if take("blank_values", symbol=symbol):
            row.update(open="", close="None", high="-", low="--")
        elif fault := take("spike", symbol=symbol):
            row["close"] = _moved(row["close"], fault["percent"])
        if fault := take("stale_day", symbol=symbol):
            day, _, moment = str(row["timestamp"]).partition(" ")
            earlier = date.fromisoformat(day) - timedelta(days=int(fault["days"]))
            row["timestamp"] = f"{earlier} {moment}"
        if take("wrong_symbol", symbol=symbol):
            row["symbol"] = "ZZZZ"
        return row


def _moved(said: object, percent: object) -> str:
    """Return a price as text, moved by a share of itself."""
    whole, _, part = str(said).partition(".")
    micros = int(whole) * MICROS + int(part or "0") * 100
    return price(micros + round(micros * float(str(percent)) / 100))


def _page(status: HTTPStatus, delay_s: float) -> HttpAnswer:
    return HttpAnswer(status, HTML_PAGE, "text/html", delay_s=delay_s)


def _csv(body: Body) -> str:
    """Return a time series as CSV; empty text where the body is none."""
    for name, rows in body.items():
        if name.startswith("Time Series") and isinstance(rows, dict) and rows:
            columns = [
                key.partition(". ")[2].replace(" ", "_") for key in next(iter(rows.values()))
            ]
            lines = [",".join(["timestamp", *columns])]
            lines += [",".join([day, *row.values()]) for day, row in rows.items()]
            return "\r\n".join(lines) + "\r\n"
    return ""
