"""The books in PostgreSQL: one transaction per batch, once; and what a load brings back."""

import asyncio
import json
from dataclasses import replace
from decimal import Decimal

import pytest
import pytest_asyncio

from support.order_world import OrderWorld, enter
from support.tws_bench import TwsBench
from tradebox.adapters.postgres.connect import connected
from tradebox.adapters.postgres.orders import PgOrderStore
from tradebox.adapters.postgres.pool import PgPool
from tradebox.adapters.spool import Spool
from tradebox.config import Home
from tradebox.domain.orders import AccountName, OrderRole, OrderState, OrderType, Side, Tif
from tradebox.domain.path import ExitRequest, ProcedureDone
from tradebox.domain.plan_state import Phase, PlanState, state_from_json
from tradebox.execution.record_codec import decode, encode
from tradebox.ports.order_store import (
    Batch,
    CommissionSeen,
    DaySeen,
    FillRow,
    FillSeen,
    IntentRefused,
    Noted,
    OrderMoved,
    OrderRecorded,
    OrderRow,
    PermSeen,
    PlanMoved,
    PositionAdjusted,
    SymbolQuarantined,
    SymbolReleased,
)
from tradebox.supervision.clock import MonotonicClock

PAPER = AccountName.PAPER
ROW = OrderRow(
    order_ref="tbp-1-abc",
    plan_id="p1",
    account=PAPER,
    account_id="SIM1234567P",
    symbol="AAPL",
    con_id=265598,
    role=OrderRole.ENTRY,
    side=Side.BUY,
    quantity=100,
    order_type=OrderType.LIMIT,
    limit_price=Decimal("100.05"),
    stop_price=None,
    tif=Tif.DAY,
    parent_ref=None,
    client_id=11,
    order_id=41,
    state=OrderState.SENDING,
    reason="test",
)
FILL = FillRow(
    "0.1.1", "0.1.1.01", ROW.order_ref, "p1", 77, "AAPL", 265598, Side.BUY, 60, Decimal("100.01"), 5
)
CHANGES = (
    OrderRecorded(ROW, '{"price": "100"}'),
    PermSeen(ROW.order_ref, 77),
    OrderMoved(ROW.order_ref, OrderState.PARTIAL, 60, 100, Decimal("100.05"), None, "execution"),
    FillSeen(FILL),
    CommissionSeen("0.1.1", Decimal("1.05"), None),
    PositionAdjusted("AAPL", 3, "a gift", "p1"),
    SymbolQuarantined("MSFT", "external"),
    SymbolQuarantined("SPY", "external"),
    SymbolReleased("SPY", "a person"),
    IntentRefused("p2", "AAPL", OrderRole.ENTRY, "link", "CLEAN", "DOWN", "no"),
    DaySeen("2026-11-20", Decimal(100_000), Decimal(5), 0),
    Noted("order_cancel", "AAPL", "p1", ROW.order_ref, (("reason", "x"),)),
)

PLAN = """
INSERT INTO trade.plan (plan_id, account, symbol, side, state, version)
VALUES ('p1', 'paper', 'AAPL', 'BUY', 'armed', 1)
"""
DUMP = """
SELECT (SELECT count(*) FROM trade.event), (SELECT count(*) FROM trade.adjustment),
       (SELECT count(*) FROM trade.denial), (SELECT array_agg(o) FROM trade.broker_order o)
"""
PAID = "SELECT count(*) FROM trade.fill WHERE commission_usd > 0"


def batch(*changes, batch_id="b1"):
    return Batch(batch_id, PAPER, "run-1", 3, 99, changes)


@pytest_asyncio.fixture
async def store(pg_dsn):
    pool = PgPool(pg_dsn, MonotonicClock())
    yield PgOrderStore(pool)
    await pool.close()


async def rows_of(dsn, query):
    async with connected(dsn) as connection:
        return [tuple(row) for row in await connection.fetch(query)]


async def until_rows(dsn, query, wanted):
    """Wait for rows; what they are at the deadline is what the test says."""
    rows = None
    for _ in range(500):
        rows = await rows_of(dsn, query)
        if rows == wanted:
            return
        await asyncio.sleep(0.01)
    assert rows == wanted


@pytest.mark.asyncio
async def test_every_change_lands_in_one_batch_and_loads_back(store, pg_dsn):
    await store.commit(batch(*CHANGES))
    books = await store.load(PAPER, 11)
    known = books.orders[0]
    assert known.row == replace(ROW, state=OrderState.PARTIAL, filled=60)
    assert known.perm_ids == (77,)
    assert books.fills == (FILL,)
    assert books.with_commission == (FILL.exec_id,)
    assert books.adjustments == (PositionAdjusted("AAPL", 3, "a gift", "p1"),)
    assert books.quarantined == (("MSFT", "external"),)
    assert books.order_id_max == 41
    assert (await store.day_so_far(PAPER, "2026-11-20")).start_usd == Decimal(100_000)
    assert await rows_of(pg_dsn, "SELECT quantity FROM trade.position") == [(63,)]
    events = await rows_of(pg_dsn, "SELECT count(*) FROM trade.event WHERE epoch = 3")
    assert events == [(len(CHANGES),)]


@pytest.mark.asyncio
async def test_a_batch_that_is_committed_twice_counts_once(store, pg_dsn):
    for _ in range(2):
        await store.commit(batch(*CHANGES))
    await store.commit(batch(*CHANGES[3:4], batch_id="b2"))
    assert await rows_of(pg_dsn, "SELECT quantity FROM trade.position") == [(63,)]
    assert await rows_of(pg_dsn, "SELECT count(*) FROM trade.event") == [(len(CHANGES) + 1,)]


@pytest.mark.asyncio
async def test_intents_are_one_statement_that_counts_once(store, pg_dsn):
    stop = replace(
        ROW, order_ref="tbp-2", role=OrderRole.STOP, order_type=OrderType.STOP, order_id=42,
        limit_price=None, stop_price=Decimal("95.0500"), parent_ref=ROW.order_ref,
        reason='a "quoted" reason, with a comma',
    )  # fmt: skip
    intents = (OrderRecorded(ROW, '{"price": "100"}'), OrderRecorded(stop))
    for _ in range(2):
        await store.commit(batch(*intents))
        await store.commit(batch(Noted("order_cancel", "AAPL"), batch_id="b2"))
    books = await store.load(PAPER, 11)
    assert [known.row for known in books.orders] == [ROW, stop]
    assert str(books.orders[1].row.stop_price) == "95.0500"
    kinds = await rows_of(pg_dsn, "SELECT kind, order_ref FROM trade.event ORDER BY seq")
    intent = "order_intent"
    assert kinds == [(intent, ROW.order_ref), (intent, "tbp-2"), ("order_cancel", None)]
    await store.commit(batch(*intents, PermSeen("tbp-2", 7), batch_id="b3"))
    assert (await store.load(PAPER, 11)).orders[1].perm_ids == (7,)


@pytest.mark.asyncio
@pytest.mark.parametrize("change", CHANGES[1:], ids=lambda change: type(change).__name__)
async def test_a_fact_alone_is_one_statement_that_counts_once(store, pg_dsn, change):
    needed = (CHANGES[0], *(CHANGES[3:4] if isinstance(change, CommissionSeen) else ()))
    await store.commit(batch(*needed, batch_id="b0"))
    await store.commit(batch(change))
    once = await rows_of(pg_dsn, DUMP)
    await store.commit(batch(change))
    assert await rows_of(pg_dsn, DUMP) == once
    assert once[0][0] == len(needed) + 1


@pytest.mark.asyncio
async def test_two_writes_to_one_row_are_done_in_their_order(store, pg_dsn):
    moved = [
        OrderMoved(ROW.order_ref, state, filled, 100, None, None, "test")
        for state, filled in ((OrderState.PARTIAL, 60), (OrderState.FILLED, 100))
    ]
    await store.commit(batch(OrderRecorded(ROW), PermSeen(ROW.order_ref, 5), batch_id="b0"))
    await store.commit(batch(FillSeen(FILL), CommissionSeen("0.1.1", Decimal(1), None), *moved))
    assert await rows_of(pg_dsn, PAID) == [(1,)]
    row = (await store.load(PAPER, 11)).orders[0].row
    assert (row.state, row.filled) == (OrderState.FILLED, 100)


@pytest.mark.asyncio
async def test_a_storm_of_refusals_is_written_in_its_order(store, pg_dsn):
    storm = [
        IntentRefused(f"p{number}", "AAPL", OrderRole.ENTRY, "rate", "10", str(number), 'a, "b"')
        for number in range(200)
    ]
    for _ in range(2):
        await store.commit(batch(*storm))
    kept = await rows_of(pg_dsn, "SELECT plan_id, observed FROM trade.denial ORDER BY denial_id")
    assert kept == [(f"p{number}", str(number)) for number in range(200)]


@pytest.mark.asyncio
async def test_a_plans_state_rides_with_its_intent(store, pg_dsn):
    async with connected(pg_dsn) as connection:
        await connection.execute(PLAN)
    state = PlanState("p1", phase=Phase.ENTERING)
    rider = PlanMoved("p1", "AAPL", Phase.ARMED, state)
    for _ in range(2):
        await store.commit(batch(rider, OrderRecorded(ROW, "{}")))
    (kept,) = await rows_of(pg_dsn, "SELECT state, machine::text FROM trade.plan")
    assert kept[0] == "entering"
    assert state_from_json(json.loads(kept[1])) == state
    kinds = await rows_of(pg_dsn, "SELECT kind, data ->> 'to' FROM trade.event ORDER BY seq")
    assert kinds == [("plan_state", "entering"), ("order_intent", None)]
    other = replace(ROW, order_ref="tbp-9", plan_id="p2", order_id=9)
    again = PlanMoved("p1", "AAPL", Phase.ENTERING, replace(state, phase=Phase.OPEN))
    await store.commit(batch(again, OrderRecorded(other), batch_id="b2"))
    assert await rows_of(pg_dsn, "SELECT state FROM trade.plan") == [("open",)]
    assert len((await store.load(PAPER, 11)).orders) == 2


@pytest.mark.asyncio
async def test_a_batch_with_one_impossible_change_leaves_nothing(store, pg_dsn):
    with pytest.raises(Exception, match="perm"):
        await store.commit(batch(OrderRecorded(ROW), PermSeen("nobody", 1)))
    assert (await store.load(PAPER, 11)).orders == ()
    assert await rows_of(pg_dsn, "SELECT * FROM trade.event") == []


@pytest.mark.asyncio
async def test_the_first_value_of_a_day_stays(store):
    await store.commit(batch(DaySeen("2026-11-20", Decimal(100), Decimal(0), 0)))
    await store.commit(batch(DaySeen("2026-11-20", Decimal(90), Decimal(-9), 2), batch_id="b2"))
    assert (await store.day_so_far(PAPER, "2026-11-20")).start_usd == Decimal(100)
    assert (await store.day_so_far(AccountName.LIVE, "2026-11-20")).start_usd is None


NOON_NS = 1_763_571_600_000_000_000
"""2025-11-19 12:00 in New York."""


@pytest.mark.asyncio
async def test_only_an_entry_that_filled_makes_a_later_day_another_than_the_first(store):
    await store.commit(
        batch(DaySeen("2025-11-18", Decimal(100), Decimal(0), 0), OrderRecorded(ROW))
    )
    stop = replace(ROW, order_ref="tbp-2", order_id=42, role=OrderRole.STOP)
    sold = replace(FILL, exec_stem="0.1.2", order_ref=stop.order_ref, at_ns=NOON_NS)
    busted = replace(FILL, exec_stem="0.1.3", quantity=0, at_ns=NOON_NS)
    await store.commit(batch(OrderRecorded(stop), FillSeen(sold), FillSeen(busted), batch_id="b2"))
    assert not (await store.day_so_far(PAPER, "2025-11-20")).has_traded_before
    await store.commit(batch(FillSeen(replace(FILL, at_ns=NOON_NS)), batch_id="b3"))
    assert not (await store.day_so_far(PAPER, "2025-11-19")).has_traded_before
    assert (await store.day_so_far(PAPER, "2025-11-20")).has_traded_before
    assert not (await store.day_so_far(AccountName.LIVE, "2025-11-20")).has_traded_before


def test_a_batch_survives_the_spool_unchanged():
    whole = batch(*CHANGES)
    assert decode(encode(whole)) == whole


@pytest.mark.asyncio
async def test_a_trade_over_the_socket_ends_up_in_postgresql(store, pg_dsn, tmp_path):
    bench = await TwsBench(None).start()
    spool = Spool(Home(tmp_path), "paper")
    world = OrderWorld(bench, store, spool, tmp_path / "KILL")
    try:
        await world.start()
        await world.ask(enter())
        await world.until(lambda: world.of(ProcedureDone), "the entry")
        await world.ask(ExitRequest("p1", None, "out"))
        await world.until(lambda: len(world.of(ProcedureDone)) == 2, "the exit")
        await until_rows(pg_dsn, PAID, [(2,)])
    finally:
        await world.stop()
        await bench.stop()
        spool.close()
    rows = await rows_of(pg_dsn, "SELECT role, state, filled FROM trade.broker_order ORDER BY 1")
    assert rows == [("entry", "filled", 100), ("exit", "filled", 100), ("stop", "cancelled", 0)]
    assert await rows_of(pg_dsn, "SELECT quantity FROM trade.position") == [(0,)]
    order = "SELECT min(e.seq) < min(f.seq) FROM trade.event e, trade.event f"
    where = " WHERE e.kind = 'order_intent' AND f.kind = 'fill_booked'"
    assert await rows_of(pg_dsn, order + where) == [(True,)]
