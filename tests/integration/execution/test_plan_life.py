"""Plans through the real order path, a real gateway socket and real rows in PostgreSQL."""

import pytest
import pytest_asyncio

from support.plan_world import plan_world
from tradebox.adapters.postgres.pool import PgPool
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
