"""A broker in memory behind the order port: it may refuse, fill in parts, and be slow.

Rules of this file:
- what the client wrote waits until the test lets the broker read it; facts come back in order;
- a fill goes by the broker's own book; what the client believes does not matter here;
- the open questions of real gateways (a child of a partly filled parent) are switches.
"""

import time
from collections import deque
from dataclasses import dataclass, replace
from decimal import Decimal

from tradebox.domain.orders import OrderRole, OrderType, Side, Tif
from tradebox.ports.orders import (
    AccountValueFact,
    BrokerSnapshot,
    CodeFact,
    CompletedOrderFact,
    ExecutionFact,
    LinkInfo,
    OpenOrderFact,
    OrderStatusFact,
    OrderTicket,
    PositionFact,
)

ACCOUNT = "SIM1234567P"
AT_NS = 1_749_045_600_000_000_000


@dataclass
class BrokerOrder:
    ticket: OrderTicket
    perm_id: int
    quantity: int
    stop_price: Decimal | None
    filled: int = 0
    status: str = "Submitted"
    why_held: str = ""
    is_dying: bool = False

    @property
    def is_live(self) -> bool:
        return self.status in ("PreSubmitted", "Submitted", "PendingCancel")

    @property
    def is_held(self) -> bool:
        return "child" in self.why_held

    @property
    def remaining(self) -> int:
        return self.quantity - self.filled

    @property
    def side(self) -> Side:
        return self.ticket.intent.side


class FakeBroker:
    """OrderPort whose other side is a small order book."""

    def __init__(self, *, on_partial="held", on_cancel="dies") -> None:
        self.on_partial = on_partial
        self.on_cancel = on_cancel
        self.refuse_changes = False
        self.refuse_stops = 0
        self.is_halted = False
        self.inbox: deque = deque()
        self.orders: dict[int, BrokerOrder] = {}
        self.untransmitted: dict[int, OrderTicket] = {}
        self.facts: deque = deque()
        self.executions: list[ExecutionFact] = []
        self.ioc_share = 100
        self.loosened: list[str] = []
        self._tightest: Decimal | None = None
        self._perm = 1000

    # the port

    async def connect(self, on_fact):
        self._on_fact = on_fact
        return LinkInfo((ACCOUNT,), 1, 178, "127.0.0.1", 5000)

    def room(self):
        return 48

    def look_wait_s(self, *, is_whole, is_pressing):
        del is_whole, is_pressing
        return 0.0

    async def snapshot(self, deadline_s, *, is_whole=True):
        while self.inbox:
            self.read_one()
        self.deliver_all()
        rows = [order for order in self.orders.values() if order.is_live]
        opened = tuple(self._open_fact(order) for order in rows)
        statuses = tuple(self._status_fact(order) for order in rows)
        done = tuple(
            CompletedOrderFact(
                order.perm_id, order.ticket.intent.order_ref, ACCOUNT, "AAPL", order.side,
                Decimal(order.filled), order.status, "",
            )
            for order in self.orders.values()
            if not order.is_live
        )  # fmt: skip
        position = self.position()
        positions = (PositionFact(ACCOUNT, "AAPL", 1, Decimal(position), Decimal(0)),)
        executions = tuple(self.executions)
        if not is_whole:
            done = executions = ()
        for fact in (*opened, *statuses, *done, *executions):
            self._on_fact(fact)
        return BrokerSnapshot(
            opened, statuses, done, executions, positions, time.monotonic_ns(), is_whole
        )

    async def heartbeat(self, deadline_s):
        return AT_NS

    async def instrument(self, symbol, deadline_s):
        return None

    def watch_account(self, account_id):
        self.facts.append(AccountValueFact(ACCOUNT, "NetLiquidation", "1000000", "USD"))
        self.facts.append(AccountValueFact(ACCOUNT, "AvailableFunds", "1000000", "USD"))

    def prepare(self, ticket):
        """Nothing is encoded here."""

    def send(self, ticket):
        self.inbox.append(ticket)

    def cancel(self, order_id):
        self.inbox.append(order_id)

    def close(self):
        self.inbox.clear()

    # facts

    def deliver_one(self) -> None:
        self._on_fact(self.facts.popleft())

    def deliver_all(self) -> None:
        while self.facts:
            self.deliver_one()

    def _say(self, order: BrokerOrder, *, status_only: bool = False) -> None:
        if not status_only:
            self.facts.append(self._open_fact(order))
        self.facts.append(self._status_fact(order))

    def _open_fact(self, order: BrokerOrder) -> OpenOrderFact:
        ticket = order.ticket
        return OpenOrderFact(
            ticket.order_id, 11, order.perm_id, ticket.intent.order_ref, ACCOUNT, "AAPL", 1,
            order.side, Decimal(order.quantity), ticket.order_type.value, ticket.limit_price,
            order.stop_price, ticket.tif.value, ticket.parent_id, "", 0, False, order.status,
        )  # fmt: skip

    def _status_fact(self, order: BrokerOrder) -> OrderStatusFact:
        return OrderStatusFact(
            order.ticket.order_id, 11, order.perm_id, order.ticket.parent_id, order.status,
            Decimal(order.filled), Decimal(order.remaining), Decimal(100), order.why_held,
        )  # fmt: skip

    # what the broker does

    def position(self) -> int:
        return sum(fact.side.sign * int(fact.quantity) for fact in self.executions)

    def read_one(self) -> None:
        """Read the oldest message of the client."""
        message = self.inbox.popleft()
        if isinstance(message, int):
            self._read_cancel(message)
        elif message.order_id in self.orders:
            self._read_change(message)
        elif not message.transmit:
            self.untransmitted[message.order_id] = message
        else:
            parent = self.untransmitted.pop(message.parent_id, None)
            if parent is not None:
                self._open(parent)
            self._open(message)

    def _open(self, ticket: OrderTicket) -> None:
        is_stop = ticket.order_type is OrderType.STOP
        if self.is_halted:
            self.facts.append(CodeFact(ticket.order_id, 154, "cannot be transmitted: halted"))
            return
        if is_stop and self.refuse_stops:
            self.refuse_stops -= 1
            self.facts.append(CodeFact(ticket.order_id, 201, "Order rejected - reason: no"))
            return
        self._perm += 1
        order = BrokerOrder(ticket, self._perm, ticket.quantity, ticket.stop_price)
        self.orders[ticket.order_id] = order
        if is_stop:
            self._see_stop(ticket.stop_price)
            parent = self.orders.get(ticket.parent_id)
            order.status = "PreSubmitted"
            order.why_held = "child,trigger" if parent and parent.is_live else "trigger"
        self._say(order)
        if ticket.tif is Tif.IOC:
            shares = order.quantity * self.ioc_share // 100
            if shares:
                self.fill(order, shares)
            if order.is_live:
                self._end(order)

    def _read_cancel(self, order_id: int) -> None:
        order = self.orders.get(order_id)
        if order is None:
            self.facts.append(CodeFact(order_id, 10147, "not found"))
        elif not order.is_live:
            self.facts.append(CodeFact(order_id, 10148, f"state: {order.status}"))
        else:
            order.is_dying, order.status = True, "PendingCancel"
            self._say(order, status_only=True)

    def finish_cancels(self) -> None:
        """Let asked cancels take effect; until then the orders may still fill."""
        for order in list(self.orders.values()):
            if order.is_dying and order.is_live:
                self._end(order)
                code = CodeFact(order.ticket.order_id, 202, "Order Canceled - reason:")
                self.facts.append(code)

    def _read_change(self, ticket: OrderTicket) -> None:
        order = self.orders[ticket.order_id]
        if not order.is_live:
            self.facts.append(CodeFact(ticket.order_id, 104, "Cannot modify a filled order."))
        elif self.refuse_changes or ticket.quantity <= order.filled:
            self.facts.append(CodeFact(ticket.order_id, 10326, "revision is not allowed"))
        else:
            order.quantity, order.stop_price = ticket.quantity, ticket.stop_price
            self._see_stop(ticket.stop_price)
            self._say(order)

    def _see_stop(self, price: Decimal) -> None:
        """Take note of a long position's stop: no later one may be lower."""
        if self._tightest is not None and price < self._tightest:
            self.loosened.append(f"a stop at {price} after one at {self._tightest}")
        else:
            self._tightest = price

    def _end(self, order: BrokerOrder) -> None:
        order.status = "Cancelled"
        self._say(order, status_only=True)
        for child in self._children(order):
            if not order.filled or self.on_cancel == "dies":
                self._end(child)
                continue
            child.why_held = "trigger"
            if self.on_cancel == "shrinks":
                child.quantity = child.filled + order.filled
            self._say(child)

    def _children(self, parent: BrokerOrder) -> list[BrokerOrder]:
        return [
            order
            for order in self.orders.values()
            if order.ticket.parent_id == parent.ticket.order_id and order.is_live and order.is_held
        ]

    def fill(self, order: BrokerOrder, shares: int) -> None:
        """Execute some shares of a live order."""
        order.filled += shares
        fact = ExecutionFact(
            order.ticket.order_id, 11, order.perm_id, order.ticket.intent.order_ref, ACCOUNT,
            "AAPL", 1, order.side, Decimal(shares), Decimal(100),
            f"0000.{len(self.executions):04x}.01.01", AT_NS, True,
        )  # fmt: skip
        self.executions.append(fact)
        if not order.remaining:
            order.status = "Filled"
        elif not order.is_dying:
            order.status = "Submitted"
        self.facts.append(fact)
        self._say(order)
        for child in self._children(order):
            if not order.remaining:
                child.why_held = "trigger"
                self._say(child)
            elif self.on_partial == "armed_part":
                child.why_held, child.quantity = "trigger", order.filled
                self._say(child)

    def reduced(self) -> list[int]:
        """Return which executions reduced the position and may be amended: of orders that ended."""
        return [
            index
            for index, fact in enumerate(self.executions)
            if fact.side is Side.SELL and fact.quantity and not self.orders[fact.order_id].is_live
        ]

    def amend(self, index: int, shares: int) -> None:
        """Let an execution have been for fewer shares; 0 busts it. What statuses count stays."""
        old = self.executions[index]
        stem, _, revision = old.exec_id.rpartition(".")
        exec_id = f"{stem}.{int(revision) + 1:02d}"
        self.executions[index] = replace(old, quantity=Decimal(shares), exec_id=exec_id)
        self.facts.append(self.executions[index])

    def live(self, *roles: OrderRole) -> list[BrokerOrder]:
        return [
            order
            for order in self.orders.values()
            if order.is_live and order.ticket.intent.role in roles
        ]

    def faults(self) -> list[str]:
        """Return what an outsider would object to."""
        position = self.position()
        reducing = [
            order
            for order in self.live(OrderRole.STOP, OrderRole.SLICE, OrderRole.EXIT)
            if not order.is_held
        ]
        shares = sum(order.remaining for order in reducing if order.side is Side.SELL)
        found = list(self.loosened)
        if position < 0:
            found.append(f"oversold: {position}")
        if shares > max(0, position):
            found.append(f"{shares} shares may be sold, {position} are held")
        if len([order for order in reducing if order.ticket.intent.role is OrderRole.STOP]) > 1:
            found.append("two stops live")
        return found
