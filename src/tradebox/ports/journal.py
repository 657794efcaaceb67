"""What we need of the journal: events in one commit, runs, and rows that may be lost.

Rules of this file:
- `append` is all or nothing; what it wrote is there after a power cut;
- rows of `record` are for people (alerts): they may wait, and be dropped when they must.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tradebox.domain.events import AlertRaised
from tradebox.domain.orders import AccountName


@dataclass(frozen=True, slots=True)
class JournalEvent:
    """One line of the append-only truth. at_ns: market time; epoch: of the writer."""

    kind: str
    at_ns: int
    epoch: int
    account: AccountName | None = None
    plan_id: str | None = None
    order_ref: str | None = None
    symbol: str | None = None
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunOpened:
    """A `tradebox run` began. boot_epoch: the home's counter of starts."""

    run_id: str
    boot_epoch: int
    profile: str
    version: str


LooseRow = AlertRaised
"""What `record` takes."""


class StoreLink(Protocol):
    """A store that may be away: PostgreSQL or Redis."""

    @property
    def name(self) -> str:
        """Which store, in one word."""
        ...

    @property
    def is_up(self) -> bool:
        """What the last use of it said."""
        ...

    async def probe(self) -> None:
        """Ask for a sign of life. Raises: StoreUnavailable or BusUnavailable."""
        ...

    async def close(self) -> None:
        """Let go of every connection; harmless twice."""
        ...


class JournalPort(StoreLink, Protocol):
    """The journal of one run."""

    async def open_run(self, run: RunOpened) -> None:
        """Record the run, once. Raises: StoreUnavailable."""
        ...

    async def close_run(self) -> None:
        """Record the end of the run; only the first call counts. Raises: StoreUnavailable."""
        ...

    async def append(self, events: Sequence[JournalEvent]) -> None:
        """Commit the events in their order, all or none. Raises: StoreUnavailable."""
        ...

    async def record(self, rows: Sequence[LooseRow]) -> None:
        """Write rows for people in one commit. Raises: StoreUnavailable."""
        ...
