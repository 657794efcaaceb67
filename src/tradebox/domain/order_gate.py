"""The order gate: the last look at an intent before it may become bytes.

Rules of this file:
- pure: every input is handed in, and an input that is None is unknown; unknown refuses;
- `Approved` is minted here and nowhere else, and the send path takes nothing but `Approved`;
- entries pass every check; exits and stop repairs pass the narrow gate, which asks only what
  keeps them from doing harm, so that nothing an entry did can starve them;
- a refusal is a value that names the check, its limit and what was observed.
"""

from typing import Final

from tradebox.domain.gate_checks import (
    ENTRY_CHECKS,
    field_fault,
    is_on_grid,
)
from tradebox.domain.gate_values import (
    AccountView,
    EntryProposal,
    GateLimits,
    PriceView,
    ReduceView,
    StopChange,
    SymbolView,
    unknown,
)
from tradebox.domain.orders import Denied, OrderIntent, OrderRole, OrderType, Side, Tif
from tradebox.domain.path import LinkState

__all__ = [
    "AccountView",
    "Approved",
    "EntryProposal",
    "GateLimits",
    "PriceView",
    "ReduceView",
    "StopChange",
    "SymbolView",
    "approve_change",
    "approve_entry",
    "approve_reduction",
]

_MINT: Final = object()


class Approved:
    """Leave to send: orders as a group, or one change of a stop. Minted by the gate alone."""

    __slots__ = ("change", "orders")

    def __init__(
        self, mint: object, orders: tuple[OrderIntent, ...], change: StopChange | None
    ) -> None:
        assert mint is _MINT, "only the order gate approves"
        self.orders = orders
        self.change = change

    @property
    def is_entry(self) -> bool:
        """True where risk is opened."""
        return any(order.role is OrderRole.ENTRY for order in self.orders)


def approve_entry(
    proposal: EntryProposal, account: AccountView, symbol: SymbolView, limits: GateLimits
) -> Approved | Denied:
    """Return leave to send an entry with its stop, or the first refusal.

    Holds:   Approved only if every check passed on known inputs; pure.
    """
    for check in ENTRY_CHECKS:
        denied = check(proposal, account, symbol, limits)
        if denied is not None:
            return denied
    return Approved(_MINT, (proposal.entry, proposal.stop), None)


def approve_reduction(
    order: OrderIntent,
    account: AccountView,
    symbol: SymbolView,
    view: ReduceView,
    limits: GateLimits,
) -> Approved | Denied:
    """Return leave to send a stop, a slice or an exit, or the refusal.

    Holds:   Approved only if the plan's position is on the other side and, with every other
             working order of the plan, no share more than the position can leave.
    """
    denied = _narrow(account, order.side, order.quantity, view)
    if denied is not None:
        return denied
    if order.role is OrderRole.ENTRY:
        return Denied("fields", "a reduction", order.role, "an entry needs the whole gate")
    if symbol.increment is None or symbol.increment <= 0:
        return unknown("fields", "the price increment")
    fault = field_fault(order, symbol.increment)
    if fault is not None:
        return Denied("fields", "sound fields", fault, f"the {order.role} is malformed")
    if order.role is OrderRole.STOP:
        if order.order_type is not OrderType.STOP or order.tif is not Tif.GTC:
            return Denied("stop", "STP GTC", f"{order.order_type} {order.tif}", "this is no stop")
    elif order.order_type is not OrderType.LIMIT or order.tif is not Tif.IOC:
        return Denied("fields", "LMT IOC", f"{order.order_type} {order.tif}", "not an exit's type")
    else:
        denied = _exit_collar(order, symbol.price, limits)
    return denied or Approved(_MINT, (order,), None)


def approve_change(
    change: StopChange, account: AccountView, symbol: SymbolView, view: ReduceView
) -> Approved | Denied:
    """Return leave to modify a resting stop, or the refusal.

    Holds:   as approve_reduction; and the trigger never moves against the position's favour.
    """
    denied = _narrow(account, change.side, change.quantity - change.filled, view)
    if denied is not None:
        return denied
    if symbol.increment is None or symbol.increment <= 0:
        return unknown("fields", "the price increment")
    if not is_on_grid(change.stop_price, symbol.increment):
        return Denied("fields", str(symbol.increment), str(change.stop_price), "off the increment")
    loosened = (change.stop_price - change.old_stop_price) * change.side.sign
    if loosened > 0:
        return Denied(
            "ratchet", str(change.old_stop_price), str(change.stop_price), "a stop only tightens"
        )
    return Approved(_MINT, (), change)


def _narrow(account: AccountView, side: Side, quantity: int, view: ReduceView) -> Denied | None:
    if account.link not in (LinkState.CLEAN, LinkState.WINDOW):
        return Denied("link", "CLEAN", str(account.link), "orders move on a clean link only")
    if account.account_agrees is not True:
        return Denied("mode", "account agrees", str(account.account_agrees), "wrong account")
    if account.reduce_tokens is None or account.reduce_tokens < 1:
        return Denied("rate", "1 message", str(account.reduce_tokens), "too many messages")
    if view.plan_position is None or view.other_live_quantity is None:
        return unknown("position", "the position")
    if view.plan_position * side.sign >= 0:
        return Denied("position", "reduces", str(view.plan_position), "this would add, not reduce")
    left = abs(view.plan_position) - view.other_live_quantity
    if quantity <= 0 or quantity > left:
        return Denied("conservation", f"1 to {left}", str(quantity), "more than is held")
    return None


def _exit_collar(order: OrderIntent, price: PriceView | None, limits: GateLimits) -> Denied | None:
    if price is None or order.limit_price is None:
        return unknown("freshness", "the price")
    if not (price.price.is_finite() and price.price > 0):
        return Denied("freshness", "a price", str(price.price), "this is no price")
    through = (order.limit_price - price.price) * order.side.sign / price.price
    if through > limits.exit_collar_share_max:
        return Denied(
            "collar", str(limits.exit_collar_share_max), f"{through:.4f}", "far through the market"
        )
    return None
