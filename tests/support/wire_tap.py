"""A tap between a client and a gateway: passes every byte on and counts messages by their id.

Rules of this file:
- only what the client says is read; the gateway's answers pass unread;
- a message counts when its last byte has passed.
"""

import asyncio
import struct
from collections import Counter
from contextlib import suppress

PLACE_ORDER, CANCEL_ORDER, GLOBAL_CANCEL = 3, 4, 58
ORDER_MESSAGES = (PLACE_ORDER, CANCEL_ORDER, GLOBAL_CANCEL)
LENGTH = struct.Struct(">I")


class Tap:
    """Stands before a gateway. sent: messages by id; open: connections not read to their end."""

    def __init__(self, gateway: tuple[str, int]) -> None:
        self._gateway = gateway
        self.sent: Counter[int] = Counter()
        self.connections = self.open = 0
        self._tasks: set[asyncio.Task] = set()

    async def start(self) -> tuple[str, int]:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[:2]

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer) -> None:
        self.connections += 1
        self.open += 1
        self._tasks.add(asyncio.current_task())
        there = await asyncio.open_connection(*self._gateway)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(there[0], writer, None))
                group.create_task(self._pass(reader, there[1], bytearray()))
        finally:
            self.open -= 1
            self._tasks.discard(asyncio.current_task())

    async def _pass(self, reader, writer, kept: bytearray | None) -> None:
        try:
            with suppress(ConnectionError):
                while data := await reader.read(65536):
                    writer.write(data)
                    if kept is not None:
                        kept += data
                        self._count(kept)
        finally:
            writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    def _count(self, kept: bytearray) -> None:
        if kept.startswith(b"API\0"):
            del kept[:4]
        while len(kept) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(kept)[0]
            if len(kept) < end:
                return
            head = bytes(kept[LENGTH.size : end]).split(b"\0", 1)[0]
            del kept[:end]
            if head.isdigit():
                self.sent[int(head)] += 1
