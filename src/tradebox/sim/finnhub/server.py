"""The sockets of the Finnhub stand-in: one port for REST and for the stream.

Rules of this file:
- a second stream on the one key ends both, as at the real vendor;
- prints are collected while the market delivers and sent after its turn, so that the exchange has
  always seen a print before any client of the vendor;
- no client can stop another: each has its own writer, and a reader that is too slow is dropped.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tradebox.errors import AddressInUse
from tradebox.sim.calls import KeptCalls
from tradebox.sim.closing import check_close_code
from tradebox.sim.exchange.market_port import MarketEvent, Trade
from tradebox.sim.faults import FaultBoard, Value
from tradebox.sim.finnhub.rest import Answer, Rest
from tradebox.sim.finnhub.stream import Stream
from tradebox.sim.market.market import Market
from tradebox.supervision.clock import Clock

PING_PERIOD_S = 60.0
MESSAGE_BYTES_MAX = 64 * 1024
_QUIET = logging.getLogger("tradebox.sim.finnhub.sockets")
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


class _Client:
    """A stream and its socket."""

    def __init__(self, socket: ServerConnection, faults: FaultBoard) -> None:
        self.socket = socket
        self.stream = Stream(faults)
        self.wake = asyncio.Event()

    def abort(self) -> None:
        """Reset the connection: no closing handshake."""
        self.socket.transport.abort()


class FinnhubServer:
    """Finnhub for one key on one loopback port."""

    def __init__(
        self,
        market: Market,
        key: str,
        clock: Clock,
        faults: FaultBoard,
        host: str = "127.0.0.1",
        port: int = 0,
        wall_s: Callable[[], float] = time.time,
        calls: KeptCalls | None = None,
    ) -> None:
        self._host, self._port = host, port
        self._market = market
        self._key = key
        self._clock = clock
        self._faults = faults
        self._wall_s = wall_s
        self._rest = Rest(market, faults, key, calls or KeptCalls())
        self._clients: set[_Client] = set()
        self._trades: list[Trade] = []
        self._server: Server | None = None
        self._ends: list[Callable[[], None]] = []
        self._closing: set[asyncio.Task[None]] = set()
        self.sent_frames = 0
        faults.check_by(_check)

    async def start(self) -> tuple[str, int]:
        """Listen; subscribe to the market and to the fault board. Returns the address.

        Raises: AddressInUse if the port is taken.
        """
        try:
            self._server = await serve(
                self._serve,
                self._host,
                self._port,
                process_request=self._on_request,
                compression=None,
                ping_interval=None,
                close_timeout=1,
                max_size=MESSAGE_BYTES_MAX,
                max_queue=16,
                logger=_QUIET,
                server_header=None,
            )
        except OSError as error:
            raise AddressInUse(
                f"port {self._port} for finnhub cannot be bound ({error.strerror}):"
                " give another one",
                field="finnhub",
                value=self._port,
            ) from error
        self._ends = [self._market.subscribe(self._on_market), self._faults.listen(self._on_fault)]
        bound: tuple[str, int] = next(iter(self._server.sockets)).getsockname()[:2]
        return bound

    async def stop(self) -> None:
        """End every stream and close the port."""
        for end in self._ends:
            end()
        self._ends = []
        if self._server is not None:
            self._server.close()
            self._drop_all()
            await self._server.wait_closed()
            self._server = None
        await asyncio.gather(*self._closing)

    def flush(self) -> None:
        """Send what the market's turn brought, and what is kept back no longer."""
        if not self._trades and not any(one.stream.is_holding for one in self._clients):
            return
        trades, self._trades = self._trades, []
        for client in tuple(self._clients):
            client.stream.on_trades(trades)
            self._wake(client)

    def _on_market(self, event: MarketEvent) -> None:
        if self._clients and isinstance(event, Trade):
            self._trades.append(event)

    def _on_fault(self, name: str, arguments: Mapping[str, Value]) -> None:
        if name == "drop_connection":
            self._drop_all()
        elif name == "close_connection":
            code = int(arguments["code"])
            for client in tuple(self._clients):
                closing = asyncio.ensure_future(client.socket.close(code))
                self._closing.add(closing)
                closing.add_done_callback(self._closing.discard)

    def _drop_all(self) -> None:
        for client in tuple(self._clients):
            self._clients.discard(client)
            client.abort()

    async def _on_request(self, socket: ServerConnection, request: Request) -> Response | None:
        path = urlsplit(request.path).path
        if path in ("", "/"):
            return self._refuse_stream(request)
        answer = self._rest.answer(
            request.path,
            request.headers.get("X-Finnhub-Token", ""),
            self._clock.now(),
            self._wall_s(),
        )
        if fault := self._faults.take("slow"):
            await self._clock.sleep(float(fault["delay_s"]))
        if self._faults.take("reset"):
            socket.transport.abort()
        return _response(answer)

    def _refuse_stream(self, request: Request) -> Response | None:
        if _token(request.path) != self._key or self._faults.take("bad_key"):
            return Response(401, "Unauthorized", Headers({"Content-Length": "0"}))
        if self._faults.take("refuse_stream"):
            return Response(503, "Service Unavailable", Headers({"Content-Length": "0"}))
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        client = _Client(socket, self._faults)
        if self._clients:
            self._drop_all()
            client.abort()
            return
        self._clients.add(client)
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write(client), name="finnhub writer")
                pinger = group.create_task(self._ping(client), name="finnhub pings")
                await self._read(client)
                writer.cancel()
                pinger.cancel()
        finally:
            self._clients.discard(client)

    async def _read(self, client: _Client) -> None:
        try:
            async for message in client.socket:
                client.stream.on_message(message)
                self._wake(client)
        except ConnectionClosed:
            return

    async def _write(self, client: _Client) -> None:
        while True:
            await client.wake.wait()
            client.wake.clear()
            try:
                for frame in client.stream.take():
                    await client.socket.send(frame)
                    self.sent_frames += 1
            except ConnectionClosed:
                return

    async def _ping(self, client: _Client) -> None:
        while True:
            await self._clock.sleep(PING_PERIOD_S)
            client.stream.on_minute()
            self._wake(client)

    def _wake(self, client: _Client) -> None:
        if client.stream.is_overrun:
            client.abort()
        elif client.stream.waiting:
            client.wake.set()


def _check(name: str, arguments: Mapping[str, Value]) -> None:
    if name == "close_connection":
        check_close_code(name, arguments["code"])


def _token(path: str) -> str:
    return parse_qs(urlsplit(path).query).get("token", [""])[0]


def _response(answer: Answer) -> Response:
    body = answer.body.encode()
    headers = Headers(answer.headers)
    headers["Content-Type"] = answer.content_type
    headers["Content-Length"] = str(len(body))
    headers["Connection"] = "close"
    return Response(answer.status.value, answer.status.phrase, headers, body)
