"""yfinance made honest; imported in the worker process only: it loads pandas and blocks.

Rules of this file:
- its errors are not hidden, and no empty answer is taken for a delisting;
- after each failure its in-process cache is emptied: it keeps error pages as answers;
- a price of an exchange that Yahoo tells late is late, and a price without a time is none;
- a bar of a session that still runs is left out of history: its close is not known yet.

Source: yfinance 1.7.0: one session per process, an lru_cache(64) around the time zone probe and
past ranges; its `timeout` does not bound that probe, so the owner of this process ends it.
"""

import logging
import math
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import yfinance
from yfinance import exceptions
from yfinance.data import YfData

CALL_S: Final = 5.0
DELAY_S: Final = 900
NOT_FOUND: Final = 404
REAL_TIME_EXCHANGES: Final = frozenset({"NMS", "NGM", "NCM", "NYQ", "ASE", "PCX", "BTS"})
"""Yahoo's names of the US exchanges whose prices it has in real time; the others' are late."""

COLUMNS: Final = ("open", "high", "low", "close", "volume")
EMPTY, THROTTLED, FAILED = "empty", "throttled", "failed"

Answer = dict[str, Any]
_NOTHING = (exceptions.YFTickerMissingError, exceptions.YFInvalidPeriodError)
_FAULTS = (
    exceptions.YFException,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
)
"""What yfinance raises for answers it cannot read; an HTML page surfaces as any of them."""


class YahooClient:
    """One process's yfinance.

    route: "PORT,AUTHORITY" leads every connection to that port of loopback, and trusts that root.
    """

    def __init__(self, folder: str, route: str = "") -> None:
        yfinance.config.debug.hide_exceptions = False
        warnings.filterwarnings("ignore", module=r"yfinance(\.|$)")  # of its use of pandas
        logging.getLogger("yfinance").setLevel(logging.CRITICAL)  # what fails is told by us
        yfinance.set_tz_cache_location(folder)
        self._session = _session(route)

    def quote(self, symbol: str) -> Answer:
        """Return the last price with its time and exchange, or why there is none."""
        return self._answered(symbol, self._quote)

    def history(self, symbol: str, period: str) -> Answer:
        """Return the daily bars of a period, adjusted, or why there are none."""
        return self._answered(symbol, lambda one: self._history(one, period))

    def _answered(self, symbol: str, ask: Any) -> Answer:
        try:
            found: Answer = ask(symbol)
        except _NOTHING as error:
            no = _no(EMPTY, f"Yahoo has no bars: {error}")
        except exceptions.YFRateLimitError as error:
            no = _no(THROTTLED, f"Yahoo did not answer: {type(error).__name__}: {error}")
        except _FAULTS as error:
            if _is_unknown(error):
                no = _no(EMPTY, "Yahoo has no bars: it knows no such symbol")
            else:
                no = _no(FAILED, f"Yahoo did not answer: {type(error).__name__}: {error}")
        else:
            if "no" not in found:
                return found
            no = found
        YfData.cache_get.cache_clear()
        return no

    def _quote(self, symbol: str) -> Answer:
        ticker = yfinance.Ticker(symbol, session=self._session)
        frame = ticker.history(
            period="5d", interval="1d", auto_adjust=False, actions=False, timeout=CALL_S
        )
        about = ticker.history_metadata
        price, at_s = (
            _number(about.get("regularMarketPrice")),
            seconds(about.get("regularMarketTime")),
        )
        if price is None or price <= 0 or at_s is None or at_s <= 0:
            return _no(EMPTY, f"Yahoo tells no price of {symbol} with its time")
        exchange = str(about.get("exchangeName") or "")
        told_min = _number(about.get("exchangeDataDelayedBy")) or 0.0
        delay_s = 0 if exchange in REAL_TIME_EXCHANGES else DELAY_S
        return {
            "price": repr(price),
            "previous": _previous(frame, at_s),
            "at_s": int(at_s),
            "exchange": exchange,
            "delay_s": max(delay_s, int(60 * told_min)),
        }

    def _history(self, symbol: str, period: str) -> Answer:
        ticker = yfinance.Ticker(symbol, session=self._session)
        frame = ticker.history(period=period, interval="1d", auto_adjust=True, timeout=2 * CALL_S)
        about = ticker.history_metadata
        days = [moment.date().isoformat() for moment in frame.index]
        if not days:
            return _no(EMPTY, "Yahoo has no bars")
        end_s = _regular_end_s(about)
        asked_s = seconds(about.get("regularMarketTime"))
        is_ahead = end_s is not None and asked_s is not None and asked_s < end_s
        kept = len(days) - 1 if is_ahead and _day(end_s) == days[-1] else len(days)
        columns = {name: _plain(frame[name.title()])[:kept] for name in COLUMNS}
        return {
            "days": days[:kept],
            "columns": columns,
            "currency": str(about.get("currency") or "USD"),
            "next_close_s": end_s if is_ahead else None,
        }


def _is_unknown(error: BaseException) -> bool:
    """Say whether Yahoo answered 404: it knows no such symbol."""
    return getattr(getattr(error, "response", None), "status_code", None) == NOT_FOUND


def seconds(moment: object) -> float | None:
    """Return UTC seconds of what yfinance keeps as a number at first and as a time later."""
    if isinstance(moment, (int, float)) and not isinstance(moment, bool):
        return float(moment)
    return float(moment.timestamp()) if hasattr(moment, "timestamp") else None


def _regular_end_s(about: Mapping[str, Any]) -> float | None:
    period = about.get("currentTradingPeriod")
    regular = period.get("regular") if isinstance(period, Mapping) else None
    return seconds(regular.get("end")) if isinstance(regular, Mapping) else None


def _day(at_s: float | None) -> str:
    return "" if at_s is None else datetime.fromtimestamp(at_s, UTC).date().isoformat()


def _previous(frame: Any, at_s: float) -> str:
    """Return the last close before the day of a time, as text; empty where there is none."""
    closes = [(moment.date(), value) for moment, value in frame["Close"].items()]
    if not closes:
        return ""
    zone = frame.index[-1].tzinfo or UTC
    day = datetime.fromtimestamp(at_s, UTC).astimezone(zone).date()
    before = [value for moment, value in closes if moment < day and math.isfinite(value)]
    return repr(float(before[-1])) if before else ""


def _plain(column: Any) -> list[float | None]:
    """Return a column as JSON can hold it: what is no number is None."""
    return [value if math.isfinite(value) else None for value in map(float, column.tolist())]


def _number(value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None  # type: ignore[arg-type]


def _no(reason: str, said: str) -> Answer:
    return {"no": reason, "said": said[:500]}


def _session(route: str) -> Any:
    """Return the session of a led connection; None lets yfinance make its own."""
    if not route:
        return None
    from curl_cffi import CurlOpt, curl, requests

    port, _, authority = route.partition(",")
    native: Any = curl
    routes = native.lib.curl_slist_append(native.ffi.NULL, f"::127.0.0.1:{int(port)}".encode())
    options: Any = {
        "impersonate": "chrome",
        "verify": authority,
        "curl_options": {CurlOpt.CONNECT_TO: routes},
    }
    return requests.Session(**options)
