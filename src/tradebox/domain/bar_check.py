"""Bars (check 20): what no true bar can be, by itself and after the one before it.

Rules of this file:
- a bar with a defect is dropped and logged, never repaired;
- the number of bars of a session is compared with its minutes, early closes included.
"""

from dataclasses import dataclass

from tradebox.domain.market import Bar, Session

NS_PER_S = 1_000_000_000


def bar_defect(bar: Bar, before: Bar | None = None) -> str:
    """Return what is wrong with a bar, empty where nothing is.

    Holds:   a bar that passes has high ≥ open, close ≥ low > 0, volume ≥ 0, and ends at least one
             interval after the one before it.
    """
    if not bar.low > 0:
        return "a price that is not positive"
    if not bar.high >= max(bar.open, bar.close):
        return "high below open or close"
    if not bar.low <= min(bar.open, bar.close):
        return "low above open or close"
    if bar.volume < 0:
        return "a negative volume"
    if bar.interval_s <= 0 or bar.end_ns % (bar.interval_s * NS_PER_S):
        return "its end lies beside the grid of its interval"
    if before is not None and bar.end_ns < before.end_ns + bar.interval_s * NS_PER_S:
        return "not after the bar before it"
    return ""


@dataclass(frozen=True, slots=True)
class SessionCount:
    """How many bars of a session came, and how many its hours hold."""

    found: int
    expected: int

    @property
    def is_too_many(self) -> bool:
        """True where more came than the session has intervals: a defect, fewer are quiet ones."""
        return self.found > self.expected


def count_bars(bars: list[Bar], session: Session, interval_s: int = 60) -> SessionCount:
    """Count the bars that end within a session against its regular hours."""
    found = sum(session.open_ns < bar.end_ns <= session.close_ns for bar in bars)
    expected = -(-(session.close_ns - session.open_ns) // (interval_s * NS_PER_S))
    return SessionCount(found, expected)
