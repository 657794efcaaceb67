"""A stop whose good-till-cancelled date is near is sent again as it is, and lives on as itself."""

from decimal import Decimal

import pytest

from support.order_world import enter, order_world
from support.wire_tap import CANCEL_ORDER, PLACE_ORDER, Tap
from tradebox.domain.orders import OrderRole
from tradebox.domain.path import ProcedureDone

DAY_NS = 86_400 * 1_000_000_000


def pass_days(world, days):
    """Let calendar days go by; the venue is open at the same hour then."""
    clock = world.bench.market.clock
    clock.time_ns += days * DAY_NS
    clock.open_from_ns += days * DAY_NS
    clock.open_until_ns += days * DAY_NS


@pytest.mark.asyncio
async def test_a_stop_is_renewed_before_its_quarter_ends_by_one_message_that_changes_nothing(
    tmp_path,
):
    async with order_world(tmp_path) as world:
        tap = Tap(world.bench.address)
        world.port_number = (await tap.start())[1]
        try:
            await world.restart()
            await world.ask(enter())
            await world.until(
                lambda: [one for one in world.of(ProcedureDone) if one.kind == "EnterRequest"],
                "the entry",
            )
            (row,) = world.orders(OrderRole.STOP)
            (stop,) = world.bench.bench.exchange.open_orders("paper")
            perm_id, sent = stop.perm_id, tap.sent[PLACE_ORDER]
            pass_days(world, 90)  # 2025-09-02: four weeks before the end of the next quarter
            await world.until(lambda: world.path._calendar._day == "2025-09-02", "that day")
            assert tap.sent[PLACE_ORDER] == sent, "too early"
            pass_days(world, 10)
            await world.until(lambda: tap.sent[PLACE_ORDER] == sent + 1, "the renewal")
            record = world.path.book.orders[row.order_ref]
            await world.until(lambda: record.change_wanted is None, "its echo")
            assert not record.is_ageing
            pass_days(world, 1)
            await world.until(lambda: world.path._calendar._day == "2025-09-13", "the next day")
            (after,) = world.bench.bench.exchange.open_orders("paper")
            assert (after.perm_id, after.remaining) == (perm_id, 100)
            assert after.ticket.trigger_micros == int(Decimal(95) * 1_000_000)
            assert tap.sent[PLACE_ORDER] == sent + 1
            assert tap.sent[CANCEL_ORDER] == 0
            assert world.path.holding("p1").covered
            assert world.judge.faults == []
        finally:
            await world.stop()
            await tap.stop()
