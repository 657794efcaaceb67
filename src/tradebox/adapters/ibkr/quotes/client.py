"""ib_async's socket client on a leash: it asks for quotes, and can write nothing else.

Rules of this file:
- a message that is no request for quotes is refused twice: where it is made, and where its bytes
  would leave; what is not in ALLOWED does not leave, whatever it is;
- a write is one whole frame, so that no second message hides behind the first;
- frames are read in turns, so that a flood of ticks lets others have theirs;
- what goes wrong while reading reaches the loop and ends the connection: the library would log
  it and go on.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Final

from ib_async.client import Client
from ib_async.connection import Connection

START_API: Final = 71
MARKET_DATA: Final = 1
CANCEL_MARKET_DATA: Final = 2
CURRENT_TIME: Final = 49
MARKET_DATA_TYPE: Final = 59
ALLOWED: Final = frozenset(
    str(number)
    for number in (MARKET_DATA, CANCEL_MARKET_DATA, CURRENT_TIME, MARKET_DATA_TYPE, START_API)
)
"""The ids of the messages that a quote connection may write; placeOrder is 3, cancelOrder 4,
reqGlobalCancel 58."""

GREETING: Final = b"API\0"
LENGTH: Final = struct.Struct(">I")
FRAMES_PER_TURN: Final = 256


def checked(message_id: str) -> None:
    """Raise AssertionError for a message that a quote connection may not write."""
    if message_id not in ALLOWED:
        raise AssertionError(f"a quote connection writes no message {message_id[:8]!r}")


class QuoteConnection(Connection):
    """The socket: its writer lets requests for quotes through, and nothing else."""

    def __init__(self, on_data: Callable[[bytes], None]) -> None:
        self._on_data = on_data
        super().__init__()  # type: ignore[no-untyped-call]

    def sendMsg(self, msg: bytes) -> None:  # noqa: N802 - the library's name
        """Write the greeting or one frame. Raises AssertionError for anything else."""
        if self.numMsgSent or not msg.startswith(GREETING):
            self._check_frame(msg)
        super().sendMsg(msg)  # type: ignore[no-untyped-call]

    @staticmethod
    def _check_frame(msg: bytes) -> None:
        payload = msg[LENGTH.size :]
        if msg[: LENGTH.size] != LENGTH.pack(len(payload)):
            raise AssertionError("a quote connection writes whole frames, one at a time")
        checked(payload.partition(b"\0")[0].decode("ascii", "replace"))

    def data_received(self, data: bytes) -> None:
        """Hand on what has arrived; errors are the loop's."""
        self._on_data(data)


class QuoteClient(Client):
    """The library's client, with our connection under it and our reader behind it."""

    conn: QuoteConnection
    decoder: Any
    _waiting: bytearray
    _next: asyncio.Handle | None = None

    def __init__(self, wrapper: Any, decoder: Any) -> None:
        super().__init__(wrapper)  # type: ignore[no-untyped-call]
        self.conn = QuoteConnection(self._onSocketHasData)
        self.conn.disconnected += self._onSocketDisconnected
        self.decoder = decoder

    def reset(self) -> None:
        """Forget all of the last connection."""
        super().reset()  # type: ignore[no-untyped-call]
        self._waiting = bytearray()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def sendMsg(self, msg: str | None) -> None:  # noqa: N802 - the library's name
        """Write a message when its turn has come. Raises AssertionError for a forbidden one."""
        if msg:
            checked(msg.partition("\0")[0])
        super().sendMsg(msg)  # type: ignore[arg-type]  # None: go on with what waits

    def _onSocketHasData(self, data: bytes) -> None:  # noqa: N802 - the library's name
        self._waiting += data
        if self._next is None:
            self._read_on()

    def _read_on(self) -> None:
        self._next = None
        waiting, at = self._waiting, 0
        for _ in range(FRAMES_PER_TURN):
            end = _frame_end(waiting, at)
            if end is None:
                break
            frame, at = bytes(waiting[at:end]), end
            if self._apiReady:
                text = frame[LENGTH.size :].decode(errors="backslashreplace")
                self.decoder.interpret(text.split("\0")[:-1])
            else:
                super()._onSocketHasData(frame)  # type: ignore[no-untyped-call]
            if waiting is not self._waiting:
                return  # reset while reading
        del waiting[:at]
        self.decoder.pause()
        if _frame_end(waiting, 0) is not None:
            self._next = asyncio.get_running_loop().call_soon(self._read_on)


def _frame_end(waiting: bytearray, at: int) -> int | None:
    """Return where the frame that begins at `at` ends, None where it has not arrived whole."""
    if len(waiting) - at < LENGTH.size:
        return None
    end = at + LENGTH.size + int(LENGTH.unpack_from(waiting, at)[0])
    return end if len(waiting) >= end else None
