"""Bars (check 20): what no true bar can be, by itself and after the one before it.

Rules of this file:
- a bar with a defect is dropped and told, never repaired: PostgreSQL would refuse it, and every
  sound bar of its batch with it;
- minute bars of ours are checked before they are written, the broker's daily bars when they come;
- bars of the past, for backtests, are vetted by rules of their own (`backtest.data.vetting`).
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final, NamedTuple

from tradebox.domain.market import Bar

MINUTE_NS: Final = 60_000_000_000
NOT_AFTER: Final = "not after the bar before it"


class Corners(NamedTuple):
    """The prices of a bar, all in one unit."""

    open: int | Decimal
    high: int | Decimal
    low: int | Decimal
    close: int | Decimal


def shape_defect(corners: Corners, volume: int) -> str:
    """Return what is wrong with a bar by itself, empty where nothing is.

    Holds:   a bar that passes has high ≥ open, close ≥ low > 0 and volume ≥ 0.
    """
    if not corners.low > 0:
        return "a price that is not positive"
    if not corners.high >= max(corners.open, corners.close):
        return "high below open or close"
    if not corners.low <= min(corners.open, corners.close):
        return "low above open or close"
    return "a negative volume" if volume < 0 else ""


def sound_bars(bars: Iterable[Bar]) -> tuple[list[Bar], list[str]]:
    """Return the bars of one symbol that may be true, and what is wrong with the others.

    Shape:   oldest first. Holds: those that pass end one after the other.
    """
    sound: list[Bar] = []
    defects: list[str] = []
    for bar in bars:
        defect = shape_defect(Corners(bar.open, bar.high, bar.low, bar.close), bar.volume)
        if not defect and sound and bar.end_ns <= sound[-1].end_ns:
            defect = NOT_AFTER
        if defect:
            defects.append(f"{bar.symbol}: {defect}")
        else:
            sound.append(bar)
    return sound, defects


def bar_defect(corners: Corners, volume: int, end_ns: int, before_ns: int | None = None) -> str:
    """Return what is wrong with a minute's bar, empty where nothing is.

    before_ns: the end of the bar before it, None where there is none.
    Holds:   a bar that passes is sound by itself and ends on the minute, at least one minute after
             the one before it.
    """
    if defect := shape_defect(corners, volume):
        return defect
    if end_ns % MINUTE_NS:
        return "its end lies beside the minute"
    if before_ns is not None and end_ns < before_ns + MINUTE_NS:
        return NOT_AFTER
    return ""
