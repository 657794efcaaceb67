"""Writing to a terminal, pipe or file that may be stuck or gone, without ever waiting for it.

Rules of this file:
1. A stopped terminal (Ctrl-S) or a full pipe costs lines, counted, never time.
2. The descriptor's own flags are not touched: other programs share them. A pipe or terminal
   is opened once more, non-blocking, through /proc/self/fd; what cannot be opened again (a
   socket, somebody else's terminal) is written in pieces small enough for a ready descriptor.
3. Once writing fails (the terminal was closed) everything further is dropped.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
from typing import Final

from tradebox.supervision.lines import LineWriter
from tradebox.supervision.poller import WRITABLE, Poller

HELD_BYTES_MAX: Final = 1 << 18
PIECE_BYTES: Final = 256
"""What a terminal, pipe or socket that is ready takes without waiting."""

RESERVE_BYTES: Final = 1 << 16
"""Kept free for the last words: errors and the summary."""


class Output:
    """One stream of text lines."""

    def __init__(self, poller: Poller, fd: int) -> None:
        self._poller = poller
        self._own_fd = _open_again(fd)
        self._fd = fd if self._own_fd is None else self._own_fd
        write = _write_when_ready if self._own_fd is None else os.write
        self._writer = LineWriter(self._fd, HELD_BYTES_MAX, write)
        self._is_watched = False

    @property
    def dropped(self) -> int:
        """How many lines nobody will see."""
        return self._writer.refused

    def line(self, text: str, *, is_last_word: bool = False) -> None:
        """Write one line soon, or drop it; `is_last_word` may use the reserve."""
        data = text.encode("utf-8", "replace").rstrip(b"\n") + b"\n"
        self._writer.offer(data, reserve=0 if is_last_word else RESERVE_BYTES)
        self._watch()

    def _watch(self) -> None:
        is_wanted = self._writer.held > 0 and not self._writer.is_broken
        if is_wanted and not self._is_watched:
            self._poller.watch(self._fd, WRITABLE, self._on_ready)
        elif self._is_watched and not is_wanted:
            self._poller.forget(self._fd)
        self._is_watched = is_wanted

    def _on_ready(self, _events: int) -> None:
        self._writer.flush()
        self._watch()

    def finish(self, wait_ms: int) -> None:
        """Give the reader `wait_ms` to take what is left; the only wait, when all is over."""
        look = select.poll()
        look.register(self._fd, select.POLLOUT)
        until = self._poller.now_ns() + wait_ms * 1_000_000
        while not self._writer.flush() and (left := until - self._poller.now_ns()) > 0:
            look.poll(left // 1_000_000 + 1)
        if self._is_watched:
            self._poller.forget(self._fd)
            self._is_watched = False
        if self._own_fd is not None:
            with contextlib.suppress(OSError):
                os.close(self._own_fd)
            self._own_fd = None


def _write_when_ready(fd: int, data: bytes) -> int:
    look = select.poll()
    look.register(fd, select.POLLOUT)
    if not look.poll(0):
        raise BlockingIOError
    return os.write(fd, data[:PIECE_BYTES])


def _open_again(fd: int) -> int | None:
    """Return a non-blocking descriptor of the same pipe or terminal, None for anything else."""
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        return None
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return os.open(f"/proc/self/fd/{fd}", flags)
    except OSError:
        return None
