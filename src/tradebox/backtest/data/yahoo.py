"""Daily history from Yahoo Finance, asked by yfinance; only ever imported in the reading process.

Rules of this file:
- a bar of a session that still runs is left out: its close is not known yet;
- one stock that fails is a stock with a problem; when the vendor as a whole refuses, the run hears
  it at once;
- requests are spaced, and tried again a few times with growing waits.

Source: yfinance 1.7.0: errors must not be hidden, and its session is one per process.
"""

import logging
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from tradebox.backtest.data.series import PRICES, RawSeries, as_floats
from tradebox.errors import ConfigInvalid, VendorUnavailable

ROUTE_VARIABLE: Final = "TRADEBOX_YAHOO_ROUTE"
"""PORT,AUTHORITY: lead every connection to this port of loopback and trust that root."""

STAND_IN: Final = "@stand-in"
"""What the name of a led source ends in: its prices are the simulator's."""

PERIODS: Final = ("1y", "2y", "5y", "10y", "max")
PERIOD: Final = "10y"
TRIES: Final = 3
KEPT_S: Final = 6 * 3600
PAUSE_S: Final = 0.2
WAIT_FIRST_S: Final = 1.0
FAILURES_MAX: Final = 5
"""So many stocks in a row that fail with an error of the vendor end the reading."""


class YahooSource:
    """yfinance's daily bars, adjusted for splits and dividends."""

    can_list = False

    def __init__(self, period: str = "") -> None:
        self._period = period.removesuffix(STAND_IN) or PERIOD
        if self._period not in PERIODS:
            raise ConfigInvalid(
                f"data=yahoo:{period}: give one of yahoo:{', yahoo:'.join(PERIODS)}"
            )

    @property
    def name(self) -> str:
        """The form it was given in."""
        return f"yahoo:{self._period}" + (STAND_IN if os.environ.get(ROUTE_VARIABLE) else "")

    def fingerprint(self) -> str | None:
        """The part of the day: adjusted history is kept for hours, and never appended to."""
        if os.environ.get(ROUTE_VARIABLE):
            return None  # the stand-in's days pass in minutes
        return f"{self.name} {int(time.time() // KEPT_S)}"

    def symbols(self) -> Sequence[str]:
        """Yahoo lists nothing."""
        return ()

    def read(self, symbols: Sequence[str]) -> Iterator[RawSeries]:
        """Ask stock by stock. Raises: VendorUnavailable."""
        import yfinance

        yfinance.config.debug.hide_exceptions = False
        warnings.filterwarnings("ignore", module=r"yfinance(\.|$)")  # of its use of pandas
        logging.getLogger("yfinance").setLevel(logging.CRITICAL)  # what fails is told by us
        failures = 0
        with tempfile.TemporaryDirectory(prefix="tradebox-yahoo-") as folder:
            yfinance.set_tz_cache_location(folder)
            session = _session()
            for symbol in symbols:
                series, is_vendor = self._asked(yfinance, session, symbol)
                failures = failures + 1 if is_vendor else 0
                if failures >= FAILURES_MAX:
                    raise VendorUnavailable(
                        f"data={self.name}: {failures} stocks in a row failed; the last,"
                        f" {symbol}: {series.problem}: try again later",
                        symbol=symbol,
                    )
                yield series
                _pause(PAUSE_S if session is None else 0.0)

    def _asked(self, yfinance: Any, session: Any, symbol: str) -> tuple[RawSeries, bool]:
        """Return the series, and whether the vendor rather than the stock failed."""
        from yfinance import exceptions

        problem = ""
        for number in range(TRIES):
            ticker = yfinance.Ticker(symbol, session=session)
            try:
                frame = ticker.history(period=self._period, interval="1d", auto_adjust=True)
            except (exceptions.YFTickerMissingError, exceptions.YFInvalidPeriodError) as error:
                return RawSeries(symbol, problem=f"Yahoo has no bars: {error}"), False
            except (exceptions.YFException, OSError, ValueError, KeyError, TypeError) as error:
                # An HTML page in place of JSON surfaces as ValueError or TypeError.
                problem = f"{type(error).__name__}: {error}"
                first_s = WAIT_FIRST_S if session is None else PAUSE_S
                _pause(first_s * 2**number if number + 1 < TRIES else 0.0)
                continue
            return _series(symbol, frame, ticker.history_metadata), False
        said = f"Yahoo did not answer: {problem}"
        return RawSeries(symbol, problem=said, is_passing=True), True


def _series(symbol: str, frame: Any, about: Any) -> RawSeries:
    if frame.empty:
        return RawSeries(symbol, problem="Yahoo has no bars")
    days = np.array([moment.date() for moment in frame.index], dtype="datetime64[D]")
    day = days.astype(np.int64).astype(np.int32)
    kept = slice(0, len(day) - 1 if _is_running(about, days[-1]) else len(day))
    columns = {name: as_floats(frame[name.title()].to_numpy())[kept] for name in PRICES}
    columns["volume"] = as_floats(frame["Volume"].to_numpy())[kept]
    currency = str((about or {}).get("currency") or "USD")
    return RawSeries(symbol, columns, day[kept], adjusted=True, currency=currency)


def _is_running(about: Any, last: np.datetime64) -> bool:
    """Tell whether the last bar is of a session whose end was not reached when it was asked."""
    period = (about or {}).get("currentTradingPeriod", {})
    end = _seconds(period.get("regular", {}).get("end") if isinstance(period, dict) else None)
    asked = _seconds((about or {}).get("regularMarketTime"))
    if end is None or asked is None:
        return False
    is_same_day = np.datetime64(datetime.fromtimestamp(end, UTC).date(), "D") == last
    return bool(is_same_day and asked < end)


def _seconds(moment: Any) -> float | None:
    """Return UTC seconds of what yfinance keeps as a number at first and as a time later."""
    if isinstance(moment, (int, float)):
        return float(moment)
    return float(moment.timestamp()) if hasattr(moment, "timestamp") else None


def _session() -> Any:
    """Return the session of a led connection; None lets yfinance make its own."""
    route = os.environ.get(ROUTE_VARIABLE, "")
    if not route:
        return None
    port, _, authority = route.partition(",")
    from curl_cffi import CurlOpt, curl, requests

    native: Any = curl
    routes = native.lib.curl_slist_append(native.ffi.NULL, f"::127.0.0.1:{int(port)}".encode())
    options: Any = {
        "impersonate": "chrome",
        "verify": authority,
        "curl_options": {CurlOpt.CONNECT_TO: routes},
    }
    return requests.Session(**options)


def _pause(wait_s: float) -> None:
    if wait_s > 0:
        time.sleep(wait_s)
