"""One client's connection: handshake, frames in, frames out.

Rules of this file:
- nothing is sent before startApi; then accounts, the next id and the farm notices, in this order;
- frames leave in one write per turn of the loop; a client that does not read is cut off;
- a message that cannot be read is answered with 320 and costs the client nothing else;
- a peer that breaks the framing is closed, and nobody else notices.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from loguru import logger

from tradebox.errors import HomeUnusable, WireInvalid
from tradebox.sim.faults import Value
from tradebox.sim.gateway.gateway_port import GatewayView
from tradebox.sim.gateway.order_messages import Fields, Frame, wire_time
from tradebox.sim.gateway.pace import Pace
from tradebox.sim.gateway.wire import FieldReader, FrameDecoder, decode, encode

VERSION_MIN = 176
VERSION_MAX = 178
HANDSHAKE_BYTES_MAX = 1024
HANDSHAKE_S_MAX = 10.0
BACKLOG_BYTES_MAX = 8 * 1024 * 1024
SHED_TICKS_BYTES = 256 * 1024
START_API = 71
PLACE_ORDER = 3
ORDER_MESSAGES = frozenset({PLACE_ORDER, 4, 58})
"""What the ledger keeps byte by byte: placeOrder, cancelOrder, reqGlobalCancel."""

READ_CHUNK_BYTES = 4096
_PREFIX = b"API\0"
_FARMS = (
    (2104, "Market data farm connection is OK:usfarm"),
    (2106, "HMDS data farm connection is OK:ushmds"),
    (2158, "Sec-def data farm connection is OK:secdefil"),
)

Handler = Callable[["Session", FieldReader], None]


@dataclass(frozen=True, slots=True)
class Registry:
    """How a session says to its gateway that it comes, is known, and goes."""

    admit: Callable[["Session"], bool]
    enroll: Callable[["Session", int], bool]
    dismiss: Callable[["Session"], None]


class Session(asyncio.Protocol):
    """One connection from accept to close."""

    def __init__(
        self, gateway: GatewayView, registry: Registry, handlers: Mapping[int, Handler]
    ) -> None:
        self.gateway = gateway
        self._registry = registry
        self.client_id = -1
        self.version = 0
        self.is_ready = False
        self.positions_said: dict[str, tuple[int, int]] | None = None
        self.account_subscribed = False
        self.data_type = 1
        """The market data type the client asked for: live, frozen, delayed, delayed-frozen."""
        self.summaries: dict[int, tuple[str, ...]] = {}
        self.profits: dict[int, str] = {}
        self.tag_updates: set[int] = set()
        self._handlers = handlers
        self._decoder = FrameDecoder()
        self._transport: asyncio.Transport | None = None
        self._out = bytearray()
        self._last_frame_at = 0
        self._is_flush_due = False
        self._is_silent = False
        self._is_closing = False
        self._has_prefix = False
        self._prefix = b""
        self._deadline: asyncio.TimerHandle | None = None
        self._hold: asyncio.TimerHandle | None = None
        self._pace = Pace(gateway.real_s, gateway.messages_per_s_max)

    # -- the socket -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or refuse it when there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        loop = asyncio.get_running_loop()
        if not self._registry.admit(self) or self._fault("refuse_connection"):
            self._transport.abort()
            return
        self._deadline = loop.call_later(HANDSHAKE_S_MAX, self.abort)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Forget the client; its orders stay."""
        for timer in (self._deadline, self._hold):
            if timer is not None:
                timer.cancel()
        self._is_closing = True
        self._transport = None
        self._out.clear()
        self._registry.dismiss(self)
        if self.is_ready:
            self.gateway.happen("disconnect")

    def data_received(self, data: bytes) -> None:
        """Answer every complete frame."""
        if self._is_silent or self._is_closing:
            return
        if self._fault("half_open"):
            self.fall_silent()
            return
        try:
            if not self._has_prefix:
                data = self._strip_prefix(data)
            self._on_frames(data)
        except WireInvalid as error:
            logger.bind(client_id=self.client_id, **error.fields).info("peer closed: {}", error)
            self.abort()
            return
        except HomeUnusable as error:
            # Nothing may be acknowledged that is not on disk; the next market event ends the run.
            logger.bind(client_id=self.client_id, **error.fields).error("{}", error)
            self.abort()
            return
        self.flush()

    def _strip_prefix(self, data: bytes) -> bytes:
        """Return what follows the first four bytes, which may arrive one by one."""
        self._prefix += data
        start = self._prefix[: len(_PREFIX)]
        if not _PREFIX.startswith(start):
            raise WireInvalid("the peer does not speak the API")
        if len(start) < len(_PREFIX):
            return b""
        self._has_prefix = True
        return self._prefix[len(_PREFIX) :]

    # -- frames in ------------------------------------------------------------------------

    def _on_frames(self, data: bytes) -> None:
        """Take what came at once, and put it on disk at once."""
        try:
            for payload in self._decoder.feed(data):
                self._on_frame(payload)
        finally:
            self.gateway.exchange.settle()

    def _on_frame(self, payload: bytes) -> None:
        if self._is_closing:
            return
        if self.version == 0:
            self._shake_hands(payload)
            return
        fields = decode(payload)
        reader = FieldReader(fields)
        try:
            message_id = reader.integer()
        except WireInvalid:
            self.say_error(-1, 320, f"Error reading request: {fields[0][:40]}")
            return
        if not self.is_ready:
            self._start(message_id, reader)
            return
        if message_id not in ORDER_MESSAGES:
            self._answer(message_id, reader, fields)
            return
        gateway = self.gateway
        exchange, account = gateway.exchange, gateway.account_name
        exchange.heard(account, self.client_id, message_id, payload, gateway.now_ns())
        self._answer(message_id, reader, fields)

    def _answer(self, message_id: int, reader: FieldReader, fields: list[str]) -> None:
        """Let a message have its handler, unless a fault or the pace keeps it from that."""
        context: dict[str, Value] = {"client_id": self.client_id, "message_id": message_id}
        if self._fault("mute_request", **context):
            return
        if not self._pace.take() or self._fault("pacing"):
            self.say_error(-1, 100, "Max rate of messages per second has been exceeded.")
            return
        handler = self._handlers.get(message_id)
        if handler is None:
            self.say_error(-1, 320, f"Error reading request: message {message_id} is not served")
            return
        try:
            handler(self, reader)
        except WireInvalid as error:
            subject = _subject(message_id, fields)
            detail = " ".join(str(value) for value in error.fields.values())
            self.say_error(subject, 320, f"Error reading request: {error} {detail}".strip())

    def _shake_hands(self, payload: bytes) -> None:
        if len(payload) > HANDSHAKE_BYTES_MAX:
            raise WireInvalid("the handshake is too long", size=len(payload))
        versions, _, _ = payload.decode("ascii", errors="replace").partition(" ")
        low, separator, high = versions.removeprefix("v").rstrip("\0").partition("..")
        high = high if separator else low
        if not (low.isdecimal() and high.isdecimal() and len(low) < 6 and len(high) < 6):
            raise WireInvalid("the handshake names no versions")
        version = min(int(high), VERSION_MAX)
        if version < max(int(low), VERSION_MIN):
            raise WireInvalid("no version in common", offered=versions[:20])
        if self._fault("mute_handshake"):
            self.fall_silent()
            return
        self.version = version
        self.send([version, wire_time(self.gateway.now_ns()).replace("US/Eastern", "EST")])

    def _start(self, message_id: int, reader: FieldReader) -> None:
        if message_id != START_API:
            return
        reader.skip()
        client_id = reader.integer()
        if self._fault("client_id_taken", client_id=client_id) or not self._registry.enroll(
            self, client_id
        ):
            text = "Unable to connect as the client id is already in use. Retry with a unique one."
            self.say_error(-1, 326, text)
            self.close()
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self.client_id, self.is_ready = client_id, True
        self.gateway.happen("connect")
        self.send([15, 1, self.gateway.account_id])
        self.say_next_id()
        for code, text in _FARMS:
            self.say_error(-1, code, text)

    # -- frames out -----------------------------------------------------------------------

    @property
    def frame(self) -> Frame:
        """Return what every order message to this client has in common."""
        return Frame(self.gateway.account_id, "USD", self.version)

    @property
    def is_backlogged(self) -> bool:
        """Say whether the client reads too slowly for ticks."""
        transport = self._transport
        return transport is not None and transport.get_write_buffer_size() > SHED_TICKS_BYTES

    def is_frozen(self, symbol: str) -> bool:
        """Say whether a fault script holds the client's ticks back."""
        is_frozen = self._fault("freeze_market_data", symbol=symbol) is not None
        return is_frozen or self._fault("competing_session") is not None

    def tick_fault(self, name: str, symbol: str) -> Mapping[str, Value] | None:
        """Return the arguments of a fault of this client's ticks, or None."""
        return self._fault(name, symbol=symbol)

    def send(self, fields: Fields) -> None:
        """Queue one message; it leaves in this turn of the loop."""
        if self._is_silent or self._is_closing:
            return
        self._last_frame_at = len(self._out)
        self._out += encode(fields)
        if len(self._out) > BACKLOG_BYTES_MAX:
            self.abort()
        elif not self._is_flush_due and self._hold is None:
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self.flush)

    def send_end(self, fields: Fields) -> None:
        """Queue the end marker of a list, unless a fault script leaves it out."""
        if not self._fault("omit_end", message_id=int(str(fields[0]))):
            self.send(fields)

    def say_error(self, request_id: int, code: int, text: str) -> None:
        """Send a message code."""
        escaped = text.encode("unicode-escape").decode("ascii")
        self.send([4, 2, request_id, code, escaped, ""])

    def say_next_id(self) -> None:
        """Send the lowest order id this client may use."""
        next_id = self.gateway.exchange.next_order_id(self.gateway.account_name, self.client_id)
        rollback = self._fault("id_rollback", client_id=self.client_id)
        if rollback:
            next_id = max(next_id - int(rollback["by"]), 1)
        if jump := self._fault("id_jump", client_id=self.client_id):
            next_id += int(jump["by"])
        self.send([9, 1, next_id])

    def flush(self) -> None:
        """Write what is queued.

        The official client drops a burst whose size is a multiple of its read size, so the last
        frame of such a burst is sent a moment later.
        """
        self._is_flush_due = False
        if self._hold is not None or not self._out or self._transport is None:
            return
        if self._transport.is_closing():
            self._out.clear()
            return
        size = len(self._out)
        if size % READ_CHUNK_BYTES == 0 and 0 < self._last_frame_at < size:
            size = self._last_frame_at
            self.hold(0.002)
        data = bytes(self._out[:size])
        del self._out[:size]
        self._last_frame_at = 0
        if self._transport.get_write_buffer_size() + len(data) > BACKLOG_BYTES_MAX:
            logger.bind(client_id=self.client_id).info("client cut off: it does not read")
            self.abort()
            return
        self._transport.write(data)

    def hold(self, delay_s: float) -> None:
        """Write nothing for a while; what is sent meanwhile waits in order."""
        if self._hold is not None:
            self._hold.cancel()
        self._hold = asyncio.get_running_loop().call_later(delay_s, self._release)

    def fall_silent(self) -> None:
        """Read and write nothing more, but keep the connection."""
        self._is_silent = True
        self._out.clear()
        if self._deadline is not None:
            self._deadline.cancel()

    def close(self) -> None:
        """Write what is queued and close; a client that does not read is reset."""
        self.flush()
        transport, self._is_closing = self._transport, True
        if transport is None:
            return
        if transport.get_write_buffer_size():
            transport.abort()
        else:
            transport.close()

    def abort(self) -> None:
        """Reset the connection; what is queued is lost."""
        self._is_closing = True
        self._out.clear()
        if self._transport is not None:
            self._transport.abort()

    def _release(self) -> None:
        self._hold = None
        self.flush()

    def _fault(self, name: str, **context: Value) -> Mapping[str, Value] | None:
        return self.gateway.take_fault(name, **{"client_id": self.client_id, **context})


def _subject(message_id: int, fields: list[str]) -> int:
    """Return the id that an error about an unreadable message should carry."""
    if message_id == PLACE_ORDER and len(fields) > 1 and fields[1].isdecimal():
        return int(fields[1])
    return -1
