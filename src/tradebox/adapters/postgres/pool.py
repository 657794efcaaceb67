"""The engine's connections to PostgreSQL: a pool that starts degraded and heals by itself.

Rules of this file:
- PostgreSQL down is a state, never an error of start: a connection is made when one is asked for;
- after a failed connect, callers fail at once until the backoff is over, so that nobody who holds
  orders waits for a timeout twice; in a pool that is kept, until its keeper's probe was answered;
- a connection whose server did not answer is ended, not waited for once more;
- session state is never set by our code, so a connection is given back without a round trip.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import asyncpg

from tradebox.adapters.postgres.connect import (
    PromptConnection,
    mapped,
    prepare,
    unavailable,
)
from tradebox.errors import StoreUnavailable
from tradebox.supervision.clock import Clock

CONNECTIONS_MAX: Final = 8
STATEMENT_S_MAX: Final = 10.0
BACKOFF_FIRST_S: Final = 0.05
BACKOFF_S_MAX: Final = 1.0
CLOSE_S_MAX: Final = 2.0


async def _keep_session(_connection: Any) -> None:
    """Skip asyncpg's reset query: see the third rule of the file."""


def _is_lost(connection: Any) -> bool:
    """Tell whether a lent connection is of no use any more."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # the server ended it while it lay idle: asyncpg took it back
        return True


def _end(connection: Any) -> None:
    """End a connection without a word to the server, unless asyncpg already has."""
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()


class PgPool:
    """Connections of one role. `async with pool.connection() as connection` lends one.

    Holds: at most `connections_max` connections; a lent one is given back or ended. While a pool
           that is kept is down, only its probes wait.
    is_kept: somebody calls probe() again and again, whatever the answer.
    """

    def __init__(
        self,
        dsn: str,
        clock: Clock,
        *,
        connections_max: int = CONNECTIONS_MAX,
        connect_s_max: float = 5.0,
        statement_s_max: float = STATEMENT_S_MAX,
        is_kept: bool = False,
    ) -> None:
        self._dsn = dsn
        self._clock = clock
        self._connections_max = connections_max
        self._connect_s_max = connect_s_max
        self._statement_s_max = statement_s_max
        self._is_kept = is_kept
        self._pool: Any = None
        self._making = asyncio.Lock()
        self._random = random.Random()  # noqa: S311 - jitter is no secret
        self._lanes: list[PgLane] = []
        self._failures = 0
        self._retry_s = 0.0
        self._is_stalled = False
        self._reason = "not asked yet"
        self.is_up = False

    @property
    def reason(self) -> str:
        """Why it is down; empty while it is up."""
        return "" if self.is_up else self._reason

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Lend an asyncpg connection with our codecs.

        Raises: StoreUnavailable: no connection, or it was lost inside the block. Errors of a
                statement pass through.
        """
        if self.is_away() or self._clock.now() < self._retry_s:
            raise unavailable(self._dsn, self._reason)
        connection = await self._acquire()
        if self.is_away():  # it went down while this caller stood in line
            await self._release(connection)
            raise unavailable(self._dsn, self._reason)
        self._note_up()
        try:
            with mapped(self._dsn):
                yield connection
        except StoreUnavailable as error:
            self._note_down(error)
            _end(connection)
            raise
        finally:
            await self._release(connection)

    def is_away(self) -> bool:
        """Say whether nobody but its keeper may ask the server."""
        return self._is_kept and self._failures > 0

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Map what a lost connection raises inside the block, and take note of it."""
        try:
            with mapped(self._dsn):
                yield
        except StoreUnavailable as error:
            self._note_down(error)
            raise
        self._note_up()

    async def probe(self) -> None:
        """Ask the server for a sign of life, whatever the backoff says.

        Raises: StoreUnavailable.
        """
        if self._is_stalled and self._pool is not None:
            self._pool.terminate()  # those that lie idle would hang as well
            self._pool = None
        connection = await self._acquire()
        try:
            with mapped(self._dsn):
                await connection.fetchval("SELECT 1")
        except StoreUnavailable as error:
            self._note_down(error)
            _end(connection)
            raise
        finally:
            await self._release(connection)
        self._note_up()

    def keep(self, lane: "PgLane") -> None:
        """Take note of a lane: its connection is given back before the pool closes."""
        self._lanes.append(lane)

    async def close(self) -> None:
        """End every connection; a later `connection()` begins anew."""
        for lane in self._lanes:
            await lane.close()
        pool, self._pool = self._pool, None
        self.is_up, self._reason = False, "closed"
        if pool is None:
            return
        timer = self._clock.call_at(self._clock.now() + CLOSE_S_MAX, pool.terminate)
        try:
            await pool.close()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pool.terminate()
        finally:
            timer.cancel()

    async def _acquire(self) -> Any:
        try:
            with mapped(self._dsn):
                pool = await self._opened()
                return await pool.acquire(timeout=self._connect_s_max)
        except StoreUnavailable as error:
            self._note_down(error)
            raise

    async def _release(self, connection: Any) -> None:
        pool = self._pool
        try:
            if pool is None:
                _end(connection)
            else:
                await pool.release(connection, timeout=CLOSE_S_MAX)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            _end(connection)

    async def _opened(self) -> Any:
        async with self._making:
            if self._pool is None:
                self._pool = await self._make()
            return self._pool

    async def _make(self) -> Any:
        try:
            return await asyncpg.create_pool(
                self._dsn,
                min_size=0,
                max_size=self._connections_max,
                timeout=self._connect_s_max,
                command_timeout=self._statement_s_max,
                init=prepare,
                reset=_keep_session,
                connection_class=PromptConnection,
                server_settings={"application_name": "tradebox"},
            )
        except (ValueError, asyncpg.InterfaceError) as error:
            raise unavailable(self._dsn, f"the URL is malformed: {error}") from error

    def _note_up(self) -> None:
        self.is_up, self._failures, self._retry_s = True, 0, 0.0
        self._is_stalled = False

    def _note_down(self, error: StoreUnavailable) -> None:
        self.is_up = False
        self._reason = str(error.fields.get("reason", error.message))
        self._failures += 1
        self._is_stalled = self._is_stalled or isinstance(error.__cause__, TimeoutError)
        wait_s = min(BACKOFF_S_MAX, BACKOFF_FIRST_S * 2.0 ** min(self._failures - 1, 10))
        self._retry_s = self._clock.now() + wait_s * (0.5 + 0.5 * self._random.random())


class PgLane:
    """One connection of a pool, kept from use to use: no borrowing on the way of an order.

    Holds: one user at a time; a connection that failed is given back, never used again.
    """

    def __init__(self, pool: PgPool) -> None:
        self._pool = pool
        self._lock = asyncio.Lock()
        self._stack: contextlib.AsyncExitStack | None = None
        self._connection: Any = None
        pool.keep(self)

    async def close(self) -> None:
        """Give the connection back, whoever uses it; a later use takes another."""
        await self._drop()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Lend the connection. Raises: as PgPool.connection."""
        async with self._lock:
            if self._stack is None or _is_lost(self._connection) or self._pool.is_away():
                await self._open()
            try:
                with self._pool.watched():
                    yield self._connection
            except BaseException as error:
                if isinstance(error, StoreUnavailable) and self._connection is not None:
                    _end(self._connection)
                await self._drop()
                raise

    async def _open(self) -> None:
        await self._drop()
        stack = contextlib.AsyncExitStack()
        self._connection = await stack.enter_async_context(self._pool.connection())
        self._stack = stack

    async def _drop(self) -> None:
        stack, self._stack, self._connection = self._stack, None, None
        if stack is not None:
            await stack.aclose()
