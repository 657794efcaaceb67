"""Work that does to its worker what the names of its stocks say.

Rules of this file:
- it imports nothing that a worker has not got already, so that a new worker is a fast one;
- a name may carry a number (KILL2): the fault happens so often, then the stock is well.
"""

import ctypes
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tradebox.backtest.records import BatchResult, BatchTask, StockResult
from tradebox.backtest.worker import at_stock, signed

NAME = re.compile(r"(?P<fault>[A-Z]+)(?P<times>\d*)(-.*)?")
MIB = 1 << 20


def work(task: BatchTask) -> BatchResult:
    """Do what the names say; every stock that survives it is graded."""
    results = []
    for index, symbol in enumerate(task.symbols):
        at_stock(task.batch_no, index)
        found = NAME.fullmatch(symbol)
        if found and _has_still_to(found["fault"], found["times"], task):
            FAULTS[found["fault"]]()
        result = StockResult(symbol, "ok", grade="C", setting={"length": float(len(symbol))})
        results.append(signed(result, task.run.data_hash))
    return BatchResult(task.batch_no, tuple(results), {"work": 0.001}, 1 * MIB)


def _has_still_to(fault: str, times: str, task: BatchTask) -> bool:
    if fault not in FAULTS:
        return False
    if not times:
        return True
    count = Path(task.run.data_path) / f"{fault}-{times}"
    done = len(count.read_text()) if count.exists() else 0
    with count.open("a") as file:
        file.write("x")
    return done < int(times)


def _hold(size: int) -> None:
    held = bytearray(size)
    held[::4096] = b"x" * len(held[::4096])


def never_begins(task: BatchTask) -> BatchResult:
    """Die before the first stock, whatever it is."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError(task)


FAULTS: dict[str, Callable[[], object]] = {
    "KILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SEGV": lambda: ctypes.string_at(0),
    "EXIT": lambda: os._exit(3),
    "HANG": lambda: time.sleep(600),
    "GREED": lambda: _hold(8 << 30),
    "SLOW": lambda: time.sleep(0.3),
    "BIG": lambda: _hold(64 * MIB),
}
