"""The order path against the sim gateway: entries, stops, slices and exits on a real socket."""

from decimal import Decimal

import pytest

from support.order_world import enter, order_world
from tradebox.domain.events import AlertRaised, EntrySent
from tradebox.domain.market import Quality, Source
from tradebox.domain.orders import OrderRole, OrderState, OrderType, Side, Tif
from tradebox.domain.path import (
    CancelEntryRequest,
    EntryClosed,
    EntryFilled,
    Evidence,
    ExitRequest,
    MoveStopRequest,
    ProcedureDone,
    ReduceFilled,
    RequestDenied,
    ScaleOutRequest,
    StopWorking,
)

SEEN = Evidence(Decimal(100), Source.FINNHUB, Quality.LIVE, 1)


def ended(world, kind):
    return [event for event in world.of(ProcedureDone) if event.kind == kind]


async def opened(world, **fields):
    """Enter and wait for the armed stop."""
    request = enter(**fields)
    await world.ask(request)
    await world.until(lambda: ended(world, "EnterRequest"), "the entry's end")
    held = world.path.holding(request.plan_id)
    assert held.covered, held
    return held


@pytest.mark.asyncio
async def test_an_entry_fills_arms_its_stop_and_leaves_again(tmp_path):
    async with order_world(tmp_path) as world:
        held = await opened(world)
        assert (held.position, held.stop_quantity, held.stop_price) == (100, 100, Decimal(95))
        assert sum(event.quantity for event in world.of(EntryFilled)) == 100
        assert world.of(EntryClosed)[0].filled == 100
        await world.ask(ExitRequest("p1", None, "test"))
        await world.until(lambda: ended(world, "ExitRequest"), "the exit's end")
        assert world.path.holding("p1").position == 0
        assert world.of(ReduceFilled)[-1].position_left == 0
        roles = [row.role for row in world.orders()]
        assert roles == [OrderRole.ENTRY, OrderRole.STOP, OrderRole.EXIT]
        assert world.bench.bench.position() == 0
        assert world.judge.faults == []


@pytest.mark.asyncio
async def test_a_short_is_the_same_with_its_sides_turned(tmp_path):
    async with order_world(tmp_path) as world:
        held = await opened(world, side=Side.SELL, stop="105")
        assert (held.position, held.stop_quantity) == (-100, 100)
        await world.ask(MoveStopRequest("p1", Decimal(103), SEEN, "tighter"))
        await world.until(lambda: ended(world, "MoveStopRequest"), "the move")
        assert world.path.holding("p1").stop_price == Decimal(103)
        await world.ask(ExitRequest("p1", SEEN, "out"))
        await world.until(lambda: ended(world, "ExitRequest"), "the exit")
        assert world.path.holding("p1").position == 0


@pytest.mark.asyncio
async def test_a_stop_moves_by_a_modify_and_only_tightens(tmp_path):
    async with order_world(tmp_path) as world:
        await opened(world)
        await world.ask(MoveStopRequest("p1", Decimal(97), SEEN, "break even"))
        await world.until(lambda: ended(world, "MoveStopRequest"), "the move")
        assert world.of(StopWorking)[-1].stop_price == Decimal(97)
        assert len(world.orders(OrderRole.STOP)) == 1, "moved, not replaced"
        await world.ask(MoveStopRequest("p1", Decimal(96), SEEN, "looser"))
        assert world.of(RequestDenied)[-1].denied.check == "ratchet"
        assert world.path.holding("p1").stop_price == Decimal(97)


@pytest.mark.asyncio
async def test_a_slice_leaves_and_the_rest_keeps_its_stop(tmp_path):
    async with order_world(tmp_path) as world:
        await opened(world)
        await world.ask(ScaleOutRequest("p1", 40, SEEN, "half"))
        await world.until(lambda: ended(world, "ScaleOutRequest"), "the slice")
        held = world.path.holding("p1")
        assert (held.position, held.stop_quantity, held.covered) == (60, 60, True)
        sold = [event for event in world.of(ReduceFilled) if event.role is OrderRole.SLICE]
        assert sum(event.quantity for event in sold) == 40
        assert ended(world, "ScaleOutRequest")[0].filled == 40
        assert world.judge.faults == []


@pytest.mark.asyncio
async def test_a_slice_that_half_fills_gives_the_rest_its_stop(tmp_path):
    async with order_world(tmp_path) as world:
        await opened(world)
        world.bench.market.show(99.99, 100.01, 15)
        await world.ask(ScaleOutRequest("p1", 40, SEEN, "half"))
        await world.until(lambda: ended(world, "ScaleOutRequest"), "the slice")
        held = world.path.holding("p1")
        assert held.position == 100 - ended(world, "ScaleOutRequest")[0].filled
        assert 60 < held.position < 100
        assert held.stop_quantity == held.position


@pytest.mark.asyncio
async def test_the_stop_fires_and_the_plan_is_flat(tmp_path):
    async with order_world(tmp_path) as world:
        await opened(world)
        world.bench.market.show(94.5, 94.6, last=94.55)
        world.bench.market.print_trade(94.5)
        await world.until(lambda: world.path.holding("p1").position == 0, "flat")
        assert world.of(ReduceFilled)[-1].role is OrderRole.STOP
        assert all(row.state is OrderState.FILLED for row in world.orders())
        assert world.judge.faults == []


@pytest.mark.asyncio
async def test_an_entry_that_rests_is_cancelled_with_its_stop(tmp_path):
    async with order_world(tmp_path) as world:
        request = enter(order_type=OrderType.LIMIT, limit_price=Decimal(98), stop="95", tif=Tif.DAY)
        await world.ask(request)
        await world.until(lambda: len(world.orders()) == 2, "the pair")
        await world.until(
            lambda: world.orders(OrderRole.ENTRY)[0].state is OrderState.WORKING, "working"
        )
        assert world.path.is_busy("p1")
        await world.ask(CancelEntryRequest("p1", "no more"))
        await world.until(lambda: ended(world, "EnterRequest"), "the end")
        assert world.of(EntryClosed)[0].filled == 0
        assert {row.state for row in world.orders()} == {OrderState.CANCELLED}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "variant",
    [
        {"child_on_partial_parent": "held", "child_on_parent_cancel": "dies"},
        {"child_on_partial_parent": "held", "child_on_parent_cancel": "shrinks"},
        {"child_on_partial_parent": "held", "child_on_parent_cancel": "arms"},
        {"child_on_partial_parent": "armed_full", "child_on_parent_cancel": "dies"},
        {"child_on_partial_parent": "armed_full", "child_on_parent_cancel": "arms"},
        {"child_on_partial_parent": "armed_part", "child_on_parent_cancel": "shrinks"},
    ],
)
async def test_a_partly_filled_entry_ends_covered_under_every_variant(tmp_path, variant):
    async with order_world(tmp_path, **variant) as world:
        world.bench.market.show(99.99, 100.01, 30)
        request = enter(order_type=OrderType.LIMIT, limit_price=Decimal("100.01"))
        await world.ask(request)
        await world.until(lambda: world.of(EntryFilled), "a part")
        await world.until(lambda: ended(world, "EnterRequest"), "the end")
        held = world.path.holding("p1")
        assert 0 < held.position < 100
        assert (held.stop_quantity, held.covered) == (held.position, True)
        assert world.of(EntryClosed)[0].filled == held.position


@pytest.mark.asyncio
async def test_entries_are_refused_while_blind_and_go_on_after_a_reconcile(tmp_path):
    async with order_world(tmp_path) as world:
        world.bench.faults.set("notice", code=1100)
        await world.until(lambda: world.link.state == "BLIND", "blind")
        sent = world.link.sent_messages
        await world.ask(enter())
        assert world.of(RequestDenied)[-1].denied.check == "link"
        assert world.link.sent_messages == sent
        world.bench.faults.set("notice", code=1102)
        await world.until(lambda: world.link.state == "CLEAN", "clean")
        await opened(world, plan_id="p2")


@pytest.mark.asyncio
async def test_alarms_are_silent_when_all_is_well(tmp_path):
    async with order_world(tmp_path) as world:
        await opened(world)
        await world.ask(ExitRequest("p1", SEEN, "out"))
        await world.until(lambda: ended(world, "ExitRequest"), "the exit")
        assert [event for event in world.published if isinstance(event, AlertRaised)] == []


@pytest.mark.asyncio
async def test_an_entry_tells_when_it_passed_each_station_once_its_bytes_have_left(tmp_path):
    async with order_world(tmp_path) as world:
        world.path.note_turn()
        await world.ask(enter())
        (told,) = [event for event in world.published if isinstance(event, EntrySent)]
        (placed, *_) = world.orders(OrderRole.ENTRY)
        assert (told.order_ref, told.plan_id) == (placed.order_ref, "p1")
        stations = (told.turn_ns, told.asked_ns, told.passed_ns, told.committed_ns, told.sent_ns)
        assert stations == tuple(sorted(stations))
        assert stations[0] > 0
        await world.ask(enter(plan_id="p2", symbol="NOPE"))
        assert len([event for event in world.published if isinstance(event, EntrySent)]) == 1
