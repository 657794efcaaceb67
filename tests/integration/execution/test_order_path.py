"""The order path against the sim gateway: entries, stops, slices and exits on a real socket."""

from decimal import Decimal

import pytest

from support.order_world import enter, order_world
from tradebox.domain.orders import OrderRole
from tradebox.domain.path import (
    EntryFilled,
    ExitRequest,
    ProcedureDone,
    ReduceFilled,
    StopWorking,
)


@pytest.mark.asyncio
async def test_an_entry_fills_arms_its_stop_and_leaves_again(tmp_path):
    async with order_world(tmp_path) as world:
        await world.ask(enter())
        world.bench.market.print_trade(100.0, 1000)
        await world.until(lambda: world.of(StopWorking), "a working stop")
        await world.until(lambda: not world.path.is_busy("p1"), "the entry's end")
        held = world.path.holding("p1")
        assert (held.position, held.stop_quantity, held.covered) == (100, 100, True)
        assert held.stop_price == Decimal(95)
        assert sum(event.quantity for event in world.of(EntryFilled)) == 100
        await world.ask(ExitRequest("p1", None, "test"))
        world.bench.market.show(99.99, 100.01)
        await world.until(lambda: world.path.holding("p1").position == 0, "a flat plan")
        await world.until(
            lambda: [e for e in world.of(ProcedureDone) if e.kind == "ExitRequest"], "the end"
        )
        assert world.of(ReduceFilled)[-1].position_left == 0
        assert {row.role for row in world.orders()} == {
            OrderRole.ENTRY,
            OrderRole.STOP,
            OrderRole.EXIT,
        }
