"""Which desks are looked at now, and which plans may be forgotten.

Rules of this file:
- a desk at work is looked at by every timer, a quiet one once in a second or so, in parts, so
  that a thousand plans hold nobody up;
- a finished plan's orders stay in memory as long as the broker's lists of a day may name them.
"""

from collections.abc import Mapping
from typing import Final

from tradebox.execution.procedures import PlanDesk

SLICES: Final = 4
SLICE_MIN: Final = 16
MEMORY_NS: Final = 26 * 3600 * 1_000_000_000
"""Units: market time."""


class DeskRound:
    """The order in which desks get their turn.

    Holds: every desk is due at least once in SLICES calls; a busy one in every call.
    """

    def __init__(self) -> None:
        self._turn: list[str] = []
        self._finished_ns: dict[str, int] = {}

    def due(self, desks: Mapping[str, PlanDesk]) -> list[PlanDesk]:
        """Return the desks at work and the next part of the quiet ones."""
        if not self._turn:
            self._turn = list(desks)
        count = max(SLICE_MIN, -(-len(desks) // SLICES))
        due, self._turn = self._turn[:count], self._turn[count:]
        busy = [key for key, desk in desks.items() if desk.procedure is not None]
        return [desks[key] for key in dict.fromkeys((*busy, *due)) if key in desks]

    def began(self, plan_id: str) -> None:
        """A plan has a desk: it is not to be forgotten."""
        self._finished_ns.pop(plan_id, None)

    def finished(self, plan_id: str, now_ns: int) -> None:
        """A plan is flat and quiet, and its desk is gone."""
        self._finished_ns[plan_id] = now_ns

    def forgettable(self, now_ns: int) -> list[str]:
        """Return, once, the plans that finished long enough ago."""
        found = []
        while self._finished_ns:
            plan_id, finished_ns = next(iter(self._finished_ns.items()))
            if finished_ns > now_ns - MEMORY_NS:
                break
            del self._finished_ns[plan_id]
            found.append(plan_id)
        return found
