"""A thousand intents at once on real sockets: the bucket, the latch, and exits that still leave."""

from dataclasses import replace
from decimal import Decimal

import pytest
import pytest_asyncio

from support.order_world import INSTRUMENTS, enter, order_world
from support.plan_world import plan_world
from support.scripted_market import ScriptedMarket
from support.wire_tap import PLACE_ORDER, Tap
from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.market import Quality, Source
from tradebox.domain.path import Evidence, ExitRequest, LinkState, ProcedureDone, RequestDenied
from tradebox.execution import order_sender
from tradebox.execution.pace import KEPT_FOR_REDUCTIONS
from tradebox.ports.order_store import IntentRefused
from tradebox.sim.exchange.market_port import Instrument
from tradebox.supervision.clock import MonotonicClock

SEEN = Evidence(Decimal(100), Source.FINNHUB, Quality.LIVE, 1)
STORM = 1_000
PER_S = 10


@pytest_asyncio.fixture
async def pool(pg_dsn):
    made = PgPool(pg_dsn, MonotonicClock())
    yield made
    await made.close()


def stormy_market(monkeypatch) -> ScriptedMarket:
    """A market of a thousand more symbols at 100, known to both sides."""
    market = ScriptedMarket()
    market.show(99.99, 100.01, last=100.0)
    for number in range(STORM):
        symbol = f"S{number}"
        known = replace(INSTRUMENTS["MSFT"], symbol=symbol, con_id=10_000 + number)
        monkeypatch.setitem(INSTRUMENTS, symbol, known)
        market._instruments[symbol] = Instrument(
            symbol, known.con_id, "NASDAQ", "USD", 10_000, symbol
        )
        market.show(99.99, 100.01, symbol=symbol, last=100.0)
    return market


def done(world, kind):
    return [event for event in world.of(ProcedureDone) if event.kind == kind]


@pytest.mark.asyncio
async def test_a_thousand_intents_end_at_the_bucket_and_the_latch_and_exits_leave(
    tmp_path, monkeypatch
):
    market = stormy_market(monkeypatch)
    async with order_world(tmp_path, market=market) as world:
        await world.ask(enter(quantity=100))
        await world.until(lambda: world.path.holding("p1").covered, "a covered position")
        await world.until(lambda: done(world, "EnterRequest"), "the entry's end")
        tap = Tap(world.bench.address)
        world.port_number = (await tap.start())[1]
        try:
            await world.restart()
            began_s = world.clock.now()
            for number in range(STORM):
                await world.path.request(
                    enter(f"storm{number}", quantity=1, symbol=f"S{number}", stop="95")
                )
            world.events += world.path.take_events()
            passed_s = world.clock.now() - began_s
            denied = [event.denied.check for event in world.of(RequestDenied)]
            entered = STORM - len(denied)
            assert 2 * entered <= PER_S * (1 + passed_s) + 1
            assert world.kill.is_set()
            assert (tmp_path / "KILL").exists()
            assert set(denied) <= {"rate", "kill_switch"}
            assert denied[-1] == "kill_switch"
            await world.ask(ExitRequest("p1", SEEN, "out"))
            await world.until(lambda: done(world, "ExitRequest"), "the exit")
            assert world.bench.bench.position() == 0
            assert world.link.state is LinkState.CLEAN
            assert tap.sent[PLACE_ORDER] == 2 * entered + 1
            assert len(world.orders()) == 2 + 2 * entered + 1
            assert world.judge.faults == []
        finally:
            await world.stop()
            await tap.stop()


@pytest.mark.asyncio
async def test_entries_that_only_our_own_looks_hold_up_are_no_storm(tmp_path):
    """A hundred plans at the open, behind a look: they wait, and nobody sets the latch."""
    async with order_world(tmp_path) as world:
        room, world.port.room = world.port.room, lambda: KEPT_FOR_REDUCTIONS + 1
        for number in range(100):
            await world.ask(enter(f"p{number}", quantity=1))
        denied = [event.denied.check for event in world.of(RequestDenied)]
        assert denied == ["rate"] * 100
        assert not world.kill.is_set()
        world.port.room = room
        await world.ask(enter("later", quantity=1))
        await world.until(lambda: done(world, "EnterRequest"), "an entry with room")


@pytest.mark.asyncio
async def test_a_plan_that_was_refused_for_the_pace_decides_anew_on_a_later_price(tmp_path, pool):
    async with plan_world(tmp_path, pool) as world:
        room, world.port.room = world.port.room, lambda: KEPT_FOR_REDUCTIONS + 1
        plan_id = await world.add(steps=[])
        await world.until_state(plan_id, "armed")
        await world.price("100")
        running = world.runner.plans[plan_id]
        assert (running.state.phase.value, running.state.failures) == ("armed", 1)
        assert not world.path.book.orders
        world.port.room = room
        await world.price("100.10")
        assert running.state.phase.value == "armed", "not before its wait is over"
        world.bench.market.tick(6_000)
        await world.price("100.20")
        await world.until_state(plan_id, "open")
        assert running.state.entry_evidence.price == Decimal("100.2")


@pytest.mark.asyncio
async def test_a_slow_commit_of_a_refusal_is_followed_by_one_for_many(tmp_path, monkeypatch):
    """Else a slow PostgreSQL holds a storm below the rate at which the latch sets."""
    monkeypatch.setattr(order_sender, "_DENIALS_GAP_S", 30.0)
    async with order_world(tmp_path) as world:
        sender, commit, refused = world.path._sender, world.store.commit, []

        async def slow(batch):
            if any(isinstance(change, IntentRefused) for change in batch.changes):
                refused.append(len(batch.changes))
                sender._denials_kept_s -= 60.0  # a minute passes meanwhile
            await commit(batch)

        world.store.commit = slow
        await world.path.on_timer()  # nothing to keep: the next refusal is the first all the same
        for number in range(20):
            await world.path.request(enter(f"p{number}", symbol="NONE", stop="95"))
        await sender.keep_denials()
        assert refused[0] == 1, "a refusal is written at once"
        assert sum(refused) == 20
        assert len(refused) <= 3, "a timer may have kept some of those that followed"
