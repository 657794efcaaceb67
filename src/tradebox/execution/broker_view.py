"""What the last complete snapshot showed: the report of a reconcile, and what nobody explains.

Rules of this file:
- read from one snapshot and the books as they were after it: a fill that comes later changes both
  sides, so what nobody explained then is what nobody explains now; nothing is decided here.
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
        self._left: dict[str, int] = {}
        self._costs: dict[str, Decimal] = {}
        self._external: dict[str, list[str]] = {}
        self.report: dict[str, Any] | None = None

    def see(self, fact: SnapshotTaken, findings: Findings, book: OrderBook) -> None:
        """Take over a snapshot whose changes are in the books."""
        snapshot = fact.snapshot
        rows = [row for row in snapshot.positions if row.account == self._account_id]
        held = {row.symbol: int(row.quantity) for row in rows}
        self._costs = {row.symbol: row.average_cost for row in rows}
        books = book.positions()
        self._left = {
            symbol: held.get(symbol, 0) - books.get(symbol, 0) for symbol in {*held, *books}
        }
        self._external = {}
        for order in findings.external:
            self._external.setdefault(order.symbol, []).append(order.text)
        broker = {symbol: shares for symbol, shares in held.items() if shares}
        self.report = {
            "started_mono_ns": fact.started_mono_ns,
            "took_ms": round((snapshot.taken_mono_ns - fact.started_mono_ns) / 1e6, 1),
            "agrees": broker == books and not findings.external,
            "broker": broker,
            "books": books,
            "open_orders": len(snapshot.open_orders),
            "executions": len(snapshot.executions),
            "external": [f"{one.symbol}: {one.text}" for one in findings.external],
            "forked": [one.record.ref for one in findings.forked],
            "missing": [one.record.ref for one in findings.missing],
            "back": [one.record.ref for one in findings.back],
            "gaps": [
                f"{one.symbol}: {one.broker} there, {one.books} here" for one in findings.gaps
            ],
            "quarantined": dict(book.quarantined),
        }

    def unexplained(self, symbol: str) -> tuple[int, Decimal | None]:
        """Return the signed shares that were not in the books, and their cost."""
        cost = self._costs.get(symbol, Decimal(0))
        return self._left.get(symbol, 0), cost if cost > 0 else None

    def settle(self, symbol: str, shares: int) -> None:
        """Take note of shares that a person has explained since."""
        self._left[symbol] = self._left.get(symbol, 0) - shares

    def external(self, symbol: str) -> list[str]:
        """Return the working orders of this symbol that are none of ours."""
        return self._external.get(symbol, [])
