"""The dashboard actor: keeps the read model that the console shows, and the status blob.

Rules of this file:
- it has no broker connection and holds nothing that could trade;
- rows are written at most every WRITE_S, in slices, changed or not once per period;
- Redis away costs rows, counted, nothing else;
- what the day brought before this engine is read from the books once, as soon as they can be read.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from tradebox.actors.dashboard_state import WATCHED, DashboardState
from tradebox.domain.market_day import day_start_ns
from tradebox.errors import BusUnavailable, StoreUnavailable
from tradebox.ports.clock import MarketClock
from tradebox.ports.day_books import DayReader
from tradebox.ports.read_model import RowWriter
from tradebox.readmodel import PERIOD_S, Row, RowName, encode_row
from tradebox.supervision.actor import Actor, Context
from tradebox.supervision.events import Sink
from tradebox.supervision.mailbox import Overflow
from tradebox.supervision.tree import TreeRow

WRITE_S = 0.5
RECALL_S, RECALL_S_MAX = 2.0, 1.0
"""How long after a start, or a failure, the books are asked for the day; and how long they may
take: rows wait meanwhile."""
TTL_MS = 60_000
PLANS_PER_TURN_MAX = 20
PLAN_PERIOD_S = 20.0
"""A plan's detail is written when it changes, and again so often that it outlives its TTL."""


class _Write:
    """To self: the next write is due."""


class Dashboard(Actor[object]):
    """Folds events; writes rows to Redis and the status blob to the launcher."""

    mailbox_capacity = 8192
    overflow = Overflow.DROP_OLDEST

    def __init__(
        self,
        writer: RowWriter,
        clock: MarketClock,
        *,
        epoch: int,
        tree: Callable[[], list[TreeRow]],
        header: Callable[[], dict[str, Any]],
        feeds: Callable[[], list[dict[str, Any]]],
        report_status: Callable[[dict[str, Any]], None],
        state: DashboardState | None = None,
        books: DayReader | None = None,
    ) -> None:
        self._writer = writer
        self._clock = clock
        self.epoch = epoch
        self._tree = tree
        self._header = header
        self._feeds = feeds
        self._report_status = report_status
        self._state = DashboardState() if state is None else state
        self._books = books
        self._recall_due_s = 0.0
        self._sinks: list[Sink] = []
        self._dirty_plans: set[str] = set()
        self._due: dict[str, float] = {}

    async def init(self, ctx: Context) -> None:
        """Subscribe and start writing."""
        self._ctx = ctx
        self._sinks.append(ctx.events.attach(WATCHED, ctx.ref.tell))
        self._recall_due_s = ctx.clock.now() + RECALL_S
        ctx.send_after(WRITE_S, _Write())

    async def handle(self, msg: object) -> None:
        """Fold an event, or write what is due."""
        if not isinstance(msg, _Write):
            self._state.fold(msg, self._clock.now_ns())
            plan_id = getattr(msg, "plan_id", None) or getattr(
                getattr(msg, "row", None), "plan_id", None
            )
            if plan_id:
                self._dirty_plans.add(plan_id)
            return
        self._ctx.send_after(WRITE_S, _Write())
        await self._recall()
        self._report_status(self.status())
        rows = self._rows_due()
        try:
            await self._writer.write_rows(rows, TTL_MS)
        except BusUnavailable:
            self._due.clear()  # what was not taken is due again

    async def terminate(self, reason: object) -> None:
        """Unsubscribe."""
        del reason
        for sink in self._sinks:
            sink.close()

    async def _recall(self) -> None:
        now_ns = self._clock.now_ns()
        self._state.turn_day(now_ns)
        if self._books is None or self._state.knows_day:
            return
        if self._ctx.clock.now() < self._recall_due_s:
            return
        try:
            async with asyncio.timeout(RECALL_S_MAX):
                books = await self._books.day(day_start_ns(now_ns))
        except (StoreUnavailable, TimeoutError):
            self._recall_due_s = self._ctx.clock.now() + RECALL_S
        else:
            self._state.recall(books)

    def status(self) -> dict[str, Any]:
        """Return the engine's part of `tradebox status --json`."""
        state = self._state
        return {
            "actors": [tree_row(row) for row in self._tree()],
            "accounts": list(state.accounts.values()),
            "positions": state.positions_rows(),
            "header": self._header(),
            "counts": state.counts,
        }

    def _rows_due(self) -> dict[str, bytes]:
        now = self._ctx.clock.now()
        rows: dict[str, bytes] = {}
        for name, build in self._builders().items():
            if now >= self._due.get(name, 0.0):
                self._due[name] = now + PERIOD_S[name] - WRITE_S / 2
                rows[name] = self._encode(build(), PERIOD_S[name])
        for plan_id in self._plans_due(now):
            self._dirty_plans.discard(plan_id)
            self._due[f"plan:{plan_id}"] = now + PLAN_PERIOD_S
            rows[f"plan:{plan_id}"] = self._encode(self._state.plan_detail(plan_id), PLAN_PERIOD_S)
        return rows

    def _plans_due(self, now: float) -> list[str]:
        plans = self._state.plans
        self._dirty_plans &= plans.keys()
        for name in [name for name in self._due if name.startswith("plan:")]:
            if name.removeprefix("plan:") not in plans:
                del self._due[name]
        late = {name for name in plans if now >= self._due.get(f"plan:{name}", 0.0)}
        longest_ago = sorted(
            self._dirty_plans | late, key=lambda name: (self._due.get(f"plan:{name}", 0.0), name)
        )
        return longest_ago[:PLANS_PER_TURN_MAX]

    def _builders(self) -> Mapping[RowName, Callable[[], object]]:
        state = self._state
        return {
            RowName.HEADER: lambda: {
                **self._header(),
                "counts": state.counts,
                "day": state.day(),
            },
            RowName.ACCOUNTS: lambda: list(state.accounts.values()),
            RowName.POSITIONS: state.positions_rows,
            RowName.PLANS: lambda: list(state.plans.values()),
            RowName.ORDERS: lambda: list(state.orders.values()),
            RowName.HEALTH: self._health,
            RowName.FEEDS: self._feed_rows,
            RowName.ALERTS: lambda: list(state.alerts),
            RowName.JOURNAL: state.lines.rows,
        }

    def _health(self) -> list[dict[str, Any]]:
        now_ns = time.monotonic_ns()
        return [
            {**tree_row(row), "restarts_ns": self._state.restarts(row.name, now_ns)}
            for row in self._tree()
        ]

    def _feed_rows(self) -> list[dict[str, Any]]:
        refused = self._state.refused
        return [{**row, "refused": refused.get(row["symbol"], 0)} for row in self._feeds()]

    def _encode(self, data: object, period_s: float) -> bytes:
        return encode_row(
            Row(self.epoch or 0, self._clock.now_ns(), time.monotonic_ns(), period_s, data)
        )


def tree_row(row: TreeRow) -> dict[str, Any]:
    """Return a row of the tree as plain values."""
    return {name: getattr(row, name) for name in TreeRow.__slots__}
