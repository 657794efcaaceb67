"""Recorded ticks for the filter's trials: trades, quotes, and bars walked into prints.

Rules of this file:
- nothing is cleaned: what a file says is what the filter sees, in the file's order;
- of a maker's quotes those are named as stubs whose spread is more than fifty times the day's
  median (Q3 of Barndorff-Nielsen, Hansen, Lunde, Shephard 2009): their middle is no price;
- a bar gives four prints (open, the nearer extreme, the other, close), a quarter of it apart;
- of a foreign tape's sale conditions those that set no last price are named here, as the
  consolidated tape publishes them; auctions likewise.
"""

import csv
import gzip
import heapq
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path

from tradebox.config import FilterSettings
from tradebox.domain.filter_checks import has_condition
from tradebox.domain.filter_values import NOWHERE, Around, FilterLimits
from tradebox.domain.market import Source, Tick

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "src" / "tradebox" / "sim" / "data" / "minutes.csv.gz"
INTRADAY = ROOT.parent / "shared" / "data" / "intraday"
NS_PER_MS, NS_PER_S = 1_000_000, 1_000_000_000
DAY_NS = 86_400 * NS_PER_S
OPEN_NS, CLOSE_NS = (14 * 60 + 30) * 60 * NS_PER_S, 21 * 3600 * NS_PER_S
"""New York's regular hours in winter, within a UTC day; both stock files lie there."""
NO_LAST = ("B", "C", "G", "H", "K", "M", "N", "P", "Q", "R", "T", "U", "V", "W", "Z", "4", "7", "9")
AUCTION = ("O", "5", "6")
CENT_MICROS, PIP_TENTH_MICROS = 10_000, 10
STUB_MULTIPLE = 50


@dataclass(frozen=True, slots=True)
class Recording:
    """One file's ticks of one symbol, with how it is to be judged. stubs: keys of ticks."""

    name: str
    ticks: tuple[Tick, ...]
    limits: FilterLimits
    has_hours: bool
    stubs: frozenset[int] = frozenset()

    @property
    def first_price_micros(self) -> int:
        """Return the first price that sets a last price."""
        sets = (one for one in self.ticks if not has_condition(self.limits.ineligible, one))
        return next(sets).price_micros

    def around(self, event_ns: int) -> Around:
        """Return the regular hours of the tick's day, where the recording has any."""
        if not self.has_hours:
            return NOWHERE
        day_ns = event_ns - event_ns % DAY_NS
        return Around(day_ns + OPEN_NS, day_ns + CLOSE_NS)


def limits_of(settings: FilterSettings, increment_micros: int = CENT_MICROS) -> FilterLimits:
    """Return the limits for recorded ticks: the settings, the increment, the tape's codes."""
    changed = {
        "increment_micros": increment_micros,
        "conditions_ineligible": {"finnhub": NO_LAST},
        "conditions_auction": {"finnhub": AUCTION},
    }
    return FilterLimits.of(settings.model_copy(update=changed))


def trades(path: Path, settings: FilterSettings, count_max: int = 0) -> Recording:
    """Return a file of trades: ts_utc_ms, symbol, price, size and perhaps cond."""
    ticks = tuple(
        _tick(
            row["symbol"],
            row["price"],
            int(row["ts_utc_ms"]) * NS_PER_MS,
            number,
            size=round(float(row["size"])),
            conditions=tuple(row.get("cond", "").replace(" ", "")),
        )
        for number, row in enumerate(_rows(path, count_max), 1)
    )
    return Recording(path.name, ticks, limits_of(settings), has_hours="us_equity" in path.name)


def quotes(
    path: Path,
    settings: FilterSettings,
    increment_micros: int,
    count_max: int = 0,
    from_row: int = 0,
) -> Recording:
    """Return a file of bids and asks; the price is the middle. One-sided rows are left out."""
    ticks = tuple(
        _tick(
            row["symbol"],
            f"{(float(row['bid']) + float(row['ask'])) / 2:.6f}",
            int(row["ts_utc_ms"]) * NS_PER_MS,
            number,
            quote=(_micros(row["bid"]), _micros(row["ask"])),
        )
        for number, row in enumerate(_rows(path, count_max, from_row), 1)
        if float(row["bid"]) > 0 and float(row["ask"]) > 0
    )
    limits = limits_of(settings, increment_micros)
    return Recording(path.name, ticks, limits, "us_equity" in path.name, stubs(ticks))


def stubs(ticks: Sequence[Tick]) -> frozenset[int]:
    """Return the keys of the quotes that the literature's cleaning takes out as no prices."""
    found: set[int] = set()
    for _, day in groupby(ticks, key=lambda tick: tick.event_ns // DAY_NS):
        wide = [(tick.key, tick.ask_micros - tick.bid_micros) for tick in day]
        most = STUB_MULTIPLE * statistics.median(spread for _, spread in wide)
        found.update(key for key, spread in wide if spread > most)
    return frozenset(found)


def line(trades_path: Path, quotes_path: Path, settings: FilterSettings) -> Recording:
    """Return trades and quotes as a broker's line tells them: a quote repeats the last trade."""
    tape = trades(trades_path, settings)
    beside = quotes(quotes_path, settings, CENT_MICROS)
    merged: list[Tick] = []
    last_micros = 0
    for tick in heapq.merge(tape.ticks, beside.ticks, key=lambda one: one.event_ns):
        if not tick.is_quote:
            is_last = not has_condition(tape.limits.ineligible, tick)
            last_micros = tick.price_micros if is_last else last_micros
            merged.append(replace(tick, key=len(merged) + 1))
        elif last_micros:
            merged.append(replace(tick, key=len(merged) + 1, price_micros=last_micros))
    name = f"{trades_path.name} and its quotes, as one line"
    return Recording(name, tuple(merged), tape.limits, has_hours=True)


def bars(path: Path, settings: FilterSettings, symbol: str = "SPY") -> Recording:
    """Return a file of minute bars, walked; either of the two layouts in use here."""
    ticks: list[Tick] = []
    for row in _rows(path, 0):
        if row["symbol"] != symbol:
            continue
        stamp = row.get("minute_end_utc_s")
        end_ns = int(stamp) * NS_PER_S if stamp else int(row["ts_utc_ms"]) * NS_PER_MS
        first, high, low, last = (row[name] for name in ("open", "high", "low", "close"))
        corners = [first, low, high, last] if last >= first else [first, high, low, last]
        for place, price in enumerate(corners):
            at_ns = end_ns - (3 - place) * 15 * NS_PER_S - NS_PER_S
            size = max(1, int(row["volume"]) // 4)
            ticks.append(_tick(symbol, price, at_ns, len(ticks) + 1, size=size))
    return Recording(f"{path.name} ({symbol})", tuple(ticks), limits_of(settings), has_hours=True)


def _rows(path: Path, count_max: int, from_row: int = 0) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as lines:
        until = from_row + count_max if count_max else None
        yield from islice(csv.DictReader(lines), from_row, until)


def _micros(price: str) -> int:
    return round(float(price) * 1_000_000)


def _tick(
    symbol: str,
    price: str,
    event_ns: int,
    number: int,
    *,
    size: int = 0,
    conditions: tuple[str, ...] = (),
    quote: tuple[int, int] = (0, 0),
) -> Tick:
    return Tick(
        symbol,
        _micros(price),
        size,
        event_ns,
        event_ns,
        Source.FINNHUB,
        number,
        conditions,
        *quote,
        is_quote=quote != (0, 0),
    )
