"""A plan runner over a real order path, a real gateway socket and real rows in PostgreSQL."""

import asyncio
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

from support.order_world import KnownFacts, MemorySpool, OrderWorld
from support.plan_bench import MemoryReference
from support.tws_bench import TwsBench
from tradebox.adapters.postgres.capabilities import PgCapabilities
from tradebox.adapters.postgres.commands import PgCommands
from tradebox.adapters.postgres.orders import PgOrderStore
from tradebox.adapters.postgres.plans import PgPlanStore
from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.events import AlertRaised, PlanStepTaken
from tradebox.domain.market import AdmittedTick, Quality, Session, Source
from tradebox.domain.orders import AccountName
from tradebox.domain.plan_document import document_from
from tradebox.execution.commands import CommandDesk
from tradebox.execution.plan_runner import PlanRunner


class PlanWorld(OrderWorld):
    """An order world whose facts and timers go through a plan runner, as in the controller."""

    def __init__(self, bench: TwsBench, pool: PgPool, kill_file: Path) -> None:
        self.pool = pool
        self.plan_store = PgPlanStore(pool, "run-1", 1)
        self.commands = PgCommands(pool, "run-1", 1)
        self.reference = MemoryReference()
        now_ns = bench.market.clock.now_ns()
        hours = Session("XNYS", "2025-06-04", now_ns - 10**12, now_ns + 10**13)
        self.reference.rows = (hours,)
        self.steps: list[PlanStepTaken] = []
        self.alerts: list[AlertRaised] = []
        self.turn = asyncio.Lock()
        super().__init__(bench, PgOrderStore(pool), MemorySpool(), kill_file)

    def _build(self) -> None:
        super()._build()
        self.runner = PlanRunner(
            AccountName.PAPER, self.path, self.plan_store, self.reference, self.market_time,
            self.clock, self.prices, self.note, carrier=self.keeper, facts=KnownFacts(),
        )  # fmt: skip
        self.desk = CommandDesk(
            AccountName.PAPER, self.commands, self.runner, self.path, self.link, self.kill,
            self.clock, self.market_time, capabilities=PgCapabilities(self.pool),
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
                    await self.desk.on_timer()

    def note(self, event: object) -> None:
        if isinstance(event, PlanStepTaken):
            self.steps.append(event)
        if isinstance(event, AlertRaised):
            self.alerts.append(event)

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
async def plan_world(tmp_path, pool, **settings):
    bench = await TwsBench(None, **settings).start()
    world = PlanWorld(bench, pool, tmp_path / "KILL")
    try:
        yield await world.start()
    finally:
        await world.stop()
        await bench.stop()
