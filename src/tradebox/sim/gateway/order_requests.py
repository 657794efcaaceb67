"""Requests about orders: place, change, cancel, and the lists of orders and executions.

Rules of this file:
- a handler reads its message, asks the exchange, and answers; the pushes come by the gateway;
- lists end with their end marker, also when they are empty; the lists of the day are written
  piece by piece, so that nobody's orders wait behind them, and end with what came meanwhile;
- only the owning client id sees, changes or cancels an order, except by the request for all.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from operator import attrgetter
from typing import TypeVar

from tradebox.sim.exchange.orders import Execution, Order, Refusal, Ticket, Tif
from tradebox.sim.faults import Value
from tradebox.sim.gateway.order_messages import (
    Fields,
    commission_report,
    completed_order,
    exec_details,
    open_order,
    order_status,
    preview_order,
    wire_time,
)
from tradebox.sim.gateway.place_order import PlaceOrder, read_place_order
from tradebox.sim.gateway.session import Handler, Session
from tradebox.sim.gateway.tickets import to_ticket
from tradebox.sim.gateway.wire import FieldReader

T = TypeVar("T")
_perm_id: Callable[[Order], object] = attrgetter("perm_id")
_exec_id: Callable[[Execution], object] = attrgetter("exec_id")

READ_ONLY = Refusal(
    321,
    "Error validating request.-'bS' : cause - The API interface is currently in Read-Only mode.",
)
CANCEL_FILLED = "OrderId {} that needs to be cancelled cannot be cancelled, state: Filled."
PRESET_TIF = Refusal(10349, "Order TIF was set to DAY based on order preset.")
OCA_ACCOUNT = Refusal(10224, "Every order of an OCA group must specify the same account.")


def place_order(session: Session, reader: FieldReader) -> None:
    """Take a new order, a change, or a question about one."""
    message = PlaceOrder()
    read_place_order(reader, session.version, message)
    gateway = session.gateway
    instrument = gateway.find_instrument(message.contract)
    ticket = to_ticket(message, instrument, gateway.account_id)
    order_id = message.order_id
    if isinstance(ticket, Refusal):
        session.say_error(order_id, ticket.code, ticket.text)
        return
    if ticket.what_if:
        _preview(session, order_id, ticket)
        return
    where: dict[str, Value] = {"client_id": session.client_id, "order_id": order_id}
    existing = _find_open(session, order_id)
    refusal = _scripted_refusal(session, where, is_change=existing is not None)
    if ticket.oca_group and not message.fields["account"] and refusal is None:
        refusal = OCA_ACCOUNT if gateway.take_fault("oca_account", **where) else None
    if refusal is not None:
        session.say_error(order_id, refusal.code, refusal.text)
        return
    gateway.happen("order" if existing is None else "modify")
    if existing is not None and _is_held_back(session, where, ticket):
        return
    closing = gateway.take_fault("close_after_order", **where)
    if closing and closing["lost"]:
        session.abort()
        return
    if existing is None and gateway.take_fault("preset_tif", **where):
        ticket = replace(ticket, tif=Tif.DAY)
        session.say_error(order_id, PRESET_TIF.code, PRESET_TIF.text)
    delay = gateway.take_fault("delay_ack", **where)
    if delay:
        session.hold(float(delay["delay_s"]))
    exchange, now_ns = gateway.exchange, gateway.now_ns()
    if parts := gateway.take_fault("partial_fills", **where):
        sizes = [int(part) for part in str(parts["sizes"]).split(",") if part.strip().isdecimal()]
        exchange.fill_in_parts(gateway.account_name, session.client_id, order_id, sizes)
    if existing is None and (note := gateway.take_fault("order_code", **where)):
        session.say_error(order_id, int(note["code"]), str(note["text"]))
    exchange.submit(gateway.account_name, session.client_id, order_id, ticket, now_ns)
    if ticket.parent_id and existing is None:
        rejection = gateway.take_fault("reject_child", **where)
        if rejection:
            reason = _refusal(rejection)
            exchange.reject(gateway.account_name, session.client_id, order_id, reason, now_ns)
    if closing:
        session.abort()


def _is_held_back(session: Session, where: Mapping[str, Value], ticket: Ticket) -> bool:
    """Say whether a fault script keeps a change from the order, and do what it does instead."""
    gateway = session.gateway
    if held := gateway.take_fault("hold_modify", **where):
        if held["code"]:
            session.say_error(int(where["order_id"]), int(held["code"]), str(held["text"]))
        return True
    if gateway.take_fault("fork_modify", **where):
        gateway.exchange.fork(
            gateway.account_name,
            session.client_id,
            int(where["order_id"]),
            ticket,
            gateway.now_ns(),
        )
        return True
    return False


def cancel_order(session: Session, reader: FieldReader) -> None:
    """Cancel one order of this client."""
    reader.skip()
    order_id = reader.integer()
    gateway = session.gateway
    where: dict[str, Value] = {"client_id": session.client_id, "order_id": order_id}
    if gateway.take_fault("read_only", client_id=session.client_id):
        session.say_error(order_id, READ_ONLY.code, READ_ONLY.text)
        return
    gateway.happen("cancel")
    if gateway.take_fault("ignore_cancel", **where):
        return
    if _find_open(session, order_id) is not None and gateway.take_fault("cancel_race", **where):
        session.say_error(order_id, 10148, CANCEL_FILLED.format(order_id))
        gateway.exchange.fill_now(
            gateway.account_name, session.client_id, order_id, gateway.now_ns()
        )
        return
    gateway.exchange.cancel(gateway.account_name, session.client_id, order_id, gateway.now_ns())


def global_cancel(session: Session, reader: FieldReader) -> None:
    """Cancel every order of the account."""
    reader.skip()
    gateway = session.gateway
    if gateway.take_fault("read_only", client_id=session.client_id):
        session.say_error(-1, READ_ONLY.code, READ_ONLY.text)
        return
    gateway.exchange.cancel_all(gateway.account_name, gateway.now_ns())


def open_orders(session: Session, reader: FieldReader) -> None:
    """List this client's open orders."""
    reader.skip()
    _list_open(session, is_own_only=True)


def all_open_orders(session: Session, reader: FieldReader) -> None:
    """List every client's open orders."""
    reader.skip()
    _list_open(session, is_own_only=False)


def auto_open_orders(session: Session, reader: FieldReader) -> None:
    """Take note that client 0 binds manual orders; nothing is answered."""
    reader.skip()
    if not reader.flag() or session.client_id == 0:
        return
    session.say_error(-1, 321, "Error validating request: only client 0 can bind orders.")


def completed_orders(session: Session, reader: FieldReader) -> None:
    """List the orders that were done today."""
    reader.flag()
    _list(session, lambda: _say_completed(session))


def executions(session: Session, reader: FieldReader) -> None:
    """List today's executions that pass the filter, each with its commission."""
    reader.skip()
    request_id = reader.integer()
    client_id = reader.integer()
    account_id, since, symbol = reader.text(), reader.text(), reader.text()
    security, exchange, side = reader.text(), reader.text(), reader.text()
    gateway = session.gateway

    def is_wanted(execution: Execution) -> bool:
        return (
            (client_id in (0, execution.client_id))
            and account_id in ("", gateway.account_id)
            and symbol in ("", execution.symbol)
            and security in ("", "STK")
            and exchange in ("", "SMART")
            and _is_side(side, execution)
            and _is_since(since, execution)
        )

    _list(session, lambda: _say_executions(session, request_id, is_wanted))


def next_ids(session: Session, reader: FieldReader) -> None:
    """Say the next order id."""
    reader.skip()
    session.say_next_id()


def say_order(session: Session, order: Order, *, perm_id: int | None = None) -> None:
    """Send openOrder for the order."""
    known = order.perm_id if perm_id is None else perm_id
    parent_id = _parent_id(order)
    session.send(open_order(order, session.frame, perm_id=known, parent_id=parent_id))


def say_status(session: Session, order: Order, *, perm_id: int | None = None) -> None:
    """Send orderStatus for the order."""
    known = order.perm_id if perm_id is None else perm_id
    parent_id = _parent_id(order)
    fields: Fields = order_status(order, perm_id=known, parent_id=parent_id)
    session.send(fields)


ORDER_HANDLERS: dict[int, Handler] = {
    3: place_order,
    4: cancel_order,
    5: open_orders,
    7: executions,
    8: next_ids,
    15: auto_open_orders,
    16: all_open_orders,
    58: global_cancel,
    99: completed_orders,
}


def _list(session: Session, write: Callable[[], Iterator[None]]) -> None:
    if not session.gateway.lists.add(session, 0, write):
        session.say_error(-1, 100, "Max rate of messages per second has been exceeded.")


def _say_completed(session: Session) -> Iterator[None]:
    for order in _to_its_end(session, session.gateway.exchange.completed_orders, _perm_id):
        session.send(completed_order(order, session.frame))
        yield
    session.send_end([102])


def _say_executions(
    session: Session, request_id: int, is_wanted: Callable[[Execution], bool]
) -> Iterator[None]:
    for execution in _to_its_end(session, session.gateway.exchange.executions, _exec_id):
        if is_wanted(execution):
            session.send(exec_details(request_id, execution, session.frame))
            session.send(commission_report(execution, session.frame.currency))
        yield
    session.send_end([55, 1, request_id])


def _to_its_end(
    session: Session, listed: Callable[[str, int], list[T]], key: Callable[[T], object]
) -> Iterator[T]:
    """Yield what a list holds, and then what has come to it meanwhile, each once."""
    gateway, said = session.gateway, set[object]()
    while new := [
        one for one in listed(gateway.account_name, gateway.now_ns()) if key(one) not in said
    ]:
        said.update(map(key, new))
        yield from new


def _list_open(session: Session, *, is_own_only: bool) -> None:
    gateway = session.gateway
    for order in gateway.exchange.open_orders(gateway.account_name):
        if not is_own_only or order.client_id == session.client_id:
            say_order(session, order)
            say_status(session, order)
    session.send_end([53, 1])


def _preview(session: Session, order_id: int, ticket: Ticket) -> None:
    gateway = session.gateway
    preview = gateway.exchange.preview(gateway.account_name, ticket)
    if isinstance(preview, Refusal):
        session.say_error(order_id, preview.code, preview.text)
        return
    order = Order(
        gateway.account_name,
        session.client_id,
        order_id,
        ticket,
        gateway.now_ns(),
        total=ticket.quantity,
    )
    session.send(preview_order(order, preview, session.frame))


def _parent_id(order: Order) -> int:
    return order.ticket.parent_id if order.parent_perm_id else 0


def _find_open(session: Session, order_id: int) -> Order | None:
    gateway = session.gateway
    return gateway.exchange.find_open(gateway.account_name, session.client_id, order_id)


def _scripted_refusal(
    session: Session, where: Mapping[str, Value], *, is_change: bool
) -> Refusal | None:
    """Return the refusal that a fault script wants here, or None."""
    gateway = session.gateway
    if gateway.take_fault("read_only", client_id=session.client_id):
        return READ_ONLY
    scripted = gateway.take_fault("refuse_modify" if is_change else "refuse_order", **where)
    return _refusal(scripted) if scripted else None


def _refusal(arguments: Mapping[str, Value]) -> Refusal:
    return Refusal(int(arguments["code"]), str(arguments["text"]))


def _is_side(side: str, execution: Execution) -> bool:
    return side in ("", execution.side.value, "BOT" if execution.side.sign > 0 else "SLD")


def _is_since(since: str, execution: Execution) -> bool:
    """Compare with a filter time `YYYYMMDD-HH:MM:SS` or with a space, date alone included."""
    if not since:
        return True
    wanted = "".join(part for part in since if part.isdecimal())[:14].ljust(14, "0")
    happened = "".join(part for part in wire_time(execution.at_ns) if part.isdecimal())
    return happened >= wanted
