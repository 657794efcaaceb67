"""The words between a plan and the order path: what a plan asks for, and what it is told.

Rules of this file:
- a request is a whole protocol (decision 6), not an order: the path turns it into orders;
- an event is a fact that happened, in the order it happened; a plan never asks "did it?";
- evidence names the tick (price, source, event time) that made the plan ask.
"""

from dataclasses import dataclass
from decimal import Decimal

from tradebox.domain.market import Quality, Source
from tradebox.domain.orders import Denied, OrderRole, OrderType, Side, Tif


@dataclass(frozen=True, slots=True)
class Evidence:
    """The price a decision was taken on."""

    price: Decimal
    source: Source
    quality: Quality
    event_ns: int
    mono_ns: int = 0


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
    | StopWorking
    | ReduceFilled
    | ProcedureDone
    | RequestDenied
    | RequestRejected
)
