"""Verdicts of the filter on their way to PostgreSQL: a book that feeds note in, and its writer.

Rules of this file:
- the book is a plain object that outlives its users; noting never blocks and never raises;
- drops and holds are kept one by one, for a person asks which; flags and duplicates are counted by
  symbol, source and check, for a liquid symbol has thousands of odd lots a minute;
- memory is bounded: a flood of refusals is counted like flags (of one symbol, source and check the
  first SINGLE_EACH_MAX a minute are listed), and rows that PostgreSQL does not take wait, at most
  ROWS_WAITING_MAX; the oldest are dropped and counted.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tradebox.domain.events import AlertRaised
from tradebox.domain.filter_values import Check, Judged, Verdict
from tradebox.domain.market import Source, Tick
from tradebox.errors import StoreUnavailable
from tradebox.ports.clock import MarketClock
from tradebox.ports.verdicts import VerdictPort, VerdictRow
from tradebox.supervision.actor import Actor, Context
from tradebox.supervision.reasons import ExitReason

SINGLE_ROWS_MAX: Final = 2_000
SINGLE_EACH_MAX: Final = 60
COUNTED_KEYS_MAX: Final = 20_000
ROWS_WAITING_MAX: Final = 10_000
BATCH_ROWS: Final = 500
FLUSH_S: Final = 0.5
COUNTED_S: Final = 60.0
FORGET_S: Final = 3600.0
FUTURE_SHARE_MAX: Final = 0.05
FUTURE_TICKS_MIN: Final = 20
"""Of a minute's ticks, so many from the future are no accident: a clock is wrong."""

_Key = tuple[str, str, str, str]


class VerdictBook:
    """What the active feed has refused or flagged since the last look.

    Holds: noted = taken + waiting + lost, in verdicts; at most SINGLE_ROWS_MAX single rows and
           COUNTED_KEYS_MAX counted ones. Of rows: taken = written + on their way + dropped.
    rows: taken and not yet written, at most ROWS_WAITING_MAX; a restarted writer finds them.
    """

    def __init__(self) -> None:
        self.rows: deque[VerdictRow] = deque()
        self.rows_taken = self.rows_written = self.rows_dropped = self.rows_forgotten = 0
        self.failures = 0
        self._single: list[VerdictRow] = []
        self._counted: dict[_Key, VerdictRow] = {}
        self._listed: dict[_Key, int] = {}
        self.future: Counter[Source] = Counter()
        self.noted = 0
        self.lost = 0

    def note(self, tick: Tick, judged: Judged) -> None:
        """Note one verdict that is not accept."""
        self.noted += 1
        if judged.check is Check.FUTURE:
            self.future[tick.source] += 1
        row = VerdictRow(
            tick.symbol,
            tick.source,
            judged.check,
            judged.verdict,
            judged.quality,
            tick.price_micros,
            tick.event_ns,
            tick.event_ns,
        )
        key = (tick.symbol, tick.source, judged.check, judged.verdict)
        is_single = judged.verdict is not Verdict.FLAG and judged.check is not Check.DUPLICATE
        if is_single and self._may_list(key):
            self._single.append(row)
        else:
            self._count(key, row)

    def _may_list(self, key: _Key) -> bool:
        if len(self._single) >= SINGLE_ROWS_MAX:
            return False
        listed = self._listed.get(key, 0)
        if listed >= SINGLE_EACH_MAX or len(self._listed) >= COUNTED_KEYS_MAX:
            return False
        self._listed[key] = listed + 1
        return True

    def _count(self, key: _Key, row: VerdictRow) -> None:
        known = self._counted.get(key)
        if known is not None:
            self._counted[key] = row._replace(
                first_event_ns=known.first_event_ns, ticks=known.ticks + 1
            )
        elif len(self._counted) < COUNTED_KEYS_MAX:
            self._counted[key] = row
        else:
            self.lost += 1

    @property
    def waiting(self) -> int:
        """How many verdicts wait to be taken."""
        return len(self._single) + sum(row.ticks for row in self._counted.values())

    def take(self, *, with_counted: bool) -> list[VerdictRow]:
        """Take what waits, oldest first; the counted ones only where asked for."""
        rows, self._single = self._single, []
        if with_counted:
            rows = [*rows, *self._counted.values()]
            self._counted, self._listed = {}, {}
        return rows

    def figures(self) -> dict[str, float]:
        """Return what was noted, and what became of it."""
        return {
            "noted": self.noted,
            "lost": self.lost,
            "rows_taken": self.rows_taken,
            "rows_written": self.rows_written,
            "rows_waiting": len(self.rows),
            "rows_dropped": self.rows_dropped,
            "rows_forgotten": self.rows_forgotten,
            "failures": self.failures,
        }


@dataclass(frozen=True, slots=True)
class _Flush:
    """To self: write what waits."""


class VerdictWriter(Actor[_Flush]):
    """Writes the book's rows in batches, and deletes what has been kept for long enough.

    received: how many ticks have come so far; prices from the future are a share of them.
    """

    def __init__(
        self,
        book: VerdictBook,
        port: VerdictPort,
        market_clock: MarketClock,
        *,
        received: Callable[[], int] = lambda: 0,
        flag_days: int = 2,
        refusal_days: int = 30,
    ) -> None:
        self._book = book
        self._port = port
        self._market_clock = market_clock
        self._received = received
        self._received_before = 0
        self._days = (flag_days, refusal_days)
        self._counted_s = 0.0
        self._forget_s = 0.0

    async def init(self, ctx: Context) -> None:
        """Begin at once; PostgreSQL may come later."""
        self._ctx = ctx
        self._counted_s = self._forget_s = ctx.clock.now()
        ctx.send_after(FLUSH_S, _Flush())

    async def handle(self, msg: _Flush) -> None:
        """Take what was noted, write what can be written."""
        del msg
        now_s = self._ctx.clock.now()
        with_counted = now_s - self._counted_s >= COUNTED_S
        if with_counted:
            self._counted_s = now_s
            self._watch_clocks()
        self._take(with_counted=with_counted)
        try:
            await self._write()
            if now_s >= self._forget_s:
                self._book.rows_forgotten += await self._port.forget(*self._days)
                self._forget_s = now_s + FORGET_S
        except StoreUnavailable:
            self._book.failures += 1
        self._ctx.send_after(FLUSH_S, _Flush())

    def _watch_clocks(self) -> None:
        """Alarm where too many of the minute's prices came from the future (4)."""
        received = self._received()
        ticks, self._received_before = received - self._received_before, received
        future, self._book.future = self._book.future, Counter()
        for source, count in future.items():
            if count >= FUTURE_TICKS_MIN and count > ticks * FUTURE_SHARE_MAX:
                text = f"{count} of {ticks} prices in a minute were ahead of our clock: {source}"
                at_ns = self._market_clock.now_ns()
                self._ctx.events.publish(AlertRaised("warning", "vendor_clock", text, at_ns=at_ns))

    def _take(self, *, with_counted: bool) -> None:
        book = self._book
        rows = book.take(with_counted=with_counted)
        book.rows_taken += len(rows)
        book.rows.extend(rows)
        while len(book.rows) > ROWS_WAITING_MAX:
            book.rows.popleft()
            book.rows_dropped += 1

    async def _write(self) -> None:
        book = self._book
        while book.rows:
            batch = [book.rows[place] for place in range(min(BATCH_ROWS, len(book.rows)))]
            await self._port.write(batch)
            for row in batch:
                if book.rows and book.rows[0] is row:
                    book.rows.popleft()
            book.rows_written += len(batch)

    async def terminate(self, reason: ExitReason) -> None:
        """Write what waits, as far as PostgreSQL answers."""
        if not reason.expected:
            return
        self._take(with_counted=True)
        try:
            await self._write()
        except StoreUnavailable:
            self._book.rows_dropped += len(self._book.rows)
            self._book.rows.clear()
