"""From a bar to what happened inside it: days become minutes, minutes become prints.

Rules of this file:
- pure functions of a bar and a seeded generator; prices and volumes are integers;
- what comes out gives back exactly what went in: open, high, low, close and volume;
- prices are whole increments, here plain integers (cents), and never below the bar's low.
"""

import math
from array import array
from collections.abc import Sequence
from itertools import chain, pairwise
from random import Random
from typing import NamedTuple, overload

ROUND_LOT = 100
MINUTE_MS = 60_000
SHARES_PER_MINUTE_MIN = 4
"""A minute needs this many shares to be able to print its four corners."""

_RANGE_PER_DEVIATION = 1.6
"""Expected range of a random walk over its end deviation (Parkinson 1980: sqrt(8 / pi))."""
_OPEN_HEAT, _CLOSE_HEAT = 1.6, 0.6
_CLOSING_AUCTION = 3.0


class Corners(NamedTuple):
    """Open, high, low, close in increments, and the volume in shares."""

    open: int
    high: int
    low: int
    close: int
    volume: int

    @property
    def prints_min(self) -> int:
        """Return the fewest prints that can show this bar."""
        extremes = {self.high, self.low} - {self.open, self.close}
        return len(extremes) + (2 if self.open != self.close or extremes else 1)

    def is_possible(self, minutes: int = 1) -> bool:
        """Say whether prints can make this bar."""
        return (
            0 < self.low <= min(self.open, self.close)
            and self.high >= max(self.open, self.close)
            and self.volume >= SHARES_PER_MINUTE_MIN * minutes
        )


_NOTHING = Corners(0, 0, 0, 0, 0)


class PackedBars(Sequence[Corners | None]):
    """Bars in one array of integers, for when there are very many; None where nothing traded."""

    __slots__ = ("_numbers",)

    def __init__(self, bars: Sequence[Corners | None]) -> None:
        self._numbers = array("q", chain.from_iterable(bar or _NOTHING for bar in bars))

    def __len__(self) -> int:
        return len(self._numbers) // len(_NOTHING)

    @overload
    def __getitem__(self, index: int) -> Corners | None: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Corners | None]: ...

    def __getitem__(self, index: int | slice) -> Corners | Sequence[Corners | None] | None:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        if index < 0 or index >= len(self):
            raise IndexError(index)
        start = index * len(_NOTHING)
        bar = Corners(*self._numbers[start : start + len(_NOTHING)])
        return None if bar == _NOTHING else bar


class Print(NamedTuple):
    """One trade: milliseconds after the minute's start, price in increments, shares."""

    offset_ms: int
    price: int
    size: int


def fold(bars: Sequence[Corners]) -> Corners:
    """Return the one bar that covers the given ones, oldest first."""
    return Corners(
        bars[0].open,
        max(bar.high for bar in bars),
        min(bar.low for bar in bars),
        bars[-1].close,
        sum(bar.volume for bar in bars),
    )


def split_day(day: Corners, minutes: int, random: Random) -> list[Corners]:
    """Return a day's minutes: a bridged walk through open, extremes and close.

    Holds:   folding the minutes gives back the day, and each minute `is_possible`.
    Raises:  AssertionError if the day has too few shares or minutes (unusable data).
    """
    assert minutes >= 4, minutes
    assert day.is_possible(minutes), day
    heat = [_heat((index + 0.5) / minutes) for index in range(minutes)]
    anchors = _anchors(day, minutes, random)
    scale = (day.high - day.low) / _RANGE_PER_DEVIATION / math.sqrt(sum(heat))
    closes: list[int] = []
    for (start, price), (end, target) in pairwise(anchors):
        closes += _bridge(price, target, heat[start:end], scale, (day.low, day.high), random)
    volumes = _volumes(day.volume, heat, random)
    bars: list[Corners] = []
    previous = day.open
    for close, volume, warmth in zip(closes, volumes, heat, strict=True):
        reach = scale * math.sqrt(warmth) * 0.5
        high = max(previous, close) + int(abs(random.gauss(0.0, reach)))
        low = min(previous, close) - int(abs(random.gauss(0.0, reach)))
        bars.append(Corners(previous, min(high, day.high), max(low, day.low), close, volume))
        previous = close
    return bars


def split_minute(bar: Corners, wanted: int, random: Random) -> list[Print]:
    """Return a minute's prints, about as many as wanted, at different milliseconds.

    Holds:   first and last price, extremes and summed size are the bar's; times rise.
    Raises:  AssertionError if the bar is not possible (unusable data).
    """
    assert bar.is_possible(), bar
    prices = _print_prices(bar, wanted, random)
    sizes = _sizes(bar.volume, len(prices), random)
    offsets = sorted(random.sample(range(MINUTE_MS), len(prices)))
    return list(map(Print, offsets, prices, sizes))


def with_auction(prints: Sequence[Print], place: int) -> list[Print]:
    """Return prints of which the first (place 0) or last (-1) has half of what the others have.

    Holds: number, times, prices and the summed size stay; each print keeps a share at least.
    """
    found = list(prints)
    moved = 0
    for index, one in enumerate(found):
        if index != place % len(found):
            part = one.size // 2 // ROUND_LOT * ROUND_LOT
            found[index] = one._replace(size=one.size - part)
            moved += part
    found[place] = found[place]._replace(size=found[place].size + moved)
    return found


def _heat(progress: float) -> float:
    """Return the variance of a moment of the day, in parts: warm open, calm noon, warm close."""
    return 0.6 + _OPEN_HEAT * math.exp(-progress * 12) + _CLOSE_HEAT * progress**6


def _anchors(day: Corners, minutes: int, random: Random) -> list[tuple[int, int]]:
    """Return (minute, price) points that the walk must touch, in order of time.

    An extreme that is the open or the close is touched there already.
    """
    extremes = [price for price in (day.high, day.low) if price not in (day.open, day.close)]
    random.shuffle(extremes)
    times: set[int] = set()
    while len(times) < len(extremes):
        times.add(1 + int(random.betavariate(0.6, 0.6) * (minutes - 2)))
    inner = list(zip(sorted(times), extremes, strict=True))
    return [(0, day.open), *inner, (minutes, day.close)]


def _bridge(
    price: int,
    target: int,
    heat: Sequence[float],
    scale: float,
    bounds: tuple[int, int],
    random: Random,
) -> list[int]:
    """Return a random walk from price to target, one step per entry of heat, within bounds."""
    low, high = bounds
    left = sum(heat)
    position = float(price)
    steps: list[int] = []
    for warmth in heat[:-1]:
        share = min(1.0, warmth / left)
        deviation = scale * math.sqrt(warmth * (1.0 - share))
        position += (target - position) * share + random.gauss(0.0, deviation)
        if position > high:
            position = max(low, 2 * high - position)
        elif position < low:
            position = min(high, 2 * low - position)
        steps.append(min(high, max(low, round(position))))
        left -= warmth
    return [*steps, target]


def _volumes(total: int, heat: Sequence[float], random: Random) -> list[int]:
    """Return the total in parts: U-shaped over the day, each at least the minimum."""
    weights = [warmth * math.exp(random.gauss(0.0, 0.35)) for warmth in heat]
    weights[-1] *= _CLOSING_AUCTION
    spare = total - SHARES_PER_MINUTE_MIN * len(weights)
    return [SHARES_PER_MINUTE_MIN + part for part in _apportion(spare, weights)]


def _apportion(total: int, weights: Sequence[float]) -> list[int]:
    """Return whole parts in proportion to the weights that sum to the total."""
    whole = math.fsum(weights)
    parts: list[int] = []
    seen, given = 0.0, 0
    for weight in weights[:-1]:
        seen += weight
        until = min(total, int(total * seen / whole))
        parts.append(until - given)
        given = until
    return [*parts, total - given]


def _print_prices(bar: Corners, wanted: int, random: Random) -> list[int]:
    least = bar.prints_min
    count = max(least, min(wanted, bar.volume // ROUND_LOT, MINUTE_MS // 2))
    if count == 1:
        return [bar.open]
    extremes = [price for price in (bar.high, bar.low) if price not in (bar.open, bar.close)]
    random.shuffle(extremes)
    places = sorted(random.sample(range(1, count - 1), len(extremes))) if extremes else []
    anchors = [(0, bar.open), *zip(places, extremes, strict=True), (count - 1, bar.close)]
    scale = (bar.high - bar.low) / _RANGE_PER_DEVIATION / math.sqrt(count)
    prices = [bar.open]
    for (start, price), (end, target) in pairwise(anchors):
        steps = [1.0] * (end - start)
        prices += _bridge(price, target, steps, scale, (bar.low, bar.high), random)
    return prices


def _sizes(volume: int, count: int, random: Random) -> list[int]:
    """Return the volume in `count` parts: round lots where it is enough for them."""
    unit = ROUND_LOT if volume // ROUND_LOT >= count else 1
    lots = volume // unit
    weights = [math.exp(random.gauss(0.0, 0.9)) for _ in range(count)]
    sizes = [unit * (1 + part) for part in _apportion(lots - count, weights)]
    sizes[random.randrange(count)] += volume - unit * lots
    return sizes
