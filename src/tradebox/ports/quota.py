"""What we need to keep count of a vendor's calls: a number per day that outlives every restart.

Rules of this file:
- a call is counted before it is made; what cannot be counted is not made;
- the day is the vendor's own, as YYYY-MM-DD.
"""

from typing import Protocol


class QuotaPort(Protocol):
    """Counts calls of one key and day."""

    async def take(self, account: str, day: str, calls_max: int) -> bool:
        """Count one call; False, and nothing counted, where the day has had so many.

        Raises: StoreUnavailable.
        """
        ...

    async def spend(self, account: str, day: str, calls: int) -> None:
        """Have the day count at least so many calls: the vendor says it is used up.

        Raises: StoreUnavailable.
        """
        ...

    async def used(self, account: str, day: str) -> int:
        """Return how many calls the day has had.

        Raises: StoreUnavailable.
        """
        ...
