"""Requests of people in PostgreSQL: asked by the command line, taken and answered by a controller.

Rules of this file:
- rows of one account are taken in the order they were asked;
- an answer is written once, and told to the journal in the same statement.
"""

from collections.abc import Mapping
from typing import Any, Final

from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.orders import AccountName
from tradebox.ports.command_store import Command, CommandKind
from tradebox.supervision.clock import Clock

POLL_S: Final = 0.05
_KINDS: Final = [kind.value for kind in CommandKind]

_ASK = """
INSERT INTO trade.command (account, kind, args, deadline_at, asked_by)
VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4), $5) RETURNING command_id
"""
_TAKE = """
WITH late AS (
    UPDATE trade.command
    SET consumed_at = coalesce(consumed_at, clock_timestamp()),
        answer = '{"done": false, "why": "late"}'
    WHERE account = $1 AND kind = ANY ($2::text[]) AND answer IS NULL
      AND deadline_at <= statement_timestamp() AND (consumed_at IS NULL OR $3)
), waiting AS (
    SELECT command_id FROM trade.command
    WHERE account = $1 AND kind = ANY ($2::text[]) AND answer IS NULL
      AND deadline_at > statement_timestamp() AND (consumed_at IS NULL OR $3)
    ORDER BY command_id LIMIT 50 FOR UPDATE
), taken AS (
    UPDATE trade.command AS c SET consumed_at = coalesce(c.consumed_at, clock_timestamp())
    FROM waiting WHERE c.command_id = waiting.command_id
    RETURNING c.command_id, c.kind, c.args
)
SELECT command_id, kind, args FROM taken ORDER BY command_id
"""
_ANSWER = """
WITH answered AS (
    UPDATE trade.command SET answer = $2, consumed_at = coalesce(consumed_at, clock_timestamp())
    WHERE command_id = $1 AND answer IS NULL
    RETURNING account, kind, args, asked_by
)
INSERT INTO trade.event (at_ns, run_id, epoch, kind, account, plan_id, symbol, data)
SELECT $3, $4, $5, 'command_answered', account, args ->> 'plan_id', args ->> 'symbol',
       jsonb_build_object('command_id', $1::bigint, 'command', kind, 'asked_by', asked_by,
                          'answer', $2::jsonb)
FROM answered
"""


class PgCommands:
    """CommandStore on a PgPool, and the asking side of it."""

    def __init__(self, pool: PgPool, run_id: str = "", epoch: int = 0) -> None:
        self._pool = pool
        self._run_id = run_id
        self._epoch = epoch

    async def ask(
        self,
        account: AccountName,
        kind: CommandKind,
        args: Mapping[str, Any],
        *,
        deadline_s: float,
        asked_by: str,
    ) -> int:
        """Store a request; return its id. Raises StoreUnavailable."""
        async with self._pool.connection() as connection:
            number = await connection.fetchval(
                _ASK, account.value, kind.value, dict(args), deadline_s, asked_by
            )
        return int(number)

    async def wait(self, command_id: int, wait_s: float, clock: Clock) -> dict[str, Any] | None:
        """Return the answer to a request, or None where none came in time."""
        until_s = clock.now() + wait_s
        while True:
            async with self._pool.connection() as connection:
                answer = await connection.fetchval(
                    "SELECT answer FROM trade.command WHERE command_id = $1", command_id
                )
            if answer is not None:
                return dict(answer)
            if clock.now() >= until_s:
                return None
            await clock.sleep(POLL_S)

    async def take(self, account: AccountName, *, again: bool) -> tuple[Command, ...]:
        """Return the requests that wait, oldest first, and mark them taken; answer late ones."""
        async with self._pool.connection() as connection:
            rows = await connection.fetch(_TAKE, account.value, _KINDS, again)
        return tuple(
            Command(row["command_id"], account, CommandKind(row["kind"]), dict(row["args"]))
            for row in rows
        )

    async def answer(self, command: Command, answer: Mapping[str, Any], now_ns: int) -> None:
        """Note what became of a request, once, and tell the journal."""
        async with self._pool.connection() as connection:
            await connection.execute(
                _ANSWER, command.command_id, dict(answer), now_ns, self._run_id, self._epoch
            )

    async def switch(self, name: str, value: str, reason: str) -> None:
        """Set a switch that every controller reads. Raises StoreUnavailable."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO trade.switch (name, value, reason) VALUES ($1, $2, $3)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value,"
                " reason = excluded.reason, updated_at = clock_timestamp()",
                name,
                value,
                reason,
            )
