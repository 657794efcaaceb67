"""One engine per database: an advisory lock on a connection of its own.

Rules of this file:
- the lock lives and dies with its session: an engine that is gone holds nothing, and who lost the
  session is not sure of anything from that moment on;
- a holder that calls itself as we do is our own predecessor on this home (the home's flock admits
  one engine at a time), whose session is about to end: waited for;
- any other holder is another engine: LOST, for the rest of this engine's life, because it has
  acted on the same books in between.

Source: PostgreSQL documentation, "Explicit Locking: Advisory Locks"; pg_locks, pg_stat_activity.
"""

import hashlib
import socket
from pathlib import Path
from typing import Any, Final

import asyncpg

from tradebox.adapters.postgres.connect import mapped, unavailable
from tradebox.errors import StoreUnavailable
from tradebox.ports.claim import Claim

LOCK_KEY: Final = int.from_bytes(b"tradebox", "big")
MACHINE_ID: Final = Path("/etc/machine-id")
STATEMENT_S_MAX: Final = 5.0
CLOSE_S_MAX: Final = 1.0
KEEPALIVE: Final = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
"""So that the session of a machine that lost its power ends soon."""

_HOLDER: Final = """
SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (l.classid::bigint << 32) | l.objid::bigint = $1
"""


def owner_of(home: Path) -> str:
    """Return the name under which engines of this home, on this machine, hold the lock."""
    try:
        machine = MACHINE_ID.read_text(encoding="ascii").strip()
    except OSError:
        machine = ""
    seen = home.stat()
    parts = (machine, socket.gethostname(), str(home.resolve()), seen.st_dev, seen.st_ino)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def name_of(owner: str) -> str:
    """Return what an engine's session calls itself."""
    return f"tradebox engine {owner}"


async def holders(connection: Any) -> list[str]:
    """Return the names of the sessions that hold the connected database's lock: one or none."""
    return [str(row["application_name"]) for row in await connection.fetch(_HOLDER, LOCK_KEY)]


class PgEngineLock:
    """Implements ports.claim.EngineClaim.

    Holds: HELD only while our own session has the lock; LOST is left by no way but a new engine.
    """

    def __init__(self, dsn: str, owner: str, *, connect_s_max: float = 5.0) -> None:
        self._dsn = dsn
        self._name = name_of(owner)
        self._connect_s_max = connect_s_max
        self._connection: Any = None
        self._claim = Claim.UNASKED
        self._reason = "not asked yet"

    @property
    def claim(self) -> Claim:
        """What is known of the right now."""
        return self._claim

    @property
    def reason(self) -> str:
        """Why it is not HELD."""
        return "" if self._claim is Claim.HELD else self._reason

    async def tend(self) -> Claim:
        """Ask for the lock, or for a sign of life of the session that has it."""
        if self._claim is Claim.LOST:
            return self._claim
        try:
            with mapped(self._dsn):
                await self._ask()
        except StoreUnavailable as error:
            self._doubt(str(error.fields.get("reason", error.message)))
            self._drop()
        return self._claim

    async def close(self) -> None:
        """End the session, and with it the lock."""
        connection, self._connection = self._connection, None
        self._doubt("closed")
        if connection is not None:
            try:
                await connection.close(timeout=CLOSE_S_MAX)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()

    async def _ask(self) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
        if self._claim is Claim.HELD:
            await self._connection.fetchval("SELECT 1")
        elif await self._connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
            self._claim = Claim.HELD
        else:
            self._judge(await holders(self._connection))

    async def _connect(self) -> Any:
        try:
            connection = await asyncpg.connect(
                self._dsn,
                timeout=self._connect_s_max,
                command_timeout=STATEMENT_S_MAX,
                server_settings={"application_name": self._name, **KEEPALIVE},
            )
        except (ValueError, asyncpg.InterfaceError) as error:
            raise unavailable(self._dsn, f"the URL is malformed: {error}") from error
        connection.add_termination_listener(self._on_end)
        return connection

    def _judge(self, names: list[str]) -> None:
        if not names or names == [self._name]:
            self._doubt("this home's last engine is not quite gone")
            return
        self._claim = Claim.LOST
        self._reason = f"another engine holds this database: {', '.join(names)}"
        self._drop()

    def _doubt(self, reason: str) -> None:
        if self._claim is not Claim.LOST:
            self._claim, self._reason = Claim.UNSURE, reason

    def _on_end(self, connection: Any) -> None:
        if connection is self._connection:
            self._doubt("the session that held the lock has ended")

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
