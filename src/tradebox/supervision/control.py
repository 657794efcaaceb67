"""The control socket: one JSON object a line in, one a line out, on a Unix socket of mode 0600.

Rules of this file:
1. Clients, their requests, their unread answers and their idle time are bounded; a client
   that goes too far is closed and harms nobody.
2. Only the owner of the process, and root, are heard (SO_PEERCRED), whatever the folder says.
3. The path's folder belongs to the caller; only the socket itself is made and removed here.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tradebox.supervision.launch_errors import ControlUnreachable, PathTooLong
from tradebox.supervision.lines import LineReader, LineWriter, decode, encode
from tradebox.supervision.poller import READABLE, WRITABLE, Poller

PATH_BYTES_MAX: Final = 107
CLIENTS_MAX: Final = 16
REQUEST_BYTES_MAX: Final = 1 << 16
ANSWER_BYTES_MAX: Final = 1 << 22
IDLE_NS_MAX: Final = 30_000_000_000
PENDING_MAX: Final = 16
ACCEPT_AGAIN_NS: Final = 1_000_000_000
BROKEN: Final = select.POLLHUP | select.POLLERR | select.POLLNVAL
ROOT: Final = 0

Reply = Callable[[Mapping[str, object]], None]
Handler = Callable[[dict[str, object], Reply], None]


class _Client:
    def __init__(self, server: ControlServer, link: socket.socket) -> None:
        self._server = server
        self._link = link
        self.fd = link.fileno()
        self._reader = LineReader(self.fd, self._on_line, REQUEST_BYTES_MAX)
        self._writer = LineWriter(self.fd, ANSWER_BYTES_MAX)
        self._pending = 0
        self.is_open = True
        self.watch()

    def watch(self) -> None:
        """Wait for what can still come: requests until the client ends them, room to answer."""
        mask = 0 if self._reader.is_ended else READABLE
        if self._writer.held:
            mask |= WRITABLE
        poller = self._server.poller
        poller.watch(self.fd, mask, self._on_ready)
        poller.call_at(("control", self.fd), poller.now_ns() + IDLE_NS_MAX, self.close)

    def _on_ready(self, events: int) -> None:
        if events & WRITABLE:
            self._writer.flush()
        if events & READABLE:
            self._reader.read(1)
        if events & BROKEN or self._reader.dropped:
            self.close()
        self._settle()

    def _on_line(self, line: bytes) -> None:
        if not self.is_open:
            return
        request = decode(line)
        if request is None:
            self._writer.offer(encode({"error": "a request is one JSON object on one line"}))
            self.close()
        elif self._pending >= PENDING_MAX:
            self.close()
        else:
            self._pending += 1
            self._server.handle(request, self._reply)

    def _reply(self, answer: Mapping[str, object]) -> None:
        self._pending -= 1
        if self.is_open:
            if not self._writer.offer(encode(answer)):
                self.close()
            self._settle()

    def _settle(self) -> None:
        if not self.is_open:
            return
        is_done = self._reader.is_ended and not self._pending and not self._writer.held
        if self._writer.is_broken or is_done:
            self.close()
        else:
            self.watch()

    def close(self) -> None:
        """Send the client away; harmless twice."""
        if self.is_open:
            self.is_open = False
            self._server.poller.forget(self.fd)
            self._server.poller.call_off(("control", self.fd))
            self._server.left(self)
            self._link.close()


class ControlServer:
    """Listens on `path` and hands each request to `handle(request, reply)`.

    Raises: PathTooLong; OSError when the socket cannot be made.
    """

    def __init__(self, poller: Poller, path: Path, handle: Handler) -> None:
        if len(os.fsencode(path)) > PATH_BYTES_MAX:
            raise PathTooLong(str(path), PATH_BYTES_MAX)
        self.poller = poller
        self.handle = handle
        self._path = path
        self._clients: set[_Client] = set()
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._listener.setblocking(False)
            before = os.umask(0o177)
            try:
                self._listener.bind(str(path))
            finally:
                os.umask(before)
            self._listener.listen(CLIENTS_MAX)
        except BaseException:
            self._listener.close()
            raise
        self._listen()

    def _listen(self) -> None:
        self.poller.watch(self._listener.fileno(), READABLE, self._on_connect)

    def _on_connect(self, _events: int) -> None:
        try:
            link, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:
            # No descriptor is left: the client waits, and we must not spin meanwhile.
            self.poller.forget(self._listener.fileno())
            again_ns = self.poller.now_ns() + ACCEPT_AGAIN_NS
            self.poller.call_at("control listens", again_ns, self._listen)
            return
        link.setblocking(False)
        if len(self._clients) >= CLIENTS_MAX or not _is_allowed(link):
            link.close()
            return
        self._clients.add(_Client(self, link))

    def left(self, client: _Client) -> None:
        """Forget a client that was closed."""
        self._clients.discard(client)

    @property
    def clients(self) -> int:
        """How many are connected."""
        return len(self._clients)

    def close(self) -> None:
        """Send every client away and remove the socket; harmless twice."""
        for client in list(self._clients):
            client.close()
        if self._listener.fileno() >= 0:
            self.poller.forget(self._listener.fileno())
            self.poller.call_off("control listens")
            self._listener.close()
            with contextlib.suppress(OSError):
                self._path.unlink()


def _is_allowed(link: socket.socket) -> bool:
    raw = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid = struct.unpack("3i", raw)[1]
    return uid in (ROOT, os.getuid())


def ask_control(path: Path, request: Mapping[str, object], timeout_s: float) -> dict[str, object]:
    """Send one request and return the answer; for commands, it waits.

    Raises: ControlUnreachable when nobody serves the socket or no answer comes in time.
    """
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        raise PathTooLong(str(path), PATH_BYTES_MAX)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(timeout_s)
        try:
            link.connect(str(path))
            link.sendall(encode(request))
            with link.makefile("rb") as stream:
                line = stream.readline(ANSWER_BYTES_MAX)
        except OSError as fault:
            raise ControlUnreachable(str(path), str(fault)) from fault
    answer = decode(line)
    if answer is None:
        raise ControlUnreachable(str(path), "the connection was closed without an answer")
    return answer
