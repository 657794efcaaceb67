"""The ledger: an append-only file of JSON lines, fsynced, the outside truth of the exchange.

Rules of this file:
- rows are buffered by `append` and are on disk when `commit` returns; events go out after that;
- a row has a sequence number, the market time, and a monotonic time that is no part of the digest;
- a write that failed is the ledger's end: every later commit is refused, for its rows would
  follow a hole;
- a last line that a crash cut short is dropped at the next start; any other bad line is refused.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from tradebox.errors import HomeUnusable

Row = dict[str, object]


class Ledger:
    """An append-only journal; without a path it lives in memory only.

    Holds: the rows read after a crash are the committed ones, in order, perhaps with later ones;
    equal rows give an equal digest, whatever the monotonic times were.
    """

    def __init__(self, path: Path | None, monotonic_ns: Callable[[], int]) -> None:
        self._path = path
        self._monotonic_ns = monotonic_ns
        self._pending: list[tuple[int, Row]] = []
        self._rows_kept: list[Row] = []
        self._digest = hashlib.sha256()
        self._count = 0
        self._descriptor = -1
        self._failure: HomeUnusable | None = None
        if path is not None:
            self._descriptor = self._open(path)

    @property
    def path(self) -> Path | None:
        """Return the file, or None in memory."""
        return self._path

    def append(self, kind: str, at_ns: int, **fields: object) -> None:
        """Add a row to the next commit."""
        mono_ns = self._monotonic_ns()
        self._pending.append((mono_ns, {"kind": kind, "at_ns": at_ns, **fields}))

    def commit(self) -> None:
        """Put the pending rows on disk, in one write and one fsync.

        Raises: HomeUnusable if the disk refuses, or ever did.
        """
        if self._failure is not None:
            raise self._failure
        if not self._pending:
            return
        lines: list[bytes] = []
        for mono_ns, row in self._pending:
            self._count += 1
            self._digest.update(_encode({"seq": self._count, **_unnamed(row)}))
            numbered = {"seq": self._count, "mono_ns": mono_ns, **row}
            lines.append(_dumps(numbered))
            if self._descriptor < 0:
                self._rows_kept.append(numbered)
        self._pending.clear()
        if self._descriptor >= 0:
            self._write(b"".join(lines))

    def rows(self) -> Iterator[Row]:
        """Yield every committed row, oldest first.

        Raises: HomeUnusable if a line other than a cut last one is not a row.
        """
        if self._path is None:
            yield from list(self._rows_kept)
            return
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield self._decode(line, number)

    def digest(self) -> str:
        """Return the hash of every row without its monotonic time and the account's id."""
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file; uncommitted rows are lost, as in a crash."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self, path: Path) -> int:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            size = _size_of_whole_lines(path)
            if size != path.stat().st_size:
                os.ftruncate(descriptor, size)
                os.fsync(descriptor)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise HomeUnusable(f"the ledger cannot be opened: {error}", path=str(path)) from error
        for row in self.rows():
            self._count += 1
            row.pop("mono_ns", None)
            self._digest.update(_encode(_unnamed(row)))
        return descriptor

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
            os.fsync(self._descriptor)
        except OSError as error:
            self._failure = HomeUnusable(
                f"the ledger cannot be written: {error}", path=str(self._path)
            )
            raise self._failure from error

    def _decode(self, line: bytes, number: int) -> Row:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise HomeUnusable(
                f"the ledger is damaged at line {number} of {self._path}: restore the file, or"
                " remove its folder to begin a new market",
                path=str(self._path),
                line=number,
            )
        return row


def _unnamed(row: Row) -> Row:
    """Return a row without what is minted for one home: the account's id, and its mark in ids."""
    kept = {key: value for key, value in row.items() if key != "account_id"}
    if "exec_id" in kept:
        kept["exec_id"] = str(kept["exec_id"]).partition(".")[2]
    return kept


def _encode(row: Row) -> bytes:
    return _dumps(row, orjson.OPT_SORT_KEYS)


def _dumps(row: Row, option: int = 0) -> bytes:
    """Return a row as a line; what is no UTF-8 or too large for 64 bits is escaped or spelt out."""
    try:
        return orjson.dumps(row, option=option | orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        is_sorted = option == orjson.OPT_SORT_KEYS
        return json.dumps(row, sort_keys=is_sorted, separators=(",", ":")).encode() + b"\n"


def _size_of_whole_lines(path: Path) -> int:
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    start = data.rfind(b"\n", 0, max(end - 1, 0)) + 1
    if end > start:
        try:
            json.loads(data[start:end])
        except ValueError:
            return start
    return end
