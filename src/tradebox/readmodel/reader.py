"""Reads what may be seen, from Redis (now) and PostgreSQL (history), and never fails.

Rules of this file:
- read-only by login, by command and by query; each wait has a limit;
- a store that is away is a reason to show and a pause that doubles up to RETRY_S_MAX, no error;
- the console's file is looked at before each read, so that a new run is found by itself;
- the driver of PostgreSQL is loaded with the first question about the past, or by `preload`;
- a connection to PostgreSQL is given back when it idles, and waited for when others have them
  all: any number of consoles share the few that their role may hold;
- no reason ever holds a URL: URLs hold passwords.
"""

import asyncio
import contextlib
import importlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from tradebox.errors import BusUnavailable
from tradebox.readmodel.history import (
    BARS_MAX,
    BARS_SQL,
    EVENTS_AFTER_SQL,
    EVENTS_MAX,
    EVENTS_SQL,
    ORDERS_MAX,
    ORDERS_SQL,
    SCHEMA_SQL,
    STEPS_SQL,
    BarRow,
    EventRow,
    StepRow,
    bar_row,
    event_row,
    order_row,
    step_row,
)
from tradebox.readmodel.places import NoPlaces, Places, read_places
from tradebox.readmodel.research import (
    RESULTS_MAX,
    RESULTS_SQL,
    RUNS_MAX,
    RUNS_SQL,
    SPARK_SQL,
    SPREAD_SQL,
    plain_row,
)
from tradebox.readmodel.row_wire import RowWire
from tradebox.readmodel.rows import Row, decode_row, key_of

ANSWER_S_MAX: Final = 1.5
QUERY_S_MAX: Final = 3.0
CLOSE_S_MAX: Final = 0.5
IDLE_S_MAX: Final = 0.5
SHARE_S: Final = 0.1
"""How long a console waits before it asks again for a connection that others hold."""
RETRY_S_MIN: Final = 0.25
RETRY_S_MAX: Final = 1.0
REASON_CHARS_MAX: Final = 100

T = TypeVar("T")

_REDIS_AWAY = (BusUnavailable, OSError, TimeoutError)
_DRIVER: Final = "asyncpg"


def preload() -> None:
    """Load what questions about the past need; for a thread, while nobody has asked yet."""
    _driver()


def _driver() -> Any:
    return importlib.import_module(_DRIVER)


def _postgres_away() -> tuple[type[BaseException], ...]:
    driver = _driver()
    return (driver.PostgresError, driver.InterfaceError, OSError, TimeoutError)


@dataclass(slots=True)
class StoreState:
    """How a store does. waiting: empty while it answers, else what is waited for."""

    name: str
    waiting: str
    retry_s: float = RETRY_S_MIN
    retry_at_s: float = 0.0

    def came(self) -> None:
        """Note that it answers."""
        self.waiting, self.retry_s, self.retry_at_s = "", RETRY_S_MIN, 0.0

    def went(self, now_s: float, error: BaseException) -> None:
        """Note why it does not answer, and when to ask again."""
        self.waiting = f"{self.name}: {reason_of(error)}"[:REASON_CHARS_MAX]
        self.retry_at_s = now_s + self.retry_s
        self.retry_s = min(RETRY_S_MAX, self.retry_s * 2)


async def _pause(seconds: float) -> None:
    """Wait; tests/arch keeps bare sleeps out, and a console has no injected clock."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().create_future()


def reason_of(error: BaseException) -> str:
    """Return why a store does not answer, in words that hold no address."""
    driver = sys.modules.get(_DRIVER)
    if driver is not None:
        if isinstance(error, driver.InvalidCatalogNameError | driver.UndefinedTableError):
            return "its schema is being made"
        if isinstance(error, driver.CannotConnectNowError):
            return "starting up"
        if isinstance(error, driver.InvalidAuthorizationSpecificationError):
            return "its logins are being made, or they changed"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = str(error)
    if "No such file" in text or "refused" in text:
        return "not up yet"
    return text or type(error).__name__


class Reader:
    """Rows and history for one console; `places` tells where it reads, or why it cannot."""

    def __init__(
        self,
        console_file: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_places: Callable[[Places], None] = lambda _: None,
    ) -> None:
        self._file = console_file
        self._clock = clock
        self._on_places = on_places
        self._stamp: tuple[int, int, int] | None = None
        self._wire: RowWire | None = None
        self._connection: Any = None
        self._query_lock = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self.places: Places | NoPlaces = NoPlaces("not looked yet")
        self.redis = StoreState("Redis", "connecting")
        self.postgres = StoreState("PostgreSQL", "connecting")

    @property
    def waiting(self) -> str:
        """What rows wait for; empty while they come."""
        return self.places.reason if isinstance(self.places, NoPlaces) else self.redis.waiting

    @property
    def history_waiting(self) -> str:
        """What history waits for; empty while it comes."""
        return self.places.reason if isinstance(self.places, NoPlaces) else self.postgres.waiting

    @property
    def profile(self) -> str:
        """sim, paper or live; empty while unknown."""
        return "" if isinstance(self.places, NoPlaces) else self.places.profile

    @property
    def world(self) -> str:
        """SIMULATED in the stand-in world, else empty."""
        return "" if isinstance(self.places, NoPlaces) else self.places.world

    async def rows(self, names: Sequence[str]) -> dict[str, Row | None]:
        """Return each row by name; None for what is absent, unreadable or out of reach."""
        none: dict[str, Row | None] = dict.fromkeys(names)
        places = await self._look()
        now_s = self._clock()
        if isinstance(places, NoPlaces) or now_s < self.redis.retry_at_s or not names:
            return none
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                wire = await self._redis(places)
                blobs = await wire.mget([key_of(name) for name in names])
        except _REDIS_AWAY as error:
            self._drop_redis()
            self.redis.went(self._clock(), error)
            return none
        self.redis.came()
        return {name: decode_row(blob) for name, blob in zip(names, blobs, strict=True)}

    async def steps(self, plan_id: str) -> list[StepRow] | None:
        """Return the steps of a plan, oldest first; None while PostgreSQL is out of reach."""
        return await self._query(step_row, STEPS_SQL, plan_id)

    async def bars(
        self, symbol: str, interval_s: int, until_ns: int, count: int = 200
    ) -> list[BarRow] | None:
        """Return the last bars that ended by until_ns, oldest first; None out of reach."""
        return await self._query(
            bar_row, BARS_SQL, symbol, interval_s, until_ns, min(count, BARS_MAX)
        )

    async def events(
        self,
        about: str | None = None,
        count: int = 200,
        *,
        before: int | None = None,
        after: int | None = None,
    ) -> list[EventRow] | None:
        """Return events of the journal, of one plan or order if `about` names one; oldest first.

        The newest; with `before` those just older than that sequence number; with `after` those
        that follow it. None while PostgreSQL is out of reach.
        """
        limit = min(count, EVENTS_MAX)
        if after is not None:
            return await self._query(event_row, EVENTS_AFTER_SQL, about, limit, after)
        return await self._query(event_row, EVENTS_SQL, about, limit, before)

    async def schema(self) -> int | None:
        """Return the schema's version; None while PostgreSQL or the schema is not there."""
        found = await self._query(lambda record: record["number"], SCHEMA_SQL)
        return found[0] if found else None

    async def runs(self) -> list[dict[str, Any]] | None:
        """Return backtests, newest first; None while PostgreSQL is out of reach."""
        return await self._query(plain_row, RUNS_SQL, RUNS_MAX)

    async def results(self, run_id: str) -> list[dict[str, Any]] | None:
        """Return the stocks of a backtest, best first; None while PostgreSQL is out of reach."""
        return await self._query(plain_row, RESULTS_SQL, run_id, RESULTS_MAX)

    async def orders(self) -> list[dict[str, Any]] | None:
        """Return the day's orders and all that work, oldest first; None out of reach."""
        return await self._query(order_row, ORDERS_SQL, ORDERS_MAX)

    async def spread(self, run_id: str) -> list[tuple[int, int]] | None:
        """Return how many trades of a run lie in each bin of R_BIN, lowest first."""

        def pair(record: Mapping[str, Any]) -> tuple[int, int]:
            return record["bin"], record["trades"]

        return await self._query(pair, SPREAD_SQL, run_id)

    async def equity(self, run_id: str, symbol: str) -> list[float] | None:
        """Return a small equity curve, oldest first, empty where there is none."""
        found = await self._query(lambda record: list(record["spark"]), SPARK_SQL, run_id, symbol)
        return None if found is None else found[0] if found else []

    async def close(self) -> None:
        """Let go of both stores."""
        self._drop_redis()
        await self._drop_postgres()

    async def _look(self) -> Places | NoPlaces:
        try:
            status = self._file.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            stamp = None
        if stamp is not None and stamp == self._stamp and isinstance(self.places, Places):
            return self.places
        found = read_places(self._file)
        if isinstance(found, NoPlaces) and isinstance(self.places, Places):
            return self.places
        self._stamp = stamp
        if found != self.places:
            self.places = found
            await self.close()
            self.redis.retry_at_s = self.postgres.retry_at_s = 0.0
            if isinstance(found, Places):
                self._on_places(found)
        return found

    async def _redis(self, places: Places) -> RowWire:
        if self._wire is None or not self._wire.is_open:
            self._wire = await RowWire.connect(places.redis)
        return self._wire

    def _drop_redis(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    async def _query(
        self, make: Callable[[Mapping[str, Any]], T], sql: str, *arguments: object
    ) -> list[T] | None:
        places = await self._look()
        if isinstance(places, NoPlaces) or self._clock() < self.postgres.retry_at_s:
            return None
        async with self._query_lock:
            self._call_off_idle()
            try:
                async with asyncio.timeout(QUERY_S_MAX):
                    connection = await self._postgres(places)
                    records = await connection.fetch(sql, *arguments)
            except _postgres_away() as error:
                await self._drop_postgres()
                self.postgres.went(self._clock(), error)
                return None
            self._idle = asyncio.get_running_loop().call_later(IDLE_S_MAX, self._give_back)
        self.postgres.came()
        return [make(record) for record in records]

    def _call_off_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _give_back(self) -> None:
        if not self._query_lock.locked():
            task = asyncio.get_running_loop().create_task(self._drop_postgres())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _postgres(self, places: Places) -> Any:
        while self._connection is None or self._connection.is_closed():
            with contextlib.suppress(_driver().TooManyConnectionsError):
                self._connection = await self._connect(places)
                break
            self._connection = None
            await _pause(SHARE_S)
        return self._connection

    async def _connect(self, places: Places) -> Any:
        return await _driver().connect(
            places.postgres,
            timeout=QUERY_S_MAX,
            command_timeout=QUERY_S_MAX,
            server_settings={
                "application_name": "tradebox-console",
                "default_transaction_read_only": "on",
            },
        )

    async def _drop_postgres(self) -> None:
        self._call_off_idle()
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            async with asyncio.timeout(CLOSE_S_MAX):
                await connection.close()
        except _postgres_away():
            connection.terminate()
