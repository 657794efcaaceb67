"""Daily history from Yahoo Finance as a source of bars: kept series first, then yfinance.

Rules of this file:
- yfinance works in a process of its own (adapters/yahoo), this one only reads what it tells;
- one stock that fails is a stock with a problem; when the vendor as a whole refuses, the run hears
  it at once;
- adjusted history is used again for hours, and never appended to.
"""

import asyncio
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from tradebox.adapters.yahoo.desk import AT_STAND_IN, PERIOD, PERIODS, Fetched, HistoryDesk
from tradebox.adapters.yahoo.history import HistoryStore, Series
from tradebox.adapters.yahoo.worker import ROUTE_VARIABLE, YahooWorker
from tradebox.backtest.data.series import PRICES, RawSeries, as_floats
from tradebox.errors import ConfigInvalid, VendorUnavailable
from tradebox.supervision.clock import MonotonicClock

HISTORY_VARIABLE: Final = "_TRADEBOX_HISTORY_PLACE"
"""FOLDER,SECONDS: where fetched history is kept, and for how long it may be used again."""

STAND_IN: Final = "@stand-in"
"""What the name of a led source ends in: its prices are the simulator's."""

SOURCE: Final = "yahoo"
KEPT_S: Final = 6 * 3600
KEPT_STAND_IN_S: Final = 60.0
"""The stand-in's days pass in minutes."""

ANSWER_S_MAX: Final = 60.0


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
        """The part of the day, what was fetched last, and whether it may still be used."""
        if os.environ.get(ROUTE_VARIABLE):
            return None  # the stand-in's days pass in minutes
        store, now_s = history_store(), time.time()
        stamp = "" if store is None else store.stamp(now_s)
        return f"{self.name} {int(now_s // KEPT_S)} {stamp}"

    def symbols(self) -> Sequence[str]:
        """Yahoo lists nothing."""
        return ()

    def read(self, symbols: Sequence[str]) -> Iterator[RawSeries]:
        """Ask stock by stock. Raises: VendorUnavailable."""
        with asyncio.Runner() as runner:
            worker, desk = _desk()
            try:
                for symbol in symbols:
                    yield _raw(runner.run(desk.get(symbol, self._period)))
            except VendorUnavailable as error:
                raise VendorUnavailable(
                    f"data={self.name}: {error.message}", **error.fields
                ) from error
            finally:
                runner.run(worker.close())


def history_store() -> HistoryStore | None:
    """Return where fetched history is kept, as the environment names it."""
    folder, _, kept_s = os.environ.get(HISTORY_VARIABLE, "").rpartition(",")
    if not folder:
        return None
    is_led = bool(os.environ.get(ROUTE_VARIABLE))
    source = SOURCE + (STAND_IN if is_led else "")
    return HistoryStore(Path(folder), source, KEPT_STAND_IN_S if is_led else float(kept_s))


def history_desk(
    route: str, store: HistoryStore | None, *, is_forced: bool = False
) -> tuple[YahooWorker, HistoryDesk]:
    """Return a desk and the worker that it asks, which is to be closed."""
    clock = MonotonicClock()
    worker = YahooWorker(clock, route=route, answer_s_max=ANSWER_S_MAX)
    manners = AT_STAND_IN if route else None
    desk = HistoryDesk(
        worker,
        clock,
        time.time,
        store=store,
        manners=manners,
        is_forced=is_forced,
        ends_at_close=not route,
    )
    return worker, desk


def raw_series(symbol: str, series: Series) -> RawSeries:
    """Return a fetched series as a source gives it."""
    days = np.array(series.days, dtype="datetime64[D]").astype(np.int64).astype(np.int32)
    columns = {
        name: as_floats([np.nan if one is None else one for one in series.columns[name]])
        for name in (*PRICES, "volume")
    }
    return RawSeries(symbol, columns, days, adjusted=True, currency=series.currency)


def _desk() -> tuple[YahooWorker, HistoryDesk]:
    return history_desk(os.environ.get(ROUTE_VARIABLE, ""), history_store())


def _raw(fetched: Fetched) -> RawSeries:
    if fetched.series is None:
        return RawSeries(fetched.symbol, problem=fetched.problem, is_passing=fetched.is_passing)
    return raw_series(fetched.symbol, fetched.series)
