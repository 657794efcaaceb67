"""A local, fsynced, append-only file of records that wait for PostgreSQL.

Rules of this file:
- a record is durable when `append` returns, or it is not there at all;
- one JSON line per record with a checksum; a torn last line was never acknowledged and is cut off;
- a damaged line in the middle is kept aside in `<name>.damaged`, counted, and the rest is replayed.
"""

import contextlib
import errno
import os
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import orjson

from tradebox.config import Home, private_dir
from tradebox.errors import HomeUnusable


@dataclass(frozen=True, slots=True)
class _Found:
    """What a spool file holds. good_bytes: where the last whole line ends."""

    records: tuple[bytes, ...]
    damaged: tuple[bytes, ...]
    good_bytes: int


def _line(record: bytes) -> bytes:
    text = record.decode("latin-1")
    return orjson.dumps({"crc": f"{zlib.crc32(record):08x}", "record": text}) + b"\n"


def _record(line: bytes) -> bytes | None:
    """Return the record of a line, or None when the line is damaged."""
    try:
        fields = orjson.loads(line)
        record: bytes = fields["record"].encode("latin-1")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if fields.get("crc") == f"{zlib.crc32(record):08x}" else None


def _parse(content: bytes) -> _Found:
    lines = content.split(b"\n")
    torn = lines.pop()
    records = [_record(line) for line in lines]
    return _Found(
        records=tuple(record for record in records if record is not None),
        damaged=tuple(line for line, record in zip(lines, records, strict=True) if record is None),
        good_bytes=len(content) - len(torn),
    )


def _write_whole(handle: int, line: bytes, at: int) -> None:
    if os.pwrite(handle, line, at) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Spool:
    """SpoolPort on one file of the home.

    Holds: pending() = the records appended since the last clear, in order, after any crash.
    """

    def __init__(self, home: Home, name: str) -> None:
        assert name.isidentifier(), name
        self._path = home.spool_dir / f"{name}.jsonl"
        self._handle: int | None = None
        self._size = 0
        self._waiting: list[bytes] = []
        self.damaged = 0
        """Lines of an earlier run that could not be read; a person should look at them."""

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def append(self, record: bytes) -> None:
        """Write one record durably.

        Raises: HomeUnusable when the disk takes it not; nothing of it stays then.
        """
        handle = self._open()
        line = _line(record)
        try:
            _write_whole(handle, line, self._size)
            os.fdatasync(handle)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, self._size)
            raise self._unusable(error) from error
        self._size += len(line)
        self._waiting.append(record)

    def pending(self) -> tuple[bytes, ...]:
        """Return the records that wait, oldest first. Raises: HomeUnusable."""
        self._open()
        return tuple(self._waiting)

    def clear(self) -> None:
        """Forget all records; called after every one of them is committed.

        Raises: HomeUnusable.
        """
        handle = self._open()
        try:
            os.ftruncate(handle, 0)
            os.fsync(handle)
        except OSError as error:
            raise self._unusable(error) from error
        self._size = 0
        self._waiting.clear()

    async def replay(self, commit: Callable[[bytes], Awaitable[None]]) -> int:
        """Commit every waiting record in order, then forget them; return how many.

        A commit that raises ends the replay and keeps all: committing twice must change nothing.
        Records appended meanwhile are replayed too.
        """
        done = 0
        while done < len(self.pending()):
            await commit(self._waiting[done])
            done += 1
        if done:
            self.clear()
        return done

    def close(self) -> None:
        """Let go of the file; a later use opens it again."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _open(self) -> int:
        if self._handle is not None:
            return self._handle
        try:
            private_dir(self._path.parent)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            handle = os.open(self._path, flags, 0o600)
            try:
                self._recover(handle)
            except BaseException:
                os.close(handle)
                raise
        except OSError as error:
            raise self._unusable(error) from error
        self._handle = handle
        return handle

    def _recover(self, handle: int) -> None:
        """Read what an earlier run left, cut a torn end, set damaged lines aside."""
        found = _parse(self._path.read_bytes())
        if found.damaged:
            aside = self._path.with_suffix(".damaged")
            aside.touch(mode=0o600)
            known = aside.read_bytes().split(b"\n")
            with aside.open("ab") as file:
                file.writelines(line + b"\n" for line in found.damaged if line not in known)
                file.flush()
                os.fsync(file.fileno())
        os.ftruncate(handle, found.good_bytes)
        os.fsync(handle)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._size = found.good_bytes
        self._waiting = list(found.records)
        self.damaged = len(found.damaged)

    def _unusable(self, error: OSError) -> HomeUnusable:
        return HomeUnusable(
            f"spool {str(self._path)!r} cannot be written ({error.strerror}):"
            " free space or make it writable",
            field="home",
            value=str(self._path),
            fix="free space or make it writable",
        )
