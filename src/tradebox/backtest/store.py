"""Runs, queue, results, trades and equity in PostgreSQL.

Rules of this file:
- a batch is stored in one transaction by COPY and marked done in the same: stored twice, it changes
  nothing; cut off anywhere, it leaves nothing;
- PostgreSQL away is StoreUnavailable, raised at once: whoever holds the results decides how long to
  wait, and calls again with the same;
- a run is removed whole.

Public names: BacktestStore.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any, Final, Self

import asyncpg
import orjson

from tradebox.adapters.postgres.connect import mapped, unavailable
from tradebox.backtest.records import BatchResult, RunSpec, run_hash
from tradebox.backtest.store_encoding import (
    EQUITY_COLUMNS,
    RESULT_COLUMNS,
    TRADE_COLUMNS,
    EncodedBatch,
    encode_batch,
    plain,
)
from tradebox.errors import NotRunning

CONNECTIONS_MAX: Final = 4
CONNECT_S_MAX: Final = 5.0
STATEMENT_S_MAX: Final = 60.0
CLOSE_S_MAX: Final = 3.0
_JSONB_VERSION: Final = b"\x01"

_TABLES: Final = (
    ("result", ("run_id", "batch_no", *RESULT_COLUMNS)),
    ("trade", ("run_id", *TRADE_COLUMNS)),
    ("equity", ("run_id", *EQUITY_COLUMNS)),
)


class BacktestStore:
    """The stored runs, through a few connections of the role research_rw; for one loop.

    Use as a context, or call open and close.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._pool: Any = None
        self._making = asyncio.Lock()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Ask for a sign of life. Raises: StoreUnavailable."""
        async with self.connection() as connection:
            await connection.fetchval("SELECT 1")

    async def close(self) -> None:
        """Let go of every connection; a later use opens anew."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            await asyncio.wait_for(pool.close(), CLOSE_S_MAX)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pool.terminate()

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Lend a connection; jsonb is plain Python values on it.

        Raises: StoreUnavailable; NotRunning where the schema is missing; errors of a statement
                pass through.
        """
        with mapped(self._dsn):
            pool = await self._opened()
            connection = await pool.acquire(timeout=CONNECT_S_MAX)
            try:
                yield connection
            except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
                raise NotRunning(
                    "this home has no schema for backtests yet: run `tradebox db migrate`"
                ) from error
            finally:
                await _give_back(pool, connection)

    # --- a run that works ---

    async def create_run(self, spec: RunSpec, batches: Sequence[tuple[str, ...]]) -> None:
        """Store a run as running, with its batches queued from number 0; once.

        Raises: StoreUnavailable.
        """
        async with self.connection() as connection, connection.transaction():
            made = await connection.fetchval(
                "INSERT INTO backtest.run (run_id, state, seed, executor, strategies, universe,"
                " symbols, refused, data_source, data_path, data_hash, code_hash, config,"
                " started_at) VALUES ($1, 'running', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,"
                " clock_timestamp()) ON CONFLICT (run_id) DO NOTHING RETURNING run_id",
                spec.run_id,
                spec.seed,
                spec.executor,
                list(spec.strategies),
                spec.universe,
                list(spec.symbols),
                dict(spec.refused),
                spec.data_source,
                spec.data_path,
                spec.data_hash,
                spec.code_hash,
                plain(spec.config),
            )
            if made is None:
                return  # the first commit was through, its answer was lost
            await connection.copy_records_to_table(
                "task",
                schema_name="backtest",
                columns=("run_id", "batch_no", "symbols"),
                records=[(spec.run_id, no, list(one)) for no, one in enumerate(batches)],
            )

    async def load_spec(self, run_id: str) -> RunSpec:
        """Return a run as it was created. Raises: NotRunning (unknown), StoreUnavailable."""
        async with self.connection() as connection:
            row = await connection.fetchrow("SELECT * FROM backtest.run WHERE run_id = $1", run_id)
        if row is None:
            raise NotRunning(f"there is no run {run_id}: `tradebox backtest list` shows them")
        return RunSpec(
            run_id=row["run_id"],
            seed=row["seed"],
            strategies=tuple(row["strategies"]),
            universe=row["universe"],
            symbols=tuple(row["symbols"]),
            data_source=row["data_source"],
            data_path=row["data_path"],
            data_hash=row["data_hash"],
            code_hash=row["code_hash"],
            config=row["config"],
            executor=row["executor"],
            refused=row["refused"],
        )

    async def reopen_run(self, run_id: str) -> None:
        """Say that a run works again. Raises: StoreUnavailable."""
        async with self.connection() as connection:
            await connection.execute(
                "UPDATE backtest.run SET state = 'running', error = '', finished_at = NULL"
                " WHERE run_id = $1",
                run_id,
            )

    async def save_batch(self, run_id: str, batch: BatchResult | EncodedBatch) -> bool:
        """Store a batch's results and mark it done; False where it was stored before.

        Holds:   after any number of calls, cut off or not, each stock has one row per table.
        Raises:  StoreUnavailable; NotRunning when the run or the batch was removed.
        """
        rows = batch if isinstance(batch, EncodedBatch) else encode_batch(batch)
        async with self.connection() as connection, connection.transaction():
            state = await connection.fetchval(
                "SELECT state FROM backtest.task WHERE run_id = $1 AND batch_no = $2 FOR UPDATE",
                run_id,
                rows.batch_no,
            )
            if state is None:
                raise NotRunning(f"run {run_id} has no batch {rows.batch_no}: it was removed")
            if state in ("done", "failed", "split"):
                return False
            await _replace_rows(connection, run_id, rows)
            await connection.execute(
                "UPDATE backtest.task SET state = 'done', error = '', stage_seconds = $3,"
                " peak_bytes = $4, finished_at = clock_timestamp()"
                " WHERE run_id = $1 AND batch_no = $2",
                run_id,
                rows.batch_no,
                plain(rows.stage_seconds),
                rows.peak_bytes,
            )
        return True

    async def finish_run(
        self, run_id: str, state: str, figures: dict[str, Any], error: str = ""
    ) -> dict[str, Any]:
        """Say how a run ended and what it measured; return its row as the console sees it.

        The run hash is of the results that are stored.
        Raises: StoreUnavailable; NotRunning when the run was removed.
        """
        async with self.connection() as connection, connection.transaction():
            rows = await connection.fetch(
                "SELECT symbol, result_hash FROM backtest.result WHERE run_id = $1", run_id
            )
            whole = run_hash((row["symbol"], row["result_hash"]) for row in rows)
            config = await connection.fetchval(
                "SELECT config FROM backtest.run WHERE run_id = $1 FOR UPDATE", run_id
            )
            days = float((config or {}).get("expiry_days", 30))
            await connection.execute(
                "UPDATE backtest.run SET state = $2, figures = $3, run_hash = $4, error = $5,"
                " finished_at = clock_timestamp(), expires_at = clock_timestamp() + $6"
                " WHERE run_id = $1",
                run_id,
                state,
                plain(figures),
                whole,
                error,
                timedelta(days=days),
            )
            ended = await connection.fetchrow(
                "SELECT * FROM console.backtest_run WHERE run_id = $1", run_id
            )
        if ended is None:
            raise NotRunning(f"run {run_id} was removed while it worked")
        return dict(ended)

    # --- inside ---

    async def _opened(self) -> Any:
        async with self._making:
            if self._pool is None:
                try:
                    self._pool = await asyncpg.create_pool(
                        self._dsn,
                        min_size=0,
                        max_size=CONNECTIONS_MAX,
                        timeout=CONNECT_S_MAX,
                        command_timeout=STATEMENT_S_MAX,
                        init=_prepare,
                        server_settings={"application_name": "tradebox-backtest"},
                    )
                except (ValueError, asyncpg.InterfaceError) as error:
                    raise unavailable(self._dsn, f"the URL is malformed: {error}") from error
            return self._pool


async def _replace_rows(connection: Any, run_id: str, batch: EncodedBatch) -> None:
    symbols = [row.symbol for row in batch.rows]
    for name, _ in _TABLES:
        await connection.execute(
            f"DELETE FROM backtest.{name} WHERE run_id = $1 AND symbol = ANY($2::text[])",  # noqa: S608 - our own names
            run_id,
            symbols,
        )
    records = (
        [(run_id, batch.batch_no, *row.result) for row in batch.rows],
        [(run_id, *row.trade) for row in batch.rows],
        [(run_id, *row.equity) for row in batch.rows],
    )
    for (name, columns), listed in zip(_TABLES, records, strict=True):
        await connection.copy_records_to_table(
            name, schema_name="backtest", columns=columns, records=listed
        )


async def _prepare(connection: Any) -> None:
    """Let jsonb be plain values, in the binary form that COPY needs."""
    await connection.set_type_codec(
        "jsonb",
        encoder=lambda value: _JSONB_VERSION + orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS),
        decoder=lambda content: orjson.loads(content[1:]),
        schema="pg_catalog",
        format="binary",
    )


async def _give_back(pool: Any, connection: Any) -> None:
    try:
        await pool.release(connection, timeout=CLOSE_S_MAX)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection.terminate()
