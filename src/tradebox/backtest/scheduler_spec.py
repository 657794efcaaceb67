"""What a run is before its first task: its id, the hash of its code, and how it is cut in batches.

Rules of this file:
- the code hash covers what can change a result, our modules and the libraries they compute with;
- a batch is small enough that what a kill can lose stays below one hundredth of the run.
"""

import hashlib
import importlib.metadata
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import tradebox.backtest
import tradebox.strategies

LOST_SHARE_MAX: Final = 0.01
"""Of a run's stocks: what may be in work at once."""

LIBRARIES: Final = ("numpy", "numba", "TA-Lib", "vectorbt", "vectorbt-rust")
NOT_RESULTS: Final = (
    "worker",
    "scheduler",
    "memory",
    "pool",
    "progress",
    "cluster",
    "store",
    "report",
)
"""Modules of backtest/ (by the start of their names) that move results and never make them."""


def new_run_id(now_s: float | None = None) -> str:
    """Return a new id: it sorts by time, and two runs of one second differ."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now_s))
    return f"{stamp}-{secrets.token_hex(2)}"


def code_hash() -> str:
    """Return the sha256 of all code that can change a result, with its libraries' versions."""
    digest = hashlib.sha256()
    for name, path in _modules():
        digest.update(f"{name}\0".encode() + path.read_bytes() + b"\0")
    for name in LIBRARIES:
        digest.update(f"{name}=={_version(name)}\0".encode())
    return digest.hexdigest()


def _modules() -> list[tuple[str, Path]]:
    found = []
    for package in (tradebox.backtest, tradebox.strategies):
        root = Path(package.__file__ or "").parent
        for path in root.rglob("*.py"):
            name = path.relative_to(root).as_posix()
            if package is tradebox.strategies or not _only_moves(name):
                found.append((f"{package.__name__}/{name}", path))
    return sorted(found)


def _only_moves(name: str) -> bool:
    return name.startswith("data/") or ("/" not in name and name.startswith(NOT_RESULTS))


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def batches_of(symbols: Sequence[str], workers: int, stocks_max: int) -> list[tuple[str, ...]]:
    """Return the stocks in batches, in their order.

    Holds: every stock once; no batch above stocks_max; workers times batch within LOST_SHARE_MAX of
           the run, or single stocks where it is too small for that.
    """
    size = max(1, min(stocks_max, int(len(symbols) * LOST_SHARE_MAX / max(1, workers))))
    return [tuple(symbols[at : at + size]) for at in range(0, len(symbols), size)]
