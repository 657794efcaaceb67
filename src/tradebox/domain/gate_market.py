"""Checks of an entry against the market: a live and recent price, a quote, an open session.

Rules of this file:
- as gate_checks.py: a check reads nothing but its arguments and refuses what it does not know;
- a price that is none (not finite, not above 0) is refused before anything is divided by it.
"""

from tradebox.domain.gate_values import (
    AccountView,
    EntryProposal,
    GateLimits,
    SymbolView,
    entry_reference,
    unknown,
)
from tradebox.domain.market import Quality
from tradebox.domain.orders import Denied, OrderType


def check_collar(
    proposal: EntryProposal, _a: AccountView, symbol: SymbolView, limits: GateLimits
) -> Denied | None:
    """Refuse a price far through the market, or an entry stop far away from it."""
    price, entry = symbol.price, proposal.entry
    if price is None:
        return unknown("freshness", "the price")
    through = (entry_reference(entry, price) - price.price) * entry.side.sign / price.price
    if entry.order_type is OrderType.LIMIT and through > limits.price_collar_share_max:
        return Denied(
            "collar", str(limits.price_collar_share_max), f"{through:.4f}", "far through the market"
        )
    if entry.order_type is OrderType.STOP and abs(through) > limits.price_collar_share_max * 5:
        return Denied(
            "collar", str(limits.price_collar_share_max * 5), f"{through:.4f}", "far from market"
        )
    return None


def check_last_close(
    proposal: EntryProposal, _a: AccountView, symbol: SymbolView, limits: GateLimits
) -> Denied | None:
    """Refuse a price far from the last day's close: a split, a wrong symbol, a wrong price."""
    share_max, price, close = limits.close_collar_share_max, symbol.price, symbol.last_close
    if share_max is None:
        return None
    if close is None or price is None:
        return unknown("close", "the last close")
    if close <= 0:
        return Denied("close", "a price", str(close), "this is no close")
    named = (entry_reference(proposal.entry, price), price.price)
    away = max(abs(one - close) for one in named) / close
    if away > share_max:
        observed = f"{away:.4f} from {close}"
        return Denied("close", str(share_max), observed, "far from the last day's close")
    return None


def check_halt(
    _p: EntryProposal, _a: AccountView, symbol: SymbolView, _l: GateLimits
) -> Denied | None:
    """Refuse in a halt: it could be filled at any price of the reopening."""
    if symbol.is_halted is None:
        return unknown("halt", "whether it is halted")
    if symbol.is_halted:
        return Denied("halt", "trading", "halted", "the broker takes no order in a halt")
    return None


def check_freshness(
    _p: EntryProposal, _a: AccountView, symbol: SymbolView, limits: GateLimits
) -> Denied | None:
    """Refuse what no live and recent price supports."""
    price = symbol.price
    if price is None:
        return unknown("freshness", "the price")
    if not (price.price.is_finite() and price.price > 0):
        return Denied("freshness", "a price", str(price.price), "this is no price")
    if price.quality is not Quality.LIVE:
        return Denied("freshness", Quality.LIVE, price.quality, "entries need a live price")
    if not -limits.tick_age_s_max <= price.age_s <= limits.tick_age_s_max:
        return Denied(
            "freshness", f"{limits.tick_age_s_max} s", f"{price.age_s} s", "the price is too old"
        )
    return None


def check_session(
    _p: EntryProposal, account: AccountView, _s: SymbolView, _l: GateLimits
) -> Denied | None:
    """Refuse outside regular hours."""
    if account.session_is_open is not True:
        return Denied("session", "open", str(account.session_is_open), "the market is not open")
    return None


def check_spread(
    _p: EntryProposal, _a: AccountView, symbol: SymbolView, limits: GateLimits
) -> Denied | None:
    """Refuse while the quote is too wide: what it says is no market."""
    if symbol.spread_share is None:
        return unknown("spread", "the quote")
    if symbol.spread_share > limits.spread_share_max:
        observed = f"{symbol.spread_share:.4f}"
        return Denied("spread", str(limits.spread_share_max), observed, "the quote is too wide")
    return None
