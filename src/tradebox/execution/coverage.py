"""How long positions were uncovered, and why: the three windows and repairs, measured.

Rules of this file:
- time is real and handed in; a window opens when cover is missed and closes when it is back;
- a window longer than its limit is an alarm, said once per window.
"""

from dataclasses import dataclass
from typing import Final

WINDOW_S_MAX: Final = {
    "entry_partial": 5.0,
    "exit": 5.0,
    "stop_replacement": 5.0,
    "repair": 5.0,
}
"""Real seconds that a window of each cause may last before a person is told."""


@dataclass(slots=True)
class Window:
    """One stretch without full cover."""

    cause: str
    since_s: float
    is_alarmed: bool = False


@dataclass(slots=True)
class CoverTotals:
    """Uncovered time of one cause, in seconds."""

    count: int = 0
    total_s: float = 0.0
    longest_s: float = 0.0


class CoverWatch:
    """Uncovered windows per plan, and their totals by cause."""

    def __init__(self) -> None:
        self._open: dict[str, Window] = {}
        self.totals: dict[str, CoverTotals] = {cause: CoverTotals() for cause in WINDOW_S_MAX}

    def see(self, plan_id: str, *, is_covered: bool, cause: str, now_s: float) -> str | None:
        """Take note of a plan's cover; return the cause if it is uncovered for too long."""
        window = self._open.get(plan_id)
        if is_covered:
            if window is not None:
                self._close(plan_id, window, now_s)
            return None
        if window is None:
            self._open[plan_id] = Window(cause, now_s)
            return None
        if window.is_alarmed or now_s - window.since_s <= WINDOW_S_MAX[window.cause]:
            return None
        window.is_alarmed = True
        return window.cause

    def forget(self, plan_id: str) -> None:
        """Let go of a plan that holds nothing."""
        self._open.pop(plan_id, None)

    def _close(self, plan_id: str, window: Window, now_s: float) -> None:
        del self._open[plan_id]
        lasted_s = now_s - window.since_s
        totals = self.totals[window.cause]
        totals.count += 1
        totals.total_s += lasted_s
        totals.longest_s = max(totals.longest_s, lasted_s)
