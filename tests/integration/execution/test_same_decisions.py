"""The same plan on the same tape: paper (sockets, PostgreSQL) and replay decide the same."""

import random
from decimal import Decimal

import pytest
import pytest_asyncio

from support.plan_world import plan_world
from support.tape_replay import Decision, TapeReplay
from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.plan_state import StepKind
from tradebox.supervision.clock import MonotonicClock

pytestmark = pytest.mark.asyncio

STEPS = """
SELECT kind, quantity, price, evidence FROM trade.plan_step WHERE plan_id = $1 ORDER BY step_no
"""
PLANS = {
    "long, in parts": {
        "steps": [
            {"at": {"r": "0.4"}, "move_stop": {"to": "break_even"}},
            {"at": {"r": "0.6"}, "take": {"fraction": "0.3"}},
            {"at": {"r": "0.9"}, "take": {"fraction": "0.3"}},
            {"at": {"r": "1"}, "trail": {"percent": "0.3"}},
        ],
    },
    "short, trailed": {
        "side": "short",
        "stop": {"price": "101"},
        "steps": [
            {"at": {"r": "0.3"}, "take": {"fraction": "0.5"}},
            {"at": {"r": "0.5"}, "trail": {"percent": "0.2"}},
        ],
    },
    "long, by time": {
        "steps": [{"at": {"r": "0.5"}, "move_stop": {"to": "break_even"}}],
        "time_exit": {"after_minutes": 1},
    },
}
SEEDS = {"long, in parts": 3, "short, trailed": 8, "long, by time": 5}


@pytest_asyncio.fixture
async def pool(pg_dsn):
    made = PgPool(pg_dsn, MonotonicClock())
    yield made
    await made.close()


def prices_of(seed: int, drift: int) -> list[Decimal]:
    """A walk from 100 in cents, that leans one way and then comes back."""
    chance, cents, prices = random.Random(seed), 10_000, []
    for number in range(64):
        lean = drift if number < 36 else -drift
        cents += chance.randint(-6, 6) + 4 * lean
        prices.append(Decimal(cents) / 100)
    return prices


def is_settled(world) -> bool:
    """Nothing is under way, and the books show what the exchange shows."""
    if world.turn.locked() or world.facts or not world.runner.is_quiet:
        return False
    if any(running.state.is_waiting for running in world.runner.active()):
        return False
    exchange = world.bench.bench.exchange
    theirs = sorted((o.ticket.order_ref, o.remaining) for o in exchange.open_orders("paper"))
    ours = sorted((record.ref, record.remaining) for record in world.path._book.open_orders())
    return theirs == ours and world.path._book.position("AAPL") == world.bench.bench.position()


async def on_paper(world, changes, prices):
    """Trade a plan on real sockets; return its terms, the tape as it was seen, its decisions."""
    plan_id = await world.add(**changes)
    await world.until_state(plan_id, "armed")
    terms, tape = world.runner.plans[plan_id].state.terms, []
    for price in prices:
        await world.price(str(price))
        tape.append((world.market_time.now_ns(), price))
        await world.until(lambda: is_settled(world), "a settled account")
    async with world.pool.connection() as connection:
        steps = await connection.fetch(STEPS, plan_id)
    decisions = []
    for taken in steps:
        seen = taken["evidence"]
        tick = (seen["event_ns"], Decimal(seen["price"])) if seen else None
        decisions.append(Decision(taken["kind"], taken["quantity"], taken["price"], tick))
    return plan_id, terms, tape, decisions


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", PLANS)
async def test_paper_and_replay_decide_the_same_on_the_same_ticks(tmp_path, pool, name):
    changes, is_short = PLANS[name], "short" in name
    async with plan_world(tmp_path, pool) as world:
        prices = prices_of(SEEDS[name], -1 if is_short else 1)
        plan_id, terms, tape, on_wire = await on_paper(world, changes, prices)
        plan = world.runner.plans[plan_id].document
        replayed = TapeReplay(plan, terms)
        assert replayed.run(tape) == on_wire
        state = world.runner.plans[plan_id].state
        assert replayed.state.phase is state.phase
        assert replayed.stop == state.best_stop or state.position == 0
        kinds = {decision.kind for decision in on_wire}
        assert {StepKind.ENTRY.value, StepKind.EXIT.value} < kinds
        assert any(decision.tick for decision in on_wire)


async def test_a_replay_that_sees_one_price_differently_is_noticed(tmp_path, pool):
    name = "long, in parts"
    async with plan_world(tmp_path, pool) as world:
        plan_id, terms, tape, on_wire = await on_paper(
            world, PLANS[name], prices_of(SEEDS[name], 1)
        )
        at_ns = next(one.tick for one in on_wire if one.kind == "scale_out")[0]
        bent = [(at, price - 1 if at == at_ns else price) for at, price in tape]
        plan = world.runner.plans[plan_id].document
        assert TapeReplay(plan, terms).run(bent) != on_wire
