"""Two sources of one stock side by side: which days each lacks, where their returns differ.

Rules of this file:
- returns are compared, not prices: two sources may be adjusted as of different days, which moves
  every price by one factor and no return;
- only days that both have next to each other count; what lies outside the common span does not;
- it reports and never judges which of the two is right.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tradebox.backtest.data.series import NO_DAY, RawSeries
from tradebox.backtest.data.vetting import day_text
from tradebox.strategies.bars import Floats

TOLERANCE_BPS: Final = 25.0
OFF_SHARE_MAX: Final = 0.01
OFF_ALLOWED: Final = 3
WORST_SHOWN: Final = 5
BPS: Final = 10_000.0


@dataclass(frozen=True, slots=True)
class Worst:
    """One of the days on which the sources differ most. Units: returns as shares."""

    day: str
    ours: float
    theirs: float


@dataclass(frozen=True, slots=True)
class CrossCheck:
    """How two sources of one stock agree.

    word: agrees, differs, or no overlap. Units: *_bps of a day's return; level: their price by
    ours, in the middle of all days.
    """

    symbol: str
    word: str
    first_day: str = ""
    last_day: str = ""
    days: int = 0
    missing_ours: int = 0
    missing_theirs: int = 0
    off_days: int = 0
    median_bps: float = 0.0
    p99_bps: float = 0.0
    level: float = 1.0
    worst: tuple[Worst, ...] = ()
    problem: str = ""


def cross_check(
    ours: RawSeries, theirs: RawSeries, tolerance_bps: float = TOLERANCE_BPS
) -> CrossCheck:
    """Compare two series of a stock.

    Holds: a series agrees with itself, and with itself times any factor; what lies outside the
           common span changes nothing.
    """
    problem = theirs.problem or ours.problem
    if problem:
        return CrossCheck(ours.symbol, "no overlap", problem=problem)
    our_day, our_close = _closes(ours)
    their_day, their_close = _closes(theirs)
    if not len(our_day) or not len(their_day):
        return CrossCheck(ours.symbol, "no overlap", problem="no day with a close")
    first, last = max(our_day[0], their_day[0]), min(our_day[-1], their_day[-1])
    is_ours, is_theirs = _inside(our_day, first, last), _inside(their_day, first, last)
    our_day, our_close = our_day[is_ours], our_close[is_ours]
    their_day, their_close = their_day[is_theirs], their_close[is_theirs]
    both, at_ours, at_theirs = np.intersect1d(our_day, their_day, return_indices=True)
    if len(both) < 2:
        return CrossCheck(ours.symbol, "no overlap", problem="fewer than two days in common")
    is_next = (np.diff(at_ours) == 1) & (np.diff(at_theirs) == 1)
    our_return = (our_close[at_ours][1:] / our_close[at_ours][:-1] - 1)[is_next]
    their_return = (their_close[at_theirs][1:] / their_close[at_theirs][:-1] - 1)[is_next]
    days = both[1:][is_next]
    apart = np.abs(our_return - their_return) * BPS
    off = int((apart > tolerance_bps).sum())
    missing = len(their_day) - len(both), len(our_day) - len(both)
    allowed = max(OFF_ALLOWED, int(OFF_SHARE_MAX * len(both)))
    order = [int(at) for at in np.argsort(-apart, kind="stable")[:WORST_SHOWN]]
    return CrossCheck(
        symbol=ours.symbol,
        word="agrees" if off <= allowed and max(missing) <= allowed else "differs",
        first_day=day_text(int(first)),
        last_day=day_text(int(last)),
        days=len(both),
        missing_ours=missing[0],
        missing_theirs=missing[1],
        off_days=off,
        median_bps=_rounded(np.median(apart)) if len(apart) else 0.0,
        p99_bps=_rounded(np.quantile(apart, 0.99)) if len(apart) else 0.0,
        level=_rounded(np.median(their_close[at_theirs] / our_close[at_ours]), 6),
        worst=tuple(
            Worst(
                day_text(int(days[at])),
                _rounded(our_return[at], 6),
                _rounded(their_return[at], 6),
            )
            for at in order
            if apart[at] > tolerance_bps
        ),
    )


def _closes(raw: RawSeries) -> tuple[NDArray[np.int64], Floats]:
    """Return the days that have a close, rising, each once."""
    close = raw.columns["close"] if "close" in raw.columns else np.empty(0)
    day = raw.day.astype(np.int64)[: len(close)]
    with np.errstate(invalid="ignore"):
        is_good = np.isfinite(close) & (close > 0) & (day != NO_DAY)
    scale = np.ones(len(day))
    if raw.adjusted is False:
        for at, factor in raw.factors:
            scale[day < at] *= factor
    found, index = np.unique(day[is_good], return_index=True)
    return found, (close * scale)[is_good][index]


def _inside(day: NDArray[np.int64], first: np.int64, last: np.int64) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (day >= first) & (day <= last)
    return inside


def _rounded(value: object, digits: int = 3) -> float:
    return round(float(value), digits)  # type: ignore[arg-type]
