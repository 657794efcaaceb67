"""Plans through the real order path, a real gateway socket and real rows in PostgreSQL."""

import pytest
import pytest_asyncio

from support.plan_world import plan_world
from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.events import AlertRaised
from tradebox.domain.orders import OrderRole
from tradebox.supervision.clock import MonotonicClock

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def pool(pg_dsn):
    made = PgPool(pg_dsn, MonotonicClock())
    yield made
    await made.close()


async def test_a_whole_life_on_the_wire(tmp_path, pool):
    async with plan_world(tmp_path, pool) as plans:
        plan_id = await plans.add()
        await plans.until_state(plan_id, "armed")
        await plans.price("100")
        await plans.until_state(plan_id, "open")
        assert plans.kinds() == ["entry"]
        await plans.price("100.6")
        await plans.until_kinds("entry", "break_even")
        await plans.price("101.2")
        await plans.until_kinds("entry", "break_even", "scale_out")
        await plans.price("102")
        await plans.until_kinds("entry", "break_even", "scale_out", "trail")
        await plans.price("101")
        await plans.until_state(plan_id, "closed")
        assert plans.kinds()[-1] == "exit"
        story = await plans.plan_store.show_plan(plan_id)
        assert [step.kind for step in story.steps] == plans.kinds()
        assert {order.role for order in story.orders} == {"entry", "stop", "slice"}
        assert sum(f.quantity * f.side.sign for f in story.fills) == 0
        assert plans.judge.faults == []
        assert plans.bench.bench.position() == 0


async def test_a_restart_after_every_step_duplicates_nothing(tmp_path, pool):
    async with plan_world(tmp_path, pool) as plans:
        plan_id = await plans.add()
        await plans.until_state(plan_id, "armed")
        lived = ["entry", "break_even", "scale_out", "trail"]
        for number, price in enumerate(("100", "100.6", "101.2", "102"), start=1):
            await plans.restart()
            await plans.price(price)
            await plans.until_kinds(*lived[:number])
        await plans.restart()
        await plans.price("101")
        await plans.until_state(plan_id, "closed")
        story = await plans.plan_store.show_plan(plan_id)
        kinds = [step.kind for step in story.steps]
        assert [*dict.fromkeys(kinds)] == [*lived, "exit"]
        assert kinds.count("scale_out") == kinds.count("break_even") == 1
        assert [order.role for order in story.orders].count("entry") == 1
        assert sum(f.quantity * f.side.sign for f in story.fills) == 0
        assert plans.judge.faults == []


async def test_a_restart_right_after_each_request_duplicates_nothing(tmp_path, pool):
    async with plan_world(tmp_path, pool) as plans:
        plan_id = await plans.add()
        await plans.until_state(plan_id, "armed")
        lived = ["entry", "break_even", "scale_out", "trail"]
        for number, price in enumerate(("100", "100.6", "101.2", "102"), start=1):
            await plans.price(price)
            await plans.restart()
            await plans.price(price)
            await plans.until_kinds(*lived[:number])
        await plans.price("101")
        await plans.until_state(plan_id, "closed")
        story = await plans.plan_store.show_plan(plan_id)
        assert [order.role for order in story.orders].count("entry") == 1
        kinds = [step.kind for step in story.steps]
        assert [*dict.fromkeys(kinds)] == [*lived, "exit"]
        assert kinds.count("scale_out") == kinds.count("break_even") == 1
        assert plans.bench.bench.position() == 0
        assert plans.judge.faults == []


async def test_a_short_is_cancelled_by_a_person(tmp_path, pool):
    async with plan_world(tmp_path, pool) as plans:
        plan_id = await plans.add(side="short", stop={"price": "101"})
        await plans.until_state(plan_id, "armed")
        await plans.price("100")
        await plans.until_state(plan_id, "open")
        await plans.plan_store.cancel_request(plan_id, "enough")
        await plans.until_state(plan_id, "closed")
        story = await plans.plan_store.show_plan(plan_id)
        assert story.plan.close_reason == "enough"
        assert [step.kind for step in story.steps] == ["entry", "exit"]
        assert plans.bench.bench.position() == 0


async def test_a_limit_entry_that_is_not_reached_is_withdrawn(tmp_path, pool):
    async with plan_world(tmp_path, pool) as plans:
        entry = {"type": "limit", "price": "99.50", "valid_until": 1}
        plan_id = await plans.add(entry=entry, stop={"price": "98"})
        await plans.until_state(plan_id, "armed")
        await plans.price("100")
        await plans.until_state(plan_id, "entering")
        await plans.until(lambda: plans.bench.bench.exchange.open_orders("paper"), "the order")
        plans.bench.market.tick(61_000)
        await plans.until_state(plan_id, "cancelled")
        story = await plans.plan_store.show_plan(plan_id)
        assert story.steps == ()
        assert {order.role for order in story.orders} == {"entry", "stop"}
        await plans.until(
            lambda: not plans.bench.bench.exchange.open_orders("paper"), "nothing left"
        )


@pytest.mark.parametrize(
    ("fault", "arguments", "held"),
    [("bust_execution", {}, 60), ("correct_execution", {"shares": 39, "price": 100.0}, 99)],
)
async def test_an_amended_execution_changes_the_plan_and_ends_nothing(
    tmp_path, pool, fault, arguments, held
):
    async with plan_world(tmp_path, pool) as plans:
        plans.bench.faults.set("partial_fills", sizes="60,40", count=1)
        plan_id = await plans.add()
        await plans.until_state(plan_id, "armed")
        await plans.price("100")
        await plans.until(lambda: plans.path.holding(plan_id).position == 100, "both parts")
        await plans.until_state(plan_id, "open")
        plans.bench.faults.set(fault, account="paper", **arguments)
        await plans.until(lambda: plans.path.holding(plan_id).stop_quantity == held, "the stop")
        await plans.until(lambda: not plans.path.is_busy(plan_id), "an idle path")
        async with plans.turn:
            await plans.runner.on_timer()
        running = plans.runner.plans[plan_id]
        assert (running.state.phase.value, running.state.position) == ("open", held)
        assert plans.bench.bench.position() == held
        story = await plans.plan_store.show_plan(plan_id)
        assert {order.role for order in story.orders} == {"entry", "stop"}


async def test_an_entry_that_is_taken_back_whole_ends_its_plan_and_stop(tmp_path, pool):
    async with plan_world(tmp_path, pool) as plans:
        plan_id = await plans.add()
        await plans.until_state(plan_id, "armed")
        await plans.price("100")
        await plans.until_state(plan_id, "open")
        plans.bench.faults.set("bust_execution", account="paper")
        await plans.until_state(plan_id, "cancelled")
        exchange = plans.bench.bench.exchange
        await plans.until(lambda: not exchange.open_orders("paper"), "no stop is left")
        assert plans.bench.bench.position() == 0
        story = await plans.plan_store.show_plan(plan_id)
        assert {order.role for order in story.orders} == {"entry", "stop"}


async def opened(plans, **changes) -> str:
    """Return a plan that holds its 100 shares."""
    plan_id = await plans.add(**changes)
    await plans.until_state(plan_id, "armed")
    await plans.price("100")
    await plans.until_state(plan_id, "open")
    return plan_id


async def takes_back(plans, role: OrderRole) -> None:
    """Bust the latest execution of the plan's newest order of this role."""
    order_id = max(row.order_id for row in await orders_of(plans, role))
    plans.bench.faults.set("bust_execution", account="paper", order_id=order_id)


async def orders_of(plans, role: OrderRole):
    return [known.row for known in plans.path.book.orders.values() if known.row.role is role]


async def test_a_slice_that_is_taken_back_is_covered_and_stays_with_the_plan(tmp_path, pool):
    async with plan_world(tmp_path, pool) as plans:
        plan_id = await opened(plans, steps=[{"at": {"r": "1"}, "take": {"fraction": "0.5"}}])
        await plans.price("101.2")
        await plans.until_kinds("entry", "scale_out")
        await plans.until(lambda: not plans.path.is_busy(plan_id), "the stop is back")
        await takes_back(plans, OrderRole.SLICE)
        await plans.until(lambda: plans.path.holding(plan_id).stop_quantity == 100, "the stop")
        running = plans.runner.plans[plan_id]
        await plans.until(lambda: running.state.position == 100, "the plan knows")
        assert (running.state.phase.value, plans.bench.bench.position()) == ("open", 100)
        assert plans.judge.faults == []
        await plans.restart()
        running = plans.runner.plans[plan_id]
        assert (running.state.phase.value, running.state.position) == ("open", 100)
        assert plans.path.holding(plan_id).covered
        assert [step.kind for step in plans.steps] == ["entry", "scale_out"]


async def test_an_exit_that_is_taken_back_is_covered_and_leaves_once_more(tmp_path, pool):
    async with plan_world(tmp_path, pool) as plans:
        plan_id = await opened(plans)
        await plans.plan_store.cancel_request(plan_id, "enough")
        await plans.until_state(plan_id, "closed")
        await takes_back(plans, OrderRole.EXIT)
        await plans.until(lambda: plans.kinds().count("exit") == 2, "it leaves once more")
        await plans.until_state(plan_id, "closed")
        assert plans.bench.bench.position() == 0
        story = await plans.plan_store.show_plan(plan_id)
        assert sum(f.quantity * f.side.sign for f in story.fills) == 0
        assert "took back 100 shares" in story.plan.close_reason
        assert plans.judge.faults == []


async def test_a_stop_that_is_taken_back_opens_its_plan_behind_a_stop(tmp_path, pool):
    async with plan_world(tmp_path, pool) as plans:
        plan_id = await opened(plans)
        await plans.price("98.9")
        await plans.until_state(plan_id, "closed")
        await plans.price("100")
        await takes_back(plans, OrderRole.STOP)
        await plans.until_state(plan_id, "open")
        await plans.until(lambda: plans.path.holding(plan_id).stop_quantity == 100, "a stop")
        assert plans.path.holding(plan_id).stop_price == 99
        story = await plans.plan_store.show_plan(plan_id)
        assert story.plan.closed_at is None
        assert plans.judge.faults == []


async def test_an_exit_taken_back_after_a_restart_is_covered_and_told(tmp_path, pool):
    """The plan has ended and is loaded no more: nobody follows the shares but their stop."""
    async with plan_world(tmp_path, pool) as plans:
        plan_id = await opened(plans)
        await plans.plan_store.cancel_request(plan_id, "enough")
        await plans.until_state(plan_id, "closed")
        await plans.restart()
        assert plan_id not in plans.runner.plans
        await takes_back(plans, OrderRole.EXIT)
        await plans.until(lambda: plans.path.holding(plan_id).stop_quantity == 100, "a stop")
        told = [one.kind for one in plans.published if isinstance(one, AlertRaised)]
        assert "execution_corrected" in told
        await plans.until(lambda: "stray_position" in [one.kind for one in plans.alerts], "told")
        assert plans.bench.bench.position() == 100
        assert plans.judge.faults == []
