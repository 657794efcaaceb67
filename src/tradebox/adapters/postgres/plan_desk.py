"""What a person may do with plans, as one object: check and add, list, show, approve, ask to end.

Rules of this file:
- a document is checked against the instruments and hours in PostgreSQL before it is stored;
- the schema must be there: a home that never ran is told so.
"""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import asyncpg

from tradebox.adapters.postgres.plans import PgPlanStore
from tradebox.adapters.postgres.pool import PgPool
from tradebox.adapters.postgres.proposals import Graded, PgProposals
from tradebox.adapters.postgres.reference import PgReference
from tradebox.domain.orders import AccountName
from tradebox.domain.plan_check import check_alone, check_instrument, check_times
from tradebox.domain.plan_document import parse_document
from tradebox.errors import NotRunning
from tradebox.ports.clock import MarketClock
from tradebox.ports.plan_store import PlanStory, StoredPlan
from tradebox.supervision.clock import MonotonicClock

VENUE = "XNYS"
DAY_NS = 86_400 * 1_000_000_000
BY_HAND = "command-line"


class PlanDesk:
    """Plans, for the command line.

    asks_broker: a symbol without a row is not refused; the broker is asked for it at arming.
    """

    def __init__(
        self, pool: PgPool, market_clock: MarketClock, *, asks_broker: bool = False
    ) -> None:
        self._store = PgPlanStore(pool, BY_HAND, 0)
        self._proposals = PgProposals(pool)
        self._reference = PgReference(pool)
        self._market_clock = market_clock
        self._asks_broker = asks_broker

    async def add(self, text: bytes, account: AccountName) -> str:
        """Check a document and store it; return the plan's id.

        Raises: PlanInvalid naming field, value and fix; StoreUnavailable.
        """
        document = parse_document(text)
        now_ns = self._market_clock.now_ns()
        check_alone(document)
        instrument = await self._reference.instrument(document.symbol)
        if instrument is not None or not self._asks_broker:
            check_instrument(document, instrument)
        sessions = await self._reference.sessions(VENUE, now_ns, now_ns + 10 * DAY_NS)
        check_times(document, now_ns, sessions)
        return await self._store.request_plan(document, account, now_ns=now_ns, author=BY_HAND)

    async def list_plans(self, *, with_ended: bool) -> tuple[StoredPlan, ...]:
        """Return plans, newest first. Raises StoreUnavailable."""
        return await self._store.list_plans(with_ended=with_ended)

    async def show(self, plan_id: str) -> PlanStory:
        """Return everything about a plan. Raises NotRunning where there is none."""
        return await self._store.show_plan(plan_id)

    async def approve(
        self, plan_id: str, letters: Collection[str]
    ) -> tuple[StoredPlan, Graded | None]:
        """Let a proposal go to its controller; return it with its grade.

        letters: the grades a live plan may have. Raises: NotRunning, PlanInvalid.
        """
        now_ns = self._market_clock.now_ns()
        return await self._proposals.approve(plan_id, letters, now_ns=now_ns, by=BY_HAND)

    async def cancel(self, plan_id: str, account: AccountName) -> int | None:
        """Ask for a plan's end; return the command's id, None for a proposal, which ends at once.

        Raises: NotRunning, PlanInvalid.
        """
        if await self._proposals.withdraw(plan_id, account, self._market_clock.now_ns()):
            return None
        return await self._store.cancel_request(plan_id, "asked on the command line", account)


@asynccontextmanager
async def opened_pool(dsn: str) -> AsyncIterator[PgPool]:
    """Open a small pool on a database. Raises NotRunning where the schema is missing."""
    pool = PgPool(dsn, MonotonicClock(), connections_max=2)
    try:
        yield pool
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError) as error:
        raise NotRunning(
            "this home has no schema yet: run `tradebox db migrate` or `tradebox run` once"
        ) from error
    finally:
        await pool.close()


@asynccontextmanager
async def opened_desk(
    dsn: str, market_clock: MarketClock, *, asks_broker: bool
) -> AsyncIterator[PlanDesk]:
    """Open a desk on a database. Raises NotRunning where the schema is missing."""
    async with opened_pool(dsn) as pool:
        yield PlanDesk(pool, market_clock, asks_broker=asks_broker)
