"""What a person may settle in the books of one account: release a symbol, adopt shares.

Rules of this file:
- only facts are appended; nothing is sent from here;
- PostgreSQL away: nothing is settled, the person asks again.
"""

from decimal import Decimal
from typing import Any

from tradebox.domain.orders import Side
from tradebox.execution.broker_view import BrokerView
from tradebox.execution.intake import Intake
from tradebox.execution.order_book import OrderBook
from tradebox.execution.order_link import OrderLink
from tradebox.execution.reconcile import Findings
from tradebox.execution.record_keeper import RecordKeeper
from tradebox.ports.order_store import Change, PositionAdjusted, SymbolReleased
from tradebox.ports.orders import SnapshotTaken


class ByHand:
    """Settles symbols on a person's word, and knows what there is to settle."""

    def __init__(
        self, book: OrderBook, intake: Intake, keeper: RecordKeeper, link: OrderLink
    ) -> None:
        self._book = book
        self._intake = intake
        self._keeper = keeper
        self._link = link
        self._broker = BrokerView(link.account_id)

    @property
    def report(self) -> dict[str, Any] | None:
        """What the last reconcile found; None before the first."""
        return self._broker.report

    def see(self, fact: SnapshotTaken, findings: Findings) -> None:
        """Take over a snapshot whose changes are in the books."""
        self._broker.see(fact, findings, self._book)

    def unexplained(self, symbol: str) -> tuple[int, Decimal | None]:
        """Return the broker's signed shares that are not in the books, and their cost."""
        return self._broker.unexplained(symbol)

    async def release(self, symbol: str, *, keep: bool) -> str:
        """Let a symbol take entries again; return why not, or "". Raises StoreUnavailable.

        keep: shares that nobody explains are booked as a person's own and left alone; shares that
        are gone are taken off the plans that believe to hold them.
        """
        if symbol not in self._book.quarantined:
            return f"{symbol} is not quarantined"
        left, _cost = self.unexplained(symbol)
        orders = self._broker.external(symbol)
        if orders:
            return f"an order that is not ours still works: {orders[0]}; cancel it first"
        if left and not keep:
            return f"the broker holds {left} shares that the books do not: adopt or keep them"
        changes: list[Change] = [SymbolReleased(symbol, "released by a person")]
        for plan_id, gone in self._gone(symbol, left):
            changes.append(PositionAdjusted(symbol, gone, "gone, said a person", plan_id))
            left -= gone
        if left:
            changes.append(PositionAdjusted(symbol, left, "kept aside by a person"))
        await self._settle(changes)
        return ""

    def _gone(self, symbol: str, left: int) -> list[tuple[str, int]]:
        """Return which plans lose how many signed shares where the books hold too many."""
        found = []
        for plan_id in self._book.plan_ids():
            held = self._book.plan_position(plan_id)
            if held * left < 0 and self._book.of_plan(plan_id)[0].row.symbol == symbol:
                gone = min(abs(held), abs(left)) * (1 if left > 0 else -1)
                found.append((plan_id, gone))
                left -= gone
        return found

    def whole(self, symbol: str) -> tuple[int, Decimal | None, str]:
        """Return all that the broker holds of a symbol, its cost, and why it may not be taken over.

        What works in the symbol, ours or another's, could trade shares while they change hands.
        """
        left, cost = self.unexplained(symbol)
        held = left + self._book.position(symbol)
        works = [record.ref for record in self._book.open_orders(symbol)]
        works += self._broker.external(symbol)
        return held, cost, f"order {works[0]} still works" if works else ""

    async def book_adopted(
        self, plan_id: str, symbol: str, side: Side, quantity: int, *, whole: bool
    ) -> None:
        """Give shares that are nobody's to a plan; whole: those of our plans, too.

        Raises:  StoreUnavailable.
        """
        reason = "adopted by a person"
        changes: list[Change] = [SymbolReleased(symbol, reason)]
        for other in self._book.plan_ids() if whole else ():
            held = self._book.plan_position(other)
            if held and self._book.of_plan(other)[0].row.symbol == symbol:
                changes.append(PositionAdjusted(symbol, -held, f"taken over by {plan_id}", other))
        changes.append(PositionAdjusted(symbol, side.sign * quantity, reason, plan_id))
        await self._settle(changes)

    async def _settle(self, changes: list[Change]) -> None:
        await self._keeper.commit(changes, may_spool=False)
        self._book.apply(changes)
        for change in changes:
            if isinstance(change, PositionAdjusted):
                self._broker.settle(change.symbol, change.quantity)
        self._intake.settled()
        self._link.want_look("a person settled a symbol")
