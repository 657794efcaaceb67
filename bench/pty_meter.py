"""A console on a pseudo terminal, metered: bytes it writes, CPU, memory, key to paint.

Rules of this file:
- bytes are what a terminal would receive, counted as they come, with their time;
- CPU and memory are the kernel's own figures of that process;
- a key is answered when the first byte after it arrives.
"""

import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path
from typing import Any

from bench.live_run import environ

TICK_HZ = os.sysconf("SC_CLK_TCK")
QUIET_S = 0.3
COLUMNS, ROWS = 100, 30
LIVE_FIGURE = re.compile(rb"stop cover|NO STOP")
CONTROL = re.compile(rb"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[()][0-9A-B]|[=>])")


class Console:
    """One console that is drained while it is watched. Close it."""

    def __init__(self, home: Path, *arguments: str, by_command: bool = False) -> None:
        self.master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        module = ["tradebox", "tui"] if by_command else ["tradebox_tui"]
        self.began_s = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", *module, "--home", str(home), *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**environ(), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
        os.close(slave)
        self.chunks: list[tuple[float, int]] = []
        self.text = b""

    def drain(self, for_s: float) -> int:
        """Read what it writes for a while; return how many bytes that were."""
        return self.drain_until(lambda: False, for_s)

    def drain_until(self, look: Any, within_s: float) -> int:
        """Read until `look()` is true or the time is over; return how many bytes that were."""
        until_s, count = time.monotonic() + within_s, 0
        while not look() and (left_s := until_s - time.monotonic()) > 0:
            if not select.select([self.master], [], [], min(left_s, 0.05))[0]:
                continue
            try:
                data = os.read(self.master, 1 << 16)
            except OSError as error:
                raise RuntimeError(f"the console ended: {self.plain()[-400:]!r}") from error
            count += len(data)
            self.chunks.append((time.monotonic(), len(data)))
            self.text = (self.text + data)[-200_000:]
        return count

    def plain(self) -> bytes:
        """Return what was read last, without control sequences."""
        return CONTROL.sub(b"", self.text)

    def until_live(self, within_s: float = 30.0) -> float:
        """Read until the first live figure is painted; return seconds since the start."""
        self.drain_until(lambda: LIVE_FIGURE.search(self.plain()), within_s)
        if not LIVE_FIGURE.search(self.plain()):
            raise TimeoutError(f"no live figure: {self.plain()[-400:]!r}")
        return self.chunks[-1][0] - self.began_s

    def press(self, key: bytes, within_s: float = 2.0) -> float:
        """Press a key while nothing is being written; return seconds until the first byte."""
        while self.drain(QUIET_S):
            pass
        before = len(self.chunks)
        pressed_s = time.monotonic()
        os.write(self.master, key)
        self.drain_until(lambda: len(self.chunks) > before, within_s)
        if len(self.chunks) == before:
            raise TimeoutError(f"nothing was painted after {key!r}")
        return self.chunks[before][0] - pressed_s

    def cpu_s(self) -> float:
        """Return CPU seconds so far, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK_HZ

    def memory_mb(self) -> float:
        """Return resident memory at its highest, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return round(int(peak.split()[1]) / 1024, 1)

    def watch(self, for_s: float) -> dict[str, float]:
        """Let it run; return mean and worst second of bytes, and the share of a core."""
        before, from_s, first = self.cpu_s(), time.monotonic(), len(self.chunks)
        count = self.drain(for_s)
        lasted_s = time.monotonic() - from_s
        seconds: dict[int, int] = {}
        for at_s, size in self.chunks[first:]:
            second = int(at_s - from_s)
            seconds[second] = seconds.get(second, 0) + size
        return {
            "kib_per_s": round(count / 1024 / lasted_s, 2),
            "kib_worst_second": round(max(seconds.values(), default=0) / 1024, 2),
            "cpu_percent": round((self.cpu_s() - before) / lasted_s * 100, 2),
        }

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        os.close(self.master)
