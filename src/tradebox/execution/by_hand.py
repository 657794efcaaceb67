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
        return self._broker.unexplained(symbol, self._book)

    async def release(self, symbol: str, *, keep: bool) -> str:
        """Let a symbol take entries again; return why not, or "". Raises StoreUnavailable.

        keep: shares that nobody explains are booked as a person's own and left alone.
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
        if left:
            changes.append(PositionAdjusted(symbol, left, "kept aside by a person"))
        await self._settle(changes)
        return ""

    async def book_adopted(self, plan_id: str, symbol: str, side: Side, quantity: int) -> None:
        """Give shares that are nobody's to a plan. Raises StoreUnavailable."""
        reason = "adopted by a person"
        shares = side.sign * quantity
        await self._settle(
            [
                PositionAdjusted(symbol, shares, reason, plan_id),
                SymbolReleased(symbol, reason),
            ]
        )

    async def _settle(self, changes: list[Change]) -> None:
        await self._keeper.commit(changes, may_spool=False)
        self._book.apply(changes)
        self._intake.settled()
        self._link.want_look("a person settled a symbol")
