"""Locks between processes on files of the home, freed by the kernel when their holder dies.

Rules of this file:
- a lock is a flock on an open file, never the existence of a file;
- whoever waits has a deadline and says whom it waits for.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tradebox.adapters.embedded.folders import private_dir
from tradebox.config import Home
from tradebox.errors import StoreUnavailable

WAIT_S_MAX = 90.0
_POLL_S = 0.01


def open_lock(path: Path) -> int:
    """Open a lock file of the home, making it; the caller closes it."""
    private_dir(path.parent)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def try_lock(handle: int, *, shared: bool = False) -> bool:
    """Take the lock if it is free now."""
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(handle, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take_lock(handle: int, what: str, wait_s: float, *, shared: bool = False) -> None:
    """Take the lock, waiting at most `wait_s`.

    Raises: StoreUnavailable when it stays taken.
    """
    deadline = time.monotonic() + wait_s
    while not try_lock(handle, shared=shared):
        if time.monotonic() >= deadline:
            raise StoreUnavailable(
                f"another process has been starting or stopping {what} for {wait_s:.0f} s",
                lock=what,
                limit_s=wait_s,
            )
        time.sleep(_POLL_S)


@contextlib.contextmanager
def locked(home: Home, server: str) -> Iterator[None]:
    """Be the only process that starts or stops this server of this home."""
    handle = open_lock(home.root / "run" / f"{server}.lock")
    try:
        take_lock(handle, server, WAIT_S_MAX)
        yield
    finally:
        os.close(handle)
