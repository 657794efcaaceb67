"""A stock's result as the rows it is stored as, and back: pure, so that a worker can do it.

Rules of this file:
- what is read back is what was written, bit for bit: the result hash of both is the same;
- arrays are kept column by column as little-endian byte planes, compressed: like lies beside like;
- `layout` names how; a layout once written is read for ever;
- beside a stock's own metrics stands how its trades are spread over R (R_PART): who only looks need
  not unpack them, and it is no part of the result.

Public names: StockRow, EncodedBatch, encode, encode_batch, decode, RESULT_COLUMNS.
"""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tradebox.backtest.records import (
    ORDER_DTYPE,
    TRADE_DTYPE,
    BatchResult,
    Reason,
    StockResult,
)

LAYOUT: Final = 1
SPARK_POINTS: Final = 96
COMPRESSION: Final = 4
EPOCH: Final = date(1970, 1, 1)

R_PART: Final = "r_bins"
R_BIN: Final = 0.25
"""Bin n holds the trades with n * R_BIN <= R < (n + 1) * R_BIN."""

R_BIN_MIN, R_BIN_MAX = -12, 40
"""The outermost bins hold what lies beyond them, too."""

RESULT_COLUMNS: Final = (
    "symbol", "status", "strategy", "setting", "grade", "reasons", "metrics", "details", "trials",
    "is_verified", "trades", "expectancy_r", "profit_factor", "drawdown_r", "sharpe", "data_hash",
    "result_hash",
)  # fmt: skip
TRADE_COLUMNS: Final = ("symbol", "layout", "order_count", "trade_count", "orders", "trades")
EQUITY_COLUMNS: Final = (
    "symbol", "layout", "point_count", "first_day", "last_day", "days", "equity", "spark",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StockRow:
    """The three rows of a stock, values in the order of their columns; pickles small."""

    symbol: str
    result: tuple[Any, ...]
    trade: tuple[Any, ...]
    equity: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class EncodedBatch:
    """A BatchResult whose stocks are rows already."""

    batch_no: int
    rows: tuple[StockRow, ...]
    stage_seconds: Mapping[str, float]
    peak_bytes: int


def encode_batch(batch: BatchResult) -> EncodedBatch:
    """Return the rows of a batch."""
    rows = tuple(encode(result) for result in batch.results)
    return EncodedBatch(batch.batch_no, rows, dict(batch.stage_seconds), batch.peak_bytes)


def encode(result: StockResult) -> StockRow:
    """Return the rows of a stock's result.

    Holds:   decode(encode(result)) has the same result hash.
    """
    out = result.metrics.get("out", {})
    listed = [_number(out.get(name)) for name in RESULT_COLUMNS[11:15]]
    symbol = result.symbol
    document = (
        symbol,
        result.status,
        result.strategy,
        dict(result.setting),
        result.grade,
        [list(reason) for reason in result.reasons],
        {
            **{part: _finite(values) for part, values in result.metrics.items()},
            R_PART: r_bins(result.trades["r"]),
        },
        plain(result.details),
        result.trials,
        result.verified,
        len(result.trades),
        *listed,
        result.data_hash,
        result.result_hash,
    )
    trade = (
        symbol,
        LAYOUT,
        len(result.orders),
        len(result.trades),
        _packed_table(result.orders),
        _packed_table(result.trades),
    )
    return StockRow(symbol, document, trade, (symbol, *_equity_row(result)))


def decode(
    result: Mapping[str, Any], trade: Mapping[str, Any] | None, equity: Mapping[str, Any] | None
) -> StockResult:
    """Return the result of stored rows; None stands for a row that was not asked for."""
    arrays: dict[str, Any] = {}
    if trade is not None:
        assert trade["layout"] == LAYOUT, "rows of an unknown layout"
        arrays["orders"] = _table(trade["orders"], ORDER_DTYPE, trade["order_count"])
        arrays["trades"] = _table(trade["trades"], TRADE_DTYPE, trade["trade_count"])
    if equity is not None:
        count = equity["point_count"]
        steps = _column(zlib.decompress(equity["days"]), np.dtype("<i4"), count)
        arrays["days"] = np.cumsum(steps, dtype=np.int64).astype(np.int32)
        bits = _column(zlib.decompress(equity["equity"]), np.dtype("<i4"), count)
        arrays["equity"] = np.cumsum(bits, dtype=np.int32).view(np.float32)
    metrics = {
        part: {name: math.nan if value is None else float(value) for name, value in values.items()}
        for part, values in result["metrics"].items()
        if part != R_PART
    }
    return StockResult(
        symbol=result["symbol"],
        status=result["status"],
        strategy=result["strategy"],
        setting={name: float(value) for name, value in result["setting"].items()},
        grade=result["grade"],
        reasons=tuple(Reason(*reason) for reason in result["reasons"]),
        metrics=metrics,
        details=result["details"],
        trials=result["trials"],
        verified=result["is_verified"],
        data_hash=result["data_hash"],
        result_hash=result["result_hash"],
        **arrays,
    )


def r_bins(r: NDArray[np.float64]) -> dict[str, int]:
    """Return how many trades lie in each bin of R_BIN, without the empty ones.

    Holds:   the counts add up to the trades whose R is finite.
    """
    places = np.clip(np.floor(r[np.isfinite(r)] / R_BIN), R_BIN_MIN, R_BIN_MAX).astype(int)
    bins, counts = np.unique(places, return_counts=True)
    return {str(each): int(count) for each, count in zip(bins, counts, strict=True)}


def plain(value: Any) -> Any:
    """Return a value of plain JSON types: numpy's scalars and arrays become Python's."""
    match value:
        case Mapping():
            return {str(name): plain(one) for name, one in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(one) for one in value]
        case np.ndarray():
            return [plain(one) for one in value.tolist()]
        case np.generic():
            return plain(value.item())
        case float():
            return value if math.isfinite(value) else None
        case _:
            return value


def _equity_row(result: StockResult) -> tuple[Any, ...]:
    days = np.ascontiguousarray(result.days, dtype=np.int32)
    equity = np.ascontiguousarray(result.equity, dtype=np.float32)
    assert len(days) == len(equity), "every point of the equity has its day"
    ends = (None, None) if not len(days) else (day_of(int(days[0])), day_of(int(days[-1])))
    steps = np.diff(days, prepend=np.int32(0)).astype("<i4")
    bits = np.diff(equity.view(np.int32), prepend=np.int32(0)).astype("<i4")
    return (
        LAYOUT,
        len(days),
        *ends,
        zlib.compress(_planes(steps), COMPRESSION),
        zlib.compress(_planes(bits), COMPRESSION),
        _spark(equity),
    )


def _spark(equity: NDArray[np.float32]) -> list[float]:
    """Return at most SPARK_POINTS values: the first, the last, and evenly those between."""
    if not len(equity):
        return []
    count = min(len(equity), SPARK_POINTS)
    places = np.linspace(0, len(equity) - 1, count).round().astype(np.int64)
    return [float(one) for one in np.nan_to_num(equity[places])]


def day_of(day: int) -> date:
    """Return the date of days since 1970-01-01."""
    return EPOCH + timedelta(days=day)


def _packed_table(table: NDArray[np.void]) -> bytes:
    names = table.dtype.names or ()
    return zlib.compress(b"".join(_planes(table[name]) for name in names), COMPRESSION)


def _table(packed: bytes, dtype: np.dtype[np.void], count: int) -> NDArray[np.void]:
    content, at = zlib.decompress(packed), 0
    table = np.empty(count, dtype)
    for name in dtype.names or ():
        kind = dtype[name]
        size = kind.itemsize * count
        table[name] = _column(content[at : at + size], kind, count)
        at += size
    assert at == len(content), "the bytes are those of the columns"
    return table


def _planes(column: NDArray[Any]) -> bytes:
    """Return the bytes of a column plane by plane: all first bytes, then all second ones."""
    flat = np.ascontiguousarray(column)
    return flat.view(np.uint8).reshape(len(flat), flat.itemsize).T.tobytes()


def _column(content: bytes, kind: np.dtype[Any], count: int) -> NDArray[Any]:
    planes = np.frombuffer(content, np.uint8).reshape(kind.itemsize, count)
    return np.ascontiguousarray(planes.T).reshape(-1).view(kind)


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: _number(value) for name, value in values.items()}


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
