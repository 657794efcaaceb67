"""ib_async's socket client, reading what has arrived in slices, encoding before it sends.

Rules of this file:
- a slice ends after SLICE_S of work; the rest waits for the next turn of the loop, in order, so
  that a long answer (a day of completed orders) holds nobody else up;
- what was read before the end of a connection is still handed on, the end comes after it.
"""

import asyncio
import struct
import time
from typing import Any, Final

from ib_async.client import Client
from ib_async.contract import Contract
from ib_async.order import Order

SLICE_S: Final = 0.004
LENGTH: Final = struct.Struct(">I")


class SlicedClient(Client):
    """A Client whose long answers let others have their turn."""

    _next: asyncio.Handle | None = None

    def __init__(self, wrapper: Any) -> None:
        self._waiting = bytearray()
        self._closed_as: str | None = None
        self._kept: list[str] | None = None
        super().__init__(wrapper)  # type: ignore[no-untyped-call]

    def reset(self) -> None:
        """Forget all of the last connection."""
        super().reset()  # type: ignore[no-untyped-call]
        self._waiting.clear()
        self._closed_as = None
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def encoded(self, order_id: int, contract: Contract, order: Order) -> str:
        """Return the message that placeOrder would write."""
        kept: list[str] = []
        self._kept = kept
        try:
            self.placeOrder(order_id, contract, order)  # type: ignore[no-untyped-call]
        finally:
            self._kept = None
        (message,) = kept
        return message

    def sendMsg(self, msg: str) -> None:  # noqa: N802 - the library's name
        """Write a message, or keep it for `encoded`."""
        if self._kept is not None:
            self._kept.append(msg)
        else:
            super().sendMsg(msg)

    def _onSocketHasData(self, data: bytes) -> None:  # noqa: N802 - the library's name
        self._waiting += data
        if self._next is None:
            self._read_on()

    def _onSocketDisconnected(self, msg: str) -> None:  # noqa: N802 - the library's name
        if self._next is not None:
            self._closed_as = msg
        else:
            super()._onSocketDisconnected(msg)  # type: ignore[no-untyped-call]

    def _read_on(self) -> None:
        self._next = None
        until_s = time.perf_counter() + SLICE_S
        while (end := self._message_end()) is not None:
            message = bytes(self._waiting[:end])
            del self._waiting[:end]
            super()._onSocketHasData(message)  # type: ignore[no-untyped-call]
            if time.perf_counter() > until_s and self._message_end() is not None:
                self._next = asyncio.get_running_loop().call_soon(self._read_on)
                return
        if self._closed_as is not None:
            reason, self._closed_as = self._closed_as, None
            super()._onSocketDisconnected(reason)  # type: ignore[no-untyped-call]

    def _message_end(self) -> int | None:
        """Return where the first whole message ends, None where none has arrived whole."""
        if len(self._waiting) < LENGTH.size:
            return None
        end = LENGTH.size + int(LENGTH.unpack_from(self._waiting)[0])
        return end if len(self._waiting) >= end else None
