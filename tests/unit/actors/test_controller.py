"""The controller actor on a manual clock: prices in, crash and restart, PostgreSQL late."""

import asyncio
from decimal import Decimal

import pytest

from support.manual_tree import manual_tree
from support.plan_bench import (
    Broker,
    CrashPoint,
    Hub,
    MarketTime,
    MemoryReference,
    MemoryStore,
    ScriptedPath,
    long_plan,
)
from tradebox.actors.controller import PLANS_AT_ONCE, Controller, Drain
from tradebox.domain.events import PlanStepTaken
from tradebox.domain.orders import AccountName
from tradebox.domain.path import MoveStopRequest
from tradebox.domain.plan_document import document_from
from tradebox.execution import plan_runner
from tradebox.execution.demo import Demo
from tradebox.execution.plan_runner import PlanRunner
from tradebox.ports.orders import LinkClosed
from tradebox.supervision.mailbox import Mailbox
from tradebox.supervision.spec import ChildSpec, ChildType, SupFlags
from tradebox.supervision.supervisor import Supervisor

pytestmark = pytest.mark.asyncio


class Engine:
    """What survives a controller, and the way to make one."""

    def __init__(self) -> None:
        self.time = MarketTime()
        self.broker = Broker(self.time)
        self.crash = CrashPoint()
        self.store = MemoryStore(self.crash)
        self.reference = MemoryReference(("AAPL", "MSFT", "NFLX", "NVDA", "AMZN"))
        self.hub = Hub(self.time)
        self.events: list[object] = []
        self.listeners: list = []
        self.paths: list[ScriptedPath] = []
        self.clock = None
        self.has_demo = False

    def make(self) -> Controller:
        path = ScriptedPath(self.broker, self.crash)
        self.paths.append(path)
        runner = PlanRunner(
            AccountName.PAPER, path, self.store, self.reference, self.time, self.clock, self.hub,
            self.events.append,
        )  # fmt: skip
        demo = None
        if self.has_demo:
            symbols = ("NFLX", "NVDA", "AMZN")
            demo = Demo(runner, self.hub, self.time, self.clock, symbols=symbols)
        self.runner, self.demo = runner, demo
        return Controller(runner, self.hub, self.listeners.append, demo=demo)

    def tree(self) -> ChildSpec:
        specs = [ChildSpec("controller", self.make)]
        flags = SupFlags(intensity=5, period=60.0)
        return ChildSpec("root", lambda: Supervisor(flags, specs), type=ChildType.SUPERVISOR)

    async def seconds(self, harness, count: int) -> None:
        for _ in range(count):
            self.time.at_ns += 10**9
            await harness.run(1.0)

    async def price(self, harness, price: str, symbol: str = "AAPL") -> None:
        self.broker.prices[symbol] = Decimal(price)
        fills = self.broker.trigger_stops(symbol)
        if fills:
            self.listeners[-1](fills)
        self.hub.tick(symbol, price)
        await self.seconds(harness, 2)

    async def add(self, **changes: object) -> str:
        return await self.store.request_plan(
            document_from(long_plan(**changes)), AccountName.PAPER, now_ns=0, author="test"
        )


class EngineClock:
    """The engine's seconds, moved with its market time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def now(self) -> float:
        return self._engine.time.at_ns / 1e9


@pytest.fixture
def engine():
    made = Engine()
    made.clock = EngineClock(made)
    return made


async def test_a_plan_lives_its_life_in_the_actor(engine):
    async with manual_tree(engine.tree()) as harness:
        plan_id = await engine.add()
        await engine.seconds(harness, 1)
        assert engine.hub.wanted["paper"] == {"AAPL"}
        for price in ("100", "100.6", "101.1", "101.1", "99"):
            await engine.price(harness, price)
        kinds = engine.store.kinds(plan_id)
        assert kinds == ["entry", "break_even", "scale_out", "trail", "exit"]
        assert [e.kind for e in engine.events if isinstance(e, PlanStepTaken)] == kinds
        await engine.seconds(harness, 1)
        assert engine.hub.wanted["paper"] == frozenset()
    assert engine.hub.readers == {}


async def test_a_crashed_controller_goes_on_where_postgres_says(engine):
    async with manual_tree(engine.tree()) as harness:
        plan_id = await engine.add()
        await engine.seconds(harness, 1)
        await engine.price(harness, "100")
        engine.crash.at = engine.crash.visits + 1
        await engine.price(harness, "100.6")
        assert len(engine.paths) == 2
        assert len(engine.listeners) == 2
        for price in ("100.6", "101.1", "101.1", "99"):
            await engine.price(harness, price)
        assert engine.broker.entries == [plan_id]
        kinds = engine.store.kinds(plan_id)
        assert kinds == ["entry", "break_even", "scale_out", "trail", "exit"]


async def test_postgres_away_at_the_start_is_waited_for_without_listening(engine):
    engine.store.is_down = True
    async with manual_tree(engine.tree()) as harness:
        await engine.seconds(harness, 3)
        assert engine.listeners == []
        assert engine.hub.readers == {}
        assert len(engine.paths) == 1, "no restart for it"
        engine.store.is_down = False
        plan_id = await engine.add()
        await engine.seconds(harness, 2)
        assert len(engine.listeners) == 1
        assert engine.store.rows[plan_id].state == "armed"


async def test_before_a_stop_what_is_under_way_ends_and_nothing_more_begins(engine):
    async with manual_tree(engine.tree()) as harness:
        await engine.add()
        await engine.seconds(harness, 1)
        await engine.price(harness, "100")
        engine.hub.tick("AAPL", "100.6")
        await harness.run(0.01)
        path, ref = engine.paths[-1], harness.ref("controller")
        assert [type(req) for req in path.asked[1:]] == [MoveStopRequest]
        assert not engine.runner.is_quiet
        drained = asyncio.ensure_future(ref.ask(Drain(), 60.0))
        await harness.run(0.01)
        assert not drained.done()
        engine.hub.tick("AAPL", "101.1")
        await engine.seconds(harness, 2)
        assert await drained is True
        assert engine.runner.is_quiet
        assert len(path.asked) == 2
        assert await ref.ask(Drain(), 1.0) is True


async def test_prices_conflate_and_facts_do_not(engine):
    controller = engine.make()
    box = Mailbox(8, Controller.overflow, controller.conflate_key)
    for price in ("100", "101", "102"):
        box.put_nowait(engine.hub.tick("AAPL", price))
        box.put_nowait(LinkClosed("gone"))
    assert len(box) == 4
    assert box.get_nowait().price_micros == 102_000_000
    assert box.conflated == 2


async def test_a_price_waits_for_a_part_of_the_timer_not_for_all_of_it(engine, monkeypatch):
    async with manual_tree(engine.tree()) as harness:
        await engine.add()
        await engine.seconds(harness, 1)
        runner, seen = engine.runner, []
        poll, tell_time, on_tick = runner._poll, runner._due, runner.on_tick

        async def polling():
            seen.append("poll")
            engine.hub.tick("AAPL", "100")
            await poll()

        def telling_time():
            seen.append("time")
            return tell_time()

        async def ticked(*args):
            seen.append("tick")
            await on_tick(*args)

        monkeypatch.setattr(runner, "_poll", polling)
        monkeypatch.setattr(runner, "_due", telling_time)
        monkeypatch.setattr(runner, "on_tick", ticked)
        await engine.seconds(harness, 1)
        begun = seen.index("poll")
        assert seen[begun : begun + 3] == ["poll", "tick", "time"]


async def test_prices_are_served_while_a_plan_is_made_ready(engine, monkeypatch):
    async with manual_tree(engine.tree()) as harness:
        plan_id = await engine.add()
        await engine.seconds(harness, 1)
        answer, instrument = asyncio.Event(), engine.reference.instrument

        async def slow(symbol):
            await answer.wait()
            return await instrument(symbol)

        monkeypatch.setattr(engine.reference, "instrument", slow)
        others = [await engine.add(symbol=symbol) for symbol in ("MSFT", "NFLX")]
        await engine.seconds(harness, 2)
        assert {engine.store.rows[one].state for one in others} == {"requested"}
        await engine.price(harness, "100")
        assert engine.broker.entries == [plan_id]
        answer.set()
        await engine.seconds(harness, 1)
        assert {engine.store.rows[one].state for one in others} == {"armed"}
        assert engine.hub.wanted["paper"] == {"AAPL", "MSFT", "NFLX"}


async def test_what_was_read_for_a_plan_that_was_cancelled_arms_nothing(engine, monkeypatch):
    async with manual_tree(engine.tree()) as harness:
        answer, instrument = asyncio.Event(), engine.reference.instrument

        async def slow(symbol):
            await answer.wait()
            return await instrument(symbol)

        monkeypatch.setattr(engine.reference, "instrument", slow)
        plan_id = await engine.add()
        await engine.seconds(harness, 1)
        assert await engine.runner.cancel(plan_id, "a person")
        answer.set()
        await engine.seconds(harness, 1)
        assert engine.store.rows[plan_id].state == "cancelled"


async def test_prices_of_no_plan_cost_no_message(engine):
    async with manual_tree(engine.tree()) as harness:
        await engine.add()
        await engine.seconds(harness, 1)
        ref = harness.ref("controller")
        engine.hub.tick("MSFT", "50")
        assert ref.mailbox_depth == 0
        engine.hub.tick("AAPL", "50")
        assert ref.mailbox_depth == 1


async def test_the_demo_keeps_its_set_full_until_a_show_and_steps_aside(engine):
    engine.has_demo = True
    async with manual_tree(engine.tree()) as harness:
        await engine.seconds(harness, 2)
        assert engine.hub.wanted["paper"] >= {"NFLX", "NVDA", "AMZN"}
        assert engine.store.rows == {}, "no price yet"
        for symbol, price in (("NFLX", "100"), ("NVDA", "200")):
            await engine.price(harness, price, symbol)
        rows = list(engine.store.rows.values())
        assert [(r.symbol, r.side, r.is_demo) for r in rows] == [
            ("NFLX", "BUY", True), ("NVDA", "SELL", True),
        ]  # fmt: skip
        for price in ("100.1", "100.2", "100.3", "100.3", "99"):
            await engine.price(harness, price, "NFLX")
        assert engine.store.kinds(rows[0].plan_id)[-1] == "exit"
        await engine.seconds(harness, 3)
        assert engine.demo.had_show
        assert len(engine.store.rows) == 2, "after the show the set is not refilled"
        await engine.store.cancel_request(rows[1].plan_id, "enough")
        await engine.seconds(harness, 30)
        assert len(engine.store.rows) == 2, "a pause"
        await engine.seconds(harness, 60)
        assert len(engine.store.rows) == 4


async def test_the_demo_leaves_the_account_to_a_person(engine):
    engine.has_demo = True
    async with manual_tree(engine.tree()) as harness:
        await engine.add()
        await engine.seconds(harness, 2)
        await engine.price(harness, "100", "NFLX")
        assert [row.is_demo for row in engine.store.rows.values()] == [False]


async def test_a_price_reaches_hundreds_of_plans_in_messages_of_their_own(engine, monkeypatch):
    """A newer price takes the older one's place, and comes first to those that had to wait."""
    async with manual_tree(engine.tree()) as harness:
        plans = [await engine.add() for _ in range(2 * PLANS_AT_ONCE + 3)]
        await engine.seconds(harness, 1)
        runner, seen = engine.runner, []
        price_seen = runner._price_seen

        def shown(running, evidence):
            seen.append((str(evidence.price), running.state.plan_id))
            return price_seen(running, evidence)

        monkeypatch.setattr(runner, "_price_seen", shown)
        on_tick = runner.on_tick

        async def ticked(tick, plan_ids):
            await on_tick(tick, plan_ids)
            if len(seen) == PLANS_AT_ONCE:
                engine.hub.tick("AAPL", "90.03")

        monkeypatch.setattr(runner, "on_tick", ticked)
        await engine.price(harness, "90.02")
        count = len(plans)
        first, later = seen[:PLANS_AT_ONCE], seen[PLANS_AT_ONCE:]
        assert {price for price, _plan in first} == {"90.02"}
        last = {plan: price for price, plan in seen}
        assert set(last) == set(plans), "each plan saw a price"
        assert set(last.values()) == {"90.03"}, "and the newer one last"
        by_plan = {plan: [p for p, one in seen if one == plan] for plan in plans}
        assert all(prices == sorted(prices) for prices in by_plan.values()), "none goes back"
        newer = [plan for price, plan in later if price == "90.03"]
        reached = {plan for price, plan in seen if price == "90.02"}
        assert not set(newer[: count - len(reached)]) & reached, "who had to wait comes first"


async def test_prices_come_between_hundreds_of_plans_that_time_reaches(engine, monkeypatch):
    async with manual_tree(engine.tree()) as harness:
        for _ in range(5):
            await engine.add()
        await engine.seconds(harness, 1)
        runner, seen = engine.runner, []
        on_tick, compare = runner.on_tick, runner._compare

        async def compared(running):
            if not seen:
                engine.hub.tick("AAPL", "90")
            seen.append("time")
            await compare(running)

        async def ticked(*args):
            seen.append("tick")
            await on_tick(*args)

        monkeypatch.setattr(plan_runner, "DUE_AT_ONCE", 3)
        monkeypatch.setattr(runner, "_due", lambda: list(runner.active()))
        monkeypatch.setattr(runner, "_compare", compared)
        monkeypatch.setattr(runner, "on_tick", ticked)
        await engine.seconds(harness, 1)
        assert seen[:6] == ["time", "time", "tick", "time", "time", "time"]
