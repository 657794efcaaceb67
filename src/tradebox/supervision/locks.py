"""Locks on files that end with their holder, however it ends.

Rules of this file:
1. flock on a descriptor of our own: the kernel gives the lock back when the last copy closes.
2. No child inherits a copy unasked: the descriptor is close-on-exec; a forked engine closes
   everything it was not given (see engine.py).
3. The file is never removed: removing it would let two holders lock two files of one name.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self


class LockHeld:
    """A lock on `path`, exclusive or shared; use as a context manager, or `release`."""

    def __init__(self, path: Path, fd: int, *, is_exclusive: bool) -> None:
        self.path = path
        self.is_exclusive = is_exclusive
        self._fd = fd

    def fileno(self) -> int:
        """Return the descriptor, to be passed to a child that must end before the lock does."""
        return self._fd

    def last_out(self) -> bool:
        """Try to turn this lease into the exclusive lock; on False it has been released.

        For who leaves: True means that nobody else is in, and nobody enters before `release`.
        """
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            return False
        self.is_exclusive = True
        return True

    def release(self) -> None:
        """Give the lock back; harmless twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _hold(path: Path, how: int) -> LockHeld | None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return LockHeld(path, fd, is_exclusive=how == fcntl.LOCK_EX)


def hold_exclusive(path: Path) -> LockHeld | None:
    """Return the only lock on `path`, None while anybody else holds one.

    Raises: OSError when the file cannot be made or opened.
    """
    return _hold(path, fcntl.LOCK_EX)


def hold_shared(path: Path) -> LockHeld | None:
    """Return a lease beside other leases, None while somebody holds `path` exclusively.

    Raises: OSError when the file cannot be made or opened.
    """
    return _hold(path, fcntl.LOCK_SH)
