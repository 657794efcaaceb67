"""Entries that are not to be: by the switch of a symbol or of all, or held back by the broker."""

from dataclasses import replace
from decimal import Decimal

import pytest
import pytest_asyncio

from support.order_world import QUICK, enter, order_world
from support.plan_world import plan_world
from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.market import Quality, Source
from tradebox.domain.orders import AccountName, OrderRole, OrderType, Side
from tradebox.domain.path import EntryClosed, Evidence, ExitRequest, ProcedureDone, RequestDenied
from tradebox.execution.kill_switch import kill_name, switch_file, write_kill_file
from tradebox.execution.pace import KEPT_FOR_REDUCTIONS
from tradebox.ports.command_store import CommandKind
from tradebox.ports.orders import CodeFact
from tradebox.supervision.clock import MonotonicClock

pytestmark = pytest.mark.asyncio
SEEN = Evidence(Decimal(100), Source.FINNHUB, Quality.LIVE, 1)
LIMIT = {"order_type": OrderType.LIMIT, "limit_price": Decimal(99), "stop": "95"}


@pytest_asyncio.fixture
async def pool(pg_dsn):
    made = PgPool(pg_dsn, MonotonicClock())
    yield made
    await made.close()


def done(world, kind):
    return [event for event in world.of(ProcedureDone) if event.kind == kind]


def denials(world):
    return [(each.denied.check, each.denied.observed) for each in world.of(RequestDenied)]


@pytest.mark.parametrize("way", ["flag", "row", "file"])
async def test_a_symbols_switch_denies_its_entries_by_its_name_and_lets_exits_leave(tmp_path, way):
    async with order_world(tmp_path) as world:
        world.bench.market.show(199.99, 200.01, symbol="MSFT", last=200.0)
        await world.ask(enter())
        await world.until(lambda: done(world, "EnterRequest"), "the entry")
        if way == "flag":
            world.kill.set("enough", "AAPL")
            (tmp_path / "KILL.AAPL").unlink()
        elif way == "row":
            world.store.rows_by_switch[kill_name("AAPL")] = "on"
            await world.until(lambda: world.kill.is_set(symbol="AAPL"), "the row is read")
        else:
            assert write_kill_file(switch_file(tmp_path / "KILL", kill_name("AAPL")), "enough")
        await world.ask(enter("p2"))
        assert denials(world) == [("kill_switch", "kill.AAPL")]
        await world.ask(enter("p3", symbol="MSFT", stop="190"))
        await world.until(lambda: len(done(world, "EnterRequest")) == 2, "another symbol enters")
        await world.ask(ExitRequest("p1", SEEN, "out"))
        await world.until(lambda: world.bench.bench.position() == 0, "the exit leaves")
        assert world.judge.faults == []


@pytest.mark.parametrize("symbol", ["", "AAPL"])
async def test_an_entry_that_rests_is_withdrawn_when_its_switch_is_set(tmp_path, symbol):
    async with order_world(tmp_path) as world:
        await world.ask(enter(**LIMIT))
        await world.until(lambda: len(world.bench.bench.exchange.open_orders("paper")) == 2, "both")
        world.kill.set("enough", "MSFT")
        world.kill.pause(AccountName.PAPER, "lunch")
        until_s = world.clock.now() + 0.3  # several timers: neither concerns it
        await world.until(lambda: world.clock.now() > until_s, "some timers")
        assert len(world.bench.bench.exchange.open_orders("paper")) == 2
        world.kill.set("enough", symbol)
        await world.until(lambda: world.of(EntryClosed), "it is withdrawn")
        await world.until(lambda: not world.bench.bench.exchange.open_orders("paper"), "all gone")
        (closed,) = world.of(EntryClosed)
        assert (closed.filled, closed.reason) == (0, "the kill switch is set")


async def test_withdrawn_entries_keep_to_the_gateways_pace(tmp_path):
    """A hundred at once would be dropped, and a third time end the connection."""
    async with order_world(tmp_path) as world:
        await world.ask(enter(**LIMIT))
        await world.until(lambda: len(world.bench.bench.exchange.open_orders("paper")) == 2, "both")
        room, world.port.room = world.port.room, lambda: KEPT_FOR_REDUCTIONS
        world.kill.set("enough")
        until_s = world.clock.now() + 0.3
        await world.until(lambda: world.clock.now() > until_s, "some timers")
        assert len(world.bench.bench.exchange.open_orders("paper")) == 2
        world.port.room = room
        await world.until(lambda: world.of(EntryClosed), "it is withdrawn")


@pytest.mark.parametrize(("code", "is_withdrawn"), [(404, True), (399, False)])
async def test_a_short_that_waits_for_shares_to_borrow_is_withdrawn(tmp_path, code, is_withdrawn):
    """It could fill hours later; an entry of which the broker only remarks something rests."""
    async with order_world(tmp_path) as world:
        terms = {**LIMIT, "side": Side.SELL, "limit_price": Decimal(101), "stop": "105"}
        await world.ask(enter(**terms))
        await world.until(lambda: len(world.bench.bench.exchange.open_orders("paper")) == 2, "both")
        (entry,) = world.orders(OrderRole.ENTRY)
        world.facts.append(
            CodeFact(entry.order_id, code, "Order held while securities are located")
        )
        if is_withdrawn:
            await world.until(lambda: world.of(EntryClosed), "it is withdrawn")
            await world.until(lambda: not world.bench.bench.exchange.open_orders("paper"), "gone")
            return
        until_s = world.clock.now() + 0.3
        await world.until(lambda: world.clock.now() > until_s, "some timers")
        assert len(world.bench.bench.exchange.open_orders("paper")) == 2


async def test_what_an_entry_filled_before_the_switch_keeps_its_stop(tmp_path):
    patience = replace(QUICK, entry_partial_s=60.0, entry_bare_s=60.0)
    async with order_world(tmp_path, rules={"patience": patience}) as world:
        world.bench.market.show(99.98, 100.0, 30, last=100.0)
        await world.ask(enter(order_type=OrderType.LIMIT, limit_price=Decimal(100)))
        await world.until(lambda: world.bench.bench.position() == 30, "a part")
        world.kill.set("enough")
        await world.until(lambda: done(world, "EnterRequest"), "the rest is withdrawn")
        await world.until(lambda: world.path.holding("p1").covered, "the part is covered")
        assert world.path.holding("p1").position == 30
        assert [row.role for row in world.orders()].count(OrderRole.ENTRY) == 1
        assert world.judge.faults == []


async def test_a_person_sets_and_lifts_a_symbols_switch_by_a_command(tmp_path, pool):
    async def asked(kind, **args):
        number = await world.commands.ask(
            AccountName.PAPER, CommandKind(kind), args, deadline_s=30.0, asked_by="test"
        )
        return await world.commands.wait(number, 5.0, world.clock)

    async with plan_world(tmp_path, pool) as world:
        assert (await asked("kill", reason="enough", symbol="AAPL"))["done"]
        assert world.kill.stopped_by(AccountName.PAPER, "AAPL") == "kill.AAPL"
        assert not world.kill.is_set(AccountName.PAPER, "MSFT")
        answer = await asked("resume", symbol="AAPL")
        assert (answer["done"], answer["entries"]) == (True, "on")
        await world.commands.switch(kill_name("AAPL"), "on", "another")
        answer = await asked("resume", symbol="AAPL")
        assert not answer["done"]
        assert "kill.AAPL still stops entries" in answer["why"]
        for kind in ("kill", "resume"):
            assert "no symbol" in (await asked(kind, symbol="../KILL"))["why"]
        answer = await asked("exit", plan_id="nobody")
        assert "tradebox plan list" in answer["why"]
