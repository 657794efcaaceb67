"""What surrounds a run on its home: its lock, the workers' board, signals, priority, servers.

Rules of this file:
- each is a context: whatever happens inside, it is put back;
- a lock file stays: removing one would let two holders lock two files of one name.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tradebox.config import Home, private_dir
from tradebox.errors import HomeUnusable, NotDone, StoreUnavailable
from tradebox.supervision.locks import hold_exclusive

NICE: Final = 19


@contextlib.contextmanager
def held(home: Home, run_id: str) -> Iterator[None]:
    """Be the only scheduler of a run on this home. Raises: NotDone."""
    folder = private_dir(home.lease_lock.parent)
    path = folder / f"backtest-{run_id}.lock"
    lock = hold_exclusive(path)
    if lock is None:
        raise NotDone(f"run {run_id} is at work in another process: wait for it, or stop it")
    with lock:
        yield


@contextlib.contextmanager
def board_file(home: Home) -> Iterator[Path]:
    """Lend the name of the small file that workers report in; sweep those of the dead."""
    folder = home.lease_lock.parent
    for left in folder.glob("workers-*.board"):
        if not Path("/proc", left.stem.partition("-")[2]).exists():
            left.unlink(missing_ok=True)
    path = folder / f"workers-{os.getpid()}.board"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def reviver(revive: Callable[[], None]) -> Iterator[Callable[[], Awaitable[None]]]:
    """Lend a way to start the servers again, from a thread that keeps today's priority.

    Meanwhile this process takes the lowest one; on Linux a priority is a thread's own.
    """
    with ThreadPoolExecutor(1, "revive") as thread:
        thread.submit(os.getpid).result()
        os.nice(NICE)

        async def call() -> None:
            with contextlib.suppress(StoreUnavailable, HomeUnusable):
                await asyncio.wrap_future(thread.submit(revive))

        yield call


@contextlib.contextmanager
def signals_to(stop: Callable[[], None]) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a lost terminal stop a run in order."""
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signum, stop)
    try:
        yield
    finally:
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(signum)
