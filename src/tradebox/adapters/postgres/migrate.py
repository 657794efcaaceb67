"""Numbered SQL files, forward only: what the database is, and how it got there.

Rules of this file:
- a file is applied whole, in one transaction with its record, or not at all;
- a file that has been applied is never edited: its sha256 is kept and compared;
- one runner at a time, by an advisory lock on the runner's connection;
- the roles are made before the first file runs;
- a database that another home's engine holds is left alone: it would lose its logins;
- one that holds the books of another world or account is refused.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import asyncpg

from tradebox.adapters.postgres.books_owner import BooksOwner, refuse_other_books
from tradebox.adapters.postgres.connect import connected
from tradebox.adapters.postgres.engine_lock import holders, name_of
from tradebox.adapters.postgres.roles import ensure_roles, harden_database
from tradebox.errors import StoreUnavailable

LOCK_KEY = 0x7452_4442_4D49_4701
"""Advisory lock of the runner."""

LOCK_WAIT_S = 60

_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_META = """
CREATE SCHEMA IF NOT EXISTS trade_meta;
CREATE TABLE IF NOT EXISTS trade_meta.migration (
    number      integer PRIMARY KEY,
    name        text NOT NULL,
    sha256      text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT USAGE ON SCHEMA trade_meta TO trade_rw, research_rw, console_ro;
GRANT SELECT ON trade_meta.migration TO trade_rw, research_rw, console_ro;
"""


class MigrationFailed(StoreUnavailable):
    """A migration could not be applied, or the database is not what the files say.

    Answer: nothing of the failed file stays; refuse to run on this database, exit code 6.
    """


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Checksum of the text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class SchemaState:
    """What the files and the database say of each other; names of files."""

    version: int
    pending: tuple[str, ...]
    unknown: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def is_current(self) -> bool:
        """True when every file is applied, unchanged, and nothing else is."""
        return not (self.pending or self.unknown or self.changed)


def migration_folder() -> Traversable:
    """Return the folder of the files: package data, or sql/ of the source tree."""
    packaged = resources.files("tradebox") / "sql"
    if packaged.is_dir():
        return packaged
    return Path(__file__).parents[4] / "sql"


def load_migrations(folder: Traversable | None = None) -> tuple[Migration, ...]:
    """Return the files in their order.

    Raises: MigrationFailed when there is none, a name is malformed, or a number is missing.
    """
    place = migration_folder() if folder is None else folder
    found: list[Migration] = []
    for entry in place.iterdir():
        if not entry.name.endswith(".sql"):
            continue
        match = _NAME.fullmatch(entry.name)
        if match is None:
            raise MigrationFailed(f"migration {entry.name!r} is not named NNNN_words.sql")
        found.append(Migration(int(match[1]), entry.name, entry.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.number)
    numbers = [migration.number for migration in found]
    if not found or numbers != list(range(1, len(found) + 1)):
        raise MigrationFailed(f"migrations are numbered from 1 without a gap, not {numbers}")
    return tuple(found)


def compare(files: Sequence[Migration], applied: Mapping[int, tuple[str, str]]) -> SchemaState:
    """Return how files and records (number → name, sha256) differ.

    Holds: files applied in order and unchanged are current; every difference is in one list.
    """
    known = {migration.number: migration for migration in files}
    changed = [
        known[number].name
        for number, (name, sha256) in sorted(applied.items())
        if number in known and (known[number].sha256, known[number].name) != (sha256, name)
    ]
    return SchemaState(
        version=max(applied, default=0),
        pending=tuple(file.name for file in files if file.number not in applied),
        unknown=tuple(name for number, (name, _) in sorted(applied.items()) if number not in known),
        changed=tuple(changed),
    )


async def _records(connection: Any) -> dict[int, tuple[str, str]]:
    if not await connection.fetchval("SELECT to_regclass('trade_meta.migration') IS NOT NULL"):
        return {}
    rows = await connection.fetch("SELECT number, name, sha256 FROM trade_meta.migration")
    return {row["number"]: (row["name"], row["sha256"]) for row in rows}


async def check(dsn: str, files: Sequence[Migration] | None = None) -> SchemaState:
    """Report what is pending, unknown or changed; writes nothing.

    Raises: StoreUnavailable.
    """
    async with connected(dsn) as connection:
        return compare(load_migrations() if files is None else files, await _records(connection))


async def migrate(
    dsn: str,
    passwords: Mapping[str, str],
    files: Sequence[Migration] | None = None,
    *,
    owner: str = "",
    books: BooksOwner | None = None,
) -> tuple[SchemaState, tuple[str, ...]]:
    """Make the roles, apply what is pending, and return the end state and the names applied.

    dsn: the owner's. passwords: of the three roles. owner: of this home (engine_lock.owner_of).
    books: who is about to trade on it.
    Raises: StoreUnavailable, also where another home's engine runs on it; MigrationFailed
            when a file was changed, is unknown, or fails; ConfigInvalid where the books are
            another's.
    """
    wanted = load_migrations() if files is None else tuple(files)
    async with connected(dsn) as connection:
        await _lock(connection)
        await _refuse_held(connection, owner)
        await ensure_roles(connection, passwords)
        await harden_database(connection)
        await connection.execute(_META)
        state = compare(wanted, await _records(connection))
        _refuse_strange(state)
        applied: list[str] = []
        for migration in wanted:
            if migration.name in state.pending:
                await _apply(connection, migration)
                applied.append(migration.name)
        if books is not None:
            await refuse_other_books(connection, books)
        return compare(wanted, await _records(connection)), tuple(applied)


async def _refuse_held(connection: Any, owner: str) -> None:
    others = [name for name in await holders(connection) if name != name_of(owner)]
    if others:
        raise StoreUnavailable(
            f"another engine holds this database ({', '.join(others)}):"
            " end it, or give this home a database of its own",
            field="postgres.url",
            reason="held by another engine",
        )


async def _lock(connection: Any) -> None:
    try:
        await connection.execute(f"SET lock_timeout = '{LOCK_WAIT_S}s'")
        await connection.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
        await connection.execute("SET lock_timeout = 0")
    except asyncpg.LockNotAvailableError as error:
        raise MigrationFailed(
            f"another migration holds the database for {LOCK_WAIT_S} s: end it, then try again"
        ) from error
    except asyncpg.InsufficientPrivilegeError as error:
        raise MigrationFailed(
            "the owner of postgres.url may not take advisory locks:"
            " grant it EXECUTE on pg_advisory_lock(bigint)"
        ) from error


def _refuse_strange(state: SchemaState) -> None:
    if state.changed:
        raise MigrationFailed(
            f"migrations were edited after they were applied: {', '.join(state.changed)}:"
            " restore the files of the version that applied them",
            changed=state.changed,
        )
    if state.unknown:
        raise MigrationFailed(
            f"the database is newer than this tradebox (it has {', '.join(state.unknown)}):"
            " install the newer version",
            unknown=state.unknown,
        )


async def _apply(connection: Any, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(
                "INSERT INTO trade_meta.migration (number, name, sha256) VALUES ($1, $2, $3)",
                migration.number,
                migration.name,
                migration.sha256,
            )
    except asyncpg.PostgresError as error:
        if isinstance(error, asyncpg.PostgresConnectionError | asyncpg.OperatorInterventionError):
            raise
        raise MigrationFailed(
            f"migration {migration.name} failed and left nothing behind: {error}",
            migration=migration.name,
            sqlstate=error.sqlstate,
        ) from error
