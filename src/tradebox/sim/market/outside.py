"""What trades before and after the regular session: a few prints from a close to the next open.

Rules of this file:
- pure functions of prices and a seeded generator; prices are whole increments;
- minutes are counted from the session's open: those before it are negative;
- it begins at the close, passes through one price of the night, and ends at the open; in between
  it may leave the range of both, as real nights do.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from random import Random

from tradebox.sim.market.paths import MINUTE_MS, Print

_BUSY_MINUTES = 30.0
"""Trading is busiest right after the close and right before the open, and fades away from them."""

_QUIET, _BUSY = 0.03, 0.6
"""Parts of the regular rate of prints."""

_STEP_PPM = 350.0
"""The deviation of a minute's price, in millionths of it."""

SPREAD_FACTOR = 4.0
"""How much wider than in the session quotes are."""

SIZE_DIVISOR = 3
"""How much smaller displayed sizes are."""


def price_of_night(close: int, following_open: int, random: Random) -> int:
    """Return the price that the evening ends at and the morning begins at."""
    return max(1, round(close + (following_open - close) * random.betavariate(2.0, 2.0)))


def prints_between(
    start: int, end: int, minutes: range, rate: float, *, is_before: bool, random: Random
) -> Mapping[int, list[Print]]:
    """Return the prints of some minutes, oldest first; minutes without any are left out.

    rate: prints per minute in the session. is_before: they lead to an open.
    Holds: every price is at least one increment, and offsets rise within a minute.
    """
    closes = _walk(start, end, len(minutes), random)
    found: dict[int, list[Print]] = {}
    for (before, after), minute, index in zip(
        pairwise([start, *closes]), minutes, range(len(minutes)), strict=True
    ):
        away = len(minutes) - index if is_before else index + 1
        wanted = rate * (_QUIET + (_BUSY - _QUIET) * math.exp(-away / _BUSY_MINUTES))
        count = int(wanted) + (random.random() < wanted % 1.0)
        if not count:
            continue
        offsets = sorted(random.sample(range(MINUTE_MS), count))
        steps = [before + (after - before) * (one + 1) // count for one in range(count)]
        found[minute] = [
            Print(offset, price, _size(random))
            for offset, price in zip(offsets, steps, strict=True)
        ]
    return found


def _walk(start: int, end: int, count: int, random: Random) -> list[int]:
    """Return a bridged random walk of so many steps that ends at `end`."""
    position, prices = float(start), list[int]()
    deviation = max(0.5, start * _STEP_PPM / 1_000_000)
    for left in range(count, 1, -1):
        position += (end - position) / left + random.gauss(0.0, deviation)
        position = max(1.0, position)
        prices.append(round(position))
    return [*prices, end]


def _size(random: Random) -> int:
    """Return the shares of a print: mostly odd lots."""
    if random.random() < 0.6:
        return random.randrange(1, 100)
    return 100 * (1 + int(random.expovariate(0.8)))
