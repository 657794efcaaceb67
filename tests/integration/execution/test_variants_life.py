"""A plan's whole life under every switch of the simulator, unproven and then proven."""

from decimal import Decimal

import pytest

from support.order_world import enter, order_world
from tradebox.domain.capabilities import BY_NAME, Proven
from tradebox.domain.market import Quality, Source
from tradebox.domain.orders import OrderRole, OrderType
from tradebox.domain.path import (
    EntryFilled,
    Evidence,
    ExitRequest,
    MoveStopRequest,
    ProcedureDone,
    RequestDenied,
    ScaleOutRequest,
)
from tradebox.execution.coverage import WINDOW_S_MAX
from tradebox.sim.exchange.settings import ExchangeSettings
from tradebox.sim.exchange.variants import VARIANTS, chosen_variants

SEEN = Evidence(Decimal(100), Source.FINNHUB, Quality.LIVE, 1)
CASES = [
    (variant.name, alternative)
    for variant in VARIANTS
    for alternative in variant.alternatives
    if variant.name not in ("delayed_request", "market_depth")
]


def done(world, plan_id, kind):
    found = world.of(ProcedureDone)
    return [one for one in found if (one.plan_id, one.kind) == (plan_id, kind)]


async def live(world, plan_id, *, is_partial):
    """Enter (in part, where asked), move the stop, take a slice, leave."""
    market = world.bench.market
    world.link.want_look("a refusal blocks the symbol until the books were compared")
    await world.until(lambda: not world.path._intake.unproven("AAPL"), "a free symbol")
    market.show(99.99, 100.01, 30 if is_partial else 1_000, last=100.0)
    fields = {"order_type": OrderType.LIMIT, "limit_price": Decimal("100.01")} if is_partial else {}
    await world.ask(enter(plan_id, 100 - int(plan_id[1]), **fields))
    mine = lambda: [f for f in world.of(EntryFilled) if f.plan_id == plan_id]  # noqa: E731
    assert world.of(RequestDenied) == []
    await world.until(mine, "a fill")
    await world.until(lambda: done(world, plan_id, "EnterRequest"), "the entry's end")
    await world.until(lambda: world.path.holding(plan_id).covered, "cover")
    held = world.path.holding(plan_id).position
    assert held == world.bench.bench.position("AAPL") > 0
    market.show(99.99, 100.01, 1_000, last=100.0)
    await world.ask(MoveStopRequest(plan_id, Decimal(97), SEEN, "trail"))
    await world.until(lambda: done(world, plan_id, "MoveStopRequest"), "the move")
    assert world.path.holding(plan_id).stop_price == 97
    await world.ask(ScaleOutRequest(plan_id, 10, SEEN, "slice"))
    await world.until(lambda: done(world, plan_id, "ScaleOutRequest"), "the slice")
    await world.until(lambda: world.path.holding(plan_id).covered, "cover")
    left = world.path.holding(plan_id)
    assert (left.position, left.stop_quantity) == (held - 10, held - 10)
    await world.ask(ExitRequest(plan_id, SEEN, "out"))
    await world.until(lambda: done(world, plan_id, "ExitRequest"), "the exit")
    assert world.bench.bench.position("AAPL") == 0
    assert world.bench.bench.exchange.open_orders("paper") == []


@pytest.mark.asyncio
@pytest.mark.parametrize(("name", "alternative"), CASES)
async def test_a_life_is_covered_before_and_after_the_drill(tmp_path, name, alternative):
    value = {"yes": True, "no": False}.get(alternative, alternative)
    async with order_world(tmp_path, **{name: value}) as world:
        await live(world, "p1", is_partial=True)
        played = chosen_variants(ExchangeSettings(**{name: value}))
        world.path.learn_capabilities(Proven(played))
        await live(world, "p2", is_partial=True)
        await live(world, "p3", is_partial=False)
        for cause, totals in world.path.cover.totals.items():
            assert totals.longest_s < WINDOW_S_MAX[cause]
        fires = BY_NAME["stop_through_market"].good >= {played["stop_through_market"]}
        exits = [row for row in world.orders(OrderRole.EXIT) if row.plan_id in ("p2", "p3")]
        assert bool(exits) is not fires
        if name != "child_on_partial_parent":  # the judge sees an armed child as its whole size
            assert world.judge.faults == []
