"""How far a run is, as figures and as one line.

Rules of this file:
- the rate is that of the last RATE_S seconds, so that a pause or a slow start does not haunt it;
- it says what a run waits for, never only that it waits.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from tradebox.backtest.memory import shown_size

RATE_S: Final = 15.0
MARK_S: Final = 0.25
BAR_CELLS: Final = 24


@dataclass(slots=True)
class Progress:
    """Figures of a running backtest. at_stock: done plus begun, for a smooth bar."""

    run_id: str
    total: int
    done: int = 0
    failed: int = 0
    workers: int = 0
    running: int = 0
    tree_bytes: int = 0
    budget_bytes: int = 0
    peak_bytes: int = 0
    waits_for: str = ""
    _marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=256))

    def mark(self, now_s: float) -> None:
        """Note how far it is now."""
        if len(self._marks) > 1 and now_s - self._marks[-2][0] < MARK_S:
            self._marks.pop()
        self._marks.append((now_s, self.done))
        while len(self._marks) > 2 and now_s - self._marks[0][0] > RATE_S:
            self._marks.popleft()

    @property
    def stocks_per_s(self) -> float:
        """The rate of the last seconds; 0 while unknown."""
        if len(self._marks) < 2:
            return 0.0
        (began_s, before), (now_s, now) = self._marks[0], self._marks[-1]
        return (now - before) / (now_s - began_s) if now_s > began_s else 0.0

    @property
    def left_s(self) -> float | None:
        """How long it will still take; None while unknown."""
        rate = self.stocks_per_s
        return (self.total - self.done) / rate if rate > 0 else None

    def line(self) -> str:
        """Return one line for people."""
        share = self.done / self.total if self.total else 1.0
        full = int(BAR_CELLS * share)
        left = self.left_s
        parts = [
            f"[{'#' * full}{'.' * (BAR_CELLS - full)}] {self.done}/{self.total} stocks",
            f"{self.stocks_per_s:,.1f}/s",
            "ETA -" if left is None else f"ETA {_clock(left)}",
            f"memory {shown_size(self.tree_bytes)} of {shown_size(self.budget_bytes)}",
            f"{self.running}/{self.workers} workers",
        ]
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.waits_for:
            parts.append(f"waits: {self.waits_for}")
        return "  ".join(parts)


def _clock(seconds: float) -> str:
    whole = int(seconds + 0.5)
    hours, rest = divmod(whole, 3600)
    minutes, seconds_left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{seconds_left:02}" if hours else f"{minutes}:{seconds_left:02}"
