"""The words of the exchange: tickets, orders, executions, and the events it sends out.

Rules of this file:
- prices are integer micro-units of a dollar, quantities whole shares, times UTC epoch nanoseconds;
- a ticket is what a client asked for; an order is what became of it; only the engine changes one;
- every event carries a copy, so that a listener may keep it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Side(StrEnum):
    """Which way shares move."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """Return +1 for a buy, -1 for a sell."""
        return 1 if self is Side.BUY else -1


class OrderType(StrEnum):
    """The order types that the exchange trades."""

    MKT = "MKT"
    LMT = "LMT"
    STP = "STP"
    STP_LMT = "STP LMT"
    TRAIL = "TRAIL"
    TRAIL_LIMIT = "TRAIL LIMIT"
    MOC = "MOC"
    LOC = "LOC"

    @property
    def has_trigger(self) -> bool:
        """Say whether the order waits for a trigger price."""
        return self in (OrderType.STP, OrderType.STP_LMT) or self.is_trailing

    @property
    def is_trailing(self) -> bool:
        """Say whether the trigger follows the price."""
        return self in (OrderType.TRAIL, OrderType.TRAIL_LIMIT)

    @property
    def is_on_close(self) -> bool:
        """Say whether the order trades at the session's close alone."""
        return self in (OrderType.MOC, OrderType.LOC)

    @property
    def has_limit(self) -> bool:
        """Say whether the order has a limit price."""
        return self in (OrderType.LMT, OrderType.STP_LMT, OrderType.LOC)


class Tif(StrEnum):
    """How long an order lives."""

    DAY = "DAY"
    GTC = "GTC"
    IOC = "IOC"
    GTD = "GTD"
    OPG = "OPG"


class Status(StrEnum):
    """The order states as the TWS API spells them."""

    PENDING_SUBMIT = "PendingSubmit"
    PRE_SUBMITTED = "PreSubmitted"
    SUBMITTED = "Submitted"
    PENDING_CANCEL = "PendingCancel"
    CANCELLED = "Cancelled"
    FILLED = "Filled"
    INACTIVE = "Inactive"

    @property
    def is_done(self) -> bool:
        """Say whether nothing can happen to the order any more."""
        return self in (Status.CANCELLED, Status.FILLED, Status.INACTIVE)


@dataclass(frozen=True, slots=True)
class Ticket:
    """One order as a client asked for it, checked for form but not for sense."""

    symbol: str
    con_id: int
    side: Side
    quantity: int
    order_type: OrderType
    limit_micros: int = 0
    trigger_micros: int = 0
    tif: Tif = Tif.DAY
    oca_group: str = ""
    oca_type: int = 0
    order_ref: str = ""
    transmit: bool = True
    parent_id: int = 0
    outside_rth: bool = False
    what_if: bool = False
    trail_micros: int = 0
    trail_ppm: int = 0
    trail_stop_micros: int = 0
    limit_offset_micros: int = 0
    good_till_ns: int = 0
    echo: Mapping[str, str] = field(default_factory=dict)
    """Further placeOrder fields, by name, which openOrder says back unchanged."""

    @property
    def works_outside(self) -> bool:
        """Say whether the order works before and after the session, too."""
        return self.outside_rth and not self.is_outside_ignored

    @property
    def is_outside_ignored(self) -> bool:
        """Say whether outsideRth is there and means nothing: of market orders and for auctions."""
        kind = self.order_type
        is_auction = kind.is_on_close or self.tif is Tif.OPG
        return self.outside_rth and (kind is OrderType.MKT or is_auction)


@dataclass(slots=True)
class Order:
    """One order and what became of it."""

    account: str
    client_id: int
    order_id: int
    ticket: Ticket
    placed_ns: int
    perm_id: int = 0
    parent_perm_id: int = 0
    total: int = 0
    filled: int = 0
    notional_micros: int = 0
    last_fill_micros: int = 0
    commission_micros: int = 0
    status: Status = Status.PENDING_SUBMIT
    armed: int = 0
    """How many shares may work; 0 while the order waits for its parent."""
    is_triggered: bool = False
    session_day: str = ""
    """The day of the session the order has been in; empty before its first."""
    oca_group: str = ""
    oca_type: int = 0
    done_ns: int = 0
    done_text: str = ""
    stop_micros: int = 0
    """Where a trailing stop stands; 0 before it saw a price."""
    expires_ns: int = 0
    """When the order ends by its time in force; 0: not by itself."""
    is_stuck: bool = False
    """Its trigger was moved through the market and waits to be crossed again."""

    @property
    def trigger_micros(self) -> int:
        """Return the price that triggers the order now; 0 if nothing does."""
        return (
            self.stop_micros if self.ticket.order_type.is_trailing else self.ticket.trigger_micros
        )

    @property
    def limit_micros(self) -> int:
        """Return the limit that the order works at; 0 if it has none."""
        if self.ticket.order_type is OrderType.TRAIL_LIMIT and self.stop_micros:
            offset = self.ticket.limit_offset_micros * self.ticket.side.sign
            return self.stop_micros + offset
        return self.ticket.limit_micros

    @property
    def has_limit(self) -> bool:
        """Say whether the order trades at its limit or better only."""
        kind = self.ticket.order_type
        return kind.has_limit or kind is OrderType.TRAIL_LIMIT

    @property
    def remaining(self) -> int:
        """Return the shares not filled yet; 0 once the order is done by a fill."""
        return max(self.total - self.filled, 0)

    @property
    def workable(self) -> int:
        """Return the shares that may trade now."""
        return max(min(self.total, self.armed) - self.filled, 0)

    @property
    def is_waiting(self) -> bool:
        """Say whether the order waits for its parent."""
        return self.parent_perm_id != 0 and self.armed == 0

    @property
    def why_held(self) -> str:
        """Return why the order rests at the broker and not at the exchange."""
        if self.status is not Status.PRE_SUBMITTED:
            return ""
        reasons = ["child"] if self.is_waiting else []
        if self.ticket.order_type.has_trigger and not self.is_triggered:
            reasons.append("trigger")
        return ",".join(reasons)


@dataclass(frozen=True, slots=True)
class Execution:
    """One execution with its commission. Units: shares, micros."""

    exec_id: str
    perm_id: int
    account: str
    client_id: int
    order_id: int
    symbol: str
    con_id: int
    side: Side
    shares: int
    price_micros: int
    at_ns: int
    cum_quantity: int
    cum_notional_micros: int
    order_ref: str
    liquidity: int
    commission_micros: int
    realized_micros: int | None
    """Profit or loss of the closing part; None where the execution only opened."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request was not done: a TWS message code and its text."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class MarginPreview:
    """What an order would do to the account. Units: micros."""

    initial_before: int
    initial_after: int
    maintenance_before: int
    maintenance_after: int
    equity_before: int
    equity_after: int
    commission_micros: int


@dataclass(frozen=True, slots=True)
class OrderOpened:
    """Say the order's fields to its owner (openOrder)."""

    order: Order
    is_ack: bool = False


@dataclass(frozen=True, slots=True)
class OrderStatusChanged:
    """Say the order's status to its owner (orderStatus)."""

    order: Order
    is_ack: bool = False


@dataclass(frozen=True, slots=True)
class OrderExecuted:
    """Say an execution to the order's owner (execDetails)."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class CommissionCharged:
    """Say an execution's commission to the order's owner (commissionReport)."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class OrderError:
    """Say a message code about an order to its owner (error)."""

    account: str
    client_id: int
    order_id: int
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class AccountChanged:
    """Cash or a position of the account changed."""

    account: str


ExchangeEvent = (
    OrderOpened
    | OrderStatusChanged
    | OrderExecuted
    | CommissionCharged
    | OrderError
    | AccountChanged
)
