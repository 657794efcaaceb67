"""Waiting for the locks of the home, with a deadline and a word on whom one waits for.

Rules of this file:
- a lock is the kernel's (supervision/locks.py), never the existence of a file.
"""

import time
from collections.abc import Callable
from pathlib import Path

from tradebox.adapters.embedded.folders import usable
from tradebox.config import Home, private_dir
from tradebox.errors import StoreUnavailable
from tradebox.supervision.locks import LockHeld, hold_exclusive

WAIT_S_MAX = 90.0
_POLL_S = 0.01


def wait_for(
    home: Home, path: Path, hold: Callable[[Path], LockHeld | None], wait_s: float
) -> LockHeld:
    """Return the lock, waiting at most `wait_s` for who holds it.

    Raises: StoreUnavailable when it stays taken; HomeUnusable.
    """
    deadline = time.monotonic() + wait_s
    while True:
        with usable(home):
            private_dir(path.parent)
            lock = hold(path)
        if lock is not None:
            return lock
        if time.monotonic() >= deadline:
            raise StoreUnavailable(
                f"another process has held {path} for {wait_s:.0f} s: end it, then try again",
                lock=str(path),
                limit_s=wait_s,
            )
        time.sleep(_POLL_S)


def locked(home: Home, server: str) -> LockHeld:
    """Return the lock of the only process that starts or stops this server of this home.

    Raises: StoreUnavailable, HomeUnusable.
    """
    return wait_for(home, home.root / "run" / f"{server}.lock", hold_exclusive, WAIT_S_MAX)
