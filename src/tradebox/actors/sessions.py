"""Keeps market hours and instruments at hand: rows read by an actor, asked by everyone, in memory.

Rules of this file:
- hours come from trade.session alone; where no row says so, the answer is None, never a guess;
- the books are plain objects that outlive their keeper: with PostgreSQL away they stay known;
- a horizon that comes near is an alert, once a day of market time.
"""

from typing import Final

from tradebox.domain.events import AlertRaised
from tradebox.domain.market import Instrument, Session
from tradebox.domain.session import last_close_ns, next_close_ns, session_at
from tradebox.domain.staleness import Hours, hours_at
from tradebox.errors import StoreUnavailable
from tradebox.ports.clock import MarketClock
from tradebox.ports.reference import ReferencePort
from tradebox.supervision.actor import Actor, Context

VENUE: Final = "XNYS"
DAY_NS: Final = 86_400 * 1_000_000_000
BEHIND_DAYS, AHEAD_DAYS, HORIZON_DAYS_MIN = 5, 40, 10
RETRY_S, REFRESH_S = 0.5, 30.0


class SessionBook:
    """The hours that are known now. Units: ns UTC of market time."""

    def __init__(self, venue: str = VENUE) -> None:
        self.venue = venue
        self.rows: tuple[Session, ...] = ()

    def is_open(self, now_ns: int) -> bool | None:
        """Say whether regular hours are on; None where no row covers the time."""
        if not self.covers(now_ns):
            return None
        return session_at(self.rows, now_ns) is not None

    def covers(self, now_ns: int) -> bool:
        """Say whether the rows reach from before to after this time."""
        return bool(self.rows) and self.rows[0].open_ns <= now_ns <= self.rows[-1].close_ns

    def hours(self, now_ns: int) -> Hours:
        """Say which hours a moment belongs to; unknown where no row covers it."""
        return hours_at(self.rows, now_ns, is_known=self.covers(now_ns))

    def session(self, now_ns: int) -> Session | None:
        """Return the session that is open now, or None."""
        return session_at(self.rows, now_ns)

    def last_close_ns(self, now_ns: int) -> int | None:
        """Return the close of the session that ended last; None where no row covers the time."""
        return last_close_ns(self.rows, now_ns) if self.covers(now_ns) else None

    def next_close_ns(self, now_ns: int) -> int | None:
        """Return the close of the open session, else of the next one."""
        return next_close_ns(self.rows, now_ns)


class InstrumentBook:
    """The instruments that are known now."""

    def __init__(self) -> None:
        self._rows: dict[str, Instrument] = {}

    def get(self, symbol: str) -> Instrument | None:
        """Return the instrument of a symbol, or None."""
        return self._rows.get(symbol)

    def put(self, *rows: Instrument) -> None:
        """Take instruments in; a known symbol takes the new values."""
        self._rows.update({row.symbol: row for row in rows})


class _Refresh:
    """To self: read the rows again."""


class SessionKeeper(Actor[_Refresh]):
    """Reads the rows around now, often until they are there, then now and then."""

    def __init__(
        self,
        book: SessionBook,
        instruments: InstrumentBook,
        reference: ReferencePort,
        market_clock: MarketClock,
    ) -> None:
        self._book = book
        self._instruments = instruments
        self._reference = reference
        self._market_clock = market_clock
        self._alerted_day = -1

    async def init(self, ctx: Context) -> None:
        """Start reading at once, after the tree has gone on starting."""
        self._ctx = ctx
        ctx.ref.tell(_Refresh())

    async def handle(self, msg: _Refresh) -> None:
        """Read the rows around now."""
        del msg
        now_ns = self._market_clock.now_ns()
        try:
            from_ns, until_ns = now_ns - BEHIND_DAYS * DAY_NS, now_ns + AHEAD_DAYS * DAY_NS
            rows = await self._reference.sessions(self._book.venue, from_ns, until_ns)
            self._instruments.put(*await self._reference.instruments())
        except StoreUnavailable:
            rows = ()
        if rows:
            self._book.rows = rows
        is_known = self._book.covers(now_ns)
        if is_known:
            self._watch_horizon(now_ns)
        self._ctx.send_after(REFRESH_S if is_known and rows else RETRY_S, _Refresh())

    def _watch_horizon(self, now_ns: int) -> None:
        days_left = (self._book.rows[-1].close_ns - now_ns) // DAY_NS
        today = now_ns // DAY_NS
        if days_left >= HORIZON_DAYS_MIN or today == self._alerted_day:
            return
        self._alerted_day = today
        text = f"market hours of {self._book.venue} are known for {days_left} more days only"
        self._ctx.events.publish(
            AlertRaised(severity="warning", kind="session_horizon", text=text, at_ns=now_ns)
        )
