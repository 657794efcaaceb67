"""Order messages by template: the library writes each shape once, later ones are filled in.

Rules of this file:
- the library lays a message out; where the fields that differ stand is found by marks, and a mark
  that does not stand there exactly once is an error: nothing is guessed;
- what is filled in is written as the library writes it, and checked as `wire.order_of` checks.
"""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Final

from ib_async.contract import Contract
from ib_async.order import Order
from ib_async.util import UNSET_DOUBLE

from tradebox.adapters.ibkr import wire
from tradebox.ports.orders import OrderTicket

Write = Callable[[int, Contract, Order], str]
_MARKS: Final = {
    "order_id": "987654321",
    "con_id": "876543219",
    "symbol": "@symbol",
    "primary_exchange": "@primary",
    "quantity": "765432198",
    "account": "@account",
    "order_ref": "@ref",
    "parent_id": "654321987",
    "limit_price": "54321.875",
    "stop_price": "43219.625",
}
_INCREMENT: Final = Decimal("0.125")


class TicketTexts:
    """The messages of one connection's orders.

    Holds:   `of` gives, byte for byte, what the library would write for the same ticket.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._shapes: dict[tuple[object, ...], tuple[list[str], dict[str, int]]] = {}

    def of(self, ticket: OrderTicket) -> str:
        """Return the message of an order. Raises: AssertionError, as `wire.order_of`."""
        limit, stop = wire.prices_of(ticket)
        intent, instrument = ticket.intent, ticket.instrument
        shape = (
            intent.side, ticket.order_type, ticket.tif, ticket.transmit, intent.outside_rth,
            instrument.currency,
        )  # fmt: skip
        known = self._shapes.get(shape)
        if known is None:
            known = self._shapes[shape] = self._learn(ticket)
        fields, places = known[0].copy(), known[1]
        fields[places["order_id"]] = str(ticket.order_id)
        fields[places["con_id"]] = str(instrument.con_id)
        fields[places["symbol"]] = instrument.symbol
        fields[places["primary_exchange"]] = instrument.primary_exchange
        fields[places["quantity"]] = str(ticket.quantity)
        fields[places["account"]] = ticket.account_id
        fields[places["order_ref"]] = intent.order_ref
        fields[places["parent_id"]] = str(ticket.parent_id)
        if "limit_price" in places:
            fields[places["limit_price"]] = str(limit)
        if "stop_price" in places:
            fields[places["stop_price"]] = str(stop)
        return "\0".join(fields)

    def _learn(self, ticket: OrderTicket) -> tuple[list[str], dict[str, int]]:
        """Have the library write a ticket of this shape whose varying fields are marks."""
        marked = replace(
            ticket,
            order_id=int(_MARKS["order_id"]),
            intent=replace(ticket.intent, order_ref=_MARKS["order_ref"]),
            account_id=_MARKS["account"],
            instrument=replace(
                ticket.instrument,
                symbol=_MARKS["symbol"],
                con_id=int(_MARKS["con_id"]),
                primary_exchange=_MARKS["primary_exchange"],
                increment=_INCREMENT,
            ),
            quantity=int(_MARKS["quantity"]),
            parent_id=int(_MARKS["parent_id"]),
            limit_price=None if ticket.limit_price is None else Decimal(_MARKS["limit_price"]),
            stop_price=None if ticket.stop_price is None else Decimal(_MARKS["stop_price"]),
        )
        contract, order = wire.contract_of(marked.instrument), wire.order_of(marked)
        fields = self._write(marked.order_id, contract, order).split("\0")
        limit, stop = wire.prices_of(marked)
        absent = {name for name, price in (("limit_price", limit), ("stop_price", stop))
                  if price == UNSET_DOUBLE}  # fmt: skip
        places: dict[str, int] = {}
        for name, mark in _MARKS.items():
            if name not in absent:
                assert fields.count(mark) == 1, (name, fields)
                places[name] = fields.index(mark)
        return fields, places
