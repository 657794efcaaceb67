"""What we need of reference data: instruments, bars, sessions.

Rules of this file:
- a symbol, bar or session that is not there is None or empty, never a guess;
- writing a row again replaces it.
"""

from collections.abc import Sequence
from typing import Protocol

from tradebox.domain.market import Bar, Instrument, Session


class ReferencePort(Protocol):
    """Instruments, bars and sessions, read and written. Every call raises StoreUnavailable."""

    async def instrument(self, symbol: str) -> Instrument | None:
        """Return one instrument."""
        ...

    async def instruments(self) -> tuple[Instrument, ...]:
        """Return every instrument, by symbol."""
        ...

    async def put_instruments(self, rows: Sequence[Instrument], source: str) -> None:
        """Write instruments; a symbol that is known takes the new values."""
        ...

    async def bars(
        self, symbol: str, interval_s: int, count_max: int, until_ns: int | None = None
    ) -> tuple[Bar, ...]:
        """Return the last bars that ended at or before until_ns, oldest first."""
        ...

    async def put_bars(self, rows: Sequence[Bar], source: str) -> None:
        """Write bars; the same symbol, interval and end takes the new values."""
        ...

    async def actions(self, symbol: str, from_day: str, until_day: str) -> tuple[str, ...]:
        """Return the splits and dividends whose ex-date is after from_day, up to until_day."""
        ...

    async def session_at(self, venue: str, now_ns: int) -> Session | None:
        """Return the session that is open now, or None."""
        ...

    async def sessions(self, venue: str, from_ns: int, until_ns: int) -> tuple[Session, ...]:
        """Return the sessions that end after from_ns and open before until_ns, oldest first."""
        ...

    async def put_sessions(self, rows: Sequence[Session]) -> None:
        """Write sessions; the same venue and day takes the new values."""
        ...

    async def horizon_ns(self, venue: str) -> int | None:
        """Return the close of the last known session, or None: hours are unknown after it."""
        ...
