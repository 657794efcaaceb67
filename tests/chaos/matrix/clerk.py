"""What people do while a run trades, without a process for each: plans, commands, questions.

Rules of this file:
- one thread with one pool; the same stores that the command line uses;
- PostgreSQL may be away at any moment: a question then waits and asks again, until its deadline.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from support.run_bench import DEADLINE_S, Bench
from tradebox.adapters.marketclock import AffineMarketClock
from tradebox.adapters.postgres.commands import PgCommands
from tradebox.adapters.postgres.plans import PgPlanStore
from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.orders import AccountName
from tradebox.domain.plan_document import document_from
from tradebox.errors import StoreUnavailable
from tradebox.ports.command_store import CommandKind
from tradebox.supervision.clock import MonotonicClock

T = TypeVar("T")
ASKED_BY = "a person"
PAUSE_S = 0.1


class Clerk:
    """Plans, commands and rows of one run."""

    def __init__(self, box: Bench) -> None:
        self._clock = AffineMarketClock(box.home / "sim" / "clock.json")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._pool = PgPool(box.dsn(), MonotonicClock(), connections_max=2)
        self._plans = PgPlanStore(self._pool, ASKED_BY, 0)
        self._commands = PgCommands(self._pool)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._pool.close(), self._loop).result(DEADLINE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()

    def _do(self, call: Callable[[], Awaitable[T]]) -> T:
        until_s = time.monotonic() + DEADLINE_S
        while True:
            try:
                return asyncio.run_coroutine_threadsafe(_run(call), self._loop).result(DEADLINE_S)
            except StoreUnavailable:
                if time.monotonic() > until_s:
                    raise
                time.sleep(PAUSE_S)

    def rows(self, query: str, *arguments: object) -> list[dict[str, Any]]:
        """Return what PostgreSQL answers to the trading role."""

        async def ask() -> list[dict[str, Any]]:
            async with self._pool.connection() as connection:
                return [dict(row) for row in await connection.fetch(query, *arguments)]

        return self._do(ask)

    def market_ns(self) -> int:
        """Return the market's time."""
        self._clock.refresh()
        return self._clock.now_ns()

    def add_plan(self, account: str, document: Mapping[str, Any]) -> str:
        """Store a plan as `tradebox plan add` does; return its id."""
        parsed, name, now_ns = document_from(document), AccountName(account), self.market_ns()
        return self._do(
            lambda: self._plans.request_plan(parsed, name, now_ns=now_ns, author=ASKED_BY)
        )

    def command(
        self, account: str, kind: str, wait_s: float = DEADLINE_S, **args: Any
    ) -> dict[str, Any]:
        """Ask a controller for something; return its answer, {} where none came in time."""
        name = AccountName(account)
        number = self._do(
            lambda: self._commands.ask(
                name, CommandKind(kind), args, deadline_s=wait_s, asked_by=ASKED_BY
            )
        )
        return self._do(lambda: self._commands.wait(number, wait_s, MonotonicClock())) or {}


async def _run(call: Callable[[], Awaitable[T]]) -> T:
    return await call()
