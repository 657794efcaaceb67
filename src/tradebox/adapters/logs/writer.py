"""Writes log lines to size-capped files from a thread, so that a slow disk stops nobody.

Rules of this file:
- the queue is bounded; where it is full, the oldest lines go and are counted in the next line;
- a file is rotated by size and the oldest are deleted: the folder has a stated cap;
- a failing disk never raises into the program; what could not be written is counted.
"""

import contextlib
import os
import threading
from collections import deque
from pathlib import Path
from typing import IO, Protocol


class Line(Protocol):
    """A deferred log line: rendered in the writer thread, not on the loop."""

    def __call__(self) -> str:
        """Return the line without its newline."""
        ...


class RotatingFile:
    """One log file with numbered predecessors: name, name.1 … name.N."""

    def __init__(self, path: Path, bytes_max: int, files_max: int) -> None:
        self.path = path
        self._bytes_max = bytes_max
        self._files_max = files_max
        self._file: IO[bytes] | None = None
        self._size = 0

    def write(self, line: str) -> None:
        """Append one line, rotating first if it would pass the cap. Raises OSError."""
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        if self._file is None:
            self._open()
        if self._size and self._size + len(data) > self._bytes_max:
            self._rotate()
        assert self._file is not None
        self._file.write(data)
        self._size += len(data)

    def flush(self) -> None:
        """Hand buffered bytes to the system. Raises OSError."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file; a failing flush is the disk's last word."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.fdopen(os.open(self.path, flags, 0o600), "ab")
        self._size = self.path.stat().st_size

    def _rotate(self) -> None:
        self.close()
        self._numbered(self._files_max - 1).unlink(missing_ok=True)
        for number in range(self._files_max - 2, 0, -1):
            if self._numbered(number).exists():
                self._numbered(number).replace(self._numbered(number + 1))
        if self._files_max > 1:
            self.path.replace(self._numbered(1))
        else:
            self.path.unlink(missing_ok=True)
        self._open()

    def _numbered(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")


class LineWriter:
    """A bounded queue in front of a RotatingFile, drained by one daemon thread."""

    def __init__(self, file: RotatingFile, lines_max: int = 10_000) -> None:
        self._file = file
        self._lines: deque[Line] = deque(maxlen=lines_max)
        self._wake = threading.Event()
        self._closing = False
        self.dropped = 0
        self.failed = 0
        self._thread = threading.Thread(target=self._run, name=f"log-{file.path.name}", daemon=True)
        self._thread.start()

    def put(self, line: Line) -> None:
        """Queue a line; never blocks, never raises."""
        if len(self._lines) == self._lines.maxlen:
            self.dropped += 1
        self._lines.append(line)
        self._wake.set()

    def close(self, deadline_s: float = 2.0) -> bool:
        """Write what is queued and stop; False if the deadline passed first."""
        self._closing = True
        self._wake.set()
        self._thread.join(deadline_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        reported = 0
        while True:
            self._wake.wait()
            self._wake.clear()
            reported = self._drain(reported)
            if self._closing and not self._lines:
                self._file.close()
                return

    def _drain(self, reported: int) -> int:
        try:
            while self._lines:
                self._file.write(self._lines.popleft()())
            if self.dropped > reported:
                self._file.write(f'{{"event":"log_lines_dropped","count":{self.dropped}}}')
                reported = self.dropped
            self._file.flush()
        except OSError:
            self.failed += 1
            self._file.close()
        return reported
