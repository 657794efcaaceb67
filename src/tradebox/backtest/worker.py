"""The one task of a backtest, whoever runs it: this process, a pool's worker, or Dask.

Rules of this file:
- a task is a pure function of its stocks, the stored data and the run's brief;
- one stock's fault is that stock's result; want of memory and of files ends the task instead;
- after each task the worker collects and trims, so that what it holds is what it needs;
- where a board is given, a worker writes which stock it is at: who watches knows what hung or died.
"""

import contextlib
import ctypes
import functools
import gc
import mmap
import os
import re
import resource
import signal
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, Final

from tradebox.backtest.data.arraystore import ArrayStore
from tradebox.backtest.memory import KIB, held_by
from tradebox.backtest.records import (
    BatchResult,
    BatchTask,
    Reason,
    StockResult,
    result_hash,
)
from tradebox.backtest.store_encoding import EncodedBatch, encode_batch
from tradebox.errors import TradeboxError
from tradebox.supervision.spawn import set_death_signal

STOCK_FAULTS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    TradeboxError,
)
"""What one stock may fail with, without its batch; MemoryError and OSError are not in it."""

SLOT: Final = struct.Struct("<qqqq")
"""One worker's place on the board: pid, batch, index of its stock (-1 = none), since (ns)."""

SLOT_BYTES: Final = 64
REASON_CHARS_MAX: Final = 300
LOOK_EVERY: Final = 32
LOOK_BYTES: Final = 4 << 20
"""A worker counts its private pages every so many tasks, or when it has grown by so much."""

Function = Callable[[BatchTask], BatchResult]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A batch's rows, ready to be stored, and what its worker held once it had tidied up.

    Units: bytes.
    """

    batch: EncodedBatch
    private_bytes: int


@dataclass(frozen=True, slots=True)
class At:
    """Where a worker is: index counts the stocks of its batch, -1 = between batches."""

    pid: int
    batch_no: int
    index: int
    since_ns: int


class Board:
    """Shared places of all workers, in one small file. Units: ns of the monotonic clock."""

    def __init__(self, path: Path, slots: int | None = None) -> None:
        if slots is not None:
            path.write_bytes(bytes(SLOT_BYTES * slots))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def read(self, slot: int) -> At:
        """Return where the worker of a slot is; pid 0 = none has begun."""
        return At(*SLOT.unpack_from(self._map, slot * SLOT_BYTES))

    def write(self, slot: int, at: At) -> None:
        """Say where the worker of a slot is."""
        SLOT.pack_into(self._map, slot * SLOT_BYTES, at.pid, at.batch_no, at.index, at.since_ns)

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()


class _Place:
    """This process's place on a board, if it has one."""

    def __init__(self) -> None:
        self.board: Board | None = None
        self.slot = 0
        self._private = 0
        self._anonymous = 0
        self._asked = 0

    def at(self, batch_no: int, index: int) -> None:
        if self.board is not None:
            self.board.write(self.slot, At(os.getpid(), batch_no, index, time.monotonic_ns()))

    def private_bytes(self) -> int:
        """Return what this process alone holds; looked up now and then, since that takes long."""
        anonymous = _status_bytes("RssAnon")
        if self._asked % LOOK_EVERY == 0 or anonymous > self._anonymous + LOOK_BYTES:
            self._private, self._anonymous = held_by(os.getpid()).private, anonymous
        self._asked += 1
        return self._private + max(0, anonymous - self._anonymous)


_here = _Place()


def begin(board: str, slot: int) -> None:
    """Make this process a worker: it dies with its parent, and Ctrl-C is its parent's matter."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    _let_zygote_end()
    set_death_signal(signal.SIGKILL, os.getppid())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _here.board, _here.slot = Board(Path(board)), slot
    _here.at(-1, -1)


def _let_zygote_end() -> None:
    """Close our copy of the pipe by which the fork server sees that its parent is gone.

    Python gives it to every worker, for workers of theirs; with it they would all live on.
    """
    server = getattr(forkserver, "_forkserver", None)
    alive = getattr(server, "_forkserver_alive_fd", None)
    if alive is not None:
        os.close(alive)
        server._forkserver_alive_fd = None  # type: ignore[union-attr]  # noqa: SLF001


def run_granted(function: Function, task: BatchTask, grant_bytes: int | None) -> Outcome:
    """Run a task that may take so much memory and no more. Raises: MemoryError beyond it."""
    with _limited(grant_bytes):
        batch = encoded(function(task))
    _tidy()
    _here.at(-1, -1)
    return Outcome(batch, _here.private_bytes())


def encoded(result: BatchResult) -> EncodedBatch:
    """Return a batch as the rows it is stored as, its time among the stages."""
    began_s = time.perf_counter()
    batch = encode_batch(result)
    stages = {**batch.stage_seconds, "encode": time.perf_counter() - began_s}
    return replace(batch, stage_seconds=stages)


@contextlib.contextmanager
def _limited(grant_bytes: int | None) -> Iterator[None]:
    if grant_bytes is None:
        yield
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_status_bytes("VmData") + grant_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def at_stock(batch_no: int, index: int) -> None:
    """Say on the board which stock of which batch is being worked on; a sign of life too."""
    _here.at(batch_no, index)


def run_batch(task: BatchTask) -> BatchResult:
    """Run every stock of a task and return the results in the task's order.

    Holds:  the same results in one process, in many and on a cluster.
    Raises: MemoryError; OSError when the stored data cannot be read.
    """
    from tradebox.backtest.pipeline import run_stock

    _reset_peak()
    before = _status_bytes("RssAnon")
    stages: dict[str, float] = {}
    config: dict[str, Any] = {**task.run.config, "strategies": task.run.strategies}
    store = opened(task.run.data_path)
    results = []
    try:
        for index, symbol in enumerate(task.symbols):
            at_stock(task.batch_no, index)
            began_s, bars = time.perf_counter(), None
            try:
                bars = store.bars(symbol)
                config["delisted"] = store.is_delisted(symbol)
                stages["load"] = stages.get("load", 0.0) + time.perf_counter() - began_s
                found = run_stock(bars, config, task.run.seed, stages)
            except STOCK_FAULTS as error:
                found = _failed(symbol, error)
            del bars
            results.append(signed(found, task.run.data_hash))
        # Pages of files come in with the first use of a library: they are shared, and stay.
        peak_bytes = max(0, _status_bytes("VmHWM") - _status_bytes("RssFile") - before)
    finally:
        store.release()
    return BatchResult(task.batch_no, tuple(results), stages, peak_bytes)


@functools.lru_cache(maxsize=1)
def opened(path: str) -> ArrayStore:
    """Open the stored bars once a process."""
    return ArrayStore.open(Path(path))


def failed_result(symbol: str, why: str, data_hash: str) -> StockResult:
    """Return the result of a stock whose task could not be done."""
    reason = Reason("scheduler", why[:REASON_CHARS_MAX])
    return signed(StockResult(symbol, "failed", reasons=(reason,)), data_hash)


def _failed(symbol: str, error: BaseException) -> StockResult:
    text = f"{type(error).__name__}: {error}"[:REASON_CHARS_MAX]
    return StockResult(symbol, "failed", reasons=(Reason("engine", text),))


def signed(found: StockResult, data_hash: str) -> StockResult:
    """Return a result with the hash of its data and of itself."""
    return replace(found, data_hash=data_hash, result_hash=result_hash(found))


def _tidy() -> None:
    """Give back what can be given back: cycles first, then the allocator's free pages."""
    gc.collect()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def _reset_peak() -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_bytes(b"5")


def _status_bytes(field: str) -> int:
    text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * KIB if found else 0
