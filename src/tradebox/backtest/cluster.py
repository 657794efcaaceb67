"""Workers on other machines: the same task through Dask's executor interface.

Rules of this file:
- data comes by a path that every worker can read, or is scattered once and written down there;
- a cluster ends its own workers and watches its own memory: we neither signal nor measure them;
- results are the same bytes as anywhere: the task is the same function;
- what Dask logs of connections that end is noise: what matters of a task comes with its future.
"""

import contextlib
import importlib
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tradebox.backtest.pool import NOWHERE, Slot
from tradebox.backtest.records import BatchTask
from tradebox.backtest.worker import At, Function, Outcome, run_batch, run_granted
from tradebox.errors import ConfigInvalid

CONNECT_S_MAX: Final = 20.0
READY_S_MAX: Final = 180.0
QUIET: Final = logging.CRITICAL
"""What Dask may still say, here and in workers of a cluster of our own."""

Files = Mapping[str, bytes]


class EndedConnections(logging.Filter):
    """Drops what a loop says of a task that nobody awaits when its connection ends.

    Dask leaves such tasks behind when a cluster closes: a heartbeat on its way, an answer that is
    not needed any more. Anything else passes.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether a record is worth showing."""
        error = record.exc_info[1] if record.exc_info else None
        return not type(error).__module__.startswith(("distributed.", "tornado."))


_ENDED: Final = EndedConnections()


def hush() -> None:
    """Keep this process from showing how Dask's connections end; harmless twice."""
    logging.getLogger("distributed").setLevel(QUIET)
    for name in ("asyncio", "tornado.application"):
        logger = logging.getLogger(name)
        if _ENDED not in logger.filters:
            logger.addFilter(_ENDED)


class DaskSlot:
    """One task at a time somewhere in the cluster."""

    fresh_bytes = 0
    pid: int | None = None

    def __init__(self, pool: "DaskPool") -> None:
        self._pool = pool
        self._future: Any = None
        self.tasks = 0

    def submit(self, task: BatchTask, grant_bytes: int) -> "Future[Outcome]":
        """Begin a task; the cluster's own limits hold, not ours."""
        del grant_bytes
        self.tasks += 1
        return self._pool.submit(task)

    def at(self) -> At:
        """Nobody here sees a cluster's workers."""
        return NOWHERE

    def kill(self) -> None:
        """Leave it to the cluster."""

    def recycle(self) -> None:
        """Leave it to the cluster."""

    def pause(self, *, paused: bool) -> None:
        """Leave it to the cluster."""


class DaskPool:
    """A Dask cluster behind the scheduler; without an address one of our own on this machine.

    scatter: send the bars to the workers instead of having them read a shared path.
    """

    def __init__(
        self,
        address: str | None,
        workers: int,
        function: Function = run_batch,
        *,
        scatter: bool = False,
    ) -> None:
        self._address, self._workers, self._scatter = address, workers, scatter
        self._function = function
        self._client: Any = None
        self._cluster: Any = None
        self._files: dict[str, Any] = {}
        self.slots: Sequence[Slot] = ()

    def start(self) -> None:
        """Connect, and offer one slot for each thread of the cluster's workers.

        Raises: ConfigInvalid when no scheduler answers or it has no workers.
        """
        dask: Any = importlib.import_module("distributed")  # it is not typed
        hush()
        try:
            if self._address is None:
                self._cluster = dask.LocalCluster(
                    n_workers=self._workers,
                    threads_per_worker=1,
                    dashboard_address=None,
                    host="127.0.0.1",
                    silence_logs=QUIET,
                )
            self._client = dask.Client(self._cluster or self._address, timeout=CONNECT_S_MAX)
            self._client.wait_for_workers(1, timeout=READY_S_MAX)
        except (OSError, TimeoutError, ValueError) as error:
            self.close()
            raise ConfigInvalid(
                f"--scheduler={self._address}: no Dask scheduler with workers answers there:"
                f" {error}",
                field="scheduler",
                value=self._address,
            ) from error
        threads = sum(self._client.nthreads().values())
        self.slots = tuple(DaskSlot(self) for _ in range(threads))

    def submit(self, task: BatchTask) -> "Future[Outcome]":
        """Begin a task on whichever worker is free. Raises: BrokenExecutor, with no cluster."""
        if self._client.status != "running":
            raise BrokenExecutor(f"the Dask scheduler is {self._client.status}")
        arguments: tuple[Any, ...] = (self._function, task)
        if self._scatter:
            arguments = (*arguments, self._scattered(Path(task.run.data_path)))
        sent = self._client.submit(run_sent, *arguments, pure=False, retries=0)
        found: Future[Outcome] = Future()
        found.set_running_or_notify_cancel()
        sent.add_done_callback(lambda done: _hand_over(done, found))
        return found

    def close(self) -> None:
        """Let go of the cluster; one of our own ends."""
        with contextlib.suppress(OSError, TimeoutError):
            if self._client is not None:
                self._client.close(timeout=5)
            if self._cluster is not None:
                self._cluster.close(timeout=10)

    def _scattered(self, path: Path) -> Any:
        """Send the stored bars once to every worker, and return what stands for them."""
        if path.name not in self._files:
            files = {each.name: each.read_bytes() for each in sorted(path.iterdir())}
            self._files[path.name] = self._client.scatter(files, broadcast=True)
        return self._files[path.name]


def run_sent(function: Function, task: BatchTask, files: Files | None = None) -> Outcome:
    """Run a task on a cluster's worker, from a shared path or from what was scattered."""
    if files is not None:
        path = _written(task.run.data_hash, files)
        task = replace(task, run=replace(task.run, data_path=str(path)))
    return run_granted(function, task, None)


def _written(data_hash: str, files: Files) -> Path:
    """Write the bars down once on this machine; its folder appears whole or not at all."""
    root = Path(tempfile.gettempdir()) / f"tradebox-bars-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    if root.stat().st_uid != os.getuid():
        raise PermissionError(f"{root} belongs to another user")
    target = root / data_hash
    if not target.exists():
        fresh = Path(tempfile.mkdtemp(dir=root))
        for name, content in files.items():
            (fresh / name).write_bytes(content)
        with contextlib.suppress(OSError):  # another worker of this machine was first
            fresh.rename(target)
    return target


def _hand_over(done: Any, found: "Future[Outcome]") -> None:
    """Turn what Dask says into what the scheduler knows."""
    if done.status == "finished":
        found.set_result(done.result())
        return
    error = done.exception() if done.status == "error" else None
    if isinstance(error, MemoryError | OSError):
        found.set_exception(error)
    else:
        found.set_exception(BrokenExecutor(f"{type(error).__name__}: {error}"))
