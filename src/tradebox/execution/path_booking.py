"""What was learnt goes into the books, journal first, and then to everybody who waits for it.

Rules of this file:
- a change is committed (or spooled) before the book takes it, and told after that;
- an execution is told once, by how many shares it changed the books;
- what a plan's end means for the account (losses in a row, refusals) is counted here.
"""

from collections.abc import Callable
from decimal import Decimal

from tradebox.domain.events import FillBooked, OrderChanged
from tradebox.domain.orders import AccountName, OrderRole, OrderState
from tradebox.domain.path import (
    EntryCorrected,
    EntryFilled,
    PathEvent,
    ReduceFilled,
    ReductionCorrected,
)
from tradebox.execution.alarms import Alarms
from tradebox.execution.codes import HALTED
from tradebox.execution.intake import Learnt
from tradebox.execution.order_book import OrderBook, OrderRecord
from tradebox.execution.path_views import Views
from tradebox.execution.path_world import PathWorld
from tradebox.execution.procedures import Alarm
from tradebox.execution.record_keeper import RecordKeeper
from tradebox.ports.order_store import FillRow, FillSeen


class Booking:
    """Books facts of one account. tell: takes what the plans are told."""

    def __init__(
        self,
        account: AccountName,
        book: OrderBook,
        keeper: RecordKeeper,
        views: Views,
        alarms: Alarms,
        world: PathWorld,
        tell: Callable[[PathEvent], None],
    ) -> None:
        self._account = account
        self._book = book
        self._keeper = keeper
        self._views = views
        self._alarms = alarms
        self._world = world
        self._tell = tell
        self._day_is_due = False

    async def learn(self, learnt: Learnt) -> None:
        """Write what a fact changes, take it over, and say so."""
        old_filled = {record.ref: record.booked for record in learnt.records}
        old_rows = {record.ref: record.row for record in learnt.records}
        await self._keeper.commit(learnt.changes, may_spool=True)
        self._book.apply(learnt.changes)
        for change in learnt.changes:
            if isinstance(change, FillSeen):
                self._filled(change, old_filled.get(change.fill.order_ref, 0))
        for record in learnt.records:
            if record.row != old_rows[record.ref]:
                self._moved(record, old_rows[record.ref].state)
        if self._day_is_due:
            self._day_is_due = False
            row = self._views.money.row()
            await self._keeper.commit([] if row is None else [row], may_spool=True)
        for alarm in learnt.alarms:
            self._alarms.say(alarm)

    def _filled(self, change: FillSeen, booked_before: int) -> None:
        fill, record = change.fill, self._book.orders[change.fill.order_ref]
        row, delta = record.row, record.booked - booked_before
        self._world.publish(
            FillBooked(
                self._account, row.order_ref, row.plan_id, row.symbol, row.role, fill.side,
                fill.quantity, fill.price, fill.exec_id, fill.at_ns,
            )
        )  # fmt: skip
        if delta != fill.quantity:
            text = f"{row.symbol} {fill.exec_id}: corrected by {delta} shares"
            self._alarms.say(Alarm("critical", "execution_corrected", text))
        if delta > 0 and not self._book.plan_position(row.plan_id):
            self._went_flat(row.plan_id, row.role)
        if delta != fill.quantity or not delta:
            is_entry = row.role is OrderRole.ENTRY
            self._tell((self._corrected if is_entry else self._returned)(row.plan_id, fill))
            return
        if row.role is OrderRole.ENTRY:
            self._views.money.rejects = 0
            self._views.rejects_by_symbol.pop(row.symbol, None)
            left = max(0, row.quantity - record.booked)
            self._tell(EntryFilled(row.plan_id, delta, fill.price, record.booked, left, fill.at_ns))
        else:
            left = abs(self._book.plan_position(row.plan_id))
            self._tell(ReduceFilled(row.plan_id, row.role, delta, fill.price, left, fill.at_ns))

    def _corrected(self, plan_id: str, fill: FillRow) -> EntryCorrected:
        """Return all that a plan's entries gave, by what the book holds now."""
        fills = [one for one in self._book.plan_fills(plan_id) if one.side is fill.side]
        return EntryCorrected(plan_id, *_sums(fills), fill.at_ns)

    def _returned(self, plan_id: str, fill: FillRow) -> ReductionCorrected:
        """Return all that a plan's reductions took, by what the book holds now."""
        by_role: dict[OrderRole, list[FillRow]] = {}
        for one in self._book.plan_fills(plan_id):
            if one.side is fill.side:
                record = self._book.orders.get(one.order_ref)
                role = OrderRole.EXIT if record is None else record.row.role
                by_role.setdefault(role, []).append(one)
        stops, exits = by_role.get(OrderRole.STOP, []), by_role.get(OrderRole.EXIT, [])
        held = max(0, -fill.side.sign * self._book.plan_position(plan_id))
        return ReductionCorrected(
            plan_id,
            *_sums(by_role.get(OrderRole.SLICE, [])),
            *_sums([*stops, *exits]),
            _sums(stops)[0],
            held,
            fill.at_ns,
        )

    def _went_flat(self, plan_id: str, role: OrderRole) -> None:
        """Count how a plan ended: losses at the stop in a row hold entries back."""
        fills = self._book.plan_fills(plan_id)
        won = sum((-fill.side.sign * fill.quantity * fill.price for fill in fills), Decimal(0)) > 0
        if self._views.money.plan_ended(by_stop=role is OrderRole.STOP, won=won):
            self._day_is_due = True

    def _moved(self, record: OrderRecord, before: OrderState) -> None:
        # What a halt refuses says nothing against the account: its stops are asked for all along.
        is_told = record.is_refused and record.code != HALTED
        if is_told and before is not record.state:
            self._views.money.rejects += 1
            symbol = record.row.symbol
            by_symbol = self._views.rejects_by_symbol
            by_symbol[symbol] = by_symbol.get(symbol, 0) + 1
        self.show(record)

    def show(self, record: OrderRecord) -> None:
        """Publish an order as it stands."""
        row = record.row
        self._world.publish(
            OrderChanged(
                self._account, row.order_ref, row.plan_id, row.symbol, row.role, row.side,
                row.quantity, record.filled, row.order_type, row.limit_price, row.stop_price,
                row.state, row.order_id, max(record.perm_ids, default=0),
                self._world.market_clock.now_ns(),
            )
        )  # fmt: skip


def _sums(fills: list[FillRow]) -> tuple[int, Decimal]:
    """Return the shares of fills, and their money."""
    cost = sum((one.quantity * one.price for one in fills), Decimal(0))
    return sum(one.quantity for one in fills), cost
