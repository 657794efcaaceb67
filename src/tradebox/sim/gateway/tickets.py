"""From the fields of a placeOrder to a ticket of the exchange, or to the reason why not.

Rules of this file:
- a field that cannot be what it must be raises WireInvalid (code 320 to the client);
- an order that is well-formed but not traded here is a Refusal with its TWS code.
"""

from tradebox.errors import WireInvalid
from tradebox.sim.exchange.checks import BAD_TRAIL, NO_SECURITY
from tradebox.sim.exchange.market_port import Instrument
from tradebox.sim.exchange.orders import OrderType, Refusal, Side, Ticket, Tif
from tradebox.sim.gateway.place_order import PlaceOrder
from tradebox.sim.gateway.times import read_time
from tradebox.sim.gateway.wire import (
    INT32_MAX,
    is_unset,
    read_decimal,
    read_flag,
    read_integer,
    read_micros,
)

FRACTIONAL = Refusal(10243, "Fractional-sized order cannot be placed via API.")
UNSUPPORTED_TYPE = Refusal(387, "Unsupported order type for this exchange and security type.")
UNSUPPORTED_TIF = Refusal(
    201, "Order rejected - reason:The time-in-force is invalid for this combination."
)
WRONG_ACCOUNT = Refusal(435, "You must specify an account.")
BAD_SIDE = Refusal(321, "Error validating request.-'bW' : cause - Invalid side")

_ECHOED_TABLE = (
    "openClose goodAfterTime goodTillDate faGroup faMethod faPercentage modelCode rule80A "
    "settlingFirm designatedLocation triggerMethod blockOrder sweepToFill allOrNone minQty hidden "
    "optOutSmartRouting clearingAccount clearingIntent notHeld solicited randomizeSize "
    "randomizePrice"
)
_ECHOED = tuple(_ECHOED_TABLE.split())
_SIDES, _TYPES, _TIFS = (frozenset(one) for one in (Side, OrderType, Tif))


def to_ticket(
    message: PlaceOrder, instrument: Instrument | None, account_id: str
) -> Ticket | Refusal:
    """Return the ticket that the message asks for, or why it cannot be one.

    Raises: WireInvalid if a number or a truth value cannot be read.
    """
    values = message.fields
    if not 0 < message.order_id < INT32_MAX:
        raise WireInvalid("the order id is out of range", order_id=message.order_id)
    quantity = read_decimal(values["totalQuantity"])
    if quantity is not None and quantity < 0:
        raise WireInvalid("the size is negative")
    limit_micros = read_micros(values["lmtPrice"])
    trigger_micros = read_micros(values["auxPrice"])
    parent_id = read_integer(values["parentId"]) or 0
    oca_type = read_integer(values["ocaType"]) or 0
    if instrument is None:
        return NO_SECURITY
    if values["account"] not in ("", account_id):
        return WRONG_ACCOUNT
    if quantity is not None and quantity != quantity.to_integral_value():
        return FRACTIONAL
    if values["action"] not in _SIDES:
        return BAD_SIDE
    if values["orderType"] not in _TYPES:
        return UNSUPPORTED_TYPE
    if (values["tif"] or "DAY") not in _TIFS:
        return UNSUPPORTED_TIF
    order_type = OrderType(values["orderType"])
    trail = _trail(values, order_type)
    if isinstance(trail, Refusal):
        return trail
    echo = {name: values[name] for name in _ECHOED if not is_unset(values[name])}
    if message.contract["exchange"]:
        echo["exchange"] = message.contract["exchange"]
    return Ticket(
        symbol=instrument.symbol,
        con_id=instrument.con_id,
        side=Side(values["action"]),
        quantity=int(quantity or 0),
        order_type=order_type,
        limit_micros=limit_micros if order_type.has_limit else 0,
        trigger_micros=trigger_micros
        if order_type.has_trigger and not order_type.is_trailing
        else 0,
        tif=Tif(values["tif"] or "DAY"),
        oca_group=values["ocaGroup"],
        oca_type=oca_type,
        order_ref=values["orderRef"],
        transmit=read_flag(values["transmit"]),
        parent_id=parent_id,
        outside_rth=read_flag(values["outsideRth"]),
        what_if=read_flag(values["whatIf"]),
        echo=echo,
        good_till_ns=_good_till(values["goodTillDate"]),
        **trail,
    )


def _trail(values: dict[str, str], order_type: OrderType) -> dict[str, int] | Refusal:
    """Return the fields of a trailing order; none for another."""
    if not order_type.is_trailing:
        return {}
    percent = read_decimal(values["trailingPercent"]) or 0
    amount = read_micros(values["auxPrice"])
    if percent < 0 or percent > 100:
        return BAD_TRAIL
    offset = read_micros(values["lmtPriceOffset"])
    if order_type is OrderType.TRAIL_LIMIT and not offset and read_micros(values["lmtPrice"]):
        offset = read_micros(values["lmtPrice"]) - read_micros(values["trailStopPrice"])
        offset = -offset if values["action"] == Side.SELL else offset
    return {
        "trail_micros": 0 if percent else amount,
        "trail_ppm": int(percent * 10_000),
        "trail_stop_micros": read_micros(values["trailStopPrice"]),
        "limit_offset_micros": offset,
    }


def _good_till(text: str) -> int:
    """Return the end of a good-till date; 0 where there is none."""
    try:
        return read_time(text, 0)
    except ValueError as error:
        raise WireInvalid("not a time", field=text[:40]) from error
