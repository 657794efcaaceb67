"""The journal in PostgreSQL.

Rules of this file:
- one call is one commit, and one statement where that is possible;
- trade.event is only ever inserted into; the database refuses everything else.
"""

from collections.abc import Sequence

from tradebox.adapters.postgres.pool import PgPool
from tradebox.ports.journal import JournalEvent, LooseRow, RunOpened

_EVENTS = """
INSERT INTO trade.event (at_ns, run_id, epoch, kind, account, plan_id, order_ref, symbol, data)
SELECT at_ns, $1, epoch, kind, account, plan_id, order_ref, symbol, data
FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::jsonb[])
     WITH ORDINALITY AS new(at_ns, epoch, kind, account, plan_id, order_ref, symbol, data, place)
ORDER BY place
"""
_ALERTS = """
INSERT INTO trade.alert (at_ns, severity, kind, text, account, symbol, fields)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                     $7::jsonb[])
"""


class PgJournal:
    """JournalPort on a PgPool; the journal of one run."""

    name = "postgres"

    def __init__(self, pool: PgPool, run_id: str) -> None:
        self._pool = pool
        self._run_id = run_id

    @property
    def is_up(self) -> bool:
        """What the last use of PostgreSQL said."""
        return self._pool.is_up

    async def probe(self) -> None:
        """Ask for a sign of life. Raises: StoreUnavailable."""
        await self._pool.probe()

    async def close(self) -> None:
        """Let go of every connection."""
        await self._pool.close()

    async def open_run(self, run: RunOpened) -> None:
        """Record the run, once. Raises: StoreUnavailable."""
        assert run.run_id == self._run_id, "a journal serves one run"
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO trade.run (run_id, boot_epoch, profile, version)"
                " VALUES ($1, $2, $3, $4) ON CONFLICT (run_id) DO NOTHING",
                run.run_id,
                run.boot_epoch,
                run.profile,
                run.version,
            )

    async def close_run(self) -> None:
        """Record the end of the run; only the first call counts. Raises: StoreUnavailable."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE trade.run SET ended_at = clock_timestamp()"
                " WHERE run_id = $1 AND ended_at IS NULL",
                self._run_id,
            )

    async def append(self, events: Sequence[JournalEvent]) -> None:
        """Commit the events in their order, all or none. Raises: StoreUnavailable."""
        if not events:
            return
        async with self._pool.connection() as connection:
            await connection.execute(
                _EVENTS,
                self._run_id,
                [event.at_ns for event in events],
                [event.epoch for event in events],
                [event.kind for event in events],
                [event.account for event in events],
                [event.plan_id for event in events],
                [event.order_ref for event in events],
                [event.symbol for event in events],
                [event.data for event in events],
            )

    async def record(self, rows: Sequence[LooseRow]) -> None:
        """Write rows for people in one commit. Raises: StoreUnavailable."""
        if not rows:
            return
        async with self._pool.connection() as connection:
            await connection.execute(
                _ALERTS,
                [row.at_ns for row in rows],
                [row.severity for row in rows],
                [row.kind for row in rows],
                [row.text for row in rows],
                [row.account for row in rows],
                [row.symbol for row in rows],
                [dict(row.fields) for row in rows],
            )
