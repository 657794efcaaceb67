"""What people ask: rows that are taken once, carried out, answered, and told to the journal."""

import asyncio
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio

from support.plan_world import plan_world
from tradebox.adapters.postgres.pool import PgPool
from tradebox.adapters.postgres.story import PgStory
from tradebox.cli.why import link
from tradebox.domain.orders import AccountName
from tradebox.ports.command_store import CommandKind
from tradebox.supervision.clock import MonotonicClock

pytestmark = pytest.mark.asyncio
PAPER = AccountName.PAPER


@pytest_asyncio.fixture
async def pool(pg_dsn):
    made = PgPool(pg_dsn, MonotonicClock())
    yield made
    await made.close()


async def asked(world, kind, deadline_s=30.0, wait_s=5.0, **args):
    number = await world.commands.ask(
        PAPER, CommandKind(kind), args, deadline_s=deadline_s, asked_by="test"
    )
    return number, await world.commands.wait(number, wait_s, world.clock)


@asynccontextmanager
async def holding(tmp_path, pool):
    """A world whose plan holds 100 AAPL."""
    async with plan_world(tmp_path, pool) as world:
        plan_id = await world.add(steps=[])
        await world.until_state(plan_id, "armed")
        await world.price("100")
        await world.until_state(plan_id, "open")
        yield world, plan_id


async def test_every_command_is_taken_once_answered_and_told(tmp_path, pool):
    async with holding(tmp_path, pool) as (world, plan_id):
        _, answer = await asked(world, "pause", reason="lunch")
        assert answer["entries"] == "paused"
        assert world.kill.is_set(PAPER)
        assert not world.kill.is_set(AccountName.LIVE)
        _, answer = await asked(world, "kill", reason="enough")
        assert (answer["entries"], world.kill.reason) == ("stopped", "enough")
        assert (tmp_path / "KILL").exists()
        _, answer = await asked(world, "resume")
        assert (answer["entries"], world.kill.is_set(PAPER)) == ("on", False)
        assert not (tmp_path / "KILL").exists()
        _, answer = await asked(world, "exit", plan_id=plan_id)
        assert answer["done"]
        await world.until_state(plan_id, "closed")
        _, answer = await asked(world, "exit", plan_id="nobody")
        assert not answer["done"]
        async with pool.connection() as connection:
            rows = await connection.fetch("SELECT * FROM trade.command ORDER BY command_id")
            told = await connection.fetch(
                "SELECT data FROM trade.event WHERE kind = 'command_answered' ORDER BY seq"
            )
        assert all(row["consumed_at"] and row["answer"] for row in rows)
        assert [row["data"]["command"] for row in told] == [row["kind"] for row in rows]


async def test_a_late_command_is_never_carried_out(tmp_path, pool):
    async with holding(tmp_path, pool) as (world, plan_id):
        async with world.turn:  # nobody takes it before its deadline
            number = await world.commands.ask(
                PAPER, CommandKind.EXIT, {"plan_id": plan_id}, deadline_s=0.05, asked_by="test"
            )
            await asyncio.sleep(0.1)
        answer = await world.commands.wait(number, 5.0, world.clock)
        assert answer == {"done": False, "why": "late"}
        assert world.runner.plans[plan_id].state.phase.value == "open"


async def test_what_was_taken_but_not_answered_is_taken_up_again(tmp_path, pool):
    async with holding(tmp_path, pool) as (world, plan_id):
        async with world.turn:
            await world.stop()
            number = await world.commands.ask(
                PAPER, CommandKind.EXIT, {"plan_id": plan_id}, deadline_s=30, asked_by="test"
            )
            assert len(await world.commands.take(PAPER, again=False)) == 1
            assert await world.commands.take(PAPER, again=False) == ()
        await world.restart()
        assert (await world.commands.wait(number, 5.0, world.clock))["done"]
        await world.until_state(plan_id, "closed")


async def test_flatten_pauses_and_leaves_everything(tmp_path, pool):
    async with holding(tmp_path, pool) as (world, plan_id):
        _, answer = await asked(world, "flatten")
        assert answer["plans"] == [plan_id]
        await world.until_state(plan_id, "closed")
        await world.until(lambda: world.bench.bench.position("AAPL") == 0, "flat")
        assert world.kill.is_set(PAPER)
        assert not world.bench.bench.exchange.open_orders("paper")


async def test_reconcile_reports_what_it_saw(tmp_path, pool):
    async with holding(tmp_path, pool) as (world, _plan_id):
        _, answer = await asked(world, "reconcile")
        assert answer["agrees"]
        assert answer["broker"] == answer["books"] == {"AAPL": 100}
        assert (answer["open_orders"], answer["gaps"], answer["external"]) == (1, [], [])


async def bought_by_hand(world, shares=40):
    """Somebody buys in the broker's own window: the symbol is quarantined."""
    client = await world.bench.client(0)
    client.place(1, "BUY", shares, "MKT")
    await client.until(3, "Filled")
    async with world.turn:
        world.link.want_look("test")
    await world.until(lambda: "AAPL" in world.path._book.quarantined, "quarantine")
    return client


PLAN = {
    "symbol": "AAPL",
    "side": "long",
    "size": {"quantity": 40},
    "entry": {"type": "market"},
    "stop": {"price": "97"},
}


async def test_a_position_of_a_person_is_adopted_with_a_stop(tmp_path, pool):
    async with plan_world(tmp_path, pool) as world:
        await world.price("100")
        await bought_by_hand(world)
        for change, word in (
            ({"size": {"quantity": 41}}, "size.quantity"),
            ({"side": "short", "stop": {"price": "103"}}, "side"),
            ({"stop": {"price": "101"}}, "stop"),
        ):
            _, answer = await asked(world, "adopt", symbol="AAPL", document={**PLAN, **change})
            assert not answer["done"]
            assert answer["why"].startswith(word)
        assert world.bench.bench.exchange.open_orders("paper") == []
        _, answer = await asked(world, "adopt", symbol="AAPL", document=PLAN)
        assert answer["done"], answer
        plan_id = answer["plan_id"]
        await world.until(lambda: world.path.holding(plan_id).covered, "the stop")
        (stop,) = world.bench.bench.exchange.open_orders("paper")
        assert (stop.total, stop.ticket.trigger_micros) == (40, 97_000_000)
        assert "AAPL" not in world.path._book.quarantined
        _, again = await asked(world, "adopt", symbol="AAPL", document=PLAN)
        assert not again["done"]
        await world.restart()
        assert world.path.holding(plan_id).stop_quantity == 40
        _, answer = await asked(world, "exit", plan_id=plan_id)
        await world.until_state(plan_id, "closed")
        assert world.bench.bench.position("AAPL") == 0


async def split_in_two(world, plan_id):
    """100 more shares without a fill of ours, and the broker has ended the stop."""
    exchange = world.bench.bench.exchange
    await bought_by_hand(world, 100)
    (stop,) = exchange.open_orders("paper")
    exchange.end("paper", stop.perm_id, world.bench.market.tick())
    await world.until(lambda: not exchange.open_orders("paper"), "the stop is gone")
    await world.until(lambda: not world.path.holding(plan_id).stop_quantity, "it is known")


async def test_after_a_split_one_plan_takes_all_shares_over_and_none_is_sold(tmp_path, pool):
    async with holding(tmp_path, pool) as (world, old):
        await split_in_two(world, old)
        _, answer = await asked(world, "exit", plan_id=old)
        assert answer["done"]
        document = {**PLAN, "size": {"quantity": 200}}
        _, answer = await asked(world, "adopt", symbol="AAPL", document=document)
        assert "the position is" in answer["why"] or "holds 100" in answer["why"]
        _, answer = await asked(world, "adopt", symbol="AAPL", document=document, whole=True)
        assert answer["done"], answer
        new = answer["plan_id"]
        await world.until(lambda: world.path.holding(new).covered, "the stop")
        await world.until_state(old, "closed")
        (stop,) = world.bench.bench.exchange.open_orders("paper")
        assert (stop.total, stop.ticket.trigger_micros) == (200, 97_000_000)
        assert world.bench.bench.position("AAPL") == 200
        _, answer = await asked(world, "reconcile")
        assert (answer["agrees"], answer["books"]) == (True, {"AAPL": 200})
        await world.restart()
        assert world.path.holding(new).stop_quantity == 200
        await asked(world, "exit", plan_id=new)
        await world.until_state(new, "closed")
        assert world.bench.bench.position("AAPL") == 0


async def test_nothing_changes_hands_while_an_order_works_in_the_symbol(tmp_path, pool):
    async with holding(tmp_path, pool) as (world, old):
        await bought_by_hand(world)
        document = {**PLAN, "size": {"quantity": 140}}
        _, answer = await asked(world, "adopt", symbol="AAPL", document=document, whole=True)
        assert "still works" in answer["why"]
        assert world.path.holding(old).stop_quantity == 100


async def test_shares_that_left_since_the_last_look_are_adopted_by_nobody(tmp_path, pool):
    async with plan_world(tmp_path, pool) as world:
        await world.price("100")
        client = await bought_by_hand(world)
        client.place(2, "SELL", 40, "MKT")
        await client.until(3, "Filled")
        _, answer = await asked(world, "adopt", symbol="AAPL", document=PLAN)
        assert not answer["done"]
        assert "holds nothing of it" in answer["why"]
        assert world.bench.bench.exchange.open_orders("paper") == []


async def test_a_plan_whose_shares_a_person_sells_is_over_and_its_stop_gone(tmp_path, pool):
    """No command, no hourly look: the broker's streamed position says that something is amiss."""
    async with holding(tmp_path, pool) as (world, plan_id):
        client = await world.bench.client(0)
        client.place(1, "SELL", 100, "MKT")
        await client.until(3, "Filled")
        await world.until_state(plan_id, "closed")
        open_orders = world.bench.bench.exchange.open_orders
        await world.until(lambda: not open_orders("paper"), "no stop for what is not held")
        assert world.bench.bench.position("AAPL") == 0
        assert "AAPL" in world.path._book.quarantined
        _, answer = await asked(world, "release", symbol="AAPL", keep=False)
        assert answer["done"]


async def test_two_plans_never_sell_what_a_person_sold_before_them(tmp_path, pool):
    """Whose shares they were is not clear: nothing is touched, and nothing sold short."""
    async with holding(tmp_path, pool) as (world, first):
        second = await world.add(steps=[], size={"quantity": 60})
        await world.until_state(second, "armed")
        await world.price("100")
        await world.until_state(second, "open")
        client = await world.bench.client(0)
        client.place(1, "SELL", 130, "MKT")
        await client.until(3, "Filled")
        await world.until(lambda: "AAPL" in world.path._book.quarantined, "quarantine")
        _, answer = await asked(world, "flatten")
        assert sorted(answer["plans"]) == sorted([first, second])
        alerts = lambda: {getattr(one, "kind", "") for one in world.published}  # noqa: E731
        await world.until(lambda: "uncovered" in alerts(), "a person is told")
        assert world.bench.bench.position("AAPL") == 30
        _, answer = await asked(world, "release", symbol="AAPL", keep=True)
        assert answer["done"]
        for plan_id in (first, second):
            await world.until_state(plan_id, "closed")
        await world.until(lambda: world.bench.bench.position("AAPL") == 0, "the rest has left")
        _, answer = await asked(world, "reconcile")
        assert (answer["agrees"], answer["books"]) == (True, {})


async def test_our_own_fills_since_the_last_look_are_explained(tmp_path, pool):
    async with holding(tmp_path, pool) as (world, plan_id):
        await bought_by_hand(world)
        async with world.turn:
            assert world.path.by_hand.unexplained("AAPL")[0] == 40
        _, answer = await asked(world, "exit", plan_id=plan_id)
        await world.until_state(plan_id, "closed")
        async with world.turn:
            assert world.path.by_hand.unexplained("AAPL")[0] == 40
        _, answer = await asked(world, "release", symbol="AAPL", keep=True)
        assert answer["done"]
        async with world.turn:
            assert world.path.by_hand.unexplained("AAPL")[0] == 0
        _, answer = await asked(world, "reconcile")
        assert (answer["agrees"], answer["books"]) == (True, {"AAPL": 40})


async def test_a_position_that_nobody_follows_is_adopted_once_its_symbol_is_known(tmp_path, pool):
    async with plan_world(tmp_path, pool) as world:
        came = set()
        world.runner._facts.bars_are_read = lambda symbol, _now_ns: symbol in came
        await world.price("100")
        await bought_by_hand(world)
        assert world.runner.watched == frozenset()
        _, answer = await asked(world, "adopt", symbol="AAPL", document=PLAN)
        assert not answer["done"]
        assert "ask again in some seconds" in answer["why"]
        assert world.runner.watched == {"AAPL"}
        came.add("AAPL")
        _, answer = await asked(world, "adopt", symbol="AAPL", document=PLAN)
        assert answer["done"], answer
        await world.until(lambda: world.path.holding(answer["plan_id"]).covered, "the stop")


async def test_a_symbol_is_released_only_when_it_is_settled(tmp_path, pool):
    async with plan_world(tmp_path, pool) as world:
        await world.price("100")
        _, answer = await asked(world, "release", symbol="AAPL", keep=False)
        assert "not quarantined" in answer["why"]
        await bought_by_hand(world)
        _, answer = await asked(world, "release", symbol="AAPL", keep=False)
        assert "adopt or keep" in answer["why"]
        _, answer = await asked(world, "release", symbol="AAPL", keep=True)
        assert answer["done"]
        await world.restart()
        assert "AAPL" not in world.path._book.quarantined
        _, answer = await asked(world, "reconcile")
        assert (answer["agrees"], answer["books"]) == (True, {"AAPL": 40})
        assert world.bench.bench.exchange.open_orders("paper") == []


async def test_why_tells_the_chain_from_tick_to_fill(tmp_path, pool):
    async with holding(tmp_path, pool) as (world, plan_id):
        await asked(world, "exit", plan_id=plan_id)
        await world.until_state(plan_id, "closed")
        story = PgStory(pool)
        kind, rows = await story.why(plan_id)
        chain = [link(row) for row in rows]
        hops = [one["hop"] for one in chain]
        assert kind == "plan"
        for first, then in (("gate", "order"), ("order", "fill"), ("fill", "rule")):
            assert hops.index(first) < hops.index(then)
        gate = next(one for one in chain if one["hop"] == "gate")
        assert "tick 100.00 from finnhub (live" in gate["text"]
        exit_ref = [one["order_ref"] for one in chain if "exit" in one["text"]][-1]
        kind, rows = await story.why(next(o.order_ref for o in world_orders(rows)) or exit_ref)
        assert kind == "order"
        assert (await story.why("AAPL"))[0] == "symbol"
        assert await story.why("nothing") == ("", [])


def world_orders(rows):
    class One:
        def __init__(self, ref):
            self.order_ref = ref

    return [One(row["order_ref"]) for row in rows if row["order_ref"]]
