"""Workers of this machine: a ProcessPoolExecutor of one process a slot, from a warm zygote.

Rules of this file:
- a slot is an executor of its own, so that a worker that dies takes no other's task with it;
- Ctrl-C never reaches a worker, and none outlives its parent, however that one ends;
- a signal goes to a process that is known to be ours, by a descriptor of the process itself.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import types
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

from tradebox.backtest.records import BatchTask
from tradebox.backtest.worker import At, Board, Function, Outcome, begin, run_batch, run_granted

ZYGOTE: Final = "tradebox.backtest.worker_zygote"
READY_S_MAX: Final = 120.0
"""How long the first worker may take: the zygote may have to compile the kernels."""

NOWHERE: Final = At(0, -1, -1, 0)


class Slot(Protocol):
    """A place that runs one task at a time."""

    tasks: int
    fresh_bytes: int
    """What a new worker adds to our tree before its first task."""

    @property
    def pid(self) -> int | None:
        """The worker's process, where it is ours to watch."""

    def submit(self, task: BatchTask, grant_bytes: int) -> "Future[Outcome]":
        """Begin a task that may take so much memory."""

    def at(self) -> At:
        """Return where the worker is; pid 0 = not known."""

    def kill(self) -> None:
        """End the worker now; its task fails as broken."""

    def recycle(self) -> None:
        """Replace the worker by a new one, at the next task."""

    def pause(self, *, paused: bool) -> None:
        """Stop the worker where it stands, or let it go on."""


class Pool(Protocol):
    """The slots of a run, known once it has started."""

    @property
    def slots(self) -> Sequence[Slot]:
        """Places that run one task each."""

    def start(self) -> None:
        """Bring up what a first task needs. Raises: BrokenExecutor."""

    def close(self) -> None:
        """End every worker."""


class ProcessSlot:
    """One worker process behind an executor of its own."""

    fresh_bytes = 24 << 20

    def __init__(self, pool: "ProcessPool", number: int) -> None:
        self._pool = pool
        self._number = number
        self._executor: ProcessPoolExecutor | None = None
        self._pidfd = -1
        self._pid = 0
        self.tasks = 0

    @property
    def pid(self) -> int | None:
        """The worker's pid once it has begun."""
        self._watch()
        return self._pid or None

    def submit(self, task: BatchTask, grant_bytes: int) -> "Future[Outcome]":
        """Begin a task; a broken worker has been replaced before."""
        self.tasks += 1
        with _clean_start():
            return self._ready().submit(run_granted, self._pool.function, task, grant_bytes)

    def warm(self) -> "Future[int]":
        """Bring up the worker and return its pid."""
        with _clean_start():
            return self._ready().submit(os.getpid)

    def at(self) -> At:
        """Return where the worker is."""
        return self._pool.board.read(self._number) if self._executor else NOWHERE

    def kill(self) -> None:
        """SIGKILL the worker."""
        self._signal(signal.SIGKILL)

    def pause(self, *, paused: bool) -> None:
        """SIGSTOP or SIGCONT the worker."""
        self._signal(signal.SIGSTOP if paused else signal.SIGCONT)

    def recycle(self) -> None:
        """End this worker; the next task brings up another."""
        executor, self._executor = self._executor, None
        if executor is not None:
            self.kill()
            executor.shutdown(wait=False, cancel_futures=True)
        if self._pidfd >= 0:
            os.close(self._pidfd)
        self._pidfd, self._pid, self.tasks = -1, 0, 0
        self._pool.board.write(self._number, NOWHERE)

    def _ready(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                1,
                mp_context=self._pool.context,
                initializer=begin,
                initargs=(str(self._pool.board_file), self._number),
            )
        return self._executor

    def _watch(self) -> None:
        if self._pidfd < 0 and self._executor is not None:
            pid = self._pool.board.read(self._number).pid
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    self._pidfd, self._pid = os.pidfd_open(pid), pid

    def _signal(self, signum: signal.Signals) -> None:
        self._watch()
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signum)


class ProcessPool:
    """Workers of this machine. board_file: a small file that shows where each worker is."""

    def __init__(self, workers: int, board_file: Path, function: Function = run_batch) -> None:
        self.function = function
        self.board_file = board_file
        self.board = Board(board_file, workers)
        self.context = multiprocessing.get_context("forkserver")
        self.slots: Sequence[ProcessSlot] = tuple(
            ProcessSlot(self, number) for number in range(workers)
        )

    def start(self) -> None:
        """Start the zygote and the first worker.

        Raises: BrokenExecutor, TimeoutError.
        """
        self.context.set_forkserver_preload([ZYGOTE])
        with _path_inherited():
            future = self.slots[0].warm()
        future.result(READY_S_MAX)

    def close(self) -> None:
        """Kill the workers, so that nothing waits for them; the zygote ends with this process."""
        for slot in self.slots:
            slot.recycle()
        self.board.close()
        self.board_file.unlink(missing_ok=True)


class SerialSlot:
    """One task at a time in this very process, on a thread beside the loop."""

    pid: int | None = None
    fresh_bytes = 0

    def __init__(self, function: Function) -> None:
        self._function = function
        self.executor = ThreadPoolExecutor(1, "backtest")
        self.tasks = 0

    def submit(self, task: BatchTask, grant_bytes: int) -> "Future[Outcome]":
        """Begin a task; a process does not limit itself."""
        del grant_bytes
        self.tasks += 1
        return self.executor.submit(run_granted, self._function, task, None)

    def at(self) -> At:
        """Nobody watches: there is nobody else."""
        return NOWHERE

    def kill(self) -> None:
        """Cannot be done to oneself."""

    def recycle(self) -> None:
        """Cannot be done to oneself."""

    def pause(self, *, paused: bool) -> None:
        """Cannot be done to oneself."""


class SerialPool:
    """No pool: every task in this process, one after the other."""

    def __init__(self, function: Function = run_batch) -> None:
        self._slot = SerialSlot(function)
        self.slots: Sequence[Slot] = (self._slot,)

    def start(self) -> None:
        """Compile what has to be compiled."""
        from tradebox.backtest.pipeline import warm_up

        warm_up()

    def close(self) -> None:
        """Wait for the task that runs; there is no way to end it."""
        self._slot.executor.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _clean_start() -> Iterator[None]:
    """Start children inside: with SIGINT blocked until they ignore it, and without our __main__.

    multiprocessing imports the parent's main module in every child; ours holds nothing they need.
    """
    main = sys.modules["__main__"]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _path_inherited() -> Iterator[None]:
    """Let the fork server see our import path: Python 3.11 gives it the environment's alone."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
