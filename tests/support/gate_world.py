"""A sound account, symbol and limits for the gate: every check passes, nothing is unknown."""

from decimal import Decimal

from tradebox.domain.gate_values import AccountView, GateLimits, PriceView, SymbolView
from tradebox.domain.market import Quality
from tradebox.domain.path import LinkState

LIMITS = GateLimits(
    order_quantity_max=500,
    order_notional_usd_max=Decimal(40_000),
    position_notional_usd_max=Decimal(50_000),
    gross_notional_usd_max=Decimal(90_000),
    open_risk_nlv_share_max=Decimal("0.05"),
    day_loss_nlv_share_max=Decimal("0.03"),
    price_collar_share_max=Decimal("0.05"),
    stop_distance_share_max=Decimal("0.25"),
    tick_age_s_max=Decimal(15),
    rejects_per_symbol_max=3,
    rejects_max=5,
    first_day_notional_usd_max=Decimal(1_000),
)
ACCOUNT = AccountView(
    account_agrees=True,
    link=LinkState.CLEAN,
    is_killed=False,
    is_halted=False,
    audit_is_up=True,
    short_is_allowed=True,
    session_is_open=True,
    net_liquidation_usd=Decimal(100_000),
    day_start_usd=Decimal(100_000),
    gross_notional_usd=Decimal(0),
    open_risk_usd=Decimal(0),
    rejects=0,
    entry_tokens=10,
    reduce_tokens=10,
    peak_usd=Decimal(100_000),
    stops_in_row=0,
    available_usd=Decimal(50_000),
    clock_skew_s=Decimal(0),
    is_first_day=False,
    currency="USD",
)
SYMBOL = SymbolView(
    increment=Decimal("0.01"),
    price=PriceView(Decimal(100), Quality.LIVE, Decimal(1)),
    position=0,
    plan_position=0,
    has_live_entry=False,
    opposing_orders=0,
    blocked="",
    unproven="",
    rejects=0,
    known_refs=frozenset({"used"}),
    day_volume=1_000_000,
    ex_date="",
    repeat_age_s=Decimal(1000),
    entries_last_min=0,
    margin_share=Decimal(0),
    spread_share=Decimal(0),
    last_close=Decimal(98),
    is_halted=False,
)
