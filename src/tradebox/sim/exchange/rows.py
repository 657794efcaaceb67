"""The ledger rows of orders and executions, both ways, and the replay that rebuilds the books.

Rules of this file:
- a row holds plain JSON values; a value read back is the value written;
- `order_state` rows set an order's state, `execution` rows move money and shares: no row does both;
- a row of an unknown kind is passed over and a state that a row does not name stays, so that
  another version's ledger can still be read.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from tradebox.sim.exchange.amendments import (
    amend,
    latest_revision,
    pay_dividend,
    split_position,
)
from tradebox.sim.exchange.book import Book
from tradebox.sim.exchange.ledger import Row
from tradebox.sim.exchange.orders import Execution, Order, OrderType, Side, Status, Ticket, Tif

_STATE_FIELDS = (
    "perm_id",
    "total",
    "filled",
    "notional_micros",
    "last_fill_micros",
    "commission_micros",
    "armed",
    "is_triggered",
    "session_day",
    "oca_group",
    "oca_type",
    "done_ns",
    "done_text",
    "stop_micros",
    "expires_ns",
    "is_stuck",
)


def ticket_row(ticket: Ticket) -> dict[str, object]:
    """Return the ticket as plain values."""
    row = {name: getattr(ticket, name) for name in Ticket.__dataclass_fields__}
    row["echo"] = dict(ticket.echo)
    return row


def ticket_from(row: Mapping[str, Any]) -> Ticket:
    """Return the ticket of a row."""
    values = dict(row)
    values["side"] = Side(values["side"])
    values["order_type"] = OrderType(values["order_type"])
    values["tif"] = Tif(values["tif"])
    return Ticket(**values)


def state_row(order: Order) -> dict[str, object]:
    """Return what changes in the life of an order."""
    row: dict[str, object] = {name: getattr(order, name) for name in _STATE_FIELDS}
    row.update(account=order.account, status=order.status.value, why_held=order.why_held)
    return row


def execution_row(execution: Execution) -> dict[str, object]:
    """Return the execution as plain values."""
    return {
        name: getattr(execution, name) for name in Execution.__dataclass_fields__ if name != "at_ns"
    }


def execution_from(row: Mapping[str, Any]) -> Execution:
    """Return the execution of a row."""
    values = {name: row[name] for name in Execution.__dataclass_fields__ if name != "at_ns"}
    values["side"] = Side(values["side"])
    return Execution(**values, at_ns=row.get("executed_ns", row["at_ns"]))


class Replay:
    """Rebuilds books, ids and counters from ledger rows."""

    def __init__(self, books: Mapping[str, Book]) -> None:
        self._books = books
        self.last_perm_id = 0
        self.last_execution = 0
        self.last_ns = 0

    def apply(self, rows: Iterable[Row]) -> None:
        """Apply every row, oldest first."""
        handlers = {
            "account_opened": self._account_opened,
            "id_used": self._id_used,
            "order_placed": self._order_placed,
            "order_modified": self._order_modified,
            "order_state": self._order_state,
            "execution": self._execution,
            "day_started": self._day_started,
            "correction": self._correction,
            "split": self._split,
            "dividend": self._dividend,
        }
        for row in rows:
            values: dict[str, Any] = dict(row)
            handler = handlers.get(values["kind"])
            if handler is not None and values["account"] in self._books:
                self.last_ns = values["at_ns"]
                handler(self._books[values["account"]], values)

    def _account_opened(self, book: Book, row: Mapping[str, Any]) -> None:
        book.account.account_id = row["account_id"]
        book.account.deposited_micros = row["cash_micros"]
        book.account.cash_micros = row["cash_micros"]

    def _id_used(self, book: Book, row: Mapping[str, Any]) -> None:
        book.use_id(row["client_id"], row["order_id"])

    def _order_placed(self, book: Book, row: Mapping[str, Any]) -> None:
        ticket = ticket_from(row["ticket"])
        self.last_perm_id = max(self.last_perm_id, row["perm_id"])
        book.use_id(row["client_id"], row["order_id"])
        book.add(
            Order(
                account=row["account"],
                client_id=row["client_id"],
                order_id=row["order_id"],
                ticket=ticket,
                placed_ns=row["at_ns"],
                perm_id=row["perm_id"],
                parent_perm_id=row["parent_perm_id"],
                total=ticket.quantity,
            )
        )

    def _order_modified(self, book: Book, row: Mapping[str, Any]) -> None:
        book.orders[row["perm_id"]].ticket = ticket_from(row["ticket"])

    def _order_state(self, book: Book, row: Mapping[str, Any]) -> None:
        order = book.orders[row["perm_id"]]
        for name in _STATE_FIELDS:
            setattr(order, name, row.get(name, getattr(order, name)))
        order.status = Status(row["status"])
        if order.status.is_done:
            book.retire(order)

    def _execution(self, book: Book, row: Mapping[str, Any]) -> None:
        execution = execution_from(row)
        self.last_execution = max(self.last_execution, int(execution.exec_id.split(".")[1], 16))
        book.executions.append(execution)
        book.account.apply(execution)

    def _correction(self, book: Book, row: Mapping[str, Any]) -> None:
        new = execution_from(row)
        old = latest_revision(book, new.exec_id)
        assert old is not None, new.exec_id
        amend(book, old, new)

    def _split(self, book: Book, row: Mapping[str, Any]) -> None:
        split_position(book.account, row["symbol"], row["numerator"], row["denominator"])

    def _dividend(self, book: Book, row: Mapping[str, Any]) -> None:
        pay_dividend(book.account, row["symbol"], row["amount_micros"])

    def _day_started(self, book: Book, row: Mapping[str, Any]) -> None:
        book.account.start_day(row["day"], row["net_liquidation"])
