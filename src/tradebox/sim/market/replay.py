"""What happens in any minute of the simulated market, as a function of the seed.

Rules of this file:
- everything is made from (seed, symbol, session, minute) alone: neither the speed, nor the order
  of the questions, nor a restart changes a single print;
- a print happens at the bid or at the ask of its moment; the quote stands until the next print;
- prices are micros and times UTC epoch nanoseconds from here on; times are whole milliseconds,
  as vendors give them.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from random import Random
from typing import NamedTuple

from tradebox.sim.market import hours
from tradebox.sim.market.actions import Actions, scaled
from tradebox.sim.market.data import MarketData, Series
from tradebox.sim.market.edits import MILLISECOND_NS, Edits, corners_of
from tradebox.sim.market.paths import Corners, PackedBars, Print, fold, split_day, split_minute

_DAYS_KEPT = 4
_EDITED_DAYS_KEPT = 64
_FULL_RATE_SYMBOLS = 60
"""With more symbols than this, each of them prints less often."""
_SPARE_SYMBOLS = 200
"""With more symbols than this, fewer days of each are kept."""
_BPS = 10_000
_EVER = 10**9


class QuotedPrint(NamedTuple):
    """A print and the quote it happened at. Units: UTC ns, micros, shares."""

    event_ns: int
    price_micros: int
    size: int
    bid_micros: int
    ask_micros: int
    bid_size: int
    ask_size: int


class Liquidity(NamedTuple):
    """How tight and deep an instrument is quoted."""

    spread_bps: float
    lots: float


def liquidity_of(dollars_per_day: int) -> Liquidity:
    """Return the spread model for a turnover. Units: dollars; basis points; lots of 100."""
    if dollars_per_day >= 2_000_000_000:
        return Liquidity(0.8, 12.0)
    if dollars_per_day >= 500_000_000:
        return Liquidity(1.5, 6.0)
    return Liquidity(2.5, 3.0)


class Replay:
    """The whole course of the market, made on demand.

    rate: prints per market second and symbol, on average over a day, of few symbols.
    Holds: equal arguments give equal prints in every process and in any order of asking;
           the prints of a minute fold to its bar, the minutes of a day to the day's bar.
    """

    def __init__(self, data: MarketData, seed: int, rate: float = 0.4) -> None:
        self._seed = seed
        self._rate = rate * min(1.0, _FULL_RATE_SYMBOLS / max(1, len(data.series)))
        self._by_symbol = {one.instrument.symbol: one for one in data.series}
        self._liquidity = {
            symbol: liquidity_of(one.dollars_per_day) for symbol, one in self._by_symbol.items()
        }
        self.series = data.series
        self.actions = Actions()
        self.edits: dict[str, Edits] = {}
        self.first_number = data.first_number
        self._is_sparing = len(data.series) > _SPARE_SYMBOLS
        kept = 2 if self._is_sparing else _DAYS_KEPT
        self._recorded = lru_cache(maxsize=kept * max(1, len(data.series)))(self._minutes)
        self._edited = lru_cache(maxsize=_EDITED_DAYS_KEPT)(self._edited_minutes)

    def forget(self) -> None:
        """Make everything anew from now on, for an action or an edit was added."""
        self._recorded.cache_clear()
        self._edited.cache_clear()

    def edit(self, symbol: str) -> Edits:
        """Return a symbol's edits, to add one; `forget` makes it count."""
        return self.edits.setdefault(symbol, Edits())

    def minutes(self, symbol: str, number: int) -> Sequence[Corners | None]:
        """Return the bars of a session's minutes; None where nothing traded."""
        if self._is_edited(symbol, number):
            return self._edited(symbol, number)
        return self._recorded(symbol, number)

    def day(self, symbol: str, number: int) -> Corners:
        """Return the bar of a session, in the shares that traded then.

        A session in which nothing traded, for it was halted, keeps the bar it would have had.
        """
        if self._is_edited(symbol, number):
            traded = [bar for bar in self.minutes(symbol, number) if bar is not None]
            if traded:
                return fold(traded)
        return self._recorded_day(symbol, number)

    def _recorded_day(self, symbol: str, number: int) -> Corners:
        count = hours.session(number).minutes
        series = self._by_symbol[symbol]
        if series.minutes and self.actions.ratio(symbol, -_EVER, number) != (1, 1):
            return fold([bar for bar in self._recorded(symbol, number) if bar is not None])
        return self.actions.scale(symbol, number, series.day(number, count), count)

    def _is_edited(self, symbol: str, number: int) -> bool:
        edits = self.edits.get(symbol)
        return edits is not None and edits.begins_ns < hours.session(number).close_ns

    def _edited_minutes(self, symbol: str, number: int) -> Sequence[Corners | None]:
        """Return a session's minutes as they trade after the symbol's edits."""
        edits, found = self.edits[symbol], list[Corners | None]()
        start_ns = hours.session(number).open_ns
        for minute, bar in enumerate(self._recorded(symbol, number)):
            begin_ns = start_ns + minute * hours.MINUTE_NS
            end_ns = begin_ns + hours.MINUTE_NS
            if bar is None or not edits.is_even(begin_ns - 1, end_ns):
                found.append(corners_of(self._prints_of(symbol, number, minute)))
            else:
                found.append(edits.bar(bar, end_ns))
        return found

    def prints(self, symbol: str, number: int, minute: int) -> list[QuotedPrint]:
        """Return the prints of a minute, oldest first; none in a minute without trading."""
        random = self._random(symbol, number, minute)
        prints = self._prints_of(symbol, number, minute, random)
        if not prints:
            return []
        start_ns = hours.session(number).open_ns + minute * hours.MINUTE_NS
        return self._quoted(self._by_symbol[symbol], start_ns, prints, random)

    def _prints_of(
        self, symbol: str, number: int, minute: int, random: Random | None = None
    ) -> list[Print]:
        """Return the prints of a minute without their quotes."""
        minutes = self._recorded(symbol, number)
        bar = minutes[minute]
        if bar is None:
            return []
        random = random or self._random(symbol, number, minute)
        series = self._by_symbol[symbol]
        if series.tape:
            prints = self._as_traded(symbol, number, series.tape[series.index(number)][minute])
        else:
            average = self._recorded_day(symbol, number).volume / len(minutes)
            activity = min(2.0, max(0.5, math.sqrt(bar.volume / average)))
            wanted = self._rate * 60 * activity * math.exp(random.gauss(0.0, 0.2))
            prints = split_minute(bar, max(1, round(wanted)), random)
        if not self._is_edited(symbol, number):
            return prints
        start_ns = hours.session(number).open_ns + minute * hours.MINUTE_NS
        return self.edits[symbol].prints(prints, start_ns)

    def last_print(self, symbol: str, number: int, minute: int) -> QuotedPrint:
        """Return the last print before a minute of a session, looking back as far as needed."""
        while True:
            while minute > 0:
                minute -= 1
                prints = self.prints(symbol, number, minute)
                if prints:
                    return prints[-1]
            number -= 1
            minute = hours.session(number).minutes

    def _as_traded(self, symbol: str, number: int, prints: Sequence[Print]) -> list[Print]:
        """Return recorded prints in the shares that trade in a session."""
        new, old = self.actions.ratio(symbol, -_EVER, number)
        if new == old:
            return list(prints)
        return [
            Print(one.offset_ms, scaled(one.price, new, old), max(1, one.size * new // old))
            for one in prints
        ]

    def _minutes(self, symbol: str, number: int) -> Sequence[Corners | None]:
        bars = self._minutes_of(symbol, number)
        return PackedBars(bars) if self._is_sparing else bars

    def _minutes_of(self, symbol: str, number: int) -> tuple[Corners | None, ...]:
        series = self._by_symbol[symbol]
        count = hours.session(number).minutes
        if series.minutes:
            scale = self.actions.scale
            return tuple(
                None if bar is None else scale(symbol, number, bar, 1)
                for bar in series.minutes[series.index(number)][:count]
            )
        day = self.actions.scale(symbol, number, series.day(number, count), count)
        return tuple(split_day(day, count, self._random(symbol, number, -1)))

    def _random(self, symbol: str, number: int, minute: int) -> Random:
        name = f"{self._seed}|{symbol}|{number}|{minute}".encode()
        return Random(int.from_bytes(blake2b(name, digest_size=8).digest()))  # noqa: S311 - a replay, no secret

    def _quoted(
        self, series: Series, start_ns: int, prints: list[Print], random: Random
    ) -> list[QuotedPrint]:
        increment = series.instrument.increment_micros
        model = self._liquidity[series.instrument.symbol]
        fair = max(1.0, prints[0].price * model.spread_bps / _BPS)
        is_buy = random.random() < 0.5
        previous = prints[0].price
        result: list[QuotedPrint] = []
        for offset_ms, price, size in prints:
            if price != previous:
                is_buy = price > previous
            elif random.random() < 0.3:
                is_buy = not is_buy
            previous = price
            spread = max(1, round(fair * math.exp(random.gauss(0.0, 0.3))))
            bid = max(1, price - spread) if is_buy else price
            ask = price if is_buy else price + spread
            lots = random.expovariate(1 / model.lots), random.expovariate(1 / model.lots)
            result.append(
                QuotedPrint(
                    start_ns + offset_ms * MILLISECOND_NS,
                    price * increment,
                    size,
                    bid * increment,
                    ask * increment,
                    100 * (1 + int(lots[0])),
                    100 * (1 + int(lots[1])),
                )
            )
        return result
