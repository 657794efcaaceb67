"""Bars of many stocks as one folder of memory-mapped columns, named by the hash of its content.

Rules of this file:
- a column is one .npy file over all stocks; the index says which rows are whose;
- a folder appears whole, by a rename, or not at all; a finished one is never written again;
- what is lent out is a read-only view: every process of a run shares the same pages.
"""

import contextlib
import hashlib
import io
import mmap
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from tradebox.backtest.data.series import Defect
from tradebox.config import private_dir
from tradebox.errors import HomeUnusable, InputError
from tradebox.strategies.bars import Bars

FORMAT_VERSION: Final = 1
COLUMN_TYPES: Final[Mapping[str, str]] = {
    "day": "<i4",
    "open": "<f8",
    "high": "<f8",
    "low": "<f8",
    "close": "<f8",
    "volume": "<f8",
}
DELISTED_DAYS: Final = 14
"""A series that ends so many days before the youngest of its store has ended for good."""

_HEADER_BYTES: Final = 128
_INDEX: Final = "index.json"
_DEFECTS: Final = "defects.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a stock lies in the columns, and the hash of its bars."""

    symbol: str
    start: int
    count: int
    adjusted: bool
    currency: str
    first_day: int
    last_day: int
    sha256: str


def bars_hash(bars: Bars) -> str:
    """Return the sha256 of one series: its name, kind and every value, in hex."""
    digest = hashlib.sha256(f"{bars.symbol}\0{bars.adjusted}\0{bars.currency}\0".encode())
    for name, kind in COLUMN_TYPES.items():
        digest.update(np.ascontiguousarray(getattr(bars, name), dtype=kind).tobytes())
    return digest.hexdigest()


class ArrayStore:
    """An open folder of bars. `bars(symbol)` copies nothing.

    Holds: bars(symbol) are the bars that were added, bit for bit; no view can be written to.
    """

    def __init__(self, path: Path, data_hash: str, entries: Iterable[Entry]) -> None:
        self.path = path
        self.data_hash = data_hash
        self._entries = {entry.symbol: entry for entry in entries}
        self.symbols: tuple[str, ...] = tuple(sorted(self._entries))
        self.last_day = max((entry.last_day for entry in self._entries.values()), default=0)
        self.row_count = sum(entry.count for entry in self._entries.values())
        self._maps: dict[str, mmap.mmap] = {}
        self._columns: dict[str, NDArray[Any]] = {}
        for name, kind in COLUMN_TYPES.items():
            self._maps[name], self._columns[name] = _mapped(path / f"{name}.npy", kind)

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a finished folder.

        Raises: InputError where it is missing, cut short or of another format.
        """
        folder = Path(path)
        try:
            index = orjson.loads((folder / _INDEX).read_bytes())
            if index["version"] != FORMAT_VERSION:
                raise InputError(f"{folder} was written by another version: prepare it again")
            entries = [Entry(*row) for row in index["series"]]
            store = cls(folder, index["data_hash"], entries)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder} is no folder of bars ({error}): prepare it again"
            ) from error
        ends = [entry.start + entry.count for entry in entries]
        if max(ends, default=0) != len(store._columns["day"]):
            raise InputError(f"{folder} is cut short: remove it and prepare it again")
        return store

    def bars(self, symbol: str) -> Bars:
        """Return a stock's bars as read-only views. Raises: KeyError."""
        entry = self._entries[symbol]
        rows = slice(entry.start, entry.start + entry.count)
        return Bars(
            symbol,
            **{name: self._columns[name][rows] for name in COLUMN_TYPES},
            adjusted=entry.adjusted,
            currency=entry.currency,
        )

    def hash_of(self, symbol: str) -> str:
        """Return the content hash of one stock. Raises: KeyError."""
        return self._entries[symbol].sha256

    def is_delisted(self, symbol: str) -> bool:
        """True when its bars end well before the youngest of the store. Raises: KeyError."""
        return self._entries[symbol].last_day < self.last_day - DELISTED_DAYS

    def defects(self) -> dict[str, list[Defect]]:
        """Return what vetting found, by symbol; refused stocks too."""
        return read_defects(self.path)

    def check(self) -> list[str]:
        """Return the stocks whose bars are not what the index says; reads everything."""
        return [one for one in self.symbols if bars_hash(self.bars(one)) != self.hash_of(one)]

    def length(self, symbol: str) -> int:
        """Return how many bars a stock has, without touching them. Raises: KeyError."""
        return self._entries[symbol].count

    def close(self) -> None:
        """Unmap the columns; what is still lent out keeps its own mapping alive."""
        self._columns = {}
        for view in self._maps.values():
            with contextlib.suppress(BufferError):
                view.close()
        self._maps = {}

    def release(self) -> None:
        """Let the kernel take this process's mapped pages back; they are read again when used."""
        for view in self._maps.values():
            view.madvise(mmap.MADV_DONTNEED)


class ArrayWriter:
    """Writes a folder of bars stock by stock; `finish` names it by its hash.

    Use as a context: what is not finished is removed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = root / f".new-{os.getpid()}-{os.urandom(4).hex()}"
        self._files: dict[str, Any] = {}
        self._entries: list[Entry] = []
        self._rows = 0

    def __enter__(self) -> Self:
        with _disk(self._root):
            private_dir(self._root)
            _sweep(self._root)
            self._folder.mkdir(mode=0o700)
            for name in COLUMN_TYPES:
                self._files[name] = (self._folder / f"{name}.npy").open("wb")
                self._files[name].write(bytes(_HEADER_BYTES))
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            with contextlib.suppress(OSError):  # what a full disk did not take
                file.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, bars: Bars) -> None:
        """Append one stock. Raises: HomeUnusable when the disk takes no more."""
        with _disk(self._root):
            for name, kind in COLUMN_TYPES.items():
                column = np.ascontiguousarray(getattr(bars, name), dtype=kind)
                self._files[name].write(column.tobytes())
        self._entries.append(
            Entry(
                bars.symbol,
                self._rows,
                len(bars),
                bars.adjusted,
                bars.currency,
                int(bars.day[0]),
                int(bars.day[-1]),
                bars_hash(bars),
            )
        )
        self._rows += len(bars)

    def finish(self, defects: Mapping[str, Sequence[Defect]] | None = None) -> Path:
        """Close the columns and give the folder its name; one that exists already is kept.

        Raises: HomeUnusable when the disk takes no more.
        """
        entries = sorted(self._entries, key=lambda entry: entry.symbol)
        assert len({entry.symbol for entry in entries}) == len(entries), "a stock was added twice"
        data_hash = store_hash((entry.symbol, entry.sha256) for entry in entries)
        index = {
            "version": FORMAT_VERSION,
            "data_hash": data_hash,
            "series": [list(asdict(entry).values()) for entry in entries],
        }
        listed = {
            one: [asdict(defect) for defect in found] for one, found in (defects or {}).items()
        }
        target = self._root / data_hash
        with _disk(self._root):
            for name, kind in COLUMN_TYPES.items():
                file = self._files[name]
                file.seek(0)
                file.write(_header(kind, self._rows))
                file.flush()
                os.fsync(file.fileno())
            _write(self._folder / _DEFECTS, orjson.dumps(listed, option=orjson.OPT_SORT_KEYS))
            _write(self._folder / _INDEX, orjson.dumps(index))
            if not (target / _INDEX).exists():
                shutil.rmtree(target, ignore_errors=True)
                self._folder.rename(target)
                _sync_folder(self._root)
        return target


def read_defects(folder: Path) -> dict[str, list[Defect]]:
    """Return what vetting found when a folder was made, by symbol; empty where it is gone."""
    try:
        found = orjson.loads((folder / _DEFECTS).read_bytes())
        return {symbol: [Defect(**one) for one in listed] for symbol, listed in found.items()}
    except (OSError, ValueError, TypeError):
        return {}


def store_hash(hashes: Iterable[tuple[str, str]]) -> str:
    """Return the sha256 over (symbol, hash) in the order of the symbols."""
    digest = hashlib.sha256()
    for symbol, one in sorted(hashes):
        digest.update(f"{symbol}\0{one}\n".encode())
    return digest.hexdigest()


def _mapped(path: Path, kind: str) -> tuple[mmap.mmap, NDArray[Any]]:
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        assert version == (1, 0), "written by _header"
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype != np.dtype(kind) or len(shape) != 1:
            raise ValueError(f"{path.name} holds {dtype}{shape}")
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return view, np.frombuffer(view, dtype, count=shape[0], offset=file.tell())


def _header(kind: str, rows: int) -> bytes:
    header = {"descr": kind, "fortran_order": False, "shape": (rows,)}
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, header)
    assert out.tell() == _HEADER_BYTES, "numpy pads its header to 64 bytes and room to grow"
    return out.getvalue()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(root: Path) -> None:
    """Remove what a killed writer left behind."""
    for folder in root.glob(".new-*"):
        pid = folder.name.split("-")[1]
        if pid.isdigit() and not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _disk(root: Path) -> Any:
    try:
        yield
    except OSError as error:
        raise HomeUnusable(
            f"{root}: bars cannot be written: {error.strerror}: make room or choose another home",
            path=str(root),
            reason=error.strerror,
        ) from error
