"""A small HTTP/1.1 server for loopback: one request, one answer, one connection.

Rules of this file:
- everything is bounded: header, body, connections, and the time a request may take;
- one connection too many costs the oldest one: who says nothing cannot keep others out;
- a request for a WebSocket may be handed on with its connection, where somebody takes those;
- a request that cannot be understood gets a JSON error and never reaches the handler;
- the handler is a plain function: what it does is done before the next request is looked at;
- an answer may be late or end in a reset, because a fault script may say so.
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

from tradebox.errors import AddressInUse
from tradebox.supervision.clock import Clock, MonotonicClock

HEADER_BYTES_MAX = 16 * 1024
BODY_BYTES_MAX = 64 * 1024
CONNECTIONS_MAX = 64
REQUEST_S_MAX = 10.0
DELAY_S_MAX = 600.0
JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request that was read whole; header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """Return the host that the client asked for, without its port."""
        return self.headers.get("host", "").partition(":")[0].lower()


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer; data is written as JSON, but text as it is.

    delay_s: how long the answer waits; is_reset: the connection is reset instead.
    """

    status: HTTPStatus
    data: object
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    is_reset: bool = False


class HttpRefusal(Exception):
    """The request is answered by this status and text."""

    def __init__(self, status: HTTPStatus, text: str, **fields: object) -> None:
        super().__init__(text)
        self.answer = HttpAnswer(status, {"error": text, **fields})


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A request for a WebSocket with its bytes and its connection."""

    request: HttpRequest
    head: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


TakeUpgrade = Callable[[Upgrade], Awaitable[None]]
"""Serves a WebSocket until it ends; what it raises as OSError ends the connection."""


class HttpServer:
    """Serves a handler on one port, over TLS where a context is given."""

    def __init__(
        self,
        name: str,
        handler: Callable[[HttpRequest], HttpAnswer],
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        clock: Clock | None = None,
        take_upgrade: TakeUpgrade | None = None,
    ) -> None:
        self._name, self._host, self._port = name, host, port
        self._handler = handler
        self._tls = tls
        self._clock = clock or MonotonicClock()
        self._take_upgrade = take_upgrade
        self._connections: dict[asyncio.StreamWriter, bool] = {}
        self._upgraded: set[asyncio.StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> tuple[str, int]:
        """Listen and return the address. Raises AddressInUse if the port is taken."""
        try:
            self._server = await asyncio.start_server(
                self._accept,
                self._host,
                self._port,
                limit=HEADER_BYTES_MAX,
                ssl=self._tls,
                ssl_handshake_timeout=REQUEST_S_MAX if self._tls else None,
            )
        except OSError as error:
            raise AddressInUse(
                f"port {self._port} for {self._name} cannot be bound ({error.strerror}):"
                " give another one",
                field=self._name,
                value=self._port,
            ) from error
        bound: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        return bound

    async def stop(self) -> None:
        """Stop listening and drop what is open."""
        if self._server is None:
            return
        self._server.close()
        for writer in (*self._connections, *self._upgraded):
            writer.transport.abort()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection in a task of its own, which `stop` can end."""
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer), name=self._name)
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= CONNECTIONS_MAX:
            self._make_room()
        self._connections[writer] = False
        try:
            await self._serve_one(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            writer.transport.abort()
        finally:
            self._connections.pop(writer, None)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(REQUEST_S_MAX):
            answer = await self._answer(reader, writer)
        if isinstance(answer, Upgrade):
            await self._hand_on(answer)
            return
        self._connections[writer] = True
        if answer.delay_s > 0:
            await self._clock.sleep(min(answer.delay_s, DELAY_S_MAX))
        if answer.is_reset:
            writer.transport.abort()
            return
        async with asyncio.timeout(REQUEST_S_MAX):
            writer.write(_encode(answer))
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> HttpAnswer | Upgrade:
        """Return the answer to a request, or the request for a WebSocket."""
        try:
            request, head = await _read(reader)
            if self._take_upgrade and request.headers.get("upgrade", "").lower() == "websocket":
                return Upgrade(request, head, reader, writer)
            return self._handler(request)
        except HttpRefusal as refusal:
            return refusal.answer

    async def _hand_on(self, upgrade: Upgrade) -> None:
        """Let a WebSocket be served; it does not count among the connections any more."""
        assert self._take_upgrade is not None, "nobody takes a WebSocket here"
        self._connections.pop(upgrade.writer, None)
        self._upgraded.add(upgrade.writer)
        try:
            await self._take_upgrade(upgrade)
        finally:
            self._upgraded.discard(upgrade.writer)
            upgrade.writer.transport.abort()

    def _make_room(self) -> None:
        """End the oldest connection that has asked for nothing yet, else the oldest."""
        silent = (writer for writer, has_asked in self._connections.items() if not has_asked)
        oldest = next(silent, None) or next(iter(self._connections))
        del self._connections[oldest]
        oldest.transport.abort()


async def _read(reader: asyncio.StreamReader) -> tuple[HttpRequest, bytes]:
    """Return a request, and its head as it came. Raises HttpRefusal."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise HttpRefusal(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the header is too long"
        ) from error
    request_line, *lines = head.decode("latin-1").split("\r\n")
    parts = request_line.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise HttpRefusal(HTTPStatus.BAD_REQUEST, "this is no HTTP/1.1 request")
    headers = {
        name.strip().lower(): value.strip()
        for name, colon, value in (line.partition(":") for line in lines)
        if colon
    }
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdecimal()) or "transfer-encoding" in headers:
        raise HttpRefusal(HTTPStatus.LENGTH_REQUIRED, "give the body's Content-Length")
    if len(length) > 9 or int(length) > BODY_BYTES_MAX:
        raise HttpRefusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is too long")
    body = await reader.readexactly(int(length))
    try:
        target = urlsplit(parts[1])
    except ValueError as error:
        raise HttpRefusal(HTTPStatus.BAD_REQUEST, "this is no path") from error
    query = dict(parse_qsl(target.query))
    return HttpRequest(parts[0], target.path, query, body, headers), head


def _encode(answer: HttpAnswer) -> bytes:
    if answer.content_type == JSON_TYPE and not isinstance(answer.data, str):
        body = json.dumps(answer.data, separators=(",", ":")).encode() + b"\n"
    else:
        body = str(answer.data).encode()
    extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"{extra}"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
