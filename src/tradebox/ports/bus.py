"""What we need from the outward bus: the last prices, batched and fenced by epoch.

Rules of this file:
- nothing that decides depends on the bus: a dead bus costs watchers their view, nothing else;
- an older epoch than the bus has seen is refused, so that a deposed writer shows nothing;
- a price is replaced by the next one, an event is kept in its order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tradebox.domain.market import AdmittedTick


@dataclass(frozen=True, slots=True)
class Published:
    """The batch is out. was_empty: the bus had forgotten the epoch, so it lost the rest too."""

    count: int
    was_empty: bool


@dataclass(frozen=True, slots=True)
class BusFenced:
    """The bus has seen a newer epoch; nothing was written."""

    epoch: int
    current: int


class PriceBus(Protocol):
    """Carries conflated last values to everyone outside the engine."""

    async def publish(self, epoch: int, ticks: Sequence[AdmittedTick]) -> Published | BusFenced:
        """Write one batch, at most one tick a symbol; an empty one asserts the epoch alone.

        Raises: BusUnavailable.
        """
        ...

    async def log(self, epoch: int, events: Sequence[bytes]) -> Published | BusFenced:
        """Append events, each a JSON object, to the stream that readers may follow later.

        Raises: BusUnavailable.
        """
        ...
