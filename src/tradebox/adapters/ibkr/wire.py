"""Between the wire's types and ours, once, here.

Rules of this file:
- Decimal becomes float only in `prices_of`, float becomes Decimal only in `decimal_of`;
- every spelling of "unset" becomes None, never a number;
- a time without a zone is in the zone we were told, never in the host's.
"""

from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from ib_async.contract import Contract, ContractDetails
from ib_async.objects import BarData
from ib_async.order import Order, OrderState
from ib_async.util import UNSET_DOUBLE

from tradebox.domain.market import Bar, Instrument
from tradebox.domain.orders import OrderType, Side
from tradebox.errors import WireInvalid
from tradebox.ports.orders import CompletedOrderFact, MarginFact, OpenOrderFact, OrderTicket

_UNSET_ABOVE = Decimal("1e30")
_SIDES = {
    "BUY": Side.BUY,
    "BOT": Side.BUY,
    "SELL": Side.SELL,
    "SLD": Side.SELL,
    "SSHORT": Side.SELL,
}
_NS_PER_S = 1_000_000_000
_NEW_YORK = ZoneInfo("America/New_York")
DAY_S = 86_400
_RAW_NAMES = ("secType", "exchange", "currency", "whatIf", "triggerMethod", "parentPermId")


def decimal_of(value: float | str | Decimal) -> Decimal | None:
    """Return the wire's number as a Decimal, or None where it means "unset"."""
    text = str(value).strip()
    if not text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise WireInvalid(f"not a number: {text!r}", value=text) from error
    if not number.is_finite() or abs(number) > _UNSET_ABOVE:
        return None
    return number


def quantity_of(value: float | str | Decimal) -> Decimal:
    """Return a quantity; unset counts as zero."""
    return decimal_of(value) or Decimal(0)


def side_of(text: str) -> Side:
    """Return BUY or SELL for any of the wire's spellings. Raises WireInvalid for others."""
    side = _SIDES.get(text)
    if side is None:
        raise WireInvalid(f"unknown side {text!r}", side=text)
    return side


def time_ns(text: str, default_zone: tzinfo = UTC) -> int:
    """Return the wire's time in ns UTC.

    Forms:   "20260611 13:31:08 US/Eastern", "20260611-13:31:08" (UTC), "20260611 13:31:08" and
             "20260611  13:31:08" (in default_zone), digits alone (epoch seconds).
    Raises:  WireInvalid for anything else.
    """
    parts = text.split()
    try:
        if len(parts) == 1 and text.isdigit() and len(text) > 8:
            return int(text) * _NS_PER_S
        if len(parts) == 1 and "-" in text:
            moment = datetime.strptime(text, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
        else:
            zone = ZoneInfo(parts[2]) if len(parts) == 3 else default_zone
            clock = " ".join(parts[:2])
            moment = datetime.strptime(clock, "%Y%m%d %H:%M:%S").replace(tzinfo=zone)
    except (ValueError, LookupError, OSError) as error:
        raise WireInvalid(f"not a time: {text!r}", time=text) from error
    return int(moment.timestamp()) * _NS_PER_S


def contract_of(instrument: Instrument) -> Contract:
    """Return the contract of a US stock, routed by SMART."""
    return Contract(
        secType="STK",
        conId=instrument.con_id,
        symbol=instrument.symbol,
        exchange="SMART",
        primaryExchange=instrument.primary_exchange,
        currency=instrument.currency,
    )


def _on_grid(price: Decimal | None, increment: Decimal) -> float:
    if price is None:
        return UNSET_DOUBLE
    assert price.is_finite(), price
    assert price > 0, price
    assert price % increment == 0, (price, increment)
    return float(price)


def prices_of(ticket: OrderTicket) -> tuple[float, float]:
    """Return limit and trigger of a ticket as the wire has them, UNSET_DOUBLE where there is none.

    Raises:  AssertionError as order_of.
    """
    assert ticket.quantity > 0, ticket
    increment = ticket.instrument.increment
    stop = ticket.stop_price if ticket.order_type is OrderType.STOP else None
    limit = ticket.limit_price if ticket.order_type is OrderType.LIMIT else None
    assert (limit is None) is (ticket.order_type is not OrderType.LIMIT), ticket
    assert (stop is None) is (ticket.order_type is not OrderType.STOP), ticket
    return _on_grid(limit, increment), _on_grid(stop, increment)


def order_of(ticket: OrderTicket) -> Order:
    """Return the order message of a ticket: every field explicit, plain Python types only.

    Raises:  AssertionError for a price off the increment grid or a size that is no size (a bug:
             the order gate has refused those).
    """
    limit, stop = prices_of(ticket)
    return Order(
        orderId=ticket.order_id,
        action=ticket.intent.side.value,
        totalQuantity=ticket.quantity,
        orderType=ticket.order_type.value,
        lmtPrice=limit,
        auxPrice=stop,
        tif=ticket.tif.value,
        account=ticket.account_id,
        orderRef=ticket.intent.order_ref,
        parentId=ticket.parent_id,
        transmit=ticket.transmit,
        outsideRth=ticket.intent.outside_rth,
        whatIf=False,
    )


def what_if_of(ticket: OrderTicket) -> Order:
    """Return the question what an order would bind: as order_of, and never an order."""
    order = order_of(ticket)
    order.whatIf, order.transmit = True, True
    return order


def margin_of(order_id: int, state: OrderState) -> MarginFact:
    """Return the fact in the openOrder that answers a what-if."""
    return MarginFact(order_id, decimal_of(state.initMarginChange))


def open_order_of(
    order_id: int, contract: Contract, order: Order, state: OrderState
) -> OpenOrderFact:
    """Return the fact in an openOrder message."""
    sources = [(contract if hasattr(contract, name) else order, name) for name in _RAW_NAMES]
    return OpenOrderFact(
        order_id=order_id,
        client_id=order.clientId,
        perm_id=order.permId,
        order_ref=order.orderRef,
        account=order.account,
        symbol=contract.symbol,
        con_id=contract.conId,
        side=side_of(order.action),
        quantity=quantity_of(order.totalQuantity),
        order_type=order.orderType,
        limit_price=_price_of(order.lmtPrice),
        stop_price=_price_of(order.auxPrice),
        tif=order.tif,
        parent_id=order.parentId,
        oca_group=order.ocaGroup,
        oca_type=order.ocaType,
        outside_rth=order.outsideRth,
        status=state.status,
        raw=tuple((name, str(getattr(source, name))) for source, name in sources),
    )


def _price_of(value: float | Decimal | None) -> Decimal | None:
    # The wire says 0.0 where an order type has no such price.
    return None if value is None else decimal_of(value) or None


def completed_of(contract: Contract, order: Order, state: OrderState) -> CompletedOrderFact:
    """Return the fact in a completedOrder message."""
    return CompletedOrderFact(
        perm_id=order.permId,
        order_ref=order.orderRef,
        account=order.account,
        symbol=contract.symbol,
        side=side_of(order.action),
        filled=quantity_of(order.filledQuantity),
        status=state.status,
        completed_status=state.completedStatus,
    )


def daily_bar_of(symbol: str, found: BarData) -> Bar:
    """Return a day's bar, stamped at 16:00 in New York; prices and volume exact to the wire.

    Raises:  WireInvalid for a date, price or volume that is none.
    Source:  TWS API: bars of a day are dated yyyyMMdd whatever format is asked for; a client from
             server version 164 on is told volumes in shares.
    """
    prices = [decimal_of(one) for one in (found.open, found.high, found.low, found.close)]
    try:
        day = datetime.strptime(str(found.date), "%Y%m%d").replace(hour=16, tzinfo=_NEW_YORK)
    except ValueError as error:
        raise WireInvalid(f"not a day: {found.date!r}", value=str(found.date)) from error
    end_ns = int(day.timestamp()) * _NS_PER_S
    first, high, low, close = prices
    if first is None or high is None or low is None or close is None:
        raise WireInvalid(f"a bar of {symbol} without a price", symbol=symbol)
    volume = int(quantity_of(found.volume))
    return Bar(symbol, DAY_S, end_ns, first, high, low, close, volume)


def instrument_of(symbol: str, found: list[ContractDetails]) -> Instrument | None:
    """Return the one US stock among the contracts found, or None where it is not one."""
    fits = [
        details
        for details in found
        if details.contract is not None
        and details.contract.secType == "STK"
        and details.contract.currency == "USD"
        and details.contract.symbol == symbol
    ]
    if len({details.contract.conId for details in fits if details.contract}) != 1:
        return None
    details = fits[0]
    contract, increment = details.contract, decimal_of(details.minTick)
    if contract is None or increment is None or increment <= 0:
        return None
    return Instrument(
        symbol=contract.symbol,
        con_id=contract.conId,
        primary_exchange=contract.primaryExchange,
        currency=contract.currency,
        increment=increment,
        name=details.longName,
    )
