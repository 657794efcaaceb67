"""The gateway: one listening port for one account of the exchange.

Rules of this file:
- it holds no order state: the exchange does; it says what the exchange pushes to whom it concerns;
- order messages go to the owner's session, and to client 0 and the master client;
- one timer, once a second, lets time pass in the exchange and sends what changes slowly.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tradebox.errors import AddressInUse
from tradebox.sim.exchange.engine import Exchange
from tradebox.sim.exchange.market_port import Instrument
from tradebox.sim.exchange.orders import (
    AccountChanged,
    CommissionCharged,
    ExchangeEvent,
    Execution,
    Order,
    OrderError,
    OrderExecuted,
    OrderOpened,
    OrderStatusChanged,
    OrderType,
    Status,
)
from tradebox.sim.faults import FaultBoard, Value
from tradebox.sim.gateway.account_requests import (
    ACCOUNT_HANDLERS,
    push_account,
    push_multi,
    push_positions,
    push_profit,
    push_summary,
)
from tradebox.sim.gateway.faults import Faults
from tradebox.sim.gateway.follow_requests import FOLLOW_HANDLERS
from tradebox.sim.gateway.followers import Followers
from tradebox.sim.gateway.market_requests import MARKET_HANDLERS
from tradebox.sim.gateway.order_messages import commission_report, exec_details
from tradebox.sim.gateway.order_requests import ORDER_HANDLERS, say_order, say_status
from tradebox.sim.gateway.reference_requests import REFERENCE_HANDLERS
from tradebox.sim.gateway.scripts import Scripts
from tradebox.sim.gateway.session import Handler, Registry, Session
from tradebox.sim.gateway.streams import MarketStreams
from tradebox.sim.gateway.tick_requests import TICK_HANDLERS
from tradebox.sim.gateway.work_queue import WorkQueue

CONNECTIONS_MAX = 512
CLIENTS_MAX = 32
BEAT_S = 1.0
SLOW_BEATS = 30
UNKNOWN_ID_STEP = 1_000_000


class TwsGateway:
    """Serves one account of the exchange to TWS API clients.

    messages_per_s_max: what a client may send; 0: as much as it likes.
    keeps_time: lets time pass in the exchange; not where somebody else does.
    Holds: orders, positions and ids outlive every connection; no client's bytes harm another's.
    """

    def __init__(
        self,
        exchange: Exchange,
        account_name: str,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        faults: Faults | None = None,
        master_client_id: int = -1,
        messages_per_s_max: int = 0,
        keeps_time: bool = True,
    ) -> None:
        self.exchange = exchange
        self.account_name = account_name
        self.account_id = exchange.account_id(account_name)
        self.faults: FaultBoard = faults or Faults()
        self.streams = MarketStreams(exchange.market.day)
        self.followers = Followers()
        self.work, self.lists = WorkQueue(), WorkQueue()
        instruments = exchange.market.symbols()
        self._by_symbol = {instrument.symbol: instrument for instrument in instruments}
        self._by_id = {instrument.con_id: instrument for instrument in instruments}
        self.increments = sorted({instrument.increment_micros for instrument in instruments})
        self.messages_per_s_max = messages_per_s_max
        self._keeps_time = keeps_time
        self._host, self._port = host, port
        self.master_client_id = master_client_id
        self._connections: set[Session] = set()
        self._clients: dict[int, Session] = {}
        self._server: asyncio.Server | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._beats = 0
        self._scripts = Scripts(self)
        self.happen: Callable[[str], None] = self.faults.happen
        self.acted_ns: Callable[[], int] = self.now_ns
        """The market time of what a fault script lets the broker do."""
        self._detachers: list[Callable[[], None]] = []
        self._handlers: dict[int, Handler] = {
            **ORDER_HANDLERS,
            **ACCOUNT_HANDLERS,
            **MARKET_HANDLERS,
            **FOLLOW_HANDLERS,
            **REFERENCE_HANDLERS,
            **TICK_HANDLERS,
        }

    async def start(self) -> tuple[str, int]:
        """Listen, and return the address.

        Raises: AddressInUse if the port is taken or cannot be bound.
        """
        loop = asyncio.get_running_loop()
        registry = Registry(self._admit, self._enroll, self._dismiss)
        try:
            self._server = await loop.create_server(
                lambda: Session(self, registry, self._handlers), self._host, self._port
            )
        except OSError as error:
            name = f"gateway_{self.account_name}"
            raise AddressInUse(
                f"port {self._port} for {name} cannot be bound ({error.strerror}):"
                " give another one",
                field=name,
                value=self._port,
            ) from error
        self._detachers = [
            self.exchange.attach(self.account_name, self._on_exchange),
            self.exchange.market.subscribe(self.streams.on_event),
            self.exchange.market.subscribe(self.followers.on_event),
            self.exchange.market.listen_halts(self._on_halt),
            self.faults.listen(self._scripts.on_fault),
        ]
        self._beat = loop.call_later(BEAT_S, self._on_beat)
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    async def stop(self) -> None:
        """Close every connection and stop listening; the orders stay in the exchange."""
        for detach in self._detachers:
            detach()
        self._detachers = []
        self.work.stop()
        self.lists.stop()
        if self._beat is not None:
            self._beat.cancel()
        if self._server is None:
            return
        self._server.close()
        for session in tuple(self._connections):
            session.close()
        await self._server.wait_closed()
        self._server = None

    # -- for the sessions -----------------------------------------------------------------

    def now_ns(self) -> int:
        """Return the market time."""
        return self.exchange.market.clock.now_ns()

    def real_s(self) -> float:
        """Return real, monotonic seconds."""
        return asyncio.get_running_loop().time()

    def _admit(self, session: Session) -> bool:
        """Take a new connection, if there is room."""
        if len(self._connections) >= CONNECTIONS_MAX or self._scripts.is_down:
            return False
        self._connections.add(session)
        return True

    def _enroll(self, session: Session, client_id: int) -> bool:
        """Give a client id to a connection, if it is free."""
        if client_id in self._clients or len(self._clients) >= CLIENTS_MAX:
            return False
        self._clients[client_id] = session
        return True

    def _dismiss(self, session: Session) -> None:
        """Forget a connection."""
        self._connections.discard(session)
        self.streams.forget(session)
        self.followers.forget(session)
        self.work.forget(session)
        self.lists.forget(session)
        if self._clients.get(session.client_id) is session:
            del self._clients[session.client_id]

    def take_fault(self, name: str, **context: Value) -> Mapping[str, Value] | None:
        """Return the arguments of a set fault that fits here."""
        return self.faults.take(name, account=self.account_name, **context)

    def instrument(self, symbol: str) -> Instrument | None:
        """Return the instrument of a symbol."""
        return self._by_symbol.get(symbol)

    def instrument_by_id(self, con_id: int) -> Instrument | None:
        """Return the instrument of a contract id."""
        return self._by_id.get(con_id)

    def find_instrument(self, contract: Mapping[str, str]) -> Instrument | None:
        """Return the stock that a contract names by id or by symbol."""
        con_id = contract["conId"].strip()
        if con_id.isdecimal() and int(con_id):
            return self._by_id.get(int(con_id))
        if contract["secType"] not in ("STK", ""):
            return None
        symbol = contract["symbol"] or contract["localSymbol"]
        instrument = self._by_symbol.get(symbol)
        if instrument is None or contract["currency"] not in ("", instrument.currency):
            return None
        return instrument

    # -- pushes ---------------------------------------------------------------------------

    def _listeners_of(self, client_id: int) -> list[Session]:
        wanted = dict.fromkeys((client_id, 0, self.master_client_id))
        return [self._clients[number] for number in wanted if number in self._clients]

    def sessions(self) -> Sequence[Session]:
        """Return the connections that have a client id."""
        return tuple(self._clients.values())

    def _on_exchange(self, events: Sequence[ExchangeEvent]) -> None:
        if self._scripts.passes(events):
            self.push(events)
        if any(isinstance(event, OrderExecuted) for event in events):
            self.happen("fill")

    def push(self, events: Sequence[ExchangeEvent]) -> None:
        """Say events to whom they concern."""
        for event in self._reordered(events):
            match event:
                case OrderOpened(order=order, is_ack=is_ack):
                    self._push_order(order, is_ack=is_ack)
                case OrderStatusChanged(order=order, is_ack=is_ack):
                    self._push_status(order, is_ack=is_ack)
                case OrderExecuted(execution=execution):
                    self._push_execution(execution)
                case CommissionCharged(execution=execution):
                    for session in self._listeners_of(execution.client_id):
                        session.send(commission_report(execution, session.frame.currency))
                case OrderError():
                    owner = self._clients.get(event.client_id)
                    if owner is not None:
                        owner.say_error(event.order_id, event.code, event.text)
                case AccountChanged():
                    self._push_account()

    def _push_order(self, order: Order, *, is_ack: bool) -> None:
        where: dict[str, Value] = {"client_id": order.client_id, "order_id": order.order_id}
        if is_ack and self.take_fault("drop_ack", **where):
            return
        perm_id = self._said_perm_id(order, where) if is_ack else None
        for session in self._listeners_of(order.client_id):
            say_order(session, order, perm_id=perm_id)

    def _push_status(self, order: Order, *, is_ack: bool) -> None:
        where: dict[str, Value] = {"client_id": order.client_id, "order_id": order.order_id}
        if is_ack and self.take_fault("drop_ack", **where):
            return
        if order.status is Status.FILLED and self.take_fault("omit_fill_status", **where):
            return
        perm_id = self._said_perm_id(order, where) if is_ack else None
        repeated = self.take_fault("duplicate_status", **where)
        for session in self._listeners_of(order.client_id):
            for _ in range(int(repeated["times"]) if repeated else 1):
                say_status(session, order, perm_id=perm_id)

    def _said_perm_id(self, order: Order, where: Mapping[str, Value]) -> int | None:
        """Return the permId that a fault script wants to be said, or None."""
        if self.take_fault("perm_id_zero", **where):
            return 0
        is_double = self.take_fault("double_perm_id", **where)
        return order.perm_id - 1 if is_double else None

    def _push_execution(self, execution: Execution) -> None:
        where: dict[str, Value] = {
            "client_id": execution.client_id,
            "order_id": execution.order_id,
        }
        said = execution
        if self.take_fault("unknown_order_id", **where):
            said = replace(execution, order_id=execution.order_id + UNKNOWN_ID_STEP)
        for session in self._listeners_of(execution.client_id):
            session.send(exec_details(-1, said, session.frame))

    def _push_account(self) -> None:
        for session in self._clients.values():
            push_positions(session)
            push_account(session)

    def _reordered(self, events: Sequence[ExchangeEvent]) -> list[ExchangeEvent]:
        """Return the events as they are, or fills behind their status where a fault says so."""
        ordered = self._statuses_turned(self._without_instant(list(events)))
        events = tuple(ordered)
        for index, event in enumerate(events):
            if not isinstance(event, OrderExecuted):
                continue
            execution = event.execution
            where: dict[str, Value] = {
                "client_id": execution.client_id,
                "order_id": execution.order_id,
            }
            if self.take_fault("status_before_fill", **where):
                behind = next(
                    position
                    for position, other in enumerate(events[index:], start=index)
                    if isinstance(other, CommissionCharged)
                )
                ordered[index:behind] = [*ordered[index + 1 : behind], event]
        return ordered

    def _without_instant(self, events: list[ExchangeEvent]) -> list[ExchangeEvent]:
        """Return the events without the status of a market order that fills as it arrives."""
        if self.exchange.settings.instant_fill_status == "said":
            return events
        arrived = {
            event.order.perm_id
            for event in events
            if isinstance(event, OrderOpened)
            and event.is_ack
            and event.order.ticket.order_type is OrderType.MKT
        }
        return [
            event
            for event in events
            if not (
                isinstance(event, OrderStatusChanged)
                and event.order.status is Status.FILLED
                and event.order.perm_id in arrived
            )
        ]

    def _statuses_turned(self, events: list[ExchangeEvent]) -> list[ExchangeEvent]:
        """Return the events with an order's statuses backwards where a fault says so."""
        places: dict[int, list[int]] = {}
        for index, event in enumerate(events):
            if isinstance(event, OrderStatusChanged):
                places.setdefault(event.order.perm_id, []).append(index)
        for indices in places.values():
            first = events[indices[0]]
            assert isinstance(first, OrderStatusChanged)
            order = first.order
            where: dict[str, Value] = {"client_id": order.client_id, "order_id": order.order_id}
            if len(indices) > 1 and self.take_fault("reorder_status", **where):
                turned = [events[index] for index in reversed(indices)]
                for index, event in zip(indices, turned, strict=True):
                    events[index] = event
        return events

    def _on_halt(self, symbol: str) -> None:
        is_halted = self.exchange.market.is_halted(symbol)
        self.streams.on_halt(symbol, is_halted=is_halted)

    # -- time and scripts -----------------------------------------------------------------

    def _on_beat(self) -> None:
        self._beat = asyncio.get_running_loop().call_later(BEAT_S, self._on_beat)
        if self._keeps_time:
            self.exchange.on_time(self.now_ns())
            self.faults.tick()
        self._scripts.look()
        self.followers.on_beat(self.acted_ns())
        self.streams.on_beat(self.now_ns())
        self._beats += 1
        for session in tuple(self._clients.values()):
            for request_id in tuple(session.profits):
                push_profit(session, request_id)
            if self._beats % SLOW_BEATS == 0:
                push_account(session)
                for request_id in tuple(session.summaries):
                    push_summary(session, request_id)
                for request_id in tuple(session.tag_updates):
                    push_multi(session, request_id)
