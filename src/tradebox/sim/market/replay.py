"""What happens in any minute of the simulated market, as a function of the seed.

Rules of this file:
- everything is made from (seed, symbol, session, minute) alone: neither the speed, nor the order
  of the questions, nor a restart changes a single print;
- a print happens at the bid or at the ask of its moment; the quote stands until the next print;
- minutes are counted from the session's open; where the whole day is played, those before it are
  negative, and the session's last is followed by those of the evening;
- prices are micros and times UTC epoch nanoseconds from here on; times are whole milliseconds,
  as vendors give them.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from random import Random
from typing import NamedTuple

from tradebox.sim.exchange.market_port import CLOSING, OPENING, OUTSIDE, REGULAR
from tradebox.sim.market import hours, outside
from tradebox.sim.market.actions import Actions, scaled
from tradebox.sim.market.data import MarketData, Series
from tradebox.sim.market.edits import MILLISECOND_NS, Edits, corners_of
from tradebox.sim.market.paths import (
    Corners,
    PackedBars,
    Print,
    fold,
    split_day,
    split_minute,
    with_auction,
)

_DAYS_KEPT = 4
_EDITED_DAYS_KEPT = 64
_FULL_RATE_SYMBOLS = 60
"""With more symbols than this, each of them prints less often."""
_SPARE_SYMBOLS = 200
"""With more symbols than this, fewer days of each are kept."""
_OUTSIDE_DAYS_KEPT = 2
_BPS = 10_000
_EVER = 10**9
_OUTSIDE_SEED, _NIGHT_SEED = 10_000, 20_000
"""Minutes that no session has: each minute's generator is its own."""


class QuotedPrint(NamedTuple):
    """A print and the quote it happened at. Units: UTC ns, micros, shares."""

    event_ns: int
    price_micros: int
    size: int
    bid_micros: int
    ask_micros: int
    bid_size: int
    ask_size: int
    kind: str = REGULAR


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
    is_whole: what trades before and after the session is part of it; never of a tape's symbols.
    Holds: equal arguments give equal prints in every process and in any order of asking;
           the prints of a minute fold to its bar, the minutes of a day to the day's bar.
    """

    def __init__(
        self, data: MarketData, seed: int, rate: float = 0.4, *, is_whole: bool = False
    ) -> None:
        self.is_whole = is_whole
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
        self._outside = lru_cache(maxsize=_OUTSIDE_DAYS_KEPT * max(1, len(data.series)))(
            self._prints_outside
        )

    def forget(self) -> None:
        """Make everything anew from now on, for an action or an edit was added."""
        self._recorded.cache_clear()
        self._edited.cache_clear()
        self._outside.cache_clear()

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
        session = hours.session(number)
        start_ns = session.open_ns + minute * hours.MINUTE_NS
        series = self._by_symbol[symbol]
        if not 0 <= minute < session.minutes:
            quiet = self._outside_of(symbol, number, minute)
            random = self._random(symbol, number, minute + _OUTSIDE_SEED)
            return self._quoted(series, start_ns, quiet, random, OUTSIDE) if quiet else []
        random = self._random(symbol, number, minute)
        prints = self._prints_of(symbol, number, minute, random)
        if not prints:
            return []
        quoted = self._quoted(series, start_ns, prints, random)
        if minute == 0:
            quoted[0] = quoted[0]._replace(kind=OPENING)
        if minute == session.minutes - 1:
            quoted[-1] = quoted[-1]._replace(kind=CLOSING)
        return quoted

    def bar_outside(self, symbol: str, number: int, minute: int) -> Corners | None:
        """Return the bar of a minute before or after the session; None where nothing traded."""
        return corners_of(self._outside_of(symbol, number, minute))

    def _outside_of(self, symbol: str, number: int, minute: int) -> Sequence[Print]:
        """Return the prints of a minute before or after the session, without their quotes."""
        if not self.is_whole or self._by_symbol[symbol].tape:
            return ()
        prints = self._outside(symbol, number).get(minute, ())
        edits = self.edits.get(symbol)
        if not prints or edits is None:
            return prints
        return edits.prints(prints, hours.session(number).open_ns + minute * hours.MINUTE_NS)

    def _prints_outside(self, symbol: str, number: int) -> Mapping[int, Sequence[Print]]:
        """Return what trades before and after a session, by minute."""
        session, rate = hours.session(number), self._rate * 60
        before_it = self._night(symbol, number - 1)[1]
        day = self._recorded_day(symbol, number)
        minutes = session.minutes_played(is_whole=True)
        random = self._random(symbol, number, _OUTSIDE_SEED)
        morning = outside.prints_between(
            before_it, day.open, range(minutes.start, 0), rate, is_before=True, random=random
        )
        evening = outside.prints_between(
            day.close,
            self._night(symbol, number)[0],
            range(session.minutes, minutes.stop),
            rate,
            is_before=False,
            random=random,
        )
        return {**morning, **evening}

    def _night(self, symbol: str, number: int) -> tuple[int, int]:
        """Return the price after a session's evening, in the shares of that day and of the next."""
        new, old = self.actions.ratio(symbol, number, number + 1)
        close = scaled(self._recorded_day(symbol, number).close, new, old)
        following_open = self._recorded_day(symbol, number + 1).open
        random = self._random(symbol, number, _NIGHT_SEED)
        price = outside.price_of_night(close, following_open, random)
        return scaled(price, old, new), price

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
            if minute == 0:
                prints = with_auction(prints, 0)
            elif minute == len(minutes) - 1:
                prints = with_auction(prints, -1)
        if not self._is_edited(symbol, number):
            return prints
        start_ns = hours.session(number).open_ns + minute * hours.MINUTE_NS
        return self.edits[symbol].prints(prints, start_ns)

    def last_print(self, symbol: str, number: int, minute: int) -> QuotedPrint:
        """Return the last print before a minute of a session, looking back as far as needed."""
        while True:
            first = hours.session(number).minutes_played(is_whole=self.is_whole).start
            while minute > first:
                minute -= 1
                prints = self.prints(symbol, number, minute)
                if prints:
                    return prints[-1]
            number -= 1
            minute = hours.session(number).minutes_played(is_whole=self.is_whole).stop

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
        self,
        series: Series,
        start_ns: int,
        prints: Sequence[Print],
        random: Random,
        kind: str = REGULAR,
    ) -> list[QuotedPrint]:
        increment = series.instrument.increment_micros
        model = self._liquidity[series.instrument.symbol]
        if kind == OUTSIDE:
            spread_bps = model.spread_bps * outside.SPREAD_FACTOR
            model = Liquidity(spread_bps, model.lots / outside.SIZE_DIVISOR)
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
                    kind,
                )
            )
        return result
