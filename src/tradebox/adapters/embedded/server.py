"""What the two embedded servers have in common: to be found, launched, awaited and ended.

Rules of this file:
- every process of a server inherits a lock on `<name>.alive`: while it is held one lives, also in
  the moment before the kernel can tell what it is;
- a server that somebody started by hand on the same folder holds no lock and is found all the same.
"""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tradebox.adapters.embedded.folders import remove_socket_dir
from tradebox.adapters.embedded.processes import (
    reap,
    rotate,
    servers_in,
    start_detached,
    stop_server,
    tail,
)
from tradebox.config import Home, private_dir
from tradebox.errors import StoreUnavailable, TradeboxError
from tradebox.supervision.locks import hold_exclusive

LOG_BYTES_MAX = 10_000_000
END_S_MAX = 10.0
POLL_S = 0.005


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers: pid, folder of its socket, and whether it ran before."""

    pid: int
    socket_dir: Path
    adopted: bool


@dataclass(frozen=True, slots=True)
class Server:
    """One embedded server of a home. ladder: signals that end it, each with seconds to wait."""

    home: Home
    name: str
    command: str
    folder: Path
    ladder: Sequence[tuple[signal.Signals, float]]

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.home.logs_dir / f"{self.name}.log"

    @property
    def alive_lock(self) -> Path:
        """The file that every process of the server holds locked."""
        return self.home.root / "run" / f"{self.name}.alive"

    def find(self) -> int | None:
        """Return the pid of the server, or None where the kernel shows none."""
        return next(iter(servers_in(self.folder, self.command)), None)

    def is_gone(self) -> bool:
        """Tell whether no process of it is left, not even one about to begin."""
        private_dir(self.alive_lock.parent)
        lock = hold_exclusive(self.alive_lock)
        if lock is None:
            return False
        lock.release()
        return self.find() is None

    def end(self, socket_folder: Path) -> bool:
        """End every process and remove the socket folder; True when there was one.

        Raises: StoreUnavailable when one cannot be ended.
        """
        was_there = False
        deadline = time.monotonic() + END_S_MAX
        while not self.is_gone():
            was_there = True
            pid = self.find()
            if pid is not None:
                stop_server(pid, self.command, self.folder, self.ladder)
            elif time.monotonic() >= deadline:
                raise StoreUnavailable(f"a process of the embedded {self.name} cannot be ended")
            else:
                time.sleep(POLL_S)
        remove_socket_dir(self.home, socket_folder)
        return was_there

    def launch(
        self,
        argv: Sequence[str],
        is_ready: Callable[[int], bool],
        failed: Callable[[str], TradeboxError],
        ready_s_max: float,
    ) -> int:
        """Start a server that outlives us, wait until it is ready, and return its pid.

        failed: makes the error from what it said before it gave up.
        Raises: StoreUnavailable when it is not ready in time, or one lives already.
        """
        rotate(self.log, LOG_BYTES_MAX)
        said_before = self.log.stat().st_size if self.log.exists() else 0
        lock = hold_exclusive(self.alive_lock)
        if lock is None:
            raise StoreUnavailable(f"the embedded {self.name} runs already")
        with lock:
            pid = start_detached(argv, self.log, lock.fileno())
        deadline = time.monotonic() + ready_s_max
        while not is_ready(pid):
            if reap(pid):
                raise failed(tail(self.log, said_before))
            if time.monotonic() >= deadline:
                raise StoreUnavailable(
                    f"the embedded {self.name} was not ready within {ready_s_max:.0f} s:"
                    f" see {self.log}",
                    limit_s=ready_s_max,
                )
            time.sleep(POLL_S)
        return pid
