"""The words between a plan and the order path: what a plan asks for, and what it is told.

Rules of this file:
- a request is a whole protocol (decision 6), not an order: the path turns it into orders;
- an event is a fact that happened, in the order it happened; a plan never asks "did it?";
- evidence names the tick (price, source, event time) that made the plan ask.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from tradebox.domain.market import Quality, Source
from tradebox.domain.orders import Denied, OrderRole, OrderType, Side, Tif


@dataclass(frozen=True, slots=True)
class Evidence:
    """The price a decision was taken on. Monotonic times: at the socket, in the mailbox."""

    price: Decimal
    source: Source
    quality: Quality
    event_ns: int
    mono_ns: int = 0
    mailbox_mono_ns: int = 0


@dataclass(frozen=True, slots=True)
class EnterRequest:
    """Open a position: entry and one full-size stop as its child, released as a pair."""

    plan_id: str
    symbol: str
    side: Side
    quantity: int
    order_type: OrderType
    tif: Tif
    limit_price: Decimal | None
    entry_stop_price: Decimal | None
    protective_stop: Decimal
    evidence: Evidence | None
    reason: str


@dataclass(frozen=True, slots=True)
class MoveStopRequest:
    """Move the resting stop of a plan; only ever towards the position's favour."""

    plan_id: str
    stop_price: Decimal
    evidence: Evidence | None
    reason: str


@dataclass(frozen=True, slots=True)
class ScaleOutRequest:
    """Take a slice off: reduce the stop, see the echo, send the slice, restore the stop."""

    plan_id: str
    quantity: int
    evidence: Evidence
    reason: str


@dataclass(frozen=True, slots=True)
class ExitRequest:
    """Leave in full: cancel the stop, wait for the fact, send what is left to the market."""

    plan_id: str
    evidence: Evidence | None
    reason: str


@dataclass(frozen=True, slots=True)
class CancelEntryRequest:
    """Withdraw an entry that has not filled, or the rest of one that has."""

    plan_id: str
    reason: str


PathRequest = EnterRequest | MoveStopRequest | ScaleOutRequest | ExitRequest | CancelEntryRequest


@dataclass(frozen=True, slots=True)
class EntryFilled:
    """Shares were bought or sold to open; filled is the running total."""

    plan_id: str
    quantity: int
    price: Decimal
    filled: int
    remaining: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class EntryClosed:
    """The entry works no more; filled shares (maybe 0) are all it will give."""

    plan_id: str
    filled: int
    reason: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class EntryCorrected:
    """The broker amended executions of the entry: what it gave in all, and what that cost.

    Units:   shares; USD.
    """

    plan_id: str
    filled: int
    cost: Decimal
    at_ns: int


@dataclass(frozen=True, slots=True)
class StopWorking:
    """The broker echoed a protective stop of this size at this price."""

    plan_id: str
    quantity: int
    stop_price: Decimal
    at_ns: int


@dataclass(frozen=True, slots=True)
class ReduceFilled:
    """Shares left the position: by the stop, by a slice, or by an exit."""

    plan_id: str
    role: OrderRole
    quantity: int
    price: Decimal
    position_left: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class ReductionCorrected:
    """The broker amended executions that reduced a position: what left in all, and what is left.

    sliced, closed: by slices, and by stop and exits together; stopped: by the stop alone.
    Units:   shares; USD.
    """

    plan_id: str
    sliced: int
    sliced_cost: Decimal
    closed: int
    closed_cost: Decimal
    stopped: int
    position_left: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class ProcedureDone:
    """A request ended. kind: the request's class name; filled: shares it traded."""

    plan_id: str
    kind: str
    filled: int
    position_left: int
    reason: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class RequestDenied:
    """The order gate refused; nothing was sent."""

    plan_id: str
    kind: str
    denied: Denied
    at_ns: int


@dataclass(frozen=True, slots=True)
class RequestRejected:
    """The broker refused the order of a request; what lives is in the book, not in the text."""

    plan_id: str
    kind: str
    code: int
    text: str
    at_ns: int


PathEvent = (
    EntryFilled
    | EntryClosed
    | EntryCorrected
    | StopWorking
    | ReduceFilled
    | ReductionCorrected
    | ProcedureDone
    | RequestDenied
    | RequestRejected
)


class LinkState(StrEnum):
    """What an order link may be used for; orders move in CLEAN alone, reductions in WINDOW too."""

    DOWN = "DOWN"
    SYNCING = "SYNCING"
    CLEAN = "CLEAN"
    BLIND = "BLIND"
    WINDOW = "WINDOW"


@dataclass(frozen=True, slots=True)
class Holding:
    """What a plan holds at the broker, by booked fills and echoed orders.

    Units: position in signed shares; the other quantities unsigned.
    covered: stop_quantity + in_flight_quantity = |position|.
    """

    plan_id: str
    symbol: str
    position: int = 0
    average_price: Decimal | None = None
    stop_quantity: int = 0
    stop_price: Decimal | None = None
    in_flight_quantity: int = 0
    covered: bool = True


@dataclass(frozen=True, slots=True)
class AccountState:
    """Money and link of one account; None = not known yet."""

    link: LinkState = LinkState.DOWN
    account_id: str = ""
    net_liquidation_usd: Decimal | None = None
    cash_usd: Decimal | None = None
    realised_day_usd: Decimal | None = None
    open_risk_usd: Decimal | None = None
    currency: str | None = None
    """What the account is kept in."""


@dataclass(frozen=True, slots=True)
class RecoveredPlan:
    """What PostgreSQL says of one plan: its holding, its entry, and its history as events.

    events: every booked fill in order, then EntryClosed and StopWorking where they hold now; a
    machine that was saved earlier catches up by running totals (filled, position_left).
    """

    holding: Holding
    entry_is_working: bool
    entry_filled: int
    entry_average_price: Decimal | None
    events: tuple["PathEvent", ...]


@dataclass(frozen=True, slots=True)
class RecoveredState:
    """What OrderPath.recover() found, by plan id."""

    plans: Mapping[str, RecoveredPlan] = field(default_factory=dict)
