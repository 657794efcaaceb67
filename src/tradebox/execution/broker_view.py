"""What the last complete snapshot showed: the report of a reconcile, and what nobody explains.

Rules of this file:
- read from one snapshot and the books as they were after it; nothing is decided here.
"""

from decimal import Decimal
from typing import Any

from tradebox.execution.order_book import OrderBook
from tradebox.execution.reconcile import Findings
from tradebox.ports.orders import SnapshotTaken


class BrokerView:
    """The broker's side of the last reconcile."""

    def __init__(self, account_id: str) -> None:
        self._account_id = account_id
        self._held: dict[str, tuple[int, Decimal]] = {}
        self._external: dict[str, list[str]] = {}
        self.report: dict[str, Any] | None = None

    def see(self, fact: SnapshotTaken, findings: Findings, book: OrderBook) -> None:
        """Take over a snapshot whose changes are in the books."""
        snapshot = fact.snapshot
        self._held = {
            row.symbol: (int(row.quantity), row.average_cost)
            for row in snapshot.positions
            if row.account == self._account_id
        }
        self._external = {}
        for order in findings.external:
            self._external.setdefault(order.symbol, []).append(order.text)
        broker = {symbol: held for symbol, (held, _cost) in self._held.items() if held}
        self.report = {
            "started_mono_ns": fact.started_mono_ns,
            "took_ms": round((snapshot.taken_mono_ns - fact.started_mono_ns) / 1e6, 1),
            "agrees": broker == book.positions() and not findings.external,
            "broker": broker,
            "books": book.positions(),
            "open_orders": len(snapshot.open_orders),
            "executions": len(snapshot.executions),
            "external": [f"{one.symbol}: {one.text}" for one in findings.external],
            "forked": [one.record.ref for one in findings.forked],
            "missing": [one.record.ref for one in findings.missing],
            "gaps": [
                f"{one.symbol}: {one.broker} there, {one.books} here" for one in findings.gaps
            ],
            "quarantined": dict(book.quarantined),
        }

    def unexplained(self, symbol: str, book: OrderBook) -> tuple[int, Decimal | None]:
        """Return the signed shares that are not in the books, and their cost."""
        held, cost = self._held.get(symbol, (0, Decimal(0)))
        return held - book.position(symbol), cost if cost > 0 else None

    def external(self, symbol: str) -> list[str]:
        """Return the working orders of this symbol that are none of ours."""
        return self._external.get(symbol, [])
