"""Where history is asked for: kept series first, then the worker, spaced and tried again.

Rules of this file:
- one stock that fails is a stock with a problem; when the vendor as a whole refuses, whoever asks
  hears it at once;
- requests come in chunks with pauses between; a failure waits longer each time;
- what was fetched is kept whole with the moment it was fetched.

Source: Yahoo publishes no quota and throttles by address; yfinance users report waves of 429.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tradebox.adapters.yahoo.history import COLUMNS, About, HistoryStore, Series
from tradebox.adapters.yahoo.worker import YahooWorker
from tradebox.errors import VendorUnavailable
from tradebox.supervision.clock import Clock

PERIODS: Final = ("1y", "2y", "5y", "10y", "max")
PERIOD: Final = "10y"
FAILURES_MAX: Final = 5
"""So many stocks in a row that fail with an error of the vendor end the reading."""


@dataclass(frozen=True, slots=True)
class Manners:
    """How the vendor is asked. Units: real seconds; chunk: symbols between two longer pauses."""

    pause_s: float = 0.2
    chunk: int = 50
    chunk_pause_s: float = 5.0
    tries: int = 3
    wait_first_s: float = 1.0


AT_STAND_IN: Final = Manners(pause_s=0.0, chunk_pause_s=0.0, wait_first_s=0.2)


@dataclass(frozen=True, slots=True)
class Fetched:
    """One symbol's history, or why there is none. is_kept: it was not asked for again.

    is_passing: the problem may be gone next time.
    """

    symbol: str
    series: Series | None = None
    about: About | None = None
    problem: str = ""
    is_passing: bool = False
    is_kept: bool = False


class HistoryDesk:
    """Gets series one by one. store: None keeps nothing.

    ends_at_close: the next close ends what is kept; a stand-in's closes are of another time.
    Raises (from `get`): VendorUnavailable after FAILURES_MAX failures in a row; OSError where
                         what was fetched cannot be kept.
    """

    def __init__(
        self,
        worker: YahooWorker,
        clock: Clock,
        now_s: Callable[[], float],
        *,
        store: HistoryStore | None = None,
        manners: Manners | None = None,
        is_forced: bool = False,
        ends_at_close: bool = True,
    ) -> None:
        self._worker = worker
        self._clock = clock
        self._now_s = now_s
        self._store = store
        self._manners = Manners() if manners is None else manners
        self._is_forced = is_forced
        self._ends_at_close = ends_at_close
        self._asked = 0
        self._failures: list[str] = []

    async def get(self, symbol: str, period: str) -> Fetched:
        """Return one symbol's history."""
        if self._store is not None and not self._is_forced:
            kept = self._store.fresh(symbol, period, self._now_s())
            if kept is not None:
                return Fetched(symbol, kept.series, kept.about, is_kept=True)
        await self._space()
        told = await self._told(symbol, period)
        if "no" in told:
            return self._failed(symbol, str(told["no"]), str(told["said"]))
        self._failures.clear()
        columns: dict[str, Sequence[float | None]] = {
            name: told["columns"][name] for name in COLUMNS
        }
        series = Series(tuple(told["days"]), columns, str(told["currency"]))
        if not series.days:
            return Fetched(symbol, problem="Yahoo has no bars of a whole session")
        about = None
        if self._store is not None:
            close_s = told.get("next_close_s") if self._ends_at_close else None
            about = self._store.write(symbol, period, series, self._now_s(), close_s)
        return Fetched(symbol, series, about)

    async def _told(self, symbol: str, period: str) -> dict[str, Any]:
        """Ask until there is an answer, a few times; return the last no otherwise."""
        told: dict[str, Any] = {}
        for number in range(self._manners.tries):
            if number:
                await self._clock.sleep(self._manners.wait_first_s * 2.0 ** (number - 1))
            try:
                told = await self._worker.ask(do="history", symbol=symbol, period=period)
            except VendorUnavailable as error:
                told = {"no": "failed", "said": f"Yahoo did not answer: {error.message}"}
            if told.get("no") in (None, "empty"):
                break
        return told

    def _failed(self, symbol: str, no: str, said: str) -> Fetched:
        if no == "empty":
            self._failures.clear()
            return Fetched(symbol, problem=said)
        self._failures.append(symbol)
        if len(self._failures) >= FAILURES_MAX:
            raise VendorUnavailable(
                f"yahoo: {len(self._failures)} stocks in a row failed; the last, {symbol}:"
                f" {said}: try again later",
                symbol=symbol,
            )
        return Fetched(symbol, problem=said, is_passing=True)

    async def _space(self) -> None:
        """Wait a little before each request but the first, longer after each chunk."""
        manners = self._manners
        if self._asked:
            is_chunk = self._asked % manners.chunk == 0
            await self._clock.sleep(manners.chunk_pause_s if is_chunk else manners.pause_s)
        self._asked += 1
