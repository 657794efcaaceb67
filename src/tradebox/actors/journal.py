"""The actor stores.journal: keeps PostgreSQL, records the run, and writes rows that may wait.

Rules of this file:
- what decides money is committed by its owner through the ports, never through this queue;
- rows for people (alerts) are taken off the event bus and written in batches;
- while PostgreSQL is away they wait, at most ROWS_WAITING_MAX; older ones are dropped and counted.
"""

from collections import deque
from typing import Any, Final

from tradebox.actors.store_keeper import StoreKeeper
from tradebox.domain.events import AlertRaised
from tradebox.errors import StoreUnavailable
from tradebox.ports.clock import MarketClock
from tradebox.ports.journal import JournalPort, LooseRow, RunOpened
from tradebox.supervision.actor import Context
from tradebox.supervision.events import Sink
from tradebox.supervision.mailbox import Overflow
from tradebox.supervision.reasons import ExitReason

ROWS_WAITING_MAX: Final = 10_000
BATCH_ROWS: Final = 500
FLUSH_S: Final = 0.25


class JournalActor(StoreKeeper):
    """Keeps PostgreSQL; every AlertRaised of the bus becomes a row.

    Holds: rows taken = written + waiting + dropped; a row is written at most once, unless the
           connection is lost while PostgreSQL answers. Rows that a full mailbox forgot before they
           were taken are counted as refused.
    """

    mailbox_capacity = 4096
    overflow = Overflow.DROP_OLDEST

    def __init__(self, journal: JournalPort, run: RunOpened, market_clock: MarketClock) -> None:
        super().__init__(journal, market_clock)
        self._journal = journal
        self._run = run
        self._run_is_open = False
        self._waiting: deque[LooseRow] = deque()
        self._oldest_s = 0.0
        self._sink: Sink | None = None
        self.rows_taken = self.rows_written = self.rows_dropped = 0

    async def init(self, ctx: Context) -> object:
        """Listen for rows at once; PostgreSQL may come later."""
        self._sink = ctx.events.attach((AlertRaised,), ctx.ref.tell)
        return await super().init(ctx)

    async def handle(self, msg: Any) -> None:
        """Take a row; write when enough wait or the oldest has waited long enough."""
        assert self._ctx is not None, "handle runs after init"
        now_s = self._ctx.clock.now()
        if not self._waiting:
            self._oldest_s = now_s
        self._take(msg)
        if len(self._waiting) >= BATCH_ROWS or now_s - self._oldest_s >= FLUSH_S:
            self._oldest_s = now_s
            await self.tend()

    def _take(self, row: LooseRow) -> None:
        self.rows_taken += 1
        if len(self._waiting) >= ROWS_WAITING_MAX:
            self._waiting.popleft()
            self.rows_dropped += 1
        self._waiting.append(row)

    async def tend(self) -> bool:
        """Probe when it is due, then write what waits; True while PostgreSQL is up."""
        if not await super().tend():
            return False
        try:
            await self._open_run()
            await self._write()
        except StoreUnavailable as error:
            self._reason = str(error.fields.get("reason", error.message))
            assert self._ctx is not None, "tend runs after init"
            self._tell(self._ctx)
        return self._journal.is_up

    async def _open_run(self) -> None:
        if not self._run_is_open:
            await self._journal.open_run(self._run)
            self._run_is_open = True

    async def _write(self) -> None:
        while self._waiting:
            batch = [self._waiting[place] for place in range(min(BATCH_ROWS, len(self._waiting)))]
            await self._journal.record(batch)
            for _ in batch:
                self._waiting.popleft()
            self.rows_written += len(batch)

    def figures(self) -> dict[str, object]:
        """Return what the keeper counted, and the rows."""
        ctx = self._ctx
        return {
            **super().figures(),
            "rows_refused": 0 if ctx is None else ctx.cell.mailbox.dropped,
            "rows_taken": self.rows_taken,
            "rows_written": self.rows_written,
            "rows_waiting": len(self._waiting),
            "rows_dropped": self.rows_dropped,
        }

    async def terminate(self, reason: ExitReason) -> None:
        """Write what waits and close the run, as far as PostgreSQL answers."""
        if self._sink is not None:
            self._sink.close()
        if reason.expected and self._journal.is_up:
            try:
                await self._open_run()
                await self._write()
                await self._journal.close_run()
            except StoreUnavailable as error:
                self._reason = error.message
        await super().terminate(reason)
