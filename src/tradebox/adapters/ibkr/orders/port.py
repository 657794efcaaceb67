"""The order port on ib_async's socket client: our own requests, END markers and deadlines.

Rules of this file:
- one unkeyed request at a time; its answer is complete at its own END, counted, so that a late
  END of an abandoned read never completes a later one; where the gateway says that it dropped a
  message, an END may never come and the count is worth nothing: the connection ends;
- orders are not throttled here, the gate counts them; questions about stocks wait for their turn,
  so that however many are asked, the gateway's pace is left to orders; looks wait for the same;
- every connect builds a new client, so that nothing of the last session can speak again;
- a new connection reports its end once, whatever ended it.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, tzinfo
from typing import Any, Final

from ib_async.contract import Contract, ContractDetails
from ib_async.objects import BarData, ExecutionFilter

from tradebox.adapters.ibkr import wire
from tradebox.adapters.ibkr.orders.decoder import FactDecoder, FactReader
from tradebox.adapters.ibkr.orders.sliced_client import SlicedClient
from tradebox.adapters.ibkr.orders.templates import TicketTexts
from tradebox.domain.market import Bar, Instrument
from tradebox.errors import BrokerUnavailable, ClientIdInUse, HeartbeatMissed
from tradebox.execution.buckets import Bucket
from tradebox.execution.pace import (
    BRIEF_LOOK_MESSAGES,
    KEPT_FOR_LOOKS,
    KEPT_FOR_ORDERS,
    KEPT_FROM_PRESSING_LOOKS,
    LOOK_MESSAGES,
    MESSAGES_PER_S_MAX,
    Pace,
)
from tradebox.ports.orders import (
    BrokerFact,
    BrokerSnapshot,
    CodeFact,
    CompletedOrderFact,
    ExecutionFact,
    LinkClosed,
    LinkInfo,
    OpenOrderFact,
    OrderStatusFact,
    OrderTicket,
    PositionFact,
)
from tradebox.supervision.clock import Clock

_FIRST_REQUEST_ID: Final = 1_000_000_000
"""Requests count far above orders, so that a code names one of them without doubt."""
_CODE_CLIENT_ID_IN_USE: Final = 326
_CODE_DROPPED: Final = 100
"""TWS API: more messages than it takes in a second; what was dropped it does not say."""
_WARNING_CODES: Final = range(2100, 2200)
"""TWS API: a warning carries the id of the request that it is about, which goes on."""
_HEARTBEAT_GAP_S: Final = 1.0
"""TWS API: a second reqCurrentTime within a second is not answered."""
_NS_PER_S: Final = 1_000_000_000
QUESTIONS_PER_S: Final = 15
"""TWS API: beyond 50 messages a second it drops what comes; the others are looks and orders."""


class IbOrderPort:
    """One connection to one gateway under one client id. Implements ports.orders.OrderPort."""

    def __init__(
        self,
        host: str,
        port: int,
        client_id: int,
        clock: Clock,
        *,
        connect_deadline_s: float = 5.0,
        questions_per_s: int = QUESTIONS_PER_S,
        messages_per_s_max: int = MESSAGES_PER_S_MAX,
        default_zone: tzinfo = UTC,
    ) -> None:
        self._address = (host, port)
        self._client_id = client_id
        self._clock = clock
        self._connect_deadline_s = connect_deadline_s
        self._zone = default_zone
        self._session: _Session | None = None
        self._lock = asyncio.Lock()
        self._questions = Bucket(questions_per_s, 1.0)
        self._pace = Pace(messages_per_s_max)
        self._queue = asyncio.Lock()
        self._heartbeat_at_s = float("-inf")

    async def connect(self, on_fact: Callable[[BrokerFact], None]) -> LinkInfo:
        """Connect, shake hands, and return what the gateway said.

        Raises:  BrokerUnavailable where nothing answers within the deadline; ClientIdInUse.
        """
        self.close()
        session = _Session(on_fact, self._zone, lambda: self._pace.note(self._clock.now()))
        self._session = session
        host, port = self._address
        try:
            async with asyncio.timeout(self._connect_deadline_s):
                await session.open(host, port, self._client_id)
        except (OSError, TimeoutError) as error:
            self.close()
            raise BrokerUnavailable(
                f"the gateway at {host}:{port} does not answer", host=host, port=port
            ) from error
        except (BrokerUnavailable, ClientIdInUse):
            self.close()
            raise
        return LinkInfo(
            accounts=session.reader.accounts,
            next_valid_id=session.reader.next_valid_id,
            server_version=session.client.serverVersion(),
            host=host,
            port=port,
        )

    async def snapshot(self, deadline_s: float, *, is_whole: bool = True) -> BrokerSnapshot:
        """Read open (all clients), completed, executions and positions, each to its END.

        is_whole: False reads open orders and positions alone.

        Raises:  BrokerUnavailable where one END is missing at the deadline.
        """
        session = self._live()
        client = session.client
        request_id = session.new_request_id()
        filters = ExecutionFilter()
        part = "open_orders"
        try:
            async with asyncio.timeout(deadline_s), self._lock:
                with session.collecting() as facts:
                    await session.ask(part, client.reqAllOpenOrders)
                    if is_whole:
                        part = "completed"
                        await session.ask(part, lambda: client.reqCompletedOrders(False))
                        part = "executions"
                        await session.ask(
                            part, lambda: client.reqExecutions(request_id, filters), request_id
                        )
                    part = "positions"
                    await session.ask(part, client.reqPositions)
        except TimeoutError as error:
            raise BrokerUnavailable(f"no END of {part} in {deadline_s} s", part=part) from error
        return BrokerSnapshot(
            open_orders=tuple(fact for fact in facts if isinstance(fact, OpenOrderFact)),
            order_statuses=tuple(fact for fact in facts if isinstance(fact, OrderStatusFact)),
            completed=tuple(fact for fact in facts if isinstance(fact, CompletedOrderFact)),
            executions=tuple(fact for fact in facts if isinstance(fact, ExecutionFact)),
            positions=tuple(fact for fact in facts if isinstance(fact, PositionFact)),
            taken_mono_ns=time.monotonic_ns(),
            is_whole=is_whole,
        )

    async def heartbeat(self, deadline_s: float) -> int:
        """Return the gateway's clock in ns UTC. Raises HeartbeatMissed at the deadline."""
        wait_s = self._heartbeat_at_s + _HEARTBEAT_GAP_S - self._clock.now()
        if wait_s > 0:
            await self._clock.sleep(wait_s)
        session = self._live()
        self._heartbeat_at_s = self._clock.now()
        try:
            async with asyncio.timeout(deadline_s):
                seconds = await session.ask("current_time", session.client.reqCurrentTime)
        except TimeoutError as error:
            raise HeartbeatMissed(
                f"no answer to a heartbeat in {deadline_s} s", deadline_s=deadline_s
            ) from error
        assert isinstance(seconds, int), seconds
        return seconds * _NS_PER_S

    async def instrument(self, symbol: str, deadline_s: float) -> Instrument | None:
        """Return the contract of a US stock, or None where the broker knows none.

        The deadline is the answer's, from when the question has left.
        """
        await self._take_turn()
        session = self._live()
        request_id = session.new_request_id()
        question = Contract(secType="STK", symbol=symbol, exchange="SMART", currency="USD")
        try:
            async with asyncio.timeout(deadline_s):
                found = await session.ask(
                    "contracts",
                    lambda: session.client.reqContractDetails(request_id, question),
                    request_id,
                )
        except TimeoutError as error:
            raise BrokerUnavailable(
                f"no contract of {symbol} in {deadline_s} s", symbol=symbol
            ) from error
        details = [item for item in _listed(found) if isinstance(item, ContractDetails)]
        return wire.instrument_of(symbol, details)

    async def daily_bars(self, symbol: str, deadline_s: float) -> tuple[Bar, ...]:
        """Return a year of a US stock's days, oldest first, the running one too; or none."""
        await self._take_turn()
        session = self._live()
        request_id = session.new_request_id()
        question = Contract(secType="STK", symbol=symbol, exchange="SMART", currency="USD")

        def request() -> None:
            session.client.reqHistoricalData(
                request_id, question, "", "1 Y", "1 day", "TRADES", True, 1, False, []
            )

        try:
            async with asyncio.timeout(deadline_s):
                found = await session.ask("bars", request, request_id)
        except TimeoutError as error:
            raise BrokerUnavailable(
                f"no past bars of {symbol} in {deadline_s} s", symbol=symbol
            ) from error
        return tuple(
            wire.daily_bar_of(symbol, item) for item in _listed(found) if isinstance(item, BarData)
        )

    async def _take_turn(self) -> None:
        """Wait, behind those who came before, until a question may be written."""
        async with self._queue:
            while wait_s := self._question_wait_s(self._clock.now()):
                await self._clock.sleep(wait_s)
            self._questions.take(1, self._clock.now())

    def _question_wait_s(self, now_s: float) -> float:
        wait_s = self._pace.wait_s(1, now_s, KEPT_FOR_ORDERS + KEPT_FOR_LOOKS)
        return max(wait_s, self._questions.wait_s(now_s))

    def room(self) -> int:
        """Return how many messages may be written now, by the gateway's pace."""
        return self._pace.room(self._clock.now())

    def look_wait_s(self, *, is_whole: bool, is_pressing: bool) -> float:
        """Return how long a snapshot is to wait, so that orders keep their share of the pace."""
        kept = KEPT_FROM_PRESSING_LOOKS if is_pressing else KEPT_FOR_ORDERS
        count = LOOK_MESSAGES if is_whole else BRIEF_LOOK_MESSAGES
        return self._pace.wait_s(count, self._clock.now(), kept)

    def watch_account(self, account_id: str) -> None:
        """Ask for the account's money to be streamed as AccountValueFacts."""
        session = self._live()
        session.write(lambda: session.client.reqAccountUpdates(True, account_id))

    def prepare(self, ticket: OrderTicket) -> None:
        """Encode what `send` of the same ticket will write; nothing leaves."""
        session = self._session
        if session is not None and not session.is_over:
            with suppress(ConnectionError):  # the socket is gone: `send` will say so
                session.prepared[ticket.order_id] = (ticket, session.encoded(ticket))

    def send(self, ticket: OrderTicket) -> None:
        """Write a new order or a modify. Raises BrokerUnavailable if the socket is gone."""
        session = self._live()
        known, text = session.prepared.pop(ticket.order_id, (None, ""))
        session.write(lambda: session.send(text if known == ticket else session.encoded(ticket)))

    def ask_margin(self, ticket: OrderTicket) -> None:
        """Ask what an order would bind; nothing is placed. Raises BrokerUnavailable."""
        session = self._live()
        contract, order = wire.contract_of(ticket.instrument), wire.what_if_of(ticket)
        assert order.whatIf, order
        session.write(lambda: session.client.placeOrder(ticket.order_id, contract, order))

    def cancel(self, order_id: int) -> None:
        """Write a cancel. Raises BrokerUnavailable if the socket is gone."""
        session = self._live()
        session.write(lambda: session.cancel(order_id))

    def close(self) -> None:
        """Drop the connection; orders at the broker stay as they are."""
        session, self._session = self._session, None
        if session is not None:
            session.end("closed by us")

    def _live(self) -> "_Session":
        session = self._session
        if session is None or session.is_over:
            raise BrokerUnavailable("the order link is down", address=self._address)
        return session


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []


class _Session:
    """One connection, from its first byte to its end."""

    def __init__(
        self,
        on_fact: Callable[[BrokerFact], None],
        zone: tzinfo,
        on_write: Callable[[], None],
    ) -> None:
        self._on_fact = on_fact
        self._on_write = on_write
        self.reader = FactReader(self._take, self._ended, self.end)
        self.client: Any = SlicedClient(self.reader)
        self.client.MaxRequests = 0
        self.prepared: dict[int, tuple[OrderTicket, str]] = {}
        self._texts = TicketTexts(self.client.encoded)
        self.client.decoder = FactDecoder(self.reader, zone)
        self.is_over = False
        self._is_ready = False
        self._gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asked: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        self._waiting: dict[tuple[str, int], asyncio.Future[object]] = {}
        self._collected: list[BrokerFact] | None = None
        self._refusal: ClientIdInUse | None = None
        self._request_id = _FIRST_REQUEST_ID

    async def open(self, host: str, port: int, client_id: int) -> None:
        """Shake hands, or raise as soon as the gateway refuses."""
        shaking = asyncio.ensure_future(self.client.connectAsync(host, port, client_id, 0))
        try:
            await asyncio.wait({shaking, self._gone}, return_when=asyncio.FIRST_COMPLETED)
            if self._refusal is not None:
                raise self._refusal
            if not shaking.done():
                raise BrokerUnavailable(self._gone.result(), host=host, port=port)
            await shaking
        finally:
            if not shaking.done():
                shaking.cancel()
                with suppress(asyncio.CancelledError, OSError):
                    await shaking
        # Bytes leave when they are written, not when the loop has time for them.
        self.client.conn.transport.set_write_buffer_limits(high=0)
        self._is_ready = True

    def encoded(self, ticket: OrderTicket) -> str:
        """Return the message of an order as the library writes it. Raises ConnectionError."""
        self._check_connected()
        return self._texts.of(ticket)

    def send(self, message: str) -> None:
        """Write a message; the library would drop it without a word where the socket is gone."""
        self._check_connected()
        self.client.sendMsg(message)

    def cancel(self, order_id: int) -> None:
        """Write a cancel. Raises ConnectionError."""
        self._check_connected()
        self.client.cancelOrder(order_id)

    def _check_connected(self) -> None:
        # The end of a connection is told behind what came before it, which may wait for its turn.
        if not (self.client.isConnected() and self.client.conn.isConnected()):
            raise ConnectionError("not connected")

    def new_request_id(self) -> int:
        self._request_id += 1
        return self._request_id

    @contextmanager
    def collecting(self) -> Iterator[list[BrokerFact]]:
        """Keep every fact that comes inside; one reader at a time."""
        assert self._collected is None, "one read at a time"
        self._collected = []
        try:
            yield self._collected
        finally:
            self._collected = None

    async def ask(self, kind: str, request: Callable[[], None], request_id: int = -1) -> object:
        """Write a request and wait for its own END."""
        self._asked[kind] += 1
        key = (kind, request_id if request_id != -1 else self._asked[kind])
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting[key] = future
        try:
            self.write(request)
            waiting: set[asyncio.Future[Any]] = {future, self._gone}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not future.done():
                raise BrokerUnavailable(self._gone.result(), part=kind)
            return future.result()
        finally:
            self._waiting.pop(key, None)

    def write(self, request: Callable[[], None]) -> None:
        if self.is_over:
            raise BrokerUnavailable(self._gone.result())
        self._on_write()
        try:
            request()
        except ConnectionError as error:
            raise BrokerUnavailable("the socket to the gateway is gone") from error

    def _take(self, fact: BrokerFact) -> None:
        if self.is_over:
            return
        if isinstance(fact, CodeFact) and fact.code == _CODE_CLIENT_ID_IN_USE:
            self._refusal = ClientIdInUse(fact.text, code=fact.code)
        if self._collected is not None:
            self._collected.append(fact)
        self._on_fact(fact)

    def _ended(self, kind: str, request_id: int, value: object) -> None:
        if kind == "error":
            assert isinstance(value, int), value
            if value == _CODE_DROPPED and self._counts_answers():
                self.end("the gateway dropped a message while an answer was awaited")
            else:
                self._fail(request_id, value)
            return
        if request_id == -1:
            self._answered[kind] += 1
            request_id = self._answered[kind]
        future = self._waiting.get((kind, request_id))
        if future is not None and not future.done():
            future.set_result(value)

    def _counts_answers(self) -> bool:
        """Say whether lists are being read, or an answer is awaited that names no request."""
        is_counted = any(number < _FIRST_REQUEST_ID for _kind, number in self._waiting)
        return is_counted or self._collected is not None

    def _fail(self, request_id: int, code: int) -> None:
        """Answer a question about a stock with nothing; a warning is followed by the answer."""
        if code in _WARNING_CODES:
            return
        for kind in ("contracts", "bars"):
            future = self._waiting.get((kind, request_id))
            if future is not None and not future.done():
                future.set_result([])

    def end(self, reason: str) -> None:
        """Close, and say so once."""
        if self.is_over:
            return
        self.is_over = True
        if not self._gone.done():
            self._gone.set_result(reason)
        self.client.disconnect()
        if self._is_ready:
            self._on_fact(LinkClosed(reason))
