"""Whether the exchange takes an order: pure checks, each with its TWS message code.

Rules of this file:
- a check returns a Refusal or None; it changes nothing and pushes nothing;
- the first refusal wins, in the order a real gateway shows them.
"""

from tradebox.domain.money import to_decimal
from tradebox.sim.exchange.market_port import Instrument
from tradebox.sim.exchange.orders import Order, OrderType, Refusal, Side, Ticket

REJECTED = 201
"""The broker's own refusal, where the other codes are the gateway's."""

NO_SECURITY = Refusal(200, "No security definition has been found for the request")
DUPLICATE_ID = Refusal(103, "Duplicate order id")
MODIFY_FILLED = Refusal(104, "Cannot modify a filled order.")
MODIFY_MISMATCH = Refusal(105, "Order being modified does not match original order")
OFF_INCREMENT = Refusal(
    110, "The price does not conform to the minimum price variation for this contract."
)
CHANGED_TYPE = Refusal(329, "Order modify failed. Cannot change to the new order type.")
HALTED = Refusal(154, "Orders cannot be transmitted for a halted security.")
TOO_LATE = Refusal(
    REJECTED, "Order rejected - reason:The cutoff for orders on the close has passed."
)
BAD_TRAIL = Refusal(
    321, "Error validating request.-'bW' : cause - Give a trailing amount or a percentage."
)
BAD_GOOD_TILL = Refusal(
    321, "Error validating request.-'bW' : cause - Good till date is in the past or missing."
)
BAD_STOP = Refusal(403, "Invalid stop price.")
OUTSIDE_IGNORED = Refusal(
    2109,
    "Order Event Warning:Attribute 'Outside Regular Trading Hours' is ignored based on the order "
    "type and destination. PlaceOrder is now being processed.",
)
SIZE_ZERO = Refusal(434, "The order size cannot be zero")
OCA_GROUP_CHANGED = Refusal(10326, "OCA group revision is not allowed.")
OCA_TYPE_CHANGED = Refusal(10327, "OCA group type revision is not allowed.")
PARENT_CHANGED = Refusal(10341, "Parent order id cannot be modified.")
PARENT_GONE = Refusal(REJECTED, "Order rejected - reason:Parent order is being cancelled.")
RESIZE_REFUSED = Refusal(
    REJECTED, "Order rejected - reason:Revision rejected due to unapproved modification."
)
BELOW_FILLED = Refusal(REJECTED, "Order rejected - reason:The size is below what has been filled.")
TOO_FAR = "Order price is too far through the market"
NO_SHORT = Refusal(
    REJECTED,
    "Order rejected - reason:The account may not hold short stock; the excess is a short sale.",
)
NOT_ENOUGH = (
    "Order rejected - reason:YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION "
    "YOUR EQUITY WITH LOAN VALUE [{equity:.2f} USD] MUST EXCEED THE INITIAL MARGIN "
    "[{margin:.2f} USD]"
)

_TYPE_CHANGES = {(OrderType.LMT, OrderType.MKT)}


def no_such_parent(parent_id: int) -> Refusal:
    """Return the refusal of an order whose parent is unknown."""
    return Refusal(135, f"Can't find order with id = {parent_id}")


def too_many(limit: int) -> Refusal:
    """Return the refusal of one working order too many."""
    return Refusal(
        REJECTED,
        f"Order rejected - reason:No more than {limit} working orders "
        "are allowed per contract and side.",
    )


def not_enough(equity_micros: int, margin_micros: int) -> Refusal:
    """Return the refusal of an order that the account cannot carry. Units: micros."""
    text = NOT_ENOUGH.format(equity=to_decimal(equity_micros), margin=to_decimal(margin_micros))
    return Refusal(REJECTED, text)


def check_fields(ticket: Ticket, instrument: Instrument | None) -> Refusal | None:
    """Check what the ticket says by itself."""
    if instrument is None:
        return NO_SECURITY
    if ticket.quantity <= 0:
        return SIZE_ZERO
    kind = ticket.order_type
    if kind.is_trailing:
        is_one = (ticket.trail_micros > 0) != (ticket.trail_ppm > 0)
        return None if is_one else BAD_TRAIL
    if kind.has_trigger and ticket.trigger_micros <= 0:
        return BAD_STOP
    if kind.has_trigger and ticket.trigger_micros % instrument.increment_micros:
        return OFF_INCREMENT
    if kind.has_limit and ticket.limit_micros <= 0:
        return OFF_INCREMENT
    if kind.has_limit and ticket.limit_micros % instrument.increment_micros:
        return OFF_INCREMENT
    return None


def check_modify(
    order: Order, ticket: Ticket, parent: Order | None, *, may_restate_filled_parent: bool
) -> Refusal | None:
    """Check a changed ticket against the live order it would change.

    A group that the gateway made may be left out or restated; a client's own group must be
    restated as it was.
    """
    old = order.ticket
    if (old.con_id, old.side) != (ticket.con_id, ticket.side):
        return MODIFY_MISMATCH
    change = (old.order_type, ticket.order_type)
    if change[0] is not change[1] and change not in _TYPE_CHANGES:
        return CHANGED_TYPE
    if ticket.quantity < order.filled:
        return BELOW_FILLED
    if ticket.parent_id:
        if ticket.parent_id != old.parent_id:
            return PARENT_CHANGED
        is_gone = parent is None or parent.status.is_done
        if is_gone and not may_restate_filled_parent:
            return no_such_parent(ticket.parent_id)
    return _check_oca(order, ticket)


def _check_oca(order: Order, ticket: Ticket) -> Refusal | None:
    if not ticket.oca_group:
        return OCA_TYPE_CHANGED if order.ticket.oca_group else None
    if ticket.oca_group != order.oca_group:
        return OCA_GROUP_CHANGED
    if ticket.oca_type and ticket.oca_type != order.oca_type:
        return OCA_TYPE_CHANGED
    return None


def is_through(side: Side, trigger_micros: int, last_micros: int) -> bool:
    """Say whether the last price has reached the trigger."""
    if last_micros <= 0:
        return False
    if side is Side.SELL:
        return last_micros <= trigger_micros
    return last_micros >= trigger_micros
