"""What the books know of a market day before this engine: asked once after a start.

Rules of this file:
- plans are rows as people see them; the rest are counts.
"""

from dataclasses import dataclass
from typing import Protocol

from tradebox.domain.events import PlanRow


@dataclass(frozen=True, slots=True)
class DayBooks:
    """A market day up to this engine's start. plans: those that closed in it, oldest first."""

    plans: tuple[PlanRow, ...]
    fills: int
    denied: int
    rejected: int


class DayReader(Protocol):
    """The books, for who shows a day."""

    async def day(self, since_ns: int) -> DayBooks:
        """Return the day that began at a market time. Raises StoreUnavailable."""
        ...
