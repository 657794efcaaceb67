"""Writes minute bars of the admitted prices to PostgreSQL, a second's worth at a time.

Rules of this file:
- folding happens where a tick is delivered, in memory; only done bars cost a message here;
- a bar that no true bar can be is not written, and a person is told;
- PostgreSQL away costs nothing but room: bars wait, the oldest dropped and counted when it is full;
- whole months past the retention are dropped, once a day of market time.
"""

from dataclasses import dataclass
from typing import Final

from tradebox.actors.market_hub import MarketHub
from tradebox.domain.events import AlertRaised
from tradebox.domain.minute_bars import BarBook
from tradebox.errors import StoreUnavailable
from tradebox.ports.bars import BarStore
from tradebox.ports.clock import MarketClock
from tradebox.supervision.actor import Actor, Context
from tradebox.supervision.reasons import ExitReason

WRITE_S: Final = 1.0
ROWS_MAX: Final = 5_000
DAY_NS: Final = 86_400 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class WriteDue:
    """To self: look what is done."""


class Bars(Actor[WriteDue]):
    """Folds what the hub delivers, writes what is done.

    Units:   retention_days: how long bars are kept, at least; None: for ever.
    Holds:   bars handed out by the book = written + waiting + dropped, a lost answer apart.
    """

    mailbox_capacity = 64

    def __init__(
        self,
        book: BarBook,
        store: BarStore,
        hub: MarketHub,
        market_clock: MarketClock,
        retention_days: int | None = None,
    ) -> None:
        self._book = book
        self._store = store
        self._hub = hub
        self._market_clock = market_clock
        self._retention_days = retention_days
        self._swept_day = -1
        self.written = 0
        self.failures = 0
        self.is_up = True

    async def init(self, ctx: Context) -> None:
        """Listen to every symbol; a restarted actor goes on with the same book."""
        self._ctx = ctx
        self._hub.subscribe(ctx.name, self._book.take, None, is_tape=True)
        ctx.send_after(WRITE_S, WriteDue())

    async def handle(self, msg: WriteDue) -> None:
        """Write what is done."""
        del msg
        now_ns = self._market_clock.now_ns()
        self._book.close_until(now_ns)
        self._tell_defects(now_ns)
        try:
            await self._write()
            await self._sweep(now_ns)
            self.is_up = True
        except StoreUnavailable:
            self.is_up = False
            self.failures += 1
        self._ctx.send_after(WRITE_S, WriteDue())

    def _tell_defects(self, now_ns: int) -> None:
        """Say what was refused since the last look."""
        if self._book.defects:
            text = "; ".join(self._book.defects)
            self._book.defects.clear()
            self._ctx.events.publish(AlertRaised("warning", "bar_refused", text, at_ns=now_ns))

    async def _write(self) -> None:
        book = self._book
        while book.done:
            rows = [book.done[place] for place in range(min(ROWS_MAX, len(book.done)))]
            dropped = book.dropped
            await self._store.put_minute_bars(rows)
            for _ in range(len(rows) - (book.dropped - dropped)):
                book.done.popleft()
            self.written += len(rows)

    async def _sweep(self, now_ns: int) -> None:
        today = now_ns // DAY_NS
        if self._retention_days is None or today == self._swept_day:
            return
        await self._store.drop_minute_bars(now_ns - self._retention_days * DAY_NS)
        self._swept_day = today

    async def terminate(self, reason: ExitReason) -> None:
        """Stop listening; on an ordered end the running minutes are written as partial."""
        self._hub.unsubscribe(self._ctx.name)
        if not reason.expected:
            return
        self._book.close_all()
        try:
            await self._write()
        except StoreUnavailable:
            self.failures += 1
