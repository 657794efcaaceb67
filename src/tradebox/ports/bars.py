"""What we need of a place for minute bars: bulk writes that may be repeated, and forgetting.

Rules of this file:
- a bar that is there stays as it is: writing it again changes nothing.
"""

from collections.abc import Sequence
from typing import Protocol

from tradebox.domain.minute_bars import MinuteBar


class BarStore(Protocol):
    """Keeps minute bars by symbol and end."""

    async def put_minute_bars(self, rows: Sequence[MinuteBar]) -> None:
        """Write bars, all or none; those that are there already are left.

        Raises: StoreUnavailable.
        """
        ...

    async def drop_minute_bars(self, before_ns: int) -> int:
        """Forget whole months that ended before a time; return how many.

        Raises: StoreUnavailable.
        """
        ...
