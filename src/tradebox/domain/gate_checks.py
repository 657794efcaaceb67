"""The checks of an entry, one function each: what is proposed, what is known, what is allowed.

Rules of this file:
- a check returns a refusal or None, and refuses what it does not know;
- a check reads nothing but its arguments.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from tradebox.domain.gate_history import (
    check_clock,
    check_currency,
    check_drawdown,
    check_ex_date,
    check_first_day,
    check_margin,
    check_repeats,
    check_stops_in_row,
    check_volume,
)
from tradebox.domain.gate_market import (
    check_collar,
    check_freshness,
    check_halt,
    check_last_close,
    check_session,
    check_spread,
)
from tradebox.domain.gate_values import (
    AccountView,
    EntryProposal,
    GateLimits,
    SymbolView,
    entry_reference,
    notional_of,
    unknown,
)
from tradebox.domain.orders import Denied, OrderIntent, OrderRole, OrderType, Side, Tif
from tradebox.domain.path import LinkState

ORDER_REF_LENGTH_MAX: Final = 36
PRICE_MAX: Final = Decimal(10_000_000)
"""No stock costs this much; a higher price is a fault of whoever names it. Units: USD."""
_UNSIGNED: Final = frozenset(
    {"gross", "open risk", "clock skew", "margin share", "spread share", "repeat age"}
)
_REF_CHARACTERS: Final = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-"
)


def _check_inputs(
    _p: EntryProposal, account: AccountView, symbol: SymbolView, _l: GateLimits
) -> Denied | None:
    price = symbol.price
    figures = {
        "net liquidation": account.net_liquidation_usd,
        "day start": account.day_start_usd,
        "gross": account.gross_notional_usd,
        "open risk": account.open_risk_usd,
        "peak": account.peak_usd,
        "available": account.available_usd,
        "clock skew": account.clock_skew_s,
        "margin share": symbol.margin_share,
        "spread share": symbol.spread_share,
        "repeat age": symbol.repeat_age_s,
        "increment": symbol.increment,
        "last close": symbol.last_close,
        "price": None if price is None else price.price,
        "age": None if price is None else price.age_s,
    }
    for name, figure in figures.items():
        if figure is not None and not figure.is_finite():
            return Denied("inputs", "finite figures", f"{name} {figure}", "this is no number")
        if figure is not None and figure < 0 and name in _UNSIGNED:
            return Denied("inputs", "not below 0", f"{name} {figure}", "this cannot be")
    return None


def _check_mode(
    _p: EntryProposal, account: AccountView, _s: SymbolView, _l: GateLimits
) -> Denied | None:
    if account.account_agrees is None or account.is_halted is None:
        return unknown("mode", "the account")
    if account.account_agrees is not True:
        return Denied("mode", "account agrees", str(account.account_agrees), "wrong account")
    if account.is_halted:
        return Denied("mode", "not halted", str(account.is_halted), "the account is halted")
    return None


def _check_link(
    _p: EntryProposal, account: AccountView, _s: SymbolView, _l: GateLimits
) -> Denied | None:
    if account.link is not LinkState.CLEAN:
        return Denied("link", "CLEAN", str(account.link), "orders move on a clean link only")
    return None


def _check_kill(
    _p: EntryProposal, account: AccountView, _s: SymbolView, _l: GateLimits
) -> Denied | None:
    if account.is_killed is None:
        return unknown("kill_switch", "the kill switch")
    if account.is_killed:
        return Denied("kill_switch", "off", str(account.is_killed), "the kill switch is set")
    return None


def _check_idempotency(
    proposal: EntryProposal, _a: AccountView, symbol: SymbolView, _l: GateLimits
) -> Denied | None:
    refs = (proposal.entry.order_ref, proposal.stop.order_ref)
    if symbol.known_refs is None or symbol.has_live_entry is None:
        return unknown("idempotency", "what was sent before")
    if refs[0] == refs[1] or any(ref in symbol.known_refs for ref in refs):
        return Denied("idempotency", "a new orderRef", refs[0], "this orderRef was used before")
    if symbol.has_live_entry:
        return Denied("busy", "one live entry", "another", "an entry works in this symbol")
    if symbol.plan_position is None:
        return unknown("idempotency", "what the plan holds")
    if symbol.plan_position:
        return Denied("idempotency", "flat", str(symbol.plan_position), "the plan is not flat")
    if symbol.blocked is None or symbol.unproven is None:
        return unknown("quarantine", "what else is in this symbol")
    if symbol.blocked:
        return Denied("quarantine", "free", symbol.blocked, "the symbol takes no entries")
    if symbol.unproven:
        return Denied("unproven", "proven", symbol.unproven, "the books are being compared")
    return None


def _check_conservation(
    proposal: EntryProposal, _a: AccountView, _s: SymbolView, _l: GateLimits
) -> Denied | None:
    entry, stop = proposal.entry, proposal.stop
    if stop.quantity != entry.quantity:
        return Denied(
            "conservation", str(entry.quantity), str(stop.quantity), "the stop is not full-size"
        )
    if (entry.role, stop.role) != (OrderRole.ENTRY, OrderRole.STOP):
        roles = f"{entry.role} and {stop.role}"
        return Denied("conservation", "entry and stop", roles, "entry and stop are no pair")
    same = (entry.plan_id, entry.account, entry.symbol, entry.con_id)
    if (stop.plan_id, stop.account, stop.symbol, stop.con_id) != same:
        return Denied("conservation", str(same), "differs", "entry and stop are no pair")
    if stop.side is not entry.side.opposite or stop.parent_ref != entry.order_ref:
        return Denied("conservation", "stop opposes entry", stop.side, "entry and stop are no pair")
    return None


def field_fault(intent: OrderIntent, increment: Decimal) -> str | None:
    """Return what is wrong with the fields of an intent by themselves, or None."""
    ref = intent.order_ref
    if not ref or len(ref) > ORDER_REF_LENGTH_MAX or not set(ref) <= _REF_CHARACTERS:
        return f"orderRef {ref!r}"
    if type(intent.quantity) is not int or intent.quantity <= 0:
        return f"quantity {intent.quantity!r}"
    wanted = {
        OrderType.MARKET: (False, False),
        OrderType.LIMIT: (True, False),
        OrderType.STOP: (False, True),
    }[intent.order_type]
    if (intent.limit_price is not None, intent.stop_price is not None) != wanted:
        return f"prices of a {intent.order_type} order"
    for price in (intent.limit_price, intent.stop_price):
        if price is not None and not is_on_grid(price, increment):
            return f"price {price} off the increment {increment}"
    return None


def is_on_grid(price: Decimal, increment: Decimal) -> bool:
    """Return whether a price is finite, positive, sane and a whole multiple of the increment."""
    return price.is_finite() and 0 < price <= PRICE_MAX and price % increment == 0


def _check_fields(
    proposal: EntryProposal, _a: AccountView, symbol: SymbolView, _l: GateLimits
) -> Denied | None:
    if symbol.increment is None or symbol.increment <= 0:
        return unknown("fields", "the price increment")
    for intent in (proposal.entry, proposal.stop):
        fault = field_fault(intent, symbol.increment)
        if fault is not None:
            return Denied("fields", "sound fields", fault, f"the {intent.role} is malformed")
    return None


def _check_stop(
    proposal: EntryProposal, _a: AccountView, symbol: SymbolView, limits: GateLimits
) -> Denied | None:
    entry, stop = proposal.entry, proposal.stop
    trigger, price = stop.stop_price, symbol.price
    if price is None:
        return unknown("freshness", "the price")
    if stop.order_type is not OrderType.STOP or stop.tif is not Tif.GTC or trigger is None:
        return Denied("stop", "STP GTC", f"{stop.order_type} {stop.tif}", "this is no stop")
    reference = entry_reference(entry, price)
    if (reference - trigger) * entry.side.sign <= 0:
        return Denied("stop", f"beyond {reference}", str(trigger), "the stop is on the wrong side")
    waits = entry.order_type is not OrderType.MARKET
    if not waits and (price.price - trigger) * entry.side.sign <= 0:
        return Denied("stop", f"beyond {price.price}", str(trigger), "the stop would fire at once")
    distance = abs(reference - trigger) / reference
    if distance > limits.stop_distance_share_max:
        return Denied(
            "stop", str(limits.stop_distance_share_max), f"{distance:.4f}", "the stop is too far"
        )
    return None


def _check_size(
    proposal: EntryProposal, _a: AccountView, symbol: SymbolView, limits: GateLimits
) -> Denied | None:
    if symbol.price is None:
        return unknown("freshness", "the price")
    quantity = proposal.entry.quantity
    if quantity > limits.order_quantity_max:
        return Denied("size", str(limits.order_quantity_max), str(quantity), "too many shares")
    notional = notional_of(proposal.entry, symbol.price)
    if notional > limits.order_notional_usd_max:
        return Denied(
            "size", f"{limits.order_notional_usd_max} USD", f"{notional} USD", "too much money"
        )
    return None


def _check_position(
    proposal: EntryProposal, account: AccountView, symbol: SymbolView, limits: GateLimits
) -> Denied | None:
    entry, price = proposal.entry, symbol.price
    if symbol.position is None or price is None or account.gross_notional_usd is None:
        return unknown("position", "the position")
    if symbol.position * entry.side.sign < 0:
        return Denied("position", "no side flip", str(symbol.position), "the account is opposed")
    reference = max(entry_reference(entry, price), price.price)
    added = entry.quantity * reference
    after = abs(symbol.position) * reference + added
    if after > limits.position_notional_usd_max:
        return Denied(
            "position", f"{limits.position_notional_usd_max} USD", f"{after} USD", "too large"
        )
    gross = account.gross_notional_usd + added
    if gross > limits.gross_notional_usd_max:
        return Denied(
            "position", f"{limits.gross_notional_usd_max} USD", f"{gross} USD", "gross too large"
        )
    return None


def _check_rate(
    _p: EntryProposal, account: AccountView, _s: SymbolView, _l: GateLimits
) -> Denied | None:
    if account.entry_tokens is None:
        return unknown("rate", "the message rate")
    if account.entry_tokens < 2:
        return Denied("rate", "2 messages", str(account.entry_tokens), "too many orders")
    return None


def _check_loss(
    proposal: EntryProposal, account: AccountView, symbol: SymbolView, limits: GateLimits
) -> Denied | None:
    value, start = account.net_liquidation_usd, account.day_start_usd
    if value is None or start is None or value <= 0 or start <= 0:
        return unknown("loss", "the account's value")
    loss = (start - value) / start
    if loss > limits.day_loss_nlv_share_max:
        return Denied(
            "loss", str(limits.day_loss_nlv_share_max), f"{loss:.4f}", "the day's loss is reached"
        )
    if account.open_risk_usd is None or symbol.price is None:
        return unknown("loss", "the open risk")
    trigger = proposal.stop.stop_price or Decimal(0)
    reference = entry_reference(proposal.entry, symbol.price)
    risk = account.open_risk_usd + abs(reference - trigger) * proposal.entry.quantity
    if risk > limits.open_risk_nlv_share_max * value:
        return Denied(
            "loss",
            f"{limits.open_risk_nlv_share_max * value:.2f} USD",
            f"{risk:.2f} USD",
            "the open risk is too large",
        )
    return None


def _check_rejects(
    _p: EntryProposal, account: AccountView, symbol: SymbolView, limits: GateLimits
) -> Denied | None:
    if account.rejects is None or symbol.rejects is None:
        return unknown("rejects", "the count of rejects")
    if symbol.rejects >= limits.rejects_per_symbol_max:
        return Denied(
            "rejects", str(limits.rejects_per_symbol_max), str(symbol.rejects), "in this symbol"
        )
    if account.rejects >= limits.rejects_max:
        return Denied("rejects", str(limits.rejects_max), str(account.rejects), "in a row")
    return None


def _check_self_trade(
    _p: EntryProposal, _a: AccountView, symbol: SymbolView, _l: GateLimits
) -> Denied | None:
    if symbol.opposing_orders is None:
        return unknown("self_trade", "our other orders")
    if symbol.opposing_orders:
        return Denied("self_trade", "0", str(symbol.opposing_orders), "an order of ours opposes")
    return None


def _check_short(
    proposal: EntryProposal, account: AccountView, _s: SymbolView, _l: GateLimits
) -> Denied | None:
    if account.short_is_allowed is None:
        return unknown("short", "whether shorts are allowed")
    if proposal.entry.side is Side.SELL and not account.short_is_allowed:
        fix = "shorts are off: `shorts_allowed` of the account turns them on"
        return Denied("short", "configured", str(account.short_is_allowed), fix)
    return None


def _check_audit(
    _p: EntryProposal, account: AccountView, _s: SymbolView, _l: GateLimits
) -> Denied | None:
    if account.audit_is_up is not True:
        return Denied("audit", "PostgreSQL up", str(account.audit_is_up), "no record, no entry")
    return None


ENTRY_CHECKS: Final[
    tuple[Callable[[EntryProposal, AccountView, SymbolView, GateLimits], Denied | None], ...]
] = (
    _check_inputs,
    _check_link,
    _check_mode,
    check_currency,
    _check_kill,
    _check_audit,
    _check_idempotency,
    _check_conservation,
    _check_fields,
    check_freshness,
    check_session,
    check_halt,
    _check_stop,
    _check_size,
    _check_position,
    check_collar,
    check_spread,
    _check_rate,
    _check_loss,
    _check_rejects,
    _check_self_trade,
    _check_short,
    check_clock,
    check_drawdown,
    check_stops_in_row,
    check_margin,
    check_first_day,
    check_volume,
    check_last_close,
    check_ex_date,
    check_repeats,
)
"""Every check of an entry, in order; the first refusal is the answer."""
