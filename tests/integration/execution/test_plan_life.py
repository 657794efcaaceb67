"""Plans through the real order path, a real gateway socket and real rows in PostgreSQL."""

import asyncio
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio

from support.order_world import MemorySpool, OrderWorld
from support.plan_bench import MemoryReference
from support.tws_bench import TwsBench
from tradebox.adapters.postgres.orders import PgOrderStore
from tradebox.adapters.postgres.plans import PgPlanStore
from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.events import PlanStepTaken
from tradebox.domain.market import AdmittedTick, Quality, Session, Source
from tradebox.domain.orders import AccountName
from tradebox.domain.plan_document import document_from
from tradebox.execution.plan_runner import PlanRunner
from tradebox.supervision.clock import MonotonicClock

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def pool(pg_dsn):
    made = PgPool(pg_dsn, MonotonicClock())
    yield made
    await made.close()


class PlanWorld(OrderWorld):
    """An order world whose facts and timers go through a plan runner, as in the controller."""

    def __init__(self, bench: TwsBench, pool: PgPool, kill_file: Path) -> None:
        self.plan_store = PgPlanStore(pool, "run-1", 1)
        self.reference = MemoryReference()
        now_ns = bench.market.clock.now_ns()
        hours = Session("XNYS", "2025-06-04", now_ns - 10**12, now_ns + 10**13)
        self.reference.rows = (hours,)
        self.steps: list[PlanStepTaken] = []
        self.turn = asyncio.Lock()
        super().__init__(bench, PgOrderStore(pool), MemorySpool(), kill_file)

    def _build(self) -> None:
        super()._build()
        self.runner = PlanRunner(
            AccountName.PAPER, self.path, self.plan_store, self.reference, self.market_time,
            self.clock, self.prices, self.note,
        )  # fmt: skip
        self.path.recover, self._recover = self._load, self.path.recover

    async def _load(self) -> None:
        """Stand where the world recovers its path: the runner does, and its plans with it."""
        self.path.recover = self._recover
        await self.runner.load()

    async def _pump(self) -> None:
        while True:
            while self.facts:
                async with self.turn:
                    await self.runner.on_fact(self.facts.popleft())
            self._wake.clear()
            try:
                async with asyncio.timeout(0.02):
                    await self._wake.wait()
            except TimeoutError:
                async with self.turn:
                    await self.runner.on_timer()

    def note(self, event: object) -> None:
        if isinstance(event, PlanStepTaken):
            self.steps.append(event)

    async def price(self, price: str) -> None:
        """A print that the exchange sees first."""
        market = self.bench.market
        market.tick(1_000)
        value = float(price)
        market.show(value - 0.01, value + 0.01, last=value)
        market.print_trade(value)
        now_ns = market.clock.now_ns()
        micros = int(Decimal(price) * 1_000_000)
        tick = AdmittedTick(
            "AAPL", micros, 100, now_ns, now_ns, Source.FINNHUB, Quality.LIVE, 1, 1, 1
        )
        async with self.turn:
            await self.runner.on_tick(tick)

    async def add(self, **changes: object) -> str:
        document = document_from(
            {
                "symbol": "AAPL",
                "side": "long",
                "size": {"quantity": 100},
                "entry": {"type": "market"},
                "stop": {"price": "99"},
                "steps": [
                    {"at": {"r": "0.5"}, "move_stop": {"to": "break_even"}},
                    {"at": {"r": "1"}, "take": {"fraction": "0.5"}},
                    {"at": {"r": "1"}, "trail": {"percent": "0.5"}},
                ],
            }
            | changes
        )
        now_ns = self.market_time.now_ns()
        return await self.plan_store.request_plan(
            document, AccountName.PAPER, now_ns=now_ns, author="test"
        )

    def kinds(self) -> list[str]:
        return [step.kind for step in self.steps]

    async def until_state(self, plan_id: str, state: str) -> None:
        def is_there() -> bool:
            running = self.runner.plans.get(plan_id)
            return running is not None and running.state.phase.value == state

        await self.until(is_there, f"{plan_id} {state}")

    async def until_kinds(self, *kinds: str) -> None:
        """Wait until the life has come so far; a trail may have gone on by itself."""
        await self.until(lambda: self.kinds()[: len(kinds)] == list(kinds), f"{kinds}")


@asynccontextmanager
async def plan_world(tmp_path, pool):
    bench = await TwsBench(None).start()
    world = PlanWorld(bench, pool, tmp_path / "KILL")
    try:
        yield await world.start()
    finally:
        await world.stop()
        await bench.stop()


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
