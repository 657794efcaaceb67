"""The shipped bars: loaded once, checked, and addressed by session number.

Rules of this file:
- prices are whole cents; every series has the increment of one cent;
- a daily series lies on its true dates from the first simulated session on; when its days are
  used up it starts again at its first day, while the calendar goes on;
- a minute series has its own few days and turns round on them in the same way.
"""

import csv
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from io import StringIO
from statistics import median

from tradebox.sim.exchange.market_port import Instrument
from tradebox.sim.market import hours
from tradebox.sim.market.paths import Corners, Print, fold

INCREMENT_MICROS = 10_000
SESSION_MINUTES = 390


@dataclass(frozen=True, slots=True)
class Series:
    """The real bars of one instrument, one entry per day.

    days: either whole-day bars or, where `minutes` is given, folded from them.
    minutes: per day the minutes from the open, None where nothing traded.
    first_index: the day that session 0 replays.
    dollars_per_day: median turnover, for the spread model.
    tape: per day and minute the recorded prints, where there is a tape.
    percent: of the bars' prices that this instrument trades at.
    """

    instrument: Instrument
    days: tuple[Corners, ...]
    minutes: tuple[tuple[Corners | None, ...], ...]
    first_index: int
    dollars_per_day: int
    tape: tuple[tuple[tuple[Print, ...], ...], ...] = ()
    percent: int = 100

    def index(self, number: int) -> int:
        """Return which of the days a session replays."""
        return (self.first_index + number) % len(self.days)

    def day(self, number: int, minutes: int) -> Corners:
        """Return the day's bar; a session of fewer minutes cuts a minute series short."""
        index = self.index(number)
        if not self.minutes or minutes >= len(self.minutes[index]):
            return priced(self.days[index], self.percent)
        traded = [bar for bar in self.minutes[index][:minutes] if bar is not None]
        return fold(traded)


@dataclass(frozen=True, slots=True)
class MarketData:
    """Every series, and how far history reaches back."""

    series: tuple[Series, ...]
    first_number: int

    def only(self, symbols: Sequence[str]) -> "MarketData":
        """Return the data of some symbols."""
        kept = tuple(one for one in self.series if one.instrument.symbol in symbols)
        return MarketData(kept, self.first_number)


def priced(bar: Corners, percent: int) -> Corners:
    """Return a bar at so many percent of its prices, at least one increment."""
    if percent == 100:
        return bar
    return Corners(
        max(1, bar.open * percent // 100),
        max(1, bar.high * percent // 100),
        max(1, bar.low * percent // 100),
        max(1, bar.close * percent // 100),
        bar.volume,
    )


def contract_id(symbol: str) -> int:
    """Return the id that a symbol has in every run: a hash below 2^30, never 0."""
    digest = blake2b(symbol.encode(), digest_size=8).digest()
    return 1_000_000 + int.from_bytes(digest) % 1_000_000_000


@cache
def load() -> MarketData:
    """Return all shipped data; read once in a process.

    Raises: AssertionError if the shipped files are damaged (a broken installation).
    """
    instruments = {
        row["symbol"]: Instrument(
            symbol=row["symbol"],
            con_id=contract_id(row["symbol"]),
            primary_exchange=row["primary_exchange"],
            currency="USD",
            increment_micros=INCREMENT_MICROS,
            name=row["name"],
        )
        for row in _rows("instruments.csv")
    }
    assert len({one.con_id for one in instruments.values()}) == len(instruments)
    found = {one.instrument.symbol: one for one in (*_daily(instruments), *_minutes(instruments))}
    series = tuple(found[symbol] for symbol in instruments)
    first_number = -max(one.first_index for one in series)
    return MarketData(series, first_number)


def _daily(instruments: dict[str, Instrument]) -> Iterator[Series]:
    bars: dict[str, list[Corners]] = {}
    days: dict[str, list[str]] = {}
    for row in _rows("daily.csv.gz"):
        bar = _corners(row)
        assert bar.is_possible(SESSION_MINUTES), row
        bars.setdefault(row["symbol"], []).append(bar)
        days.setdefault(row["symbol"], []).append(row["day"])
    for symbol, series in bars.items():
        first_index = days[symbol].index(hours.FIRST_DAY.isoformat())
        assert -first_index == hours.number_of(date.fromisoformat(days[symbol][0])), symbol
        yield _series(instruments[symbol], tuple(series), (), first_index)


def _minutes(instruments: dict[str, Instrument]) -> Iterator[Series]:
    found: dict[str, dict[int, list[Corners | None]]] = {}
    for row in _rows("minutes.csv.gz"):
        bar = _corners(row)
        assert bar.is_possible(), row
        end_ns = int(row["minute_end_utc_s"]) * hours.SECOND_NS
        session = hours.session_from(end_ns - hours.MINUTE_NS)
        index = (end_ns - session.open_ns) // hours.MINUTE_NS - 1
        days = found.setdefault(row["symbol"], {})
        days.setdefault(session.number, [None] * session.minutes)[index] = bar
    for symbol, days in found.items():
        minutes = tuple(tuple(days[number]) for number in sorted(days))
        folded = tuple(fold([bar for bar in day if bar is not None]) for day in minutes)
        yield _series(instruments[symbol], folded, minutes, 0)


def _series(
    instrument: Instrument,
    days: tuple[Corners, ...],
    minutes: tuple[tuple[Corners | None, ...], ...],
    first_index: int,
) -> Series:
    dollars = int(median(bar.close * bar.volume for bar in days)) // 100
    return Series(instrument, days, minutes, first_index, dollars)


def _corners(row: dict[str, str]) -> Corners:
    return Corners(
        _cents(row["open"]),
        _cents(row["high"]),
        _cents(row["low"]),
        _cents(row["close"]),
        int(row["volume"]),
    )


def _cents(text: str) -> int:
    whole, _, part = text.partition(".")
    assert len(part) == 2, text
    return int(whole) * 100 + int(part)


def _rows(name: str) -> Iterator[dict[str, str]]:
    content = files("tradebox.sim.data").joinpath(name).read_bytes()
    text = gzip.decompress(content) if name.endswith(".gz") else content
    yield from csv.DictReader(StringIO(text.decode("ascii"), newline=""))
