"""The day's lists say everything again: what the books have is not taken a second time."""

from decimal import Decimal

import pytest

from support.order_world import enter, order_world
from tradebox.domain.market import Quality, Source
from tradebox.domain.orders import OrderRole
from tradebox.domain.path import Evidence, ExitRequest, ProcedureDone, ScaleOutRequest
from tradebox.ports.order_store import CommissionSeen, FillSeen
from tradebox.ports.orders import (
    CommissionFact,
    CompletedOrderFact,
    ExecutionFact,
    PositionFact,
    SnapshotTaken,
)

SEEN = Evidence(Decimal(100), Source.FINNHUB, Quality.LIVE, 1)
LISTED = (ExecutionFact, CommissionFact, CompletedOrderFact)


def ended(world, kind):
    return [event for event in world.of(ProcedureDone) if event.kind == kind]


@pytest.mark.asyncio
async def test_a_start_books_the_day_once_and_takes_up_only_what_is_new(tmp_path):
    async with order_world(tmp_path) as world:
        await world.ask(enter())
        await world.until(lambda: ended(world, "EnterRequest"), "the entry's end")
        await world.ask(ScaleOutRequest("p1", 40, SEEN, "a target"))
        await world.until(lambda: ended(world, "ScaleOutRequest"), "the slice's end")
        await world.until(lambda: len(world.store.paid) == 2, "both commissions")
        booked = [one for one in world.store.changes if isinstance(one, FillSeen | CommissionSeen)]
        await world.stop()
        exchange, (stop,) = world.bench.bench.exchange, world.orders(OrderRole.STOP)
        exchange.cancel("paper", 11, stop.order_id, world.bench.market.tick())
        delivered = []
        take = world._deliver
        world._deliver = lambda fact: delivered.append(fact) or take(fact)
        await world.restart()
        again = [one for one in delivered if isinstance(one, LISTED)]
        assert [type(one) for one in again] == [CompletedOrderFact], "the stop's end is news"
        new = [one for one in world.store.changes if isinstance(one, FillSeen | CommissionSeen)]
        assert new == booked


@pytest.mark.asyncio
async def test_an_exit_reads_what_is_open_and_held_and_all_of_it_where_that_differs(
    tmp_path, monkeypatch
):
    async with order_world(tmp_path) as world:
        await world.ask(enter())
        await world.until(lambda: ended(world, "EnterRequest"), "the entry's end")
        reads, hand_on = [], world.link._hand_on

        def deaf(fact):
            """What happens is not told; what is listed is."""
            if isinstance(fact, SnapshotTaken):
                reads.append(fact.snapshot)
            is_lost = isinstance(fact, ExecutionFact) and fact.is_live
            return True if is_lost or isinstance(fact, PositionFact) else hand_on(fact)

        monkeypatch.setattr(world.link, "_hand_on", deaf)
        exchange = world.bench.bench.exchange
        bought = exchange.last_execution("paper")
        exchange.correct("paper", bought.exec_id, 60, 100_000_000, world.bench.market.tick())
        assert world.bench.bench.position() == 60
        await world.ask(ExitRequest("p1", SEEN, "a person asked"))
        await world.until(lambda: ended(world, "ExitRequest"), "the exit's end")
        assert world.bench.bench.position() == 0, "no share more was sold"
        assert [row.quantity for row in world.orders(OrderRole.EXIT)] == [60]
        assert [one.is_whole for one in reads[:2]] == [False, True]
        assert reads[0].completed == reads[0].executions == ()
        assert [int(row.quantity) for row in reads[0].positions] == [60]
