"""How far a run, or anything done step by step, is: as figures and as one line.

Rules of this file:
- the rate is that of the last RATE_S seconds, so that a pause or a slow start does not haunt it;
- it says what a run waits for, never only that it waits.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from tradebox.backtest.memory import shown_size

RATE_S: Final = 15.0
MARK_S: Final = 0.25
BAR_CELLS: Final = 24


class Rate:
    """How much gets done a second, of the last RATE_S seconds."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque(maxlen=256)

    def mark(self, now_s: float, done: int) -> None:
        """Note how much is done by now."""
        if len(self._marks) > 1 and now_s - self._marks[-2][0] < MARK_S:
            self._marks.pop()
        self._marks.append((now_s, done))
        while len(self._marks) > 2 and now_s - self._marks[0][0] > RATE_S:
            self._marks.popleft()

    @property
    def per_s(self) -> float:
        """The rate; 0 while unknown."""
        if len(self._marks) < 2:
            return 0.0
        (began_s, before), (now_s, now) = self._marks[0], self._marks[-1]
        return (now - before) / (now_s - began_s) if now_s > began_s else 0.0

    def left_s(self, rest: int) -> float | None:
        """How long the rest will take; None while unknown."""
        return rest / self.per_s if self.per_s > 0 else None


@dataclass(slots=True)
class Steps:
    """Figures of anything that is done step by step. what: of which, in the plural."""

    what: str
    rate: Rate = field(default_factory=Rate)
    done: int = 0
    total: int = 0

    def mark(self, now_s: float, done: int, total: int) -> None:
        """Note how far it is now."""
        self.done, self.total = done, total
        self.rate.mark(now_s, done)

    def figures(self) -> dict[str, Any]:
        """Return it as plain values. Units by name; left_s None while unknown."""
        left_s = self.rate.left_s(self.total - self.done)
        return {
            "what": self.what,
            "done": self.done,
            "total": self.total,
            "per_s": round(self.rate.per_s, 2),
            "left_s": None if left_s is None else round(left_s, 1),
        }

    def line(self) -> str:
        """Return one line for people."""
        return "  ".join(progress_words(self.what, self.done, self.total, self.rate))


def progress_words(what: str, done: int, total: int, rate: Rate) -> list[str]:
    """Return a bar, the rate and the time that is left, as every progress line begins."""
    full = int(BAR_CELLS * (done / total if total else 1.0))
    left_s = rate.left_s(total - done)
    return [
        f"[{'#' * full}{'.' * (BAR_CELLS - full)}] {done}/{total} {what}",
        f"{rate.per_s:,.1f}/s",
        "ETA -" if left_s is None else f"ETA {_clock(left_s)}",
    ]


@dataclass(slots=True)
class Progress:
    """Figures of a running backtest."""

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
    _rate: Rate = field(default_factory=Rate)

    def mark(self, now_s: float) -> None:
        """Note how far it is now."""
        self._rate.mark(now_s, self.done)

    @property
    def stocks_per_s(self) -> float:
        """The rate of the last seconds; 0 while unknown."""
        return self._rate.per_s

    @property
    def left_s(self) -> float | None:
        """How long it will still take; None while unknown."""
        return self._rate.left_s(self.total - self.done)

    def figures(self) -> dict[str, Any]:
        """Return the same as plain values. Units by name; left_s None while unknown."""
        left = self.left_s
        return {
            "run_id": self.run_id,
            "done": self.done,
            "total": self.total,
            "failed": self.failed,
            "stocks_per_s": round(self.stocks_per_s, 2),
            "left_s": None if left is None else round(left, 1),
            "memory_bytes": self.tree_bytes,
            "budget_bytes": self.budget_bytes,
            "running": self.running,
            "workers": self.workers,
            "waits_for": self.waits_for,
        }

    def line(self) -> str:
        """Return one line for people."""
        parts = [
            *progress_words("stocks", self.done, self.total, self._rate),
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
