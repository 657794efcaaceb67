"""What an order path is given: rules as numbers, and the world as small functions.

Rules of this file:
- everything is handed in; nothing here is looked up by name;
- prices, sessions and instruments are read, never awaited: what is not there is unknown.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol, Self

from tradebox.config import AccountSettings, LiveSettings, Profile
from tradebox.domain.gate_values import GateLimits
from tradebox.domain.market import AdmittedTick, Instrument, Quality
from tradebox.domain.orders import AccountName
from tradebox.execution.procedures import Patience
from tradebox.execution.symbol_facts import SymbolFacts
from tradebox.ports.clock import MarketClock
from tradebox.supervision.clock import Clock


class Prices(Protocol):
    """The last admitted prices, as the market hub keeps them."""

    def last(self, symbol: str) -> AdmittedTick | None:
        """Return the last admitted tick of a symbol."""
        ...

    def quality_now(self, symbol: str) -> Quality:
        """Return what the last price is worth now."""
        ...


@dataclass(frozen=True, slots=True)
class PathWorld:
    """Where an order path lives. session_is_open(now_ns): None where no session row says."""

    clock: Clock
    market_clock: MarketClock
    prices: Prices
    instrument: Callable[[str], Instrument | None]
    session_is_open: Callable[[int], bool | None]
    publish: Callable[[object], object]
    facts: SymbolFacts = field(default_factory=SymbolFacts)
    spread_share: Callable[[str], Decimal | None] = lambda _: Decimal(0)
    """Ask minus bid of a symbol, of their middle; 0 where nobody quotes it, None: not known."""
    is_halted: Callable[[str], bool] = lambda _: False
    """Whether a source says that a symbol is halted now."""


@dataclass(frozen=True, slots=True)
class PathRules:
    """The numbers of one account. Deadlines in real seconds."""

    limits: GateLimits
    exit_collar_share: Decimal
    absence_gap_s: float = 3.0
    ack_deadline_s: float = 5.0
    look_period_s: float = 3600.0
    short_is_allowed: bool = False
    orders_per_s_max: int = 10
    orders_per_min_max: int = 120
    orders_per_day_max: int = 2000
    rate_latch_max: int = 50
    patience: Patience = field(default_factory=Patience)

    @classmethod
    def of(cls, settings: AccountSettings, profile: Profile, name: AccountName) -> Self:
        """Return the rules that the settings of an account mean."""
        limits = settings.limits
        collar = _share(settings.exit_collar_share)
        return cls(
            limits=GateLimits(
                order_quantity_max=limits.order_quantity_max,
                order_notional_usd_max=_share(limits.order_notional_usd_max),
                position_notional_usd_max=_share(limits.position_notional_usd_max),
                gross_notional_usd_max=_share(limits.gross_notional_usd_max),
                open_risk_nlv_share_max=_share(limits.open_risk_nlv_share_max),
                day_loss_nlv_share_max=_share(limits.day_loss_nlv_share_max),
                price_collar_share_max=_share(limits.price_collar_share_max),
                stop_distance_share_max=_share(limits.stop_distance_share_max),
                tick_age_s_max=_share(limits.tick_age_s_max),
                rejects_per_symbol_max=limits.rejects_per_symbol_max,
                rejects_max=limits.rejects_max,
                exit_collar_share_max=collar * 2,
                clock_skew_s_max=_share(limits.clock_skew_s_max),
                drawdown_nlv_share_max=_share(limits.drawdown_nlv_share_max),
                stops_in_row_max=limits.stops_in_row_max,
                initial_margin_share=_share(limits.initial_margin_share),
                volume_share_max=_maybe(limits.volume_share_max),
                first_day_notional_usd_max=_first_day(settings, profile, name),
                repeat_s_min=_share(limits.repeat_s_min),
                entries_per_symbol_min_max=limits.entries_per_symbol_min_max,
                spread_share_max=_share(limits.spread_share_max),
                close_collar_share_max=_maybe(limits.close_collar_share_max),
            ),
            exit_collar_share=collar,
            absence_gap_s=settings.absence_gap_s,
            look_period_s=settings.reconcile_period_s,
            short_is_allowed=profile == "sim" or settings.shorts_allowed,
            orders_per_s_max=limits.orders_per_s_max,
            orders_per_min_max=limits.orders_per_min_max,
            orders_per_day_max=limits.orders_per_day_max,
            rate_latch_max=limits.rate_latch_max,
            patience=Patience(entry_partial_s=settings.entry_partial_wait_s),
        )


def _share(value: float) -> Decimal:
    return Decimal(str(value))


def _maybe(value: float | None) -> Decimal | None:
    return None if value is None else _share(value)


def _first_day(settings: AccountSettings, profile: Profile, name: AccountName) -> Decimal | None:
    """Return the cap of live's first day; None where nothing real trades, or it was waived."""
    if profile != "live" or name is not AccountName.LIVE:
        return None
    if not isinstance(settings, LiveSettings) or settings.first_day_cap_waived:
        return None
    return _share(settings.first_day_notional_usd_max)
