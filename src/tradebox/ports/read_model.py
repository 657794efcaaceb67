"""Where the dashboard writes what may be seen."""

from collections.abc import Mapping
from typing import Protocol


class RowWriter(Protocol):
    """Holds the rows of the read model; disposable."""

    async def write_rows(self, rows: Mapping[str, bytes], ttl_ms: int) -> None:
        """Store rows by name and announce them. Raises BusUnavailable."""
        ...
