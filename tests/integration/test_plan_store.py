"""The plan store on a real PostgreSQL."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
import pytest_asyncio

from tradebox.adapters.postgres.plans import PgPlanStore
from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.market import Quality, Source
from tradebox.domain.orders import AccountName
from tradebox.domain.path import Evidence
from tradebox.domain.plan_document import document_from
from tradebox.domain.plan_state import Phase, PlanState, StepKind, Terms, state_from_json
from tradebox.domain.plan_turn import StepTaken
from tradebox.errors import NotRunning, PlanInvalid, StoreUnavailable
from tradebox.supervision.clock import MonotonicClock

JAN_3 = 1_294_066_800_000_000_000  # 2011-01-03 15:00 UTC
DOCUMENT = document_from(
    {
        "symbol": "BRK.B",
        "side": "short",
        "size": {"quantity": 10},
        "entry": {"type": "limit", "price": "80.25"},
        "stop": {"percent": "1.5"},
        "steps": [{"at": {"r": "1"}, "take": {"fraction": "0.5"}}],
        "time_exit": {"session_close": True},
    }
)


@pytest_asyncio.fixture
async def pool(pg_dsn):
    made = PgPool(pg_dsn, MonotonicClock())
    yield made
    await made.close()


@pytest.fixture
def store(pool):
    return PgPlanStore(pool, "run-1", 7)


def taken(number: int, kind: StepKind = StepKind.ENTRY) -> StepTaken:
    evidence = Evidence(Decimal("80.24"), Source.FINNHUB, Quality.LIVE, JAN_3)
    return StepTaken(number, kind, Decimal("80.25"), 10, "finnhub", "because", JAN_3, evidence)


async def request(store, account=AccountName.PAPER):
    return await store.request_plan(DOCUMENT, account, now_ns=JAN_3, author="test")


async def events(pool, kind):
    async with pool.connection() as connection:
        return await connection.fetch(
            "SELECT * FROM trade.event WHERE kind = $1 ORDER BY seq", kind
        )


pytestmark = pytest.mark.asyncio


async def test_a_requested_plan_comes_back_with_its_document(store, pool):
    plan_id = await request(store)
    assert plan_id == "20110103-0001-BRKB"
    (plan,) = await store.active_plans(AccountName.PAPER)
    assert (plan.plan_id, plan.state, plan.machine, plan.version) == (plan_id, "requested", None, 1)
    assert document_from(plan.document) == DOCUMENT
    assert await store.active_plans(AccountName.LIVE) == ()
    assert await store.active_plans(AccountName.PAPER, {plan_id}) == ()
    (event,) = await events(pool, "plan_requested")
    assert (event["plan_id"], event["run_id"], event["epoch"]) == (plan_id, "run-1", 7)


async def test_ids_are_unique_and_sorted_under_contention(store):
    ids = await asyncio.gather(*(request(store) for _ in range(6)))
    assert sorted(ids) == [f"20110103-{n:04d}-BRKB" for n in range(1, 7)]


async def test_a_save_is_one_commit_and_twice_is_once(store, pool):
    plan_id = await request(store)
    state = PlanState(
        plan_id, Phase.OPEN, Terms(Decimal("0.01"), JAN_3, None, is_day_entry=True), steps_taken=2
    )
    steps = (taken(1), taken(2, StepKind.SCALE_OUT))
    for _ in range(2):
        await store.save(state, steps, JAN_3)
    story = await store.show_plan(plan_id)
    assert story.plan.machine is not None
    assert state_from_json(dict(story.plan.machine)) == state
    assert [(s.step_no, s.kind, s.price) for s in story.steps] == [
        (1, "entry", Decimal("80.25")), (2, "scale_out", Decimal("80.25")),
    ]  # fmt: skip
    assert [e["data"]["kind"] for e in await events(pool, "plan_step")] == ["entry", "scale_out"]
    (moved,) = await events(pool, "plan_state")
    assert (moved["data"]["from"], moved["data"]["to"]) == ("requested", "open")


async def test_a_save_that_fails_leaves_nothing(store, pool):
    plan_id = await request(store)
    state = PlanState(plan_id, Phase.OPEN)
    bad = replace(taken(1), price=None)
    with pytest.raises(Exception, match="price"):
        await store.save(state, (taken(2), bad), JAN_3)
    story = await store.show_plan(plan_id)
    assert (story.steps, story.plan.state) == ((), "requested")
    assert await events(pool, "plan_step") == []


async def test_an_ended_plan_is_not_active_and_may_live_again(store):
    plan_id = await request(store)
    ended = PlanState(plan_id, Phase.CLOSED, close_reason="the stop filled")
    await store.save(ended, (), JAN_3)
    assert await store.active_plans(AccountName.PAPER) == ()
    assert await store.list_plans() == ()
    (plan,) = await store.list_plans(with_ended=True)
    assert plan.close_reason == "the stop filled"
    assert plan.closed_at is not None
    await store.save(PlanState(plan_id, Phase.OPEN), (), JAN_3)
    (plan,) = await store.active_plans(AccountName.PAPER)
    assert plan.closed_at is None


async def test_a_cancel_is_answered_once(store, pool):
    plan_id = await request(store)
    number = await store.cancel_request(plan_id, "enough", AccountName.PAPER)
    (cancel,) = await store.cancels(AccountName.PAPER)
    assert (cancel.command_id, cancel.plan_id, cancel.reason) == (number, plan_id, "enough")
    assert await store.cancels(AccountName.LIVE) == ()
    await store.answer(number, {"done": True})
    await store.answer(number, {"done": False})
    assert await store.cancels(AccountName.PAPER) == ()
    async with pool.connection() as connection:
        answer = await connection.fetchval("SELECT answer FROM trade.command")
    assert answer == {"done": True}


async def test_a_late_cancel_is_answered_as_late(store, pool):
    plan_id = await request(store)
    await store.cancel_request(plan_id, "enough")
    async with pool.connection() as connection:
        await connection.execute("UPDATE trade.command SET deadline_at = clock_timestamp()")
    assert await store.cancels(AccountName.PAPER) == ()
    async with pool.connection() as connection:
        answer = await connection.fetchval("SELECT answer FROM trade.command")
    assert answer == {"done": False, "why": "late"}


async def test_what_cannot_be_cancelled_says_why(store):
    with pytest.raises(NotRunning, match="no such plan"):
        await store.cancel_request("20110103-0009-X", "")
    plan_id = await request(store)
    with pytest.raises(NotRunning):
        await store.cancel_request(plan_id, "", AccountName.LIVE)
    await store.save(PlanState(plan_id, Phase.CLOSED), (), JAN_3)
    with pytest.raises(PlanInvalid, match="has ended"):
        await store.cancel_request(plan_id, "")
    with pytest.raises(NotRunning):
        await store.show_plan("nothing")


async def test_the_story_holds_orders_and_fills(store, pool):
    plan_id = await request(store)
    async with pool.connection() as connection:
        await connection.execute(
            "INSERT INTO trade.broker_order (order_ref, plan_id, account, account_id, symbol,"
            " con_id, role, side, quantity, order_type, tif, client_id, order_id, state, run_id,"
            " epoch) VALUES ('r1', $1, 'paper', 'SIM1', 'BRK.B', 5, 'entry', 'SELL', 10, 'LMT',"
            " 'DAY', 11, 1, 'filled', 'run-1', 7)",
            plan_id,
        )
        await connection.execute(
            "INSERT INTO trade.fill (exec_stem, exec_id, order_ref, plan_id, account, perm_id,"
            " symbol, con_id, side, quantity, price, at_ns, run_id) VALUES ('e', 'e.01', 'r1', $1,"
            " 'paper', 9, 'BRK.B', 5, 'SELL', 10, 80.26, $2, 'run-1')",
            plan_id,
            JAN_3,
        )
    story = await store.show_plan(plan_id)
    assert [(o.role, o.state) for o in story.orders] == [("entry", "filled")]
    assert [(f.exec_id, f.price) for f in story.fills] == [("e.01", Decimal("80.26"))]


async def test_no_database_is_store_unavailable():
    pool = PgPool("postgresql:///x?host=/nonexistent", MonotonicClock())
    with pytest.raises(StoreUnavailable):
        await PgPlanStore(pool, "r", 1).active_plans(AccountName.PAPER)
