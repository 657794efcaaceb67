"""Restart intensity: how many restarts in a window of time are too many.

Rules of this file:
1. Pure: a window is a value, adding to it returns a new one.
2. Stamps at or after now - period count, the new one included; more than `intensity` is too many.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartWindow:
    """The restarts of the last `period_s` seconds.

    Holds: len(stamps) ≤ intensity + 1; every stamp ≥ last now - period_s.
    """

    intensity: int
    period_s: float
    stamps: tuple[float, ...] = ()

    def add(self, now: float) -> tuple[RestartWindow, bool]:
        """Return the window with a restart at `now`, and whether that is one too many."""
        kept = (*(t for t in self.stamps if t >= now - self.period_s), now)
        exceeded = len(kept) > self.intensity
        kept = kept[-(self.intensity + 1) :]
        return RestartWindow(self.intensity, self.period_s, kept), exceeded

    def count(self, now: float) -> int:
        """Return how many restarts the window holds at `now`."""
        return sum(1 for t in self.stamps if t >= now - self.period_s)
