"""The queue of a run in PostgreSQL: batches that wait, that are worked on, that are done.

Rules of this file:
- a batch is done only by the transaction that stores its results (see store.py);
- what a dead scheduler left running is queued again when its run is resumed;
- a split replaces a batch by its parts in one transaction: no stock is lost or doubled.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

ERROR_CHARS_MAX = 500


class Connects(Protocol):
    """Whatever lends a connection, as the store does."""

    def connection(self) -> Any:
        """Return an async context manager of a connection. Raises: StoreUnavailable."""


@dataclass(frozen=True, slots=True)
class Job:
    """A batch to work on. attempts: how often it broke a worker; broke_at: at which stock."""

    batch_no: int
    symbols: tuple[str, ...]
    attempts: int = 0
    broke_at: str = ""


@dataclass(frozen=True, slots=True)
class Counts:
    """How far a run is, in stocks. repeated: taken by a scheduler that died, begun or not."""

    total: int
    done: int
    repeated: int = 0


@dataclass(frozen=True, slots=True)
class Skipped:
    """A stock without a grade to trade by. status: data, refused, failed or mismatch."""

    symbol: str
    status: str
    why: str


_SKIPPED = """
SELECT symbol, status, why FROM
  (SELECT s.key AS symbol, 'data' AS status, s.value AS why
     FROM backtest.run r, jsonb_each_text(r.refused) AS s WHERE r.run_id = $1
   UNION ALL
   SELECT symbol, status, coalesce(reasons -> -1 ->> 1, '') FROM backtest.result
    WHERE run_id = $1 AND status <> 'ok') AS every
ORDER BY array_position(ARRAY['failed', 'mismatch', 'data', 'refused'], status), symbol LIMIT $2
"""


class TaskQueue:
    """The batches of one run."""

    def __init__(self, store: Connects, run_id: str, owner: str) -> None:
        self._store = store
        self._run_id = run_id
        self._owner = owner

    async def take_over(self) -> Counts:
        """Queue again what was left running, and return how far the run is."""
        async with self._store.connection() as connection:
            left = await connection.fetch(
                "UPDATE backtest.task SET state = 'queued', owner = ''"
                " WHERE run_id = $1 AND state = 'running' RETURNING cardinality(symbols) AS n",
                self._run_id,
            )
            row = await connection.fetchrow(
                "SELECT coalesce(sum(cardinality(symbols)), 0) AS total,"
                " coalesce(sum(cardinality(symbols))"
                " FILTER (WHERE state IN ('done', 'failed')), 0) AS done"
                " FROM backtest.task WHERE run_id = $1 AND state <> 'split'",
                self._run_id,
            )
        return Counts(int(row["total"]), int(row["done"]), sum(int(each["n"]) for each in left))

    async def claim(self, count: int) -> list[Job]:
        """Take up to so many waiting batches, lowest number first."""
        async with self._store.connection() as connection:
            rows = await connection.fetch(
                "WITH w AS MATERIALIZED (SELECT batch_no FROM backtest.task"  # or LIMIT is repeated
                "   WHERE run_id = $1 AND state = 'queued' ORDER BY batch_no LIMIT $2"
                "   FOR UPDATE SKIP LOCKED)"
                " UPDATE backtest.task t SET state = 'running', owner = $3,"
                " attempts = t.attempts + 1, claimed_at = clock_timestamp()"
                " FROM w WHERE t.run_id = $1 AND t.batch_no = w.batch_no"
                " RETURNING t.batch_no, t.symbols",
                self._run_id,
                count,
                self._owner,
            )
        jobs = [Job(row["batch_no"], tuple(row["symbols"])) for row in rows]
        return sorted(jobs, key=lambda job: job.batch_no)

    async def give_back(self) -> None:
        """Queue again what was taken and is not done."""
        async with self._store.connection() as connection:
            await connection.execute(
                "UPDATE backtest.task SET state = 'queued', owner = ''"
                " WHERE run_id = $1 AND state = 'running'",
                self._run_id,
            )

    async def table_bytes(self) -> int:
        """Return what the tables of all runs take on disk, indexes included."""
        async with self._store.connection() as connection:
            found = await connection.fetchval(
                "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c"
                " JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE n.nspname = 'backtest' AND c.relkind = 'r'"
            )
        return int(found)

    async def row(self) -> dict[str, Any]:
        """Return the run as the console sees it."""
        async with self._store.connection() as connection:
            found = await connection.fetchrow(
                "SELECT * FROM console.backtest_run WHERE run_id = $1", self._run_id
            )
        return dict(found) if found is not None else {}

    async def skipped(self, limit: int) -> list[Skipped]:
        """Return the stocks that were skipped, faults first, with the reason stored of each."""
        async with self._store.connection() as connection:
            rows = await connection.fetch(_SKIPPED, self._run_id, limit)
        return [Skipped(row["symbol"], row["status"], row["why"]) for row in rows]

    async def split(self, batch_no: int, parts: Sequence[tuple[str, ...]]) -> list[Job]:
        """Replace a batch by its parts, which are taken at once; nothing where it was done."""
        async with self._store.connection() as connection, connection.transaction():
            found = await connection.fetchval(
                "UPDATE backtest.task SET state = 'split', finished_at = clock_timestamp()"
                " WHERE run_id = $1 AND batch_no = $2 AND state = 'running' RETURNING batch_no",
                self._run_id,
                batch_no,
            )
            if found is None:
                return []
            first = 1 + await connection.fetchval(
                "SELECT max(batch_no) FROM backtest.task WHERE run_id = $1", self._run_id
            )
            jobs = [Job(first + index, part) for index, part in enumerate(parts)]
            await connection.executemany(
                "INSERT INTO backtest.task"
                " (run_id, batch_no, symbols, state, owner, attempts, claimed_at)"
                " VALUES ($1, $2, $3, 'running', $4, 1, clock_timestamp())",
                [(self._run_id, job.batch_no, list(job.symbols), self._owner) for job in jobs],
            )
        return jobs

    async def mark_failed(self, batch_no: int, error: str) -> None:
        """Say of a batch whose failure is stored that it failed, and why."""
        async with self._store.connection() as connection:
            await connection.execute(
                "UPDATE backtest.task SET state = 'failed', error = $3"
                " WHERE run_id = $1 AND batch_no = $2 AND state = 'done'",
                self._run_id,
                batch_no,
                error[:ERROR_CHARS_MAX],
            )
