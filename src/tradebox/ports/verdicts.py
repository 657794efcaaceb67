"""What we need of the place where verdicts of the sanity filter are kept for people to read.

Rules of this file:
- verdicts may wait, and be dropped when they must: no decision reads them.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tradebox.domain.market import Source


class VerdictRow(NamedTuple):
    """One verdict that was not accept, or as many alike as `ticks` says.

    Units: price and event time of the newest of them; first_event_ns of the oldest.
    """

    symbol: str
    source: Source
    check: str
    verdict: str
    quality: str
    price_micros: int
    event_ns: int
    first_event_ns: int
    ticks: int = 1


class VerdictPort(Protocol):
    """The verdict table."""

    async def write(self, rows: Sequence[VerdictRow]) -> None:
        """Write a batch in one commit. Raises: StoreUnavailable."""
        ...

    async def forget(self, flag_days: int, refusal_days: int) -> int:
        """Delete what is older, flags and refusals apart; return how many rows went.

        Raises: StoreUnavailable.
        """
        ...
