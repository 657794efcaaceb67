"""Orders in our words: sides, types, roles, states, and the intent that precedes every send.

Rules of this file:
- an order is known by its orderRef (minted before the send), then permId, then execId;
- an orderId is a wire detail and no identity;
- prices are Decimal on the increment grid, quantities whole shares.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class AccountName(StrEnum):
    """Which of the two books an order belongs to."""

    PAPER = "paper"
    LIVE = "live"


class Side(StrEnum):
    """BUY or SELL, as the wire spells them."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        """The side that undoes this one."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """Order types we send."""

    MARKET = "MKT"
    LIMIT = "LMT"
    STOP = "STP"


class Tif(StrEnum):
    """Time in force."""

    DAY = "DAY"
    GTC = "GTC"
    IOC = "IOC"


class OrderRole(StrEnum):
    """Why an order exists."""

    ENTRY = "entry"
    STOP = "stop"
    SLICE = "slice"
    EXIT = "exit"


class OrderState(StrEnum):
    """Life of an order; the legal moves are the table in order_table.py."""

    RECORDED = "recorded"
    SENDING = "sending"
    SENT_UNKNOWN = "sent_unknown"
    ACKED = "acked"
    WORKING = "working"
    PARTIAL = "partial"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    NEVER_SENT = "never_sent"


@dataclass(frozen=True, slots=True)
class OrderIntent:
    """What we want done, before risk. Committed to PostgreSQL before its bytes leave.

    Units: quantity in shares (> 0); prices in quote currency, on the increment grid.
    parent_ref: orderRef of the entry this stop protects as its child, or None.
    """

    order_ref: str
    plan_id: str
    account: AccountName
    symbol: str
    con_id: int
    role: OrderRole
    side: Side
    quantity: int
    order_type: OrderType
    tif: Tif
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    parent_ref: str | None = None
    transmit: bool = True
    outside_rth: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Denied:
    """Refused by our own order gate. Names the check, its limit and what was observed."""

    check: str
    limit: str
    observed: str
    reason: str
