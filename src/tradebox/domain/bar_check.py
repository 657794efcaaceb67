"""Bars (check 20): what no true bar can be, by itself and after the one before it.

Rules of this file:
- a bar with a defect is dropped and told, never repaired: PostgreSQL would refuse it, and every
  sound bar of its batch with it;
- bars of the past, for backtests, are vetted by rules of their own (`backtest.data.vetting`).
"""

from typing import Final, NamedTuple

MINUTE_NS: Final = 60_000_000_000


class Corners(NamedTuple):
    """The prices of a bar. Units: micros."""

    open: int
    high: int
    low: int
    close: int


def bar_defect(corners: Corners, volume: int, end_ns: int, before_ns: int | None = None) -> str:
    """Return what is wrong with a minute's bar, empty where nothing is.

    before_ns: the end of the bar before it, None where there is none.
    Holds:   a bar that passes has high ≥ open, close ≥ low > 0, volume ≥ 0, and ends on the minute,
             at least one minute after the one before it.
    """
    if corners.low <= 0:
        return "a price that is not positive"
    if corners.high < max(corners.open, corners.close):
        return "high below open or close"
    if corners.low > min(corners.open, corners.close):
        return "low above open or close"
    if volume < 0:
        return "a negative volume"
    if end_ns % MINUTE_NS:
        return "its end lies beside the minute"
    if before_ns is not None and end_ns < before_ns + MINUTE_NS:
        return "not after the bar before it"
    return ""
