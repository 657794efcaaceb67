"""Lines over pipes and sockets without waiting: bounded readers, bounded writers.

Rules of this file:
1. A line longer than the limit is dropped whole and counted; the next one is read again.
2. A writer that is full refuses; it never grows past its limit and never waits.
3. JSON travels one object a line, UTF-8.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

LINE_BYTES_MAX: Final = 1 << 20
CHUNK_BYTES: Final = 1 << 16
READ_CHUNKS_MAX: Final = 16


def encode(message: Mapping[str, object]) -> bytes:
    """Return the message as one line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes | str) -> dict[str, object] | None:
    """Return the object in this line, None when it is anything else."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


class LineSplitter:
    """Cuts a stream into lines of at most `bytes_max`.

    Holds: however the stream is cut into chunks, the lines are the same.
    """

    def __init__(self, bytes_max: int = LINE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._parts: list[bytes] = []
        self._held = 0
        self._is_skipping = False
        self.dropped = 0

    def _take(self, part: bytes) -> None:
        if self._is_skipping:
            return
        if self._held + len(part) > self._bytes_max:
            self._parts.clear()
            self._held = 0
            self._is_skipping = True
            self.dropped += 1
            return
        self._parts.append(part)
        self._held += len(part)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that this chunk completes, without their ends."""
        lines: list[bytes] = []
        *complete, rest = chunk.split(b"\n")
        for part in complete:
            self._take(part)
            if not self._is_skipping:
                lines.append(b"".join(self._parts))
            self._parts.clear()
            self._held = 0
            self._is_skipping = False
        if rest:
            self._take(rest)
        return lines

    def rest(self) -> bytes:
        """Return what came after the last line end."""
        return b"".join(self._parts)


class LineReader:
    """Reads what a non-blocking descriptor has and hands on whole lines."""

    def __init__(
        self, fd: int, on_line: Callable[[bytes], None], bytes_max: int = LINE_BYTES_MAX
    ) -> None:
        self.fd = fd
        self._on_line = on_line
        self._splitter = LineSplitter(bytes_max)
        self.is_ended = False

    @property
    def dropped(self) -> int:
        """How many lines were too long."""
        return self._splitter.dropped

    def read(self, chunks_max: int = READ_CHUNKS_MAX) -> bool:
        """Read at most `chunks_max` chunks; returns False once the stream has ended."""
        for _ in range(chunks_max):
            if self.is_ended:
                break
            try:
                chunk = os.read(self.fd, CHUNK_BYTES)
            except BlockingIOError:
                break
            except OSError:
                chunk = b""
            if not chunk:
                self.is_ended = True
                last = self._splitter.rest()
                if last:
                    self._on_line(last)
                break
            for line in self._splitter.feed(chunk):
                self._on_line(line)
        return not self.is_ended


class LineWriter:
    """Writes whole lines to a non-blocking descriptor, keeping at most `bytes_max` back.

    `write` is given for descriptors that would block: it raises BlockingIOError instead.

    Holds: what was accepted arrives whole and in order, or the stream has broken.
    """

    def __init__(
        self, fd: int, bytes_max: int, write: Callable[[int, bytes], int] = os.write
    ) -> None:
        self.fd = fd
        self._bytes_max = bytes_max
        self._write = write
        self._waiting: deque[bytes] = deque()
        self.held = 0
        self.refused = 0
        self.is_broken = False

    def offer(self, line: bytes, reserve: int = 0) -> bool:
        """Take the line unless less than `reserve` bytes would stay free; send what goes."""
        if self.is_broken or self.held + len(line) > self._bytes_max - reserve:
            self.refused += 1
            return False
        self._waiting.append(line)
        self.held += len(line)
        self.flush()
        return True

    def flush(self) -> bool:
        """Send what the peer takes now; returns whether nothing is left."""
        while self._waiting and not self.is_broken:
            head = self._waiting[0]
            try:
                sent = self._write(self.fd, head[:CHUNK_BYTES])
            except BlockingIOError:
                return False
            except OSError:
                self.is_broken = True
                break
            self.held -= sent
            if sent == len(head):
                self._waiting.popleft()
            else:
                self._waiting[0] = head[sent:]
        if self.is_broken:
            self._waiting.clear()
            self.held = 0
        return not self._waiting
