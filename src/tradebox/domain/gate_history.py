"""Checks of an entry that remember: what the account lost, what was asked before, what is due.

Rules of this file:
- as gate_checks.py: a check reads nothing but its arguments and refuses what it does not know;
- a limit that is None was switched off by a person; a figure that is None is unknown.
"""

from decimal import Decimal

from tradebox.domain.gate_values import (
    USD,
    AccountView,
    EntryProposal,
    GateLimits,
    SymbolView,
    dollars_fault,
    notional_of,
    unknown,
)
from tradebox.domain.orders import Denied


def check_clock(
    _p: EntryProposal, account: AccountView, _s: SymbolView, limits: GateLimits
) -> Denied | None:
    """Refuse while our clock and the gateway's differ: ages of prices would be wrong."""
    if account.clock_skew_s is None:
        return unknown("clock", "the gateway's clock")
    if account.clock_skew_s > limits.clock_skew_s_max:
        observed = f"{account.clock_skew_s} s"
        return Denied("clock", f"{limits.clock_skew_s_max} s", observed, "the clocks differ")
    return None


def check_currency(
    _p: EntryProposal, account: AccountView, _s: SymbolView, _l: GateLimits
) -> Denied | None:
    """Refuse for an account that is not kept in dollars: limits and sizes are counted in them."""
    if account.currency is None:
        return unknown("currency", "what the account is kept in")
    fault = dollars_fault(account.currency)
    return Denied("currency", USD, account.currency, fault) if fault else None


def check_drawdown(
    _p: EntryProposal, account: AccountView, _s: SymbolView, limits: GateLimits
) -> Denied | None:
    """Refuse once the account has fallen too far from its highest value."""
    value, peak = account.net_liquidation_usd, account.peak_usd
    if value is None or peak is None or peak <= 0:
        return unknown("drawdown", "the account's highest value")
    fallen = (peak - value) / peak
    if fallen > limits.drawdown_nlv_share_max:
        allowed = str(limits.drawdown_nlv_share_max)
        return Denied("drawdown", allowed, f"{fallen:.4f}", f"fallen from {peak} USD")
    return None


def check_stops_in_row(
    _p: EntryProposal, account: AccountView, _s: SymbolView, limits: GateLimits
) -> Denied | None:
    """Refuse after too many plans in a row ended at their stop with a loss."""
    if account.stops_in_row is None:
        return unknown("stops_in_row", "how the last plans ended")
    if account.stops_in_row >= limits.stops_in_row_max:
        return Denied(
            "stops_in_row", str(limits.stops_in_row_max), str(account.stops_in_row),
            "until the next day, or until a person resumes",
        )  # fmt: skip
    return None


def check_margin(
    proposal: EntryProposal, account: AccountView, symbol: SymbolView, limits: GateLimits
) -> Denied | None:
    """Refuse what the available funds do not carry at the initial margin we assume."""
    if account.available_usd is None or symbol.price is None or symbol.margin_share is None:
        return unknown("margin", "the available funds")
    share = max(limits.initial_margin_share, symbol.margin_share)
    needed = notional_of(proposal.entry, symbol.price) * share
    if needed > account.available_usd:
        observed = f"{needed:.2f} USD"
        return Denied("margin", f"{account.available_usd} USD", observed, "too little is free")
    return None


def check_first_day(
    proposal: EntryProposal, account: AccountView, symbol: SymbolView, limits: GateLimits
) -> Denied | None:
    """Keep the first day of live trading small, unless a person waived it."""
    cap = limits.first_day_notional_usd_max
    if cap is None:
        return None
    if account.is_first_day is None or symbol.price is None:
        return unknown("first_day", "whether this account has traded before")
    notional = notional_of(proposal.entry, symbol.price)
    if account.is_first_day and notional > cap:
        observed = f"{notional} USD"
        return Denied("first_day", f"{cap} USD", observed, "the first day of live trading is small")
    return None


def check_volume(
    proposal: EntryProposal, _a: AccountView, symbol: SymbolView, limits: GateLimits
) -> Denied | None:
    """Refuse more than a small part of the average daily volume."""
    share_max = limits.volume_share_max
    if share_max is None:
        return None
    if symbol.day_volume is None:
        return unknown("volume", "the average daily volume")
    allowed = Decimal(symbol.day_volume) * share_max
    if proposal.entry.quantity > allowed:
        observed = str(proposal.entry.quantity)
        return Denied("volume", f"{allowed:.0f}", observed, "too much of a day's volume")
    return None


def check_ex_date(
    _p: EntryProposal, _a: AccountView, symbol: SymbolView, _l: GateLimits
) -> Denied | None:
    """Refuse on the eve of a split or dividend: prices and stops would move apart."""
    if symbol.ex_date is None:
        return unknown("ex_date", "the corporate actions")
    if symbol.ex_date:
        return Denied("ex_date", "none due", symbol.ex_date, "a corporate action is due")
    return None


def check_repeats(
    _p: EntryProposal, _a: AccountView, symbol: SymbolView, limits: GateLimits
) -> Denied | None:
    """Refuse the same side and quantity in a symbol again at once, and too many in a minute."""
    if symbol.repeat_age_s is None or symbol.entries_last_min is None:
        return unknown("repeat", "what was entered before")
    if symbol.repeat_age_s < limits.repeat_s_min:
        observed = f"{symbol.repeat_age_s} s"
        return Denied("repeat", f"{limits.repeat_s_min} s", observed, "the same entry again")
    if symbol.entries_last_min >= limits.entries_per_symbol_min_max:
        allowed = str(limits.entries_per_symbol_min_max)
        return Denied("repeat", allowed, str(symbol.entries_last_min), "too often in this symbol")
    return None
