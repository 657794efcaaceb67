"""What the order path needs of PostgreSQL: one commit per batch of changes, and one load.

Rules of this file:
- a batch is one transaction: all of it is there, or none;
- every change states absolute values, so that committing a batch twice changes nothing more;
- a batch that found PostgreSQL away waits in the spool, and batches are replayed in order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from tradebox.domain.orders import AccountName, OrderRole, OrderState, OrderType, Side, Tif
from tradebox.domain.plan_state import Phase, PlanState


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One order as the books keep it. quantity: the total asked for, filled part included."""

    order_ref: str
    plan_id: str
    account: AccountName
    account_id: str
    symbol: str
    con_id: int
    role: OrderRole
    side: Side
    quantity: int
    order_type: OrderType
    limit_price: Decimal | None
    stop_price: Decimal | None
    tif: Tif
    parent_ref: str | None
    client_id: int
    order_id: int
    state: OrderState
    filled: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FillRow:
    """One execution by its stem; quantity 0 after a bust."""

    exec_stem: str
    exec_id: str
    order_ref: str
    plan_id: str | None
    perm_id: int
    symbol: str
    con_id: int
    side: Side
    quantity: int
    price: Decimal
    at_ns: int


@dataclass(frozen=True, slots=True)
class OrderRecorded:
    """An intent, before its bytes leave. evidence: the price it was decided on."""

    row: OrderRow
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class OrderMoved:
    """What an order is now, and the fact that made it so."""

    order_ref: str
    state: OrderState
    filled: int
    quantity: int
    limit_price: Decimal | None
    stop_price: Decimal | None
    cause: str


@dataclass(frozen=True, slots=True)
class PermSeen:
    """The broker's permanent id of one of our orders; two live ones are a forked order."""

    order_ref: str
    perm_id: int


@dataclass(frozen=True, slots=True)
class FillSeen:
    """An execution, new or corrected."""

    fill: FillRow


@dataclass(frozen=True, slots=True)
class CommissionSeen:
    """What an execution cost, and what it realised."""

    exec_stem: str
    commission_usd: Decimal
    realised_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class PositionAdjusted:
    """Signed shares that no booked fill explains, with the reason."""

    symbol: str
    quantity: int
    reason: str
    plan_id: str | None = None


@dataclass(frozen=True, slots=True)
class SymbolQuarantined:
    """This symbol takes no entries."""

    symbol: str
    reason: str


@dataclass(frozen=True, slots=True)
class SymbolReleased:
    """This symbol takes entries again."""

    symbol: str
    reason: str


@dataclass(frozen=True, slots=True)
class IntentRefused:
    """An intent that the order gate denied."""

    plan_id: str
    symbol: str
    role: OrderRole
    check: str
    limit: str
    observed: str
    reason: str


@dataclass(frozen=True, slots=True)
class DaySeen:
    """Money of one market day (ISO date). The first net liquidation of the day stays."""

    day: str
    net_liquidation_usd: Decimal
    realised_usd: Decimal
    rejects: int
    peak_usd: Decimal | None = None
    open_risk_usd: Decimal = Decimal(0)
    stops_in_row: int = 0


@dataclass(frozen=True, slots=True)
class DaySoFar:
    """What the books know of an account on a market day; None: nothing yet.

    peak_usd: the highest value ever seen, or since a person resumed. has_traded_before: an entry
    filled on an earlier day.
    """

    start_usd: Decimal | None = None
    peak_usd: Decimal | None = None
    stops_in_row: int = 0
    rejects: int = 0
    has_traded_before: bool = False


@dataclass(frozen=True, slots=True)
class Noted:
    """A journal line that changes no book: a send, a look, a code, an external order."""

    kind: str
    symbol: str | None = None
    plan_id: str | None = None
    order_ref: str | None = None
    data: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class PlanMoved:
    """The state of a plan that asked for orders: saved with the intent, in one commit."""

    plan_id: str
    symbol: str
    before: Phase
    state: PlanState


Change = (
    OrderRecorded
    | OrderMoved
    | PermSeen
    | FillSeen
    | CommissionSeen
    | PositionAdjusted
    | SymbolQuarantined
    | SymbolReleased
    | IntentRefused
    | DaySeen
    | Noted
    | PlanMoved
)


@dataclass(frozen=True, slots=True)
class Batch:
    """Changes of one turn. batch_id: unique, so that a replay is recognised. at_ns: market time."""

    batch_id: str
    account: AccountName
    run_id: str
    epoch: int
    at_ns: int
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class KnownOrder:
    """An order row with the permanent ids seen for it."""

    row: OrderRow
    perm_ids: tuple[int, ...] = ()
    placed_ns: int = 0
    """When the row was last written to a send or a change; 0 = not known."""


@dataclass(frozen=True, slots=True)
class LoadedBooks:
    """What PostgreSQL says of one account, enough to go on trading.

    orders: all that may live, all of open plans, and all of the last days.
    """

    orders: tuple[KnownOrder, ...] = ()
    fills: tuple[FillRow, ...] = ()
    with_commission: tuple[str, ...] = ()
    """The execIds of those whose commission is known."""
    adjustments: tuple[PositionAdjusted, ...] = ()
    quarantined: tuple[tuple[str, str], ...] = ()
    order_id_max: int = 0
    switches: dict[str, str] = field(default_factory=dict)


class OrderStore(Protocol):
    """The books of one or more accounts."""

    async def load(self, account: AccountName, client_id: int) -> LoadedBooks:
        """Return the books of an account. Raises StoreUnavailable."""
        ...

    async def commit(self, batch: Batch) -> None:
        """Write a batch in one transaction, once. Raises StoreUnavailable."""
        ...

    async def day_so_far(self, account: AccountName, day: str) -> DaySoFar:
        """Return what is known of an account on a market day. Raises StoreUnavailable."""
        ...

    async def switches(self) -> dict[str, str]:
        """Return the switches that persons set, by name. Raises StoreUnavailable."""
        ...


class SpoolPort(Protocol):
    """A local, fsynced, append-only file of records that wait for PostgreSQL."""

    def append(self, record: bytes) -> None:
        """Write one record durably. Raises HomeUnusable."""
        ...

    def pending(self) -> Sequence[bytes]:
        """Return the records that wait, in order; a torn last one is left out."""
        ...

    def clear(self) -> None:
        """Forget all records; called after every one of them is committed."""
        ...
