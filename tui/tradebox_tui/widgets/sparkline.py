"""A row of bars from the last values: ▁▂▃▄▅▆▇█."""

from collections.abc import Sequence
from typing import Final

BARS: Final = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """Return the last values as bars between their least and greatest, at most width of them.

    Holds:   one character per value shown; equal values give equal bars.
    """
    if width <= 0 or not values:
        return ""
    shown = list(values)[-width:]
    low, high = min(shown), max(shown)
    if high == low:
        return BARS[0] * len(shown)
    top = len(BARS) - 1
    return "".join(BARS[round((value - low) / (high - low) * top)] for value in shown)
