"""The engine's end of its line to the launcher: reports out, asks and notices in.

Rules of this file:
1. Nothing here waits, except `close` at the very end, for a stated time.
2. Chatter (lines, status) is refused when the launcher falls behind; what matters (ready,
   summary, stop, answers) has a reserve.
3. It belongs to the thread of the loop it is attached to.

Messages, one JSON object a line.
    engine → launcher   {"kind": "ready" | "status" | "line" | "summary" | "stop" | …, "data": {…}}
                        {"id": n, "answer": {…}} or {"id": n, "error": "…"}
    launcher → engine   {"id": n, "ask": "…", "data": {…}}
                        {"notice": "server", "data": {"name": …, "state": …, "ready": {…}}}
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import time
from collections.abc import Callable, Mapping
from typing import Final

from tradebox.supervision.lines import LINE_BYTES_MAX, LineReader, LineWriter, decode, encode

HELD_BYTES_MAX: Final = 4 << 20
RESERVE_BYTES: Final = 3 << 20
CHATTER: Final = frozenset({"line", "status"})


class Ask:
    """A question from outside; answer it once, now or later, with `reply` or `refuse`."""

    def __init__(self, link: EngineLink, number: int, name: str, data: dict[str, object]) -> None:
        self._link = link
        self._number = number
        self._is_open = True
        self.name = name
        self.data = data

    def reply(self, answer: Mapping[str, object]) -> None:
        """Answer; a second answer is dropped."""
        self._finish({"id": self._number, "answer": dict(answer)})

    def refuse(self, why: str) -> None:
        """Answer with an error."""
        self._finish({"id": self._number, "error": why})

    def _finish(self, message: dict[str, object]) -> None:
        if self._is_open:
            self._is_open = False
            self._link.send(message)


class EngineLink:
    """Reports to the launcher and hears its asks and notices."""

    def __init__(self, link: socket.socket) -> None:
        link.setblocking(False)
        self._socket = link
        self._reader = LineReader(link.fileno(), self._on_line)
        self._writer = LineWriter(link.fileno(), HELD_BYTES_MAX)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_writing = False
        self._on_ask: Callable[[Ask], None] | None = None
        self._on_notice: Callable[[str, dict[str, object]], None] | None = None

    @property
    def refused(self) -> int:
        """How many reports were dropped."""
        return self._writer.refused

    def report(self, kind: str, data: Mapping[str, object]) -> bool:
        """Tell the launcher; returns False when the report had to be dropped."""
        reserve = RESERVE_BYTES if kind in CHATTER else 0
        return self.send({"kind": kind, "data": dict(data)}, reserve)

    def send(self, message: Mapping[str, object], reserve: int = 0) -> bool:
        """Send one message as it is."""
        line = encode(message)
        if len(line) > LINE_BYTES_MAX:
            self._writer.refused += 1
            return False
        is_taken = self._writer.offer(line, reserve)
        self._watch_room()
        return is_taken

    def attach(
        self,
        loop: asyncio.AbstractEventLoop,
        on_ask: Callable[[Ask], None],
        on_notice: Callable[[str, dict[str, object]], None] | None = None,
    ) -> None:
        """Call `on_ask(ask)` and `on_notice(name, data)` from this loop from now on."""
        self._on_ask = on_ask
        self._on_notice = on_notice
        self._loop = loop
        loop.add_reader(self._socket.fileno(), self._on_readable)
        self._watch_room()

    def detach(self) -> None:
        """Leave the loop; reports still go out as far as the launcher takes them."""
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
            self._loop = None
            self._is_writing = False

    def _watch_room(self) -> None:
        if self._loop is None:
            return
        is_wanted = self._writer.held > 0
        if is_wanted and not self._is_writing:
            self._loop.add_writer(self._socket.fileno(), self._on_writable)
        elif self._is_writing and not is_wanted:
            self._loop.remove_writer(self._socket.fileno())
        self._is_writing = is_wanted

    def _on_writable(self) -> None:
        self._writer.flush()
        self._watch_room()

    def _on_readable(self) -> None:
        if not self._reader.read(1) and self._loop is not None:
            # The launcher is gone; the kernel ends us in a moment.
            self._loop.remove_reader(self._socket.fileno())

    def _on_line(self, line: bytes) -> None:
        message = decode(line)
        if message is None:
            return
        data = message.get("data")
        body = data if isinstance(data, dict) else {}
        number = message.get("id")
        if isinstance(number, int) and self._on_ask is not None:
            ask = Ask(self, number, str(message.get("ask")), body)
            try:
                self._on_ask(ask)
            except Exception as fault:  # noqa: BLE001 - a bad question must not end the engine
                ask.refuse(f"{type(fault).__name__}: {fault}")
        elif "notice" in message and self._on_notice is not None:
            self._on_notice(str(message["notice"]), body)

    def close(self, wait_s: float) -> None:
        """Give the launcher `wait_s` to take what is left, then hang up."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            self.detach()
        look = select.poll()
        look.register(self._socket.fileno(), select.POLLOUT)
        until = time.monotonic() + wait_s
        while not self._writer.flush() and (left := until - time.monotonic()) > 0:
            look.poll(int(left * 1000) + 1)
        with contextlib.suppress(OSError):
            self._socket.close()
