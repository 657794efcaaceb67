"""What the order gate is told: limits, views of the account and the symbol, and proposals.

Rules of this file:
- None means unknown, and the gate refuses what is unknown;
- shares are fractions of 1, money is in USD, ages are market seconds.
"""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tradebox.domain.market import Quality
from tradebox.domain.orders import Denied, OrderIntent, Side
from tradebox.domain.path import LinkState

USD: Final = "USD"
"""What every figure of money is in, and what an account must be kept in to take entries."""


@dataclass(frozen=True, slots=True)
class GateLimits:
    """Limits of one account. Shares are fractions of 1; ages in market seconds."""

    order_quantity_max: int
    order_notional_usd_max: Decimal
    position_notional_usd_max: Decimal
    gross_notional_usd_max: Decimal
    open_risk_nlv_share_max: Decimal
    day_loss_nlv_share_max: Decimal
    price_collar_share_max: Decimal
    stop_distance_share_max: Decimal
    tick_age_s_max: Decimal
    rejects_per_symbol_max: int
    rejects_max: int
    exit_collar_share_max: Decimal = Decimal("0.05")
    clock_skew_s_max: Decimal = Decimal(2)
    drawdown_nlv_share_max: Decimal = Decimal("0.10")
    stops_in_row_max: int = 8
    initial_margin_share: Decimal = Decimal("0.5")
    volume_share_max: Decimal | None = Decimal("0.02")
    """Of the average daily volume; None: switched off."""
    first_day_notional_usd_max: Decimal | None = None
    repeat_s_min: Decimal = Decimal(1)
    entries_per_symbol_min_max: int = 20
    spread_share_max: Decimal = Decimal("0.02")
    """Ask minus bid, of their middle."""
    close_collar_share_max: Decimal | None = Decimal("0.3")
    """Away from the last day's close; None: switched off."""


@dataclass(frozen=True, slots=True)
class PriceView:
    """The last price of a symbol as it is worth now. age_s: market seconds since its event."""

    price: Decimal
    quality: Quality
    age_s: Decimal


@dataclass(frozen=True, slots=True)
class AccountView:
    """What holds for the whole account; None = unknown."""

    account_agrees: bool | None = None
    link: LinkState | None = None
    is_killed: bool | None = None
    is_halted: bool | None = None
    audit_is_up: bool | None = None
    short_is_allowed: bool | None = None
    session_is_open: bool | None = None
    net_liquidation_usd: Decimal | None = None
    day_start_usd: Decimal | None = None
    gross_notional_usd: Decimal | None = None
    open_risk_usd: Decimal | None = None
    rejects: int | None = None
    entry_tokens: int | None = None
    """Messages the entry bucket still allows; an entry and its stop take two."""
    reduce_tokens: int | None = None
    peak_usd: Decimal | None = None
    """The highest net liquidation value that was seen."""
    stops_in_row: int | None = None
    available_usd: Decimal | None = None
    """What the broker says may still be used for new positions."""
    clock_skew_s: Decimal | None = None
    """Real seconds between the gateway's clock and ours, unsigned."""
    is_first_day: bool | None = None
    """No entry of this account filled on an earlier day."""
    currency: str | None = None
    """What the account is kept in."""


@dataclass(frozen=True, slots=True)
class SymbolView:
    """What holds for one symbol, and for the plan that asks; None = unknown."""

    increment: Decimal | None = None
    price: PriceView | None = None
    position: int | None = None
    """Signed shares of the account in this symbol."""
    plan_position: int | None = None
    """Signed shares of the asking plan."""
    has_live_entry: bool | None = None
    """A working or unknown entry of any plan in this symbol."""
    opposing_orders: int | None = None
    """Working entries of ours on the other side of the proposed one."""
    blocked: str | None = ""
    """Why the symbol takes no entries until a person frees it; "" = free."""
    unproven: str | None = ""
    """What a look at the broker will settle: an unknown send, a gap, a code; "" = nothing."""
    rejects: int | None = None
    known_refs: Collection[str] | None = None
    day_volume: int | None = None
    """Average shares of a day."""
    ex_date: str | None = None
    """The corporate action that is due on the next session's day; "" = none."""
    repeat_age_s: Decimal | None = None
    """Real seconds since the same side and quantity was last entered; very large = never."""
    entries_last_min: int | None = None
    margin_share: Decimal | None = Decimal(0)
    """Initial margin the broker named, as a share of the notional; 0 = it was not asked."""
    spread_share: Decimal | None = Decimal(0)
    """Ask minus bid, of their middle; 0 = no source quotes this symbol."""
    last_close: Decimal | None = None
    """Of the last day that is over."""
    is_halted: bool | None = None
    """A source or the broker says so, and nothing says that it trades again."""


@dataclass(frozen=True, slots=True)
class EntryProposal:
    """An entry and its protective stop, which go as a pair or not at all."""

    entry: OrderIntent
    stop: OrderIntent


@dataclass(frozen=True, slots=True)
class StopChange:
    """A modify of a resting stop: its new total quantity and trigger."""

    order_ref: str
    plan_id: str
    symbol: str
    side: Side
    quantity: int
    filled: int
    stop_price: Decimal
    old_stop_price: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class ReduceView:
    """What the narrow gate knows; None = unknown.

    other_live_quantity: shares that other working orders of the plan may still take off.
    """

    plan_position: int | None = None
    other_live_quantity: int | None = None


def dollars_fault(currency: str | None) -> str:
    """Return why an account kept in that currency takes no entry; "" where it may, or may yet."""
    if currency in (None, USD):
        return ""
    return f"it is kept in {currency}, limits and sizes in USD: change its base currency to USD"


def unknown(check: str, what: str) -> Denied:
    """Return the refusal of what is not known."""
    return Denied(check, "known", "unknown", f"{what} is not known")


def entry_reference(entry: OrderIntent, price: PriceView) -> Decimal:
    """Return the price an entry is judged by: its own, or the last where it has none."""
    return entry.limit_price or entry.stop_price or price.price


def notional_of(entry: OrderIntent, price: PriceView) -> Decimal:
    """Return what an entry may cost, at its own price or the last if more. Units: USD."""
    return entry.quantity * max(entry_reference(entry, price), price.price)
