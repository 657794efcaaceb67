"""Indicators that plans use, on closed bars.

Rules of this file:
- bars come oldest first; too few of them give None, never a guess;
- Decimal in, Decimal out: the result becomes a stop price.
"""

import itertools
from collections.abc import Sequence
from decimal import Decimal

from tradebox.domain.market import Bar


def true_range(bar: Bar, previous_close: Decimal) -> Decimal:
    """Return the largest of high - low, |high - previous close| and |low - previous close|."""
    return max(bar.high, previous_close) - min(bar.low, previous_close)


def wilder_atr(bars: Sequence[Bar], period: int) -> Decimal | None:
    """Return the average true range of the last bar, smoothed as Wilder does, or None.

    Shape:   bars of one interval, oldest first; at least period + 1 of them, else None.
    Holds:   result ≥ 0; equals the mean of the true ranges where there are exactly period.
    Source:  J. Welles Wilder, New Concepts in Technical Trading Systems (1978).
    """
    assert period > 0, period
    if len(bars) < period + 1:
        return None
    ranges = [true_range(bar, before.close) for before, bar in itertools.pairwise(bars)]
    average = sum(ranges[:period], Decimal(0)) / period
    for value in ranges[period:]:
        average = (average * (period - 1) + value) / period
    return average
