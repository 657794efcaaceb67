"""What we need from a broker to trade: the order port. Only execution/ may hold it.

Rules of this file:
- sending returns nothing: what became of an order is learnt from facts alone;
- a snapshot is complete (every END marker seen) or it does not exist;
- facts arrive in wire order through one callback, raw: duplicates and forks included.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from tradebox.domain.market import Bar, Instrument
from tradebox.domain.orders import OrderIntent, OrderType, Side, Tif


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """What the gateway said at the handshake."""

    accounts: tuple[str, ...]
    next_valid_id: int
    server_version: int
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class OpenOrderFact:
    """An openOrder message: the broker's echo of a working (or what-if) order."""

    order_id: int
    client_id: int
    perm_id: int
    order_ref: str
    account: str
    symbol: str
    con_id: int
    side: Side
    quantity: Decimal
    order_type: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    tif: str
    parent_id: int
    oca_group: str
    oca_type: int
    outside_rth: bool
    status: str
    raw: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class MarginFact:
    """The answer to a what-if: what an order would bind. None: the broker named no number."""

    order_id: int
    initial_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class OrderStatusFact:
    """An orderStatus message."""

    order_id: int
    client_id: int
    perm_id: int
    parent_id: int
    status: str
    filled: Decimal
    remaining: Decimal
    average_price: Decimal
    why_held: str


@dataclass(frozen=True, slots=True)
class ExecutionFact:
    """An execDetails message; exec_id's last segment counts corrections."""

    order_id: int
    client_id: int
    perm_id: int
    order_ref: str
    account: str
    symbol: str
    con_id: int
    side: Side
    quantity: Decimal
    price: Decimal
    exec_id: str
    at_ns: int
    is_live: bool


@dataclass(frozen=True, slots=True)
class CommissionFact:
    """A commissionReport message."""

    exec_id: str
    commission: Decimal
    currency: str
    realised_pnl: Decimal | None


@dataclass(frozen=True, slots=True)
class CompletedOrderFact:
    """A completedOrder message: no order id, no client id."""

    perm_id: int
    order_ref: str
    account: str
    symbol: str
    side: Side
    filled: Decimal
    status: str
    completed_status: str


@dataclass(frozen=True, slots=True)
class CodeFact:
    """An error message. It triggers a look, never a state."""

    request_id: int
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class PositionFact:
    """A position row of a position snapshot."""

    account: str
    symbol: str
    con_id: int
    quantity: Decimal
    average_cost: Decimal


@dataclass(frozen=True, slots=True)
class AccountValueFact:
    """One account value, e.g. NetLiquidation in USD."""

    account: str
    tag: str
    value: str
    currency: str


@dataclass(frozen=True, slots=True)
class LinkClosed:
    """The socket to the gateway is gone."""

    reason: str


@dataclass(frozen=True, slots=True)
class BrokerSnapshot:
    """A complete read of one account: every part ended with its END marker.

    is_whole: False where only open orders and positions were asked for; then an order that is
    not listed proves nothing.
    """

    open_orders: tuple[OpenOrderFact, ...]
    order_statuses: tuple[OrderStatusFact, ...]
    completed: tuple[CompletedOrderFact, ...]
    executions: tuple[ExecutionFact, ...]
    positions: tuple[PositionFact, ...]
    taken_mono_ns: int
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class SnapshotTaken:
    """A complete snapshot, placed in the stream of facts behind everything it read.

    session: the link's breaks when it began; started_mono_ns: before its first request.
    """

    snapshot: BrokerSnapshot
    session: int
    started_mono_ns: int


BrokerFact = (
    OpenOrderFact
    | MarginFact
    | OrderStatusFact
    | ExecutionFact
    | CommissionFact
    | CompletedOrderFact
    | CodeFact
    | PositionFact
    | AccountValueFact
    | LinkClosed
    | SnapshotTaken
)


FactSink = Callable[[BrokerFact], bool]
"""Takes a fact, or says False: then the owner must take a new snapshot."""


@dataclass(frozen=True, slots=True)
class OrderTicket:
    """The exact fields that go on the wire for one order or modify."""

    order_id: int
    intent: OrderIntent
    account_id: str
    instrument: Instrument
    quantity: int
    order_type: OrderType
    tif: Tif
    limit_price: Decimal | None
    stop_price: Decimal | None
    parent_id: int
    transmit: bool


class OrderPort(Protocol):
    """One connection to one account's gateway, alone on its client id."""

    async def connect(self, on_fact: Callable[[BrokerFact], None]) -> LinkInfo:
        """Connect and shake hands; no order may leave before the owner says so.

        Raises:  BrokerUnavailable where nothing answers within the deadline.
        """
        ...

    async def snapshot(self, deadline_s: float, *, is_whole: bool = True) -> BrokerSnapshot:
        """Read open (all clients), completed, executions and positions, each to its END.

        is_whole: False reads open orders and positions alone; the others grow with the day.
        Raises:  BrokerUnavailable where one END is missing at the deadline.
        """
        ...

    async def heartbeat(self, deadline_s: float) -> int:
        """Return the gateway's clock in ns UTC. Raises HeartbeatMissed at the deadline."""
        ...

    async def instrument(self, symbol: str, deadline_s: float) -> Instrument | None:
        """Return the contract of a US stock, or None where the broker knows none."""
        ...

    async def daily_bars(self, symbol: str, deadline_s: float) -> tuple[Bar, ...]:
        """Return a year of a US stock's days, oldest first, the running one too; or none.

        Raises:  BrokerUnavailable where nothing comes before the deadline.
        """
        ...

    def room(self) -> int:
        """Return how many messages may be written now, by the gateway's pace."""
        ...

    def look_wait_s(self, *, is_whole: bool, is_pressing: bool) -> float:
        """Return how long a snapshot is to wait, so that orders keep their share of the pace.

        is_pressing: something waits for it that reduces a position or covers one.
        """
        ...

    def watch_account(self, account_id: str) -> None:
        """Ask for the account's money to be streamed as AccountValueFacts."""
        ...

    def prepare(self, ticket: OrderTicket) -> None:
        """Encode what `send` of the same ticket will write, while there is time; send nothing."""
        ...

    def send(self, ticket: OrderTicket) -> None:
        """Write a new order or a modify. Raises BrokerUnavailable if the socket is gone."""
        ...

    def ask_margin(self, ticket: OrderTicket) -> None:
        """Ask what an order would bind; nothing is placed. Raises BrokerUnavailable."""
        ...

    def cancel(self, order_id: int) -> None:
        """Write a cancel. Raises BrokerUnavailable if the socket is gone."""
        ...

    def close(self) -> None:
        """Drop the connection; orders at the broker stay as they are."""
        ...
