"""openOrder, orderStatus, completedOrder, execDetails and commissionReport, field by field.

Rules of this file:
- field order and count follow server versions 176 to 178 and nothing else;
- a caller hands over the ids to say, because a fault script may falsify them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from tradebox.sim.exchange.market_port import SECOND_NS
from tradebox.sim.exchange.orders import Execution, MarginPreview, Order, Status
from tradebox.sim.gateway.layouts import COMPLETED_ORDER_LAYOUT, OPEN_ORDER_LAYOUT, lay_out
from tradebox.sim.gateway.wire import UNSET_DOUBLE, average_text, money_text, price_text

Fields = list[object]

ORDER_STATUS = 3
EXEC_DETAILS = 11
COMMISSION_REPORT = 59

_EASTERN = ZoneInfo("US/Eastern")
_REVISION_ADDED_VERSION = 178
_OPEN_ORDER_ONLY = frozenset({"blockOrder", "optOutSmartRouting"})


@dataclass(frozen=True, slots=True)
class Frame:
    """What every order message of one session has in common."""

    account_id: str
    currency: str
    version: int


def wire_time(at_ns: int) -> str:
    """Return a time as the gateway writes it: date, time and zone."""
    moment = datetime.fromtimestamp(at_ns // SECOND_NS, tz=UTC).astimezone(_EASTERN)
    return moment.strftime("%Y%m%d %H:%M:%S US/Eastern")


def order_status(order: Order, *, perm_id: int, parent_id: int) -> Fields:
    """Return orderStatus (12 fields)."""
    return [
        ORDER_STATUS,
        order.order_id,
        order.status.value,
        order.filled,
        order.remaining,
        average_text(order.notional_micros, order.filled),
        perm_id,
        parent_id,
        price_text(order.last_fill_micros),
        order.client_id,
        order.why_held,
        "0.0",
    ]


def open_order(order: Order, frame: Frame, *, perm_id: int, parent_id: int) -> Fields:
    """Return openOrder (135 fields at 177 and 178, 136 at 176)."""
    values = _open_order_values(order, frame, perm_id, parent_id)
    return lay_out(OPEN_ORDER_LAYOUT, values, frame.version)


def preview_order(order: Order, preview: MarginPreview, frame: Frame) -> Fields:
    """Return the openOrder that answers a whatIf: no order, but numeric margins."""
    values = _open_order_values(order, frame, 0, order.ticket.parent_id)
    amounts = {
        "initMargin": (preview.initial_before, preview.initial_after),
        "maintMargin": (preview.maintenance_before, preview.maintenance_after),
        "equityWithLoan": (preview.equity_before, preview.equity_after),
    }
    for name, (before, after) in amounts.items():
        values[f"{name}Before"] = money_text(before)
        values[f"{name}Change"] = money_text(after - before)
        values[f"{name}After"] = money_text(after)
    values["whatIf"] = "1"
    values["status"] = Status.PRE_SUBMITTED.value
    values["commission"] = money_text(preview.commission_micros)
    values["commissionCurrency"] = frame.currency
    return lay_out(OPEN_ORDER_LAYOUT, values, frame.version)


def completed_order(order: Order, frame: Frame) -> Fields:
    """Return completedOrder (100 fields at 177 and 178, 101 at 176)."""
    values = _order_values(order, frame)
    values.update(
        permId=order.perm_id,
        # A rejected order is listed as cancelled, with its reason.
        status=(Status.FILLED if order.status is Status.FILLED else Status.CANCELLED).value,
        filledQuantity=order.filled,
        parentPermId=order.parent_perm_id,
        completedTime=wire_time(order.done_ns),
        completedStatus=order.done_text,
        shareholder="Not an insider or substantial shareholder",
    )
    for name in _OPEN_ORDER_ONLY & values.keys():
        del values[name]
    return lay_out(COMPLETED_ORDER_LAYOUT, values, frame.version)


def exec_details(request_id: int, execution: Execution, frame: Frame) -> Fields:
    """Return execDetails (32 fields at 178, 31 before)."""
    symbol, currency = execution.symbol, frame.currency
    fields: Fields = [
        EXEC_DETAILS,
        request_id,
        execution.order_id,
        *[execution.con_id, symbol, "STK", "", "0.0", "", "", "SMART", currency, symbol, symbol],
        execution.exec_id,
        wire_time(execution.at_ns),
        frame.account_id,
        "SMART",
        "BOT" if execution.side.sign > 0 else "SLD",
        execution.shares,
        price_text(execution.price_micros),
        execution.perm_id,
        execution.client_id,
        "0",
        execution.cum_quantity,
        average_text(execution.cum_notional_micros, execution.cum_quantity),
        execution.order_ref,
        "",
        "",
        "",
        execution.liquidity,
    ]
    if frame.version >= _REVISION_ADDED_VERSION:
        fields.append("0")
    return fields


def commission_report(execution: Execution, currency: str) -> Fields:
    """Return commissionReport; the profit of an opening fill is unset."""
    realized = execution.realized_micros
    return [
        COMMISSION_REPORT,
        "1",
        execution.exec_id,
        price_text(execution.commission_micros),
        currency,
        UNSET_DOUBLE if realized is None else price_text(realized),
        UNSET_DOUBLE,
        "",
    ]


def _open_order_values(
    order: Order, frame: Frame, perm_id: int, parent_id: int
) -> dict[str, object]:
    values = _order_values(order, frame)
    values.update(
        orderId=order.order_id,
        clientId=order.client_id,
        permId=perm_id,
        parentId=parent_id,
        status=order.status.value,
    )
    return values


def _order_values(order: Order, frame: Frame) -> dict[str, object]:
    ticket = order.ticket
    echo: Mapping[str, str] = ticket.echo
    values: dict[str, object] = dict(echo)
    if ticket.order_type.is_trailing:
        stop = price_text(order.stop_micros or ticket.trail_stop_micros)
        values.update(trailStopPrice=stop, trailStopPriceAgain=stop)
        if ticket.trail_ppm:
            values["trailingPercent"] = price_text(ticket.trail_ppm * 100)
        if ticket.limit_offset_micros:
            values["lmtPriceOffset"] = price_text(ticket.limit_offset_micros)
    values.update(
        conId=ticket.con_id,
        symbol=ticket.symbol,
        currency=frame.currency,
        localSymbol=ticket.symbol,
        tradingClass=ticket.symbol,
        action=ticket.side.value,
        totalQuantity=order.total,
        orderType=ticket.order_type.value,
        lmtPrice=price_text(order.limit_micros),
        auxPrice=price_text(ticket.trail_micros or ticket.trigger_micros),
        tif=ticket.tif.value,
        ocaGroup=order.oca_group,
        ocaType=order.oca_type or 3,
        account=frame.account_id,
        orderRef=ticket.order_ref,
        outsideRth=ticket.outside_rth,
    )
    return values
