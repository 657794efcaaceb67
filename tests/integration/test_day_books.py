"""What a new engine reads of the day that an earlier one traded."""

from dataclasses import replace
from decimal import Decimal

import pytest
import pytest_asyncio

from tradebox.adapters.postgres.day_books import PgDayBooks
from tradebox.adapters.postgres.plans import PgPlanStore
from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.market_day import day_start_ns
from tradebox.domain.orders import AccountName
from tradebox.domain.plan_document import document_from
from tradebox.domain.plan_state import Phase, PlanState, StepKind, Tally
from tradebox.domain.plan_turn import StepTaken
from tradebox.supervision.clock import MonotonicClock

NOON = 1_294_066_800_000_000_000  # 2011-01-03 15:00 UTC, 10:00 in New York
DAY_NS = 86_400_000_000_000
DOCUMENT = document_from(
    {
        "symbol": "NVDA",
        "side": "long",
        "size": {"quantity": 10},
        "entry": {"type": "market"},
        "stop": {"percent": "1"},
        "time_exit": {"session_close": True},
    }
)
BOUGHT = Tally(10, Decimal(1000))
CLOSED = PlanState(
    "", Phase.CLOSED, entry=BOUGHT, closing=Tally(10, Decimal(1030)), is_entered=True,
    risk_per_share=Decimal(2), close_reason="the stop filled",
)  # fmt: skip

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def pool(pg_dsn):
    made = PgPool(pg_dsn, MonotonicClock())
    yield made
    await made.close()


async def close_plan(pool, at_ns, state=CLOSED):
    store = PgPlanStore(pool, "run-1", 7)
    plan_id = await store.request_plan(DOCUMENT, AccountName.PAPER, now_ns=NOON, author="test")
    step = StepTaken(1, StepKind.EXIT, Decimal(103), 10, "broker", "stop", at_ns, None)
    await store.save(replace(state, plan_id=plan_id), (step,), at_ns)
    return plan_id


async def told(pool, kind, at_ns, epoch, order_ref=None, **data):
    async with pool.connection() as connection:
        await connection.execute(
            "INSERT INTO trade.event (at_ns, run_id, epoch, kind, order_ref, data)"
            " VALUES ($1, 'r', $2, $3, $4, $5)",
            at_ns, epoch, kind, order_ref, data,
        )  # fmt: skip


async def test_the_day_holds_what_closed_in_it_with_its_result(pool):
    yesterday = await close_plan(pool, NOON - DAY_NS)
    today = await close_plan(pool, NOON)
    await close_plan(pool, NOON, replace(CLOSED, phase=Phase.OPEN, closing=Tally()))
    books = await PgDayBooks(pool, 9).day(day_start_ns(NOON))
    assert [row.plan_id for row in books.plans] == [today] != [yesterday]
    (row,) = books.plans
    assert (row.state, row.quantity, row.updated_ns) == ("closed", 0, NOON)
    assert row.pnl_usd == Decimal("30.00")
    assert row.r_multiple == pytest.approx(1.5)


async def test_counts_are_of_the_day_and_of_earlier_engines_alone(pool):
    for at_ns, epoch in ((NOON - DAY_NS, 1), (NOON, 1), (NOON, 2), (NOON, 3)):
        await told(pool, "intent_denied", at_ns, epoch)
        await told(pool, "fill_booked", at_ns, epoch)
        await told(pool, "order_moved", at_ns, epoch, "o-1", state="rejected")
        await told(pool, "order_moved", at_ns, epoch, "o-2", state="filled")
    books = await PgDayBooks(pool, 3).day(day_start_ns(NOON))
    assert (books.fills, books.denied, books.rejected) == (2, 2, 1)


async def test_a_plan_nobody_can_read_is_left_out(pool):
    good = await close_plan(pool, NOON)
    bad = await close_plan(pool, NOON)
    async with pool.connection() as connection:
        await connection.execute(
            "UPDATE trade.plan SET machine = '{\"phase\": 5}' WHERE plan_id = $1", bad
        )
    books = await PgDayBooks(pool, 9).day(day_start_ns(NOON))
    assert [row.plan_id for row in books.plans] == [good]
