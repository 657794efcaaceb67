"""PostgreSQL away: kill switches hold, exits leave by the spool, and a restart knows all of it."""

from contextlib import contextmanager
from decimal import Decimal

import pytest
import pytest_asyncio

from support.order_world import MemorySpool, MemoryStore, enter, order_world
from support.plan_world import plan_world
from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.events import AlertRaised
from tradebox.domain.market import Quality, Source
from tradebox.domain.orders import AccountName, OrderRole, OrderState
from tradebox.domain.path import Evidence, ExitRequest, ProcedureDone, RequestDenied
from tradebox.errors import HomeUnusable, StoreUnavailable
from tradebox.execution.kill_switch import SWITCH_NAME, pause_name, write_kill_file
from tradebox.ports.order_store import OrderRecorded
from tradebox.supervision.clock import MonotonicClock

pytestmark = pytest.mark.asyncio
SEEN = Evidence(Decimal(100), Source.FINNHUB, Quality.LIVE, 1)


def ended(world, kind):
    return [event for event in world.of(ProcedureDone) if event.kind == kind]


async def opened(world):
    await world.ask(enter())
    await world.until(lambda: ended(world, "EnterRequest"), "the entry's end")
    assert world.path.holding("p1").covered


async def refusal_of(world, plan_id):
    """Ask for an entry in the other symbol; return the check that refused it."""
    world.bench.market.show(199.9, 200.1, symbol="MSFT", last=200.0)
    await world.ask(enter(plan_id, symbol="MSFT", stop="190"))
    denied = [event for event in world.of(RequestDenied) if event.plan_id == plan_id]
    return denied[-1].denied.check if denied else None


def by_file(world, tmp_path):
    assert write_kill_file(tmp_path / "KILL", "a person said so")


def by_flag(world, tmp_path):
    assert world.kill.set("a storm")


def by_row(world, tmp_path):
    world.kill.read_row({SWITCH_NAME: "on"})
    world.store.rows_by_switch = {SWITCH_NAME: "on"}


def by_pause(world, tmp_path):
    world.kill.read_row({pause_name(AccountName.PAPER): "on"})
    world.store.rows_by_switch = {pause_name(AccountName.PAPER): "on"}


@pytest.mark.parametrize("how", [by_file, by_flag, by_row, by_pause])
async def test_a_kill_switch_that_is_set_while_an_intent_is_committed_holds_its_bytes(
    tmp_path, how
):
    class SlowStore(MemoryStore):
        async def commit(self, batch):
            if any(isinstance(change, OrderRecorded) for change in batch.changes):
                how(world, tmp_path)
            await super().commit(batch)

    async with order_world(tmp_path, store=SlowStore()) as world:
        assert await refusal_of(world, "p1") == "kill_switch"
        rows = world.orders()
        assert [row.state for row in rows] == [OrderState.NEVER_SENT] * 2
        assert world.path.orders_sent == 0
        assert not world.bench.bench.exchange.open_orders("paper")


@pytest.mark.parametrize("how", [by_file, by_flag, by_row, by_pause])
async def test_any_kill_switch_holds_without_postgresql_and_the_exit_leaves(tmp_path, how):
    async with order_world(tmp_path) as world:
        await opened(world)
        how(world, tmp_path)
        world.store.is_down = True
        assert await refusal_of(world, "p2") == "kill_switch"
        await world.ask(ExitRequest("p1", SEEN, "out"))
        await world.until(lambda: ended(world, "ExitRequest"), "the exit")
        assert world.bench.bench.position() == 0
        assert world.spool.records, "what left is in the spool"
        assert await refusal_of(world, "p3") == "kill_switch"
        world.store.is_down = False
        await world.until(lambda: not world.spool.records, "the replay")
        assert await refusal_of(world, "p4") == "kill_switch", "PostgreSQL's return frees nothing"
        assert [row.role for row in world.orders()].count(OrderRole.ENTRY) == 1
        assert world.judge.faults == []


async def test_without_postgresql_and_without_a_switch_the_audit_refuses(tmp_path):
    """The control of the tests above: it was the switch that refused there."""
    async with order_world(tmp_path) as world:
        await opened(world)
        world.store.is_down = True
        await world.ask(ExitRequest("p1", SEEN, "out"))
        await world.until(lambda: ended(world, "ExitRequest"), "the exit")
        assert await refusal_of(world, "p2") == "audit"
        world.store.is_down = False
        await world.until(lambda: world.keeper.is_up and not world.spool.records, "the replay")
        assert await refusal_of(world, "p3") is None


async def test_a_kill_file_outlives_a_restart_that_finds_postgresql_away(tmp_path):
    async with order_world(tmp_path) as world:
        await opened(world)
        by_file(world, tmp_path)
        world.store.is_down = True
        await world.stop()
        world._build()
        with pytest.raises(StoreUnavailable):
            await world.start()
        world.store.is_down = False
        await world.restart()
        assert await refusal_of(world, "p2") == "kill_switch"
        assert world.path.holding("p1").covered


class SickSpool(MemorySpool):
    """A spool on a disk that takes nothing more, or that cannot be changed at all."""

    is_full = is_fixed = False

    def append(self, record):
        if self.is_full or self.is_fixed:
            raise HomeUnusable("the spool cannot be written")
        super().append(record)

    def clear(self):
        if self.is_fixed:
            raise HomeUnusable("the spool cannot be written")
        super().clear()


def alerts(world, kind):
    return [one for one in world.published if isinstance(one, AlertRaised) and one.kind == kind]


async def leaves(world):
    await world.ask(ExitRequest("p1", SEEN, "out"))
    await world.until(lambda: ended(world, "ExitRequest"), "the exit")
    assert world.bench.bench.position() == 0
    assert world.judge.faults == []


async def test_a_full_spool_holds_no_exit_back_that_postgresql_records(tmp_path):
    async with order_world(tmp_path) as world:
        world.spool.__class__ = SickSpool
        await opened(world)
        world.spool.is_full = True
        await leaves(world)
        assert alerts(world, "not_recorded") == []


async def test_what_neither_postgresql_nor_the_spool_records_does_not_leave(tmp_path):
    async with order_world(tmp_path) as world:
        world.spool.__class__ = SickSpool
        await opened(world)
        world.spool.is_full = world.store.is_down = True
        with pytest.raises(StoreUnavailable):
            await world.ask(ExitRequest("p1", SEEN, "out"))
        assert world.bench.bench.position() == 100
        assert {one.severity for one in alerts(world, "not_recorded")} == {"critical"}
        assert world.path.holding("p1").covered, "its stop rests"
        world.spool.is_full = world.store.is_down = False
        await world.restart()
        await leaves(world)


async def test_a_spool_that_cannot_be_cleared_holds_nothing_back_for_ever(tmp_path):
    async with order_world(tmp_path) as world:
        world.spool.__class__ = SickSpool
        await opened(world)
        world.store.is_down = True
        assert await refusal_of(world, "p2") == "audit"
        assert world.spool.records
        world.spool.is_fixed = True
        world.store.is_down = False
        await world.until(lambda: alerts(world, "spool_kept"), "the replay")
        await leaves(world)
        await world.restart()
        assert (world.bench.bench.position(), world.path.holding("p1").position) == (0, 0)
        assert world.judge.faults == []


@pytest_asyncio.fixture
async def pool(pg_dsn):
    made = PgPool(pg_dsn, MonotonicClock())
    yield made
    await made.close()


@contextmanager
def away(pool):
    """Let the pool lend nothing, as when the server is gone."""

    def refuse():
        raise StoreUnavailable("PostgreSQL is away")

    gone = [pool, *pool._lanes]
    for one in gone:
        one.connection = refuse
    try:
        yield
    finally:
        for one in gone:
            del one.connection


@pytest.mark.parametrize("dies", [False, True])
async def test_a_plan_that_left_by_the_spool_is_closed_once_in_the_books(tmp_path, pool, dies):
    """Its state cannot ride with the exit; what it did is in the spool, and the books close it."""
    async with plan_world(tmp_path, pool) as plans:
        plan_id = await plans.add()
        await plans.until_state(plan_id, "armed")
        await plans.price("100")
        await plans.until_state(plan_id, "open")
        with away(pool):
            async with plans.turn:
                await plans.runner.cancel(plan_id, "a person wants out")
            await plans.until(lambda: plans.bench.bench.position() == 0, "flat at the broker")
            assert plans.spool.records
            if dies:
                await plans.stop()
        if dies:
            plans._build()
            await plans.start()
        await plans.until_state(plan_id, "closed")
        await plans.until(lambda: not plans.spool.records, "the replay")
        async with plans.turn:
            await plans.runner.on_timer()
        story = await plans.plan_store.show_plan(plan_id)
        assert [order.role for order in story.orders].count("exit") == 1
        assert [step.kind for step in story.steps] == ["entry", "exit"]
        assert sum(fill.quantity * fill.side.sign for fill in story.fills) == 0
        assert plans.judge.faults == []
