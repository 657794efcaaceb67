"""What the parts of a backtest hand to each other: frozen values, small enough to pickle.

Rules of this file:
- a RunBrief travels with every task, so it holds no list of symbols and no array;
- a StockResult is complete without the data: its days, orders, trades and equity are inside it;
- the result hash covers what was decided and what came of it, never time, host or dict order.
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Status = Literal["ok", "refused", "failed", "mismatch"]
"""ok: graded. refused: its data or the layers say no. failed: the task died. mismatch: vectorbt
and the kernel disagree in an order."""

Grade = Literal["A", "B", "C", "D", "F", ""]
GRADES: Final[tuple[Grade, ...]] = ("A", "B", "C", "D", "F")
"""Letters, best first; "" where nothing was graded. (E is not used, as in most schools.)"""

ORDER_DTYPE: Final = np.dtype(
    [
        ("bar", "<i4"),
        ("side", "i1"),
        ("size", "<f8"),
        ("price", "<f8"),
        ("fees", "<f8"),
        ("reason", "i1"),
    ]
)
"""One order: bar counts into `days`, side +1 buys and -1 sells, size in shares > 0, price and fees
in the stock's currency (slippage is inside the price), reason an index of REASONS."""

TRADE_DTYPE: Final = np.dtype(
    [
        ("entry_bar", "<i4"),
        ("exit_bar", "<i4"),
        ("side", "i1"),
        ("reason", "i1"),
        ("size", "<f8"),
        ("entry_price", "<f8"),
        ("exit_price", "<f8"),
        ("stop_price", "<f8"),
        ("fees", "<f8"),
        ("pnl", "<f8"),
        ("r", "<f8"),
        ("mae_r", "<f4"),
        ("mfe_r", "<f4"),
    ]
)
"""One round trip: side +1 long, -1 short; stop_price is the initial stop; pnl after fees; r = pnl
over the initial risk; mae_r and mfe_r the worst and best excursion in R; exit_price the mean of
the exits where there were several; reason of the last exit."""

REASONS: Final = (
    "entry",
    "stop",
    "trail",
    "break_even",
    "target",
    "scale_out",
    "signal",
    "bars_max",
    "end_of_data",
    "delisted",
)


class Reason(NamedTuple):
    """Why a layer did what it did: who says it, and what."""

    layer: str
    text: str


@dataclass(frozen=True, slots=True)
class RunBrief:
    """What every task of a run needs to know. config: the whole [backtest] section, plain."""

    run_id: str
    seed: int
    strategies: tuple[str, ...]
    data_path: str
    data_hash: str
    code_hash: str
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunSpec:
    """A whole run, as it is stored before its first task."""

    run_id: str
    seed: int
    strategies: tuple[str, ...]
    universe: str
    symbols: tuple[str, ...]
    data_source: str
    data_path: str
    data_hash: str
    code_hash: str
    config: Mapping[str, Any]
    executor: str = "pool"
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def brief(self) -> RunBrief:
        """The part that travels with every task."""
        return RunBrief(
            self.run_id,
            self.seed,
            self.strategies,
            self.data_path,
            self.data_hash,
            self.code_hash,
            self.config,
        )


@dataclass(frozen=True, slots=True)
class BatchTask:
    """Some stocks of a run, worked in one process."""

    run: RunBrief
    batch_no: int
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class StockResult:
    """What came of one stock.

    metrics: {"in": {...}, "out": {...}} of numbers, out-of-sample under "out". details: plain
    values for people (splits, character, each layer's worth). equity: account value in USD at
    each close of `days` (days since 1970-01-01). verified: None = not asked.
    """

    symbol: str
    status: Status
    strategy: str = ""
    setting: Mapping[str, float] = field(default_factory=dict)
    grade: Grade = ""
    reasons: tuple[Reason, ...] = ()
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    trials: int = 0
    verified: bool | None = None
    orders: NDArray[np.void] = field(default_factory=lambda: np.empty(0, ORDER_DTYPE))
    trades: NDArray[np.void] = field(default_factory=lambda: np.empty(0, TRADE_DTYPE))
    days: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    equity: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    data_hash: str = ""
    result_hash: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class BatchResult:
    """What came of a batch. stage_seconds: by stage name; peak_bytes: private, of the worker."""

    batch_no: int
    results: tuple[StockResult, ...]
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    peak_bytes: int = 0


def result_hash(result: StockResult) -> str:
    """Return the sha256 of the decision and its outcome, in hex.

    Holds: equal for equal values whatever the order of the mappings; any changed field of
           symbol, status, strategy, setting, grade, metrics, trials, orders or trades changes it.
    """
    digest = hashlib.sha256()
    for text in (result.symbol, result.status, result.strategy, result.grade, str(result.trials)):
        digest.update(text.encode() + b"\0")
    _update(digest, result.setting.items())
    for part in sorted(result.metrics):
        digest.update(part.encode() + b"\0")
        _update(digest, result.metrics[part].items())
    for table, dtype in ((result.orders, ORDER_DTYPE), (result.trades, TRADE_DTYPE)):
        assert table.dtype == dtype, "orders and trades keep their columns"
        digest.update(struct.pack("<q", len(table)) + np.ascontiguousarray(table).tobytes())
    return digest.hexdigest()


def run_hash(hashes: Iterable[tuple[str, str]]) -> str:
    """Return the sha256 over (symbol, result hash), sorted by symbol: a run in one word."""
    digest = hashlib.sha256()
    for symbol, one in sorted(hashes):
        digest.update(f"{symbol}\0{one}\n".encode())
    return digest.hexdigest()


def _update(digest: Any, items: Iterable[tuple[str, float]]) -> None:
    for name, value in sorted(items):
        number = float(value) + 0.0  # -0.0 and 0.0 are one value
        digest.update(f"{name}={number!r}\0".encode())
    digest.update(b"\1")
