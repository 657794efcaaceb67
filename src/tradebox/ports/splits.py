"""What we need of a calendar of splits: which are announced for which day.

Rules of this file:
- a day is a trading day of New York, written as a date.
"""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple, Protocol


class SplitRow(NamedTuple):
    """A split at the open of a day: numerator new shares for denominator old ones."""

    symbol: str
    day: date
    numerator: int
    denominator: int
    source: str


class SplitPort(Protocol):
    """The calendar of splits."""

    async def splits(self, from_day: date, until_day: date) -> Sequence[SplitRow]:
        """Return what is announced for the days, both included. Raises: StoreUnavailable."""
        ...

    async def add(self, row: SplitRow) -> None:
        """Announce a split; a later word for the same day replaces it. Raises: StoreUnavailable."""
        ...
