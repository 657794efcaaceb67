"""Proposals on a real PostgreSQL: approved, refused, ended; live never without a grade."""

import asyncio
import datetime as dt

import asyncpg
import pytest
import pytest_asyncio

from support.stock_results import run_spec, stock_result
from support.stores import dsn_of
from tradebox.adapters.embedded.secrets import Login
from tradebox.adapters.postgres.plan_desk import PlanDesk
from tradebox.adapters.postgres.plans import PgPlanStore
from tradebox.adapters.postgres.pool import PgPool
from tradebox.adapters.postgres.proposals import PgProposals
from tradebox.backtest.records import BatchResult
from tradebox.backtest.store import BacktestStore
from tradebox.domain.orders import AccountName
from tradebox.domain.plan_document import document_from
from tradebox.errors import NotRunning, PlanInvalid
from tradebox.supervision.clock import MonotonicClock

NOW_NS = 1_451_900_000_000_000_000
LATER_NS = NOW_NS + 3_600_000_000_000
DOCUMENT = document_from(
    {
        "symbol": "AAA", "side": "long", "size": {"quantity": 10},
        "entry": {"type": "market"}, "stop": {"percent": "2.5"},
    }
)  # fmt: skip
LIVE, PAPER = AccountName.LIVE, AccountName.PAPER

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def pool(pg_dsn):
    made = PgPool(pg_dsn, MonotonicClock())
    yield made
    await made.close()


@pytest.fixture
def proposals(pool):
    return PgProposals(pool)


@pytest_asyncio.fixture
async def research(stores, pg_database):
    async with BacktestStore(dsn_of(stores.home, Login.RESEARCH, pg_database)) as store:
        yield store


async def graded(research, grade="B", *, days=30, finish=True, run_id="run-1"):
    """A stored run with one stock of that grade; days: until it expires."""
    spec = run_spec(run_id, ("AAA",))
    await research.create_run(spec, [("AAA",)])
    await research.save_batch(run_id, BatchResult(0, (stock_result("AAA", grade=grade),)))
    if finish:
        await research.finish_run(run_id, "done", {})
    async with research.connection() as connection:
        await connection.execute(
            "UPDATE backtest.run SET expires_at = clock_timestamp() + $1 WHERE run_id = $2",
            dt.timedelta(days=days),
            run_id,
        )


def proposal(day="2015-12-31", **changes):
    made = stock_result("AAA")
    return {
        "run_id": "run-1", "strategy": made.strategy, "setting": dict(made.setting),
        "grade": "A", "bar_day": day, "until_ns": LATER_NS, "reasons": ["because"], **changes,
    }  # fmt: skip


async def propose(proposals, account=LIVE, *, is_armed=False, **changes):
    return await proposals.propose(
        DOCUMENT, account, proposal(**changes), now_ns=NOW_NS, is_armed=is_armed
    )


async def approve(proposals, plan_id, letters=("A", "B"), now_ns=NOW_NS):
    return await proposals.approve(plan_id, letters, now_ns=now_ns, by="test")


async def kinds(pool, plan_id):
    async with pool.connection() as connection:
        rows = await connection.fetch(
            "SELECT kind FROM trade.event WHERE plan_id = $1 ORDER BY seq", plan_id
        )
    return [row["kind"] for row in rows]


async def test_a_live_proposal_waits_and_goes_with_a_valid_grade(proposals, pool, research):
    await graded(research)
    plan_id = await propose(proposals)
    plans = PgPlanStore(pool, "run", 1)
    assert await plans.active_plans(LIVE) == ()
    (waiting,) = await proposals.open_plans(LIVE)
    assert (waiting.state, waiting.origin) == ("proposed", "strategy")
    plan, found = await approve(proposals, plan_id)
    assert (plan.plan_id, found.grade) == (plan_id, "B")
    (going,) = await plans.active_plans(LIVE)
    assert (going.state, going.approved_at is not None) == ("requested", True)
    assert going.proposal["reasons"] == ["because"]
    assert await kinds(pool, plan_id) == ["plan_proposed", "plan_approved"]
    with pytest.raises(PlanInvalid, match="waits for no approval"):
        await approve(proposals, plan_id)


@pytest.mark.parametrize(
    ("stored", "changes", "why"),
    [
        (None, {}, "its grade is unknown, expired"),
        ({"grade": "C"}, {}, "its grade is C; live needs A, B"),
        ({"grade": "F"}, {}, "its grade is F"),
        ({"days": -1}, {}, "unknown, expired"),
        ({"finish": False}, {}, "unknown, expired"),
        ({}, {"setting": {"fast": 1.0}}, "another setting"),
        ({}, {"strategy": "mean_reversion"}, "another setting"),
        ({}, {"run_id": "other"}, "unknown"),
        ({}, {"until_ns": NOW_NS}, "its session is over"),
    ],
)
async def test_live_goes_with_nothing_less(proposals, pool, research, stored, changes, why):
    if stored is not None:
        await graded(research, **stored)
    plan_id = await propose(proposals, **changes)
    with pytest.raises(PlanInvalid, match=why):
        await approve(proposals, plan_id)
    (waiting,) = await proposals.open_plans(LIVE)
    assert waiting.state == "proposed"
    assert await kinds(pool, plan_id) == ["plan_proposed"]


async def test_a_mismatch_is_no_grade(proposals, research):
    await graded(research)
    async with research.connection() as connection:
        await connection.execute("UPDATE backtest.result SET status = 'mismatch'")
    with pytest.raises(PlanInvalid, match="unknown"):
        await approve(proposals, await propose(proposals))


async def test_the_database_itself_refuses_live_without_an_approval(proposals, pool):
    plan_id = await propose(proposals)
    for state in ("requested", "armed", "open"):
        async with pool.connection() as connection:
            with pytest.raises(asyncpg.CheckViolationError, match="plan_live_approved"):
                await connection.execute(
                    "UPDATE trade.plan SET state = $2 WHERE plan_id = $1", plan_id, state
                )
    with pytest.raises(AssertionError, match="live waits"):
        await propose(proposals, is_armed=True, day="2016-01-04")


async def test_paper_goes_at_once_or_by_approval_without_a_grade(proposals, pool):
    plans = PgPlanStore(pool, "run", 1)
    armed = await propose(proposals, PAPER, is_armed=True)
    waiting = await propose(proposals, PAPER, day="2016-01-04")
    assert [plan.plan_id for plan in await plans.active_plans(PAPER)] == [armed]
    _, found = await approve(proposals, waiting)
    assert found is None
    assert {plan.plan_id for plan in await plans.active_plans(PAPER)} == {armed, waiting}


async def test_a_signal_is_proposed_once(proposals):
    first, *rest = await asyncio.gather(*(propose(proposals) for _ in range(4)))
    made = [one for one in (first, *rest) if one is not None]
    assert len(made) == 1
    assert len(await proposals.open_plans(LIVE)) == 1
    assert await propose(proposals, PAPER) is not None


async def test_a_proposal_ends_with_its_session(proposals, pool):
    plan_id = await propose(proposals)
    await proposals.expire(LATER_NS - 1)
    assert len(await proposals.open_plans(LIVE)) == 1
    await proposals.expire(LATER_NS)
    assert await proposals.open_plans(LIVE) == ()
    story = await PgPlanStore(pool, "run", 1).show_plan(plan_id)
    assert story.plan.close_reason == "nobody approved it in time"
    assert await kinds(pool, plan_id) == ["plan_proposed", "plan_state"]


async def test_a_proposal_is_cancelled_without_a_controller(proposals, pool):
    desk = PlanDesk(pool, FixedClock())
    plan_id = await propose(proposals)
    with pytest.raises(NotRunning):
        await desk.cancel(plan_id, PAPER)
    assert await desk.cancel(plan_id, LIVE) is None
    assert await proposals.open_plans(LIVE) == ()
    with pytest.raises(PlanInvalid, match="cancelled"):
        await approve(proposals, plan_id)


async def test_a_manual_plan_needs_no_grade_and_says_so(proposals, pool):
    plans = PgPlanStore(pool, "run", 1)
    plan_id = await plans.request_plan(DOCUMENT, LIVE, now_ns=NOW_NS, author="test")
    (going,) = await plans.active_plans(LIVE)
    assert (going.origin, going.state) == ("manual", "requested")
    with pytest.raises(PlanInvalid, match="manual: no grade is asked"):
        await approve(proposals, plan_id)


async def test_an_exit_is_asked_once_and_from_its_open_on(proposals, pool):
    plan_id = await propose(proposals, PAPER, is_armed=True)
    first = await proposals.leave(plan_id, PAPER, "exit signal", LATER_NS)
    assert await proposals.leave(plan_id, PAPER, "exit signal", LATER_NS) == first
    (command,) = await PgPlanStore(pool, "run", 1).cancels(PAPER)
    assert (command.plan_id, command.reason, command.from_ns) == (plan_id, "exit signal", LATER_NS)


async def test_an_accounts_newest_value_is_told(proposals, pool):
    assert await proposals.net_liquidation_usd(PAPER) is None
    async with pool.connection() as connection:
        for day, value in (("2016-01-04", 5), ("2016-01-05", 7)):
            await connection.execute(
                "INSERT INTO trade.account_day (account, day, net_liquidation_usd)"
                " VALUES ('paper', $1, $2)",
                dt.date.fromisoformat(day),
                value,
            )
    assert await proposals.net_liquidation_usd(PAPER) == 7


class FixedClock:
    """A market clock that stands."""

    speed = 1.0

    def now_ns(self):
        return NOW_NS

    def refresh(self):
        return False
