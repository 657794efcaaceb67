"""The places series are read from: shipped sample, one parquet file, a folder of CSV files, Yahoo.

Rules of this file:
- `parse_source` is the one reader of --data; a mistake in it says what would be right;
- a file is streamed: no source holds more than a few stocks in memory at once;
- a place that says nothing of adjustment is told apart from one that does (adjusted=None).
"""

import csv
import gzip
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np

from tradebox.backtest.data.series import (
    NO_DAY,
    PRICES,
    RawSeries,
    Source,
    as_floats,
    no_such,
)
from tradebox.errors import ConfigInvalid, InputError
from tradebox.strategies.bars import Floats

FORMS: Final = "give sample, yahoo, parquet:FILE or dir:FOLDER"
ACTIONS_FILE: Final = "_actions.csv"
ADJUSTED_ENDINGS: Final = {"?adjusted": True, "?unadjusted": False}
_DAY_NAMES: Final = ("day", "date", "timestamp", "time", "datetime")
_SYMBOL_NAMES: Final = ("symbol", "ticker")
_ADJUSTED_CLOSE: Final = ("adj close", "adj_close", "adjclose", "adjusted_close")


def parse_source(text: str) -> Source:
    """Return the source that --data names.

    Raises: ConfigInvalid naming the text and the forms there are.
    """
    kind, _, rest = text.partition(":")
    if kind == "sample" and not rest:
        return SampleSource()
    if kind == "yahoo":
        from tradebox.backtest.data.yahoo import YahooSource

        return YahooSource(rest)
    adjusted = None
    for ending, value in ADJUSTED_ENDINGS.items():
        if rest.endswith(ending):
            rest, adjusted = rest.removesuffix(ending), value
    if kind in ("parquet", "dir") and rest:
        path = Path(rest).expanduser().resolve()
        made = ParquetSource if kind == "parquet" else FolderSource
        return made(path, adjusted=adjusted)
    raise ConfigInvalid(f"data={text}: no such source: {FORMS}", value=text)


class ParquetSource:
    """One file with a row per stock and day, the rows of a stock together."""

    can_list = True

    def __init__(self, path: Path, *, adjusted: bool | None = None) -> None:
        if not path.is_file():
            raise ConfigInvalid(f"data=parquet:{path}: there is no such file: {FORMS}")
        self._path = path
        self._adjusted = adjusted
        self._known: dict[str, list[int]] | None = None

    @property
    def name(self) -> str:
        """The form it was given in."""
        return f"parquet:{self._path}" + _ending(adjusted=self._adjusted)

    def fingerprint(self) -> str | None:
        """Name, size and time of the file."""
        return f"{self.name} {_stat(self._path)}"

    def symbols(self) -> Sequence[str]:
        """Every symbol of the file."""
        return sorted(self._groups())

    def read(self, symbols: Sequence[str]) -> Iterator[RawSeries]:
        """Read row group by row group, only those that hold a wanted stock."""
        groups = self._groups()
        wanted = {symbol for symbol in symbols if symbol in groups}
        for symbol in symbols:
            if symbol not in groups:
                yield no_such(symbol, self.name)
        file, names = self._opened()
        left = {symbol: len(groups[symbol]) for symbol in wanted}
        parts: dict[str, list[Any]] = {symbol: [] for symbol in wanted}
        for group in sorted({group for symbol in wanted for group in groups[symbol]}):
            table = file.read_row_group(group, columns=list(names.values()))
            for symbol, rows in _runs(table.column(names["symbol"])).items():
                if symbol not in wanted:
                    continue
                parts[symbol] += [table.slice(start, count) for start, count in rows]
                left[symbol] -= 1
                if left[symbol] == 0:
                    yield self._series(symbol, parts.pop(symbol), names)

    def _series(self, symbol: str, parts: Sequence[Any], names: Mapping[str, str]) -> RawSeries:
        import pyarrow as pa

        table = pa.concat_tables(parts)
        columns = {
            name: as_floats(table.column(names[name]).to_numpy())
            for name in (*PRICES, "volume")
            if name in names
        }
        adjusted = self._adjusted
        if adjusted is None and "adjusted" in names:
            adjusted = bool(table.column(names["adjusted"])[0].as_py())
        return RawSeries(symbol, columns, _days_of(table.column(names["day"])), adjusted)

    def _opened(self) -> tuple[Any, dict[str, str]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            file = pq.ParquetFile(self._path)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"data={self.name}: no parquet file: {_line(error)}") from error
        known = {name.lower(): name for name in file.schema_arrow.names}
        names = {name: known[name] for name in (*PRICES, "volume", "adjusted") if name in known}
        for name, spellings in (("symbol", _SYMBOL_NAMES), ("day", _DAY_NAMES)):
            found = next((known[one] for one in spellings if one in known), None)
            if found is not None:
                names[name] = found
        missing = [one for one in ("symbol", "day", *PRICES, "volume") if one not in names]
        if missing:
            raise InputError(
                f"data={self.name}: missing column {', '.join(missing)}: a file needs symbol, date,"
                " open, high, low, close and volume",
                missing=missing,
            )
        # Few names on many rows: as codes they are read many times faster.
        return pq.ParquetFile(self._path, read_dictionary=[names["symbol"]]), names

    def _groups(self) -> dict[str, list[int]]:
        if self._known is None:
            file, names = self._opened()
            known: dict[str, list[int]] = {}
            for group in range(file.metadata.num_row_groups):
                column = file.read_row_group(group, columns=[names["symbol"]]).column(0)
                for symbol in _runs(column):
                    known.setdefault(symbol, []).append(group)
            self._known = known
        return self._known


class FolderSource:
    """A folder with SYMBOL.csv or SYMBOL.csv.gz per stock; `_actions.csv` holds its splits."""

    can_list = True

    def __init__(self, path: Path, *, adjusted: bool | None = None) -> None:
        if not path.is_dir():
            raise ConfigInvalid(f"data=dir:{path}: there is no such folder: {FORMS}")
        self._path = path
        self._adjusted = adjusted

    @property
    def name(self) -> str:
        """The form it was given in."""
        return f"dir:{self._path}" + _ending(adjusted=self._adjusted)

    def fingerprint(self) -> str | None:
        """Names, sizes and times of the files."""
        files = sorted(self._files().items())
        parts = [f"{symbol} {_stat(path)}" for symbol, path in files]
        actions = self._path / ACTIONS_FILE
        parts += [_stat(actions)] if actions.exists() else []
        return "\n".join([self.name, *parts])

    def symbols(self) -> Sequence[str]:
        """Every stock with a file."""
        return sorted(self._files())

    def read(self, symbols: Sequence[str]) -> Iterator[RawSeries]:
        """Read file by file."""
        files = self._files()
        actions = self._actions()
        adjusted = self._adjusted
        if adjusted is None and actions:
            adjusted = False
        for symbol in symbols:
            path = files.get(symbol)
            if path is None:
                yield no_such(symbol, self.name)
                continue
            factors = actions.get(symbol, ())
            yield _read_csv(symbol, path, adjusted=adjusted, factors=factors)

    def _files(self) -> dict[str, Path]:
        found = {}
        for path in sorted(self._path.iterdir()):
            stem = path.name.removesuffix(".gz")
            if stem.endswith(".csv") and not path.name.startswith("_"):
                found[stem.removesuffix(".csv")] = path
        return found

    def _actions(self) -> dict[str, list[tuple[int, float]]]:
        path = self._path / ACTIONS_FILE
        if not path.exists():
            return {}
        found: dict[str, list[tuple[int, float]]] = {}
        try:
            with path.open(newline="", encoding="utf-8") as opened:
                for row in csv.DictReader(opened):
                    day = parse_day(row["ex_date"])
                    found.setdefault(row["symbol"], []).append((day, float(row["factor"])))
        except (KeyError, ValueError, OSError) as error:
            raise InputError(
                f"{path}: cannot be read ({_line(error)}): it needs symbol, ex_date and factor"
            ) from error
        return found


class SampleSource:
    """The daily bars that are shipped: 40 US stocks and funds, three years, adjusted."""

    can_list = True
    name = "sample"

    def fingerprint(self) -> str | None:
        """Always the same within a version."""
        return f"sample {len(self._text())}"

    def symbols(self) -> Sequence[str]:
        """Every symbol shipped."""
        return sorted(self._rows())

    def read(self, symbols: Sequence[str]) -> Iterator[RawSeries]:
        """Read the shipped file once."""
        rows = self._rows()
        for symbol in symbols:
            if symbol in rows:
                yield _from_rows(symbol, rows[symbol], adjusted=True)
            else:
                yield no_such(symbol, self.name)

    def _rows(self) -> dict[str, list[dict[str, str]]]:
        found: dict[str, list[dict[str, str]]] = {}
        for row in csv.DictReader(io.StringIO(self._text())):
            found.setdefault(row["symbol"], []).append(row)
        return found

    @staticmethod
    def _text() -> str:
        packed = resources.files("tradebox") / "sim" / "data" / "daily.csv.gz"
        return gzip.decompress(packed.read_bytes()).decode()


def parse_day(text: str) -> int:
    """Return days since 1970-01-01 of an ISO date, or of a time whose date is ISO.

    Raises: ValueError.
    """
    return int(np.datetime64(text.strip()[:10], "D").astype(np.int64))


def _read_csv(
    symbol: str, path: Path, *, adjusted: bool | None, factors: Sequence[tuple[int, float]]
) -> RawSeries:
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        rows = list(csv.DictReader(io.StringIO(text)))
    except (OSError, EOFError, ValueError, csv.Error) as error:
        return RawSeries(symbol, problem=f"{path.name} cannot be read: {_line(error)}")
    return _from_rows(symbol, rows, adjusted=adjusted, factors=factors)


def _from_rows(
    symbol: str,
    rows: Sequence[Mapping[str, str]],
    *,
    adjusted: bool | None,
    factors: Sequence[tuple[int, float]] = (),
) -> RawSeries:
    if not rows:
        return RawSeries(symbol, problem="no bars")
    known = {name.strip().lower(): name for name in rows[0] if name}
    day_name = next((known[one] for one in _DAY_NAMES if one in known), None)
    if day_name is None:
        return RawSeries(symbol, problem="missing column date")
    columns: dict[str, Floats] = {
        str(name): np.array([_number(row.get(known[name])) for row in rows])
        for name in (*PRICES, "volume")
        if name in known
    }
    day = np.array([_day(row.get(day_name)) for row in rows], dtype=np.int32)
    adjusted_name = next((known[one] for one in _ADJUSTED_CLOSE if one in known), None)
    if adjusted_name is not None and "close" in columns:
        with np.errstate(all="ignore"):
            scale = np.array([_number(row.get(adjusted_name)) for row in rows]) / columns["close"]
        columns |= {str(name): columns[name] * scale for name in PRICES if name in columns}
        adjusted, factors = True, ()
    return RawSeries(symbol, columns, day, adjusted, factors=factors)


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _day(text: str | None) -> int:
    try:
        return parse_day(text or "")
    except (ValueError, TypeError):
        return NO_DAY


def _days_of(column: Any) -> Any:
    """Return an arrow column of dates, times or texts as days."""
    values = column.to_numpy(zero_copy_only=False) if hasattr(column, "to_numpy") else column
    if values.dtype == object:
        return np.array([_day(None if one is None else str(one)) for one in values], np.int32)
    if not np.issubdtype(values.dtype, np.datetime64):
        raise InputError(f"the date column holds {values.dtype}: dates or ISO texts are needed")
    days = values.astype("datetime64[D]")
    return np.where(np.isnat(days), NO_DAY, days.astype(np.int64)).astype(np.int32)


def _runs(column: Any) -> dict[str, list[tuple[int, int]]]:
    """Return per symbol the (start, count) of each run of equal symbols in a column."""
    codes = column.unify_dictionaries().combine_chunks()
    if not hasattr(codes, "dictionary"):
        codes = codes.dictionary_encode()
    indices = codes.indices.to_numpy(zero_copy_only=False)
    names = codes.dictionary.to_pylist()
    edges = np.flatnonzero(np.diff(indices)) + 1
    starts = np.concatenate([[0], edges, [len(indices)]]).astype(int)
    found: dict[str, list[tuple[int, int]]] = {}
    for start, stop in itertools.pairwise(starts):
        if stop > start and names[indices[start]]:
            found.setdefault(str(names[indices[start]]), []).append((start, stop - start))
    return found


def _ending(*, adjusted: bool | None) -> str:
    return "" if adjusted is None else "?adjusted" if adjusted else "?unadjusted"


def _stat(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns}"


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
