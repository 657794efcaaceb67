"""What happened, for those who watch: dashboard, alerts, the line printer, the log.

Rules of this file:
- past tense, frozen, plain values only; published on the in-process event bus;
- watchers may lose them (bounded queues); the journal may not, and is written separately.
"""

from dataclasses import dataclass, field
from decimal import Decimal

from tradebox.domain.market import Source
from tradebox.domain.orders import AccountName, OrderRole, OrderState, Side


@dataclass(frozen=True, slots=True)
class LinkChanged:
    """An order link changed state: DOWN, SYNCING, CLEAN, BLIND or WINDOW."""

    account: AccountName
    account_id: str
    state: str
    gateway: str
    reason: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class PlanStepTaken:
    """A plan took a step; kind: entry, break_even, move_stop, scale_out, trail or exit."""

    account: AccountName
    plan_id: str
    symbol: str
    kind: str
    price: Decimal
    source: str
    reason: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One plan as the console shows it; money in account currency, R as float for display."""

    account: AccountName
    plan_id: str
    symbol: str
    side: Side
    state: str
    quantity: int
    initial_quantity: int
    entry_price: Decimal | None
    stop_price: Decimal | None
    initial_stop: Decimal | None
    last_price: Decimal | None
    last_source: str | None
    last_quality: str | None
    last_event_ns: int | None
    r_multiple: float | None
    pnl_usd: Decimal | None
    realised_usd: Decimal
    levels: tuple[tuple[str, Decimal, str], ...] = ()
    """(label, price, state): T1.. targets, S stop, E entry; state watched, done, working."""
    opened_ns: int | None = None
    updated_ns: int = 0
    is_demo: bool = False


@dataclass(frozen=True, slots=True)
class PlanChanged:
    """The row of a plan changed."""

    row: PlanRow


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """An order's state, fill or price changed."""

    account: AccountName
    order_ref: str
    plan_id: str
    symbol: str
    role: OrderRole
    side: Side
    quantity: int
    filled: int
    order_type: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    state: OrderState
    order_id: int
    perm_id: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class EntrySent:
    """The bytes of an entry have left: when it passed each station of the way.

    Units: ns of the machine's monotonic clock, 0 where it did not pass. socket: the price reached
    ours; mailbox: it was let through to the controllers; turn: the controller took it up; asked:
    the plan had decided; passed: the gate had approved; committed: the intent was durable.
    """

    account: AccountName
    order_ref: str
    plan_id: str
    symbol: str
    socket_ns: int
    mailbox_ns: int
    turn_ns: int
    asked_ns: int
    passed_ns: int
    committed_ns: int
    sent_ns: int


@dataclass(frozen=True, slots=True)
class FillBooked:
    """An execution was booked, once, by its execId stem."""

    account: AccountName
    order_ref: str
    plan_id: str
    symbol: str
    role: OrderRole
    side: Side
    quantity: int
    price: Decimal
    exec_id: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class PositionChanged:
    """Cover of one position; quantity is signed, the others are not."""

    account: AccountName
    symbol: str
    quantity: int
    stop_quantity: int
    in_flight_quantity: int
    covered: bool
    average_price: Decimal | None
    at_ns: int


@dataclass(frozen=True, slots=True)
class AccountChanged:
    """Money of one account, in USD."""

    account: AccountName
    account_id: str
    net_liquidation_usd: Decimal
    cash_usd: Decimal
    realised_day_usd: Decimal
    open_risk_usd: Decimal
    at_ns: int


@dataclass(frozen=True, slots=True)
class IntentDenied:
    """Our order gate refused an intent."""

    account: AccountName
    plan_id: str
    symbol: str
    check: str
    limit: str
    observed: str
    reason: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class TickRefused:
    """A tick did not pass a sanity check; verdict drop or hold."""

    symbol: str
    source: Source
    check: str
    verdict: str
    price_micros: int
    event_ns: int


@dataclass(frozen=True, slots=True)
class StreamChanged:
    """A vendor's stream came up or went down; retry_s: until the next attempt, 0 while up."""

    source: Source
    is_up: bool
    reason: str
    retry_s: float
    at_ns: int


@dataclass(frozen=True, slots=True)
class FeedFailover:
    """The epoch of the feed pair moved."""

    old: str
    new: str
    epoch: int
    cause: str
    replayed: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class PriceSourceChanged:
    """Another source serves a symbol; before is None for its first."""

    symbol: str
    before: Source | None
    after: Source
    reason: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class PriceAgeChanged:
    """A symbol's price became stale in hours when prices are owed, or is fresh again."""

    symbol: str
    source: Source
    is_stale: bool
    event_ns: int
    at_ns: int


@dataclass(frozen=True, slots=True)
class ProviderChanged:
    """A provider's breaker moved: closed, open or half_open."""

    source: Source
    state: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class StoreChanged:
    """PostgreSQL or Redis came or went; reason is empty while it is up."""

    store: str
    is_up: bool
    reason: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class AlertRaised:
    """Something a person should know; severity info, warning or critical."""

    severity: str
    kind: str
    text: str
    account: AccountName | None = None
    symbol: str | None = None
    fields: tuple[tuple[str, str], ...] = field(default=())
    at_ns: int = 0
