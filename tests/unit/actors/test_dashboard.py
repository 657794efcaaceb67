"""The dashboard actor on a manual clock: events in, rows out."""

from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from support.manual_tree import manual_tree
from tradebox.actors.dashboard import (
    PLAN_PERIOD_S,
    PLANS_PER_TURN_MAX,
    RECALL_S,
    WRITE_S,
    Dashboard,
)
from tradebox.actors.dashboard_state import DashboardState
from tradebox.domain.events import LinkChanged, PlanChanged, PlanRow
from tradebox.domain.orders import AccountName, Side
from tradebox.errors import BusUnavailable, StoreUnavailable
from tradebox.ports.day_books import DayBooks
from tradebox.readmodel import PERIOD_S, RowName, decode_row
from tradebox.supervision.spec import ChildSpec, ChildType, SupFlags
from tradebox.supervision.supervisor import Supervisor


class MarketTime:
    speed = 1.0

    def now_ns(self):
        return 1_000


class Rows:
    """A writer that keeps what it is given, or is away."""

    def __init__(self):
        self.is_away = False
        self.batches = []

    async def write_rows(self, rows, ttl_ms):
        assert ttl_ms > 0
        if self.is_away:
            raise BusUnavailable("away")
        self.batches.append(dict(rows))

    def names(self):
        return {name for batch in self.batches for name in batch}

    def last(self, name):
        blobs = [batch[name] for batch in self.batches if name in batch]
        return decode_row(blobs[-1]) if blobs else None


@asynccontextmanager
async def running(rows, state=None, statuses=None, books=None):
    def make():
        return Dashboard(
            rows,
            MarketTime(),
            epoch=7,
            tree=list,
            header=lambda: {"profile": "sim"},
            feeds=list,
            report_status=[].append if statuses is None else statuses.append,
            state=state,
            books=books,
        )

    children = [ChildSpec(id="dashboard", start=make)]
    root = ChildSpec(
        id="root", start=lambda: Supervisor(SupFlags(), children), type=ChildType.SUPERVISOR
    )
    async with manual_tree(root) as harness:
        yield harness


def plan(number, state="open"):
    return PlanChanged(
        PlanRow(
            account=AccountName.PAPER, plan_id=f"P-{number:03d}", symbol="NVDA", side=Side.BUY,
            state=state, quantity=1, initial_quantity=1, entry_price=Decimal("1.50"),
            stop_price=None, initial_stop=None, last_price=None, last_source=None,
            last_quality=None, last_event_ns=None, r_multiple=None, pnl_usd=None,
            realised_usd=Decimal(0),
        )
    )  # fmt: skip


@pytest.mark.asyncio
async def test_every_row_is_written_each_period_changed_or_not():
    rows = Rows()
    async with running(rows) as harness:
        await harness.run(4.1)
        for name in RowName:
            written = sum(1 for batch in rows.batches if name in batch)
            assert 4 / PERIOD_S[name] - 1 <= written <= 4 / PERIOD_S[name] + 1, name
        row = rows.last("header")
        assert row.epoch == 7
        assert row.at_ns == 1_000
        assert row.data["profile"] == "sim"


@pytest.mark.asyncio
async def test_an_event_is_in_the_rows_one_write_later():
    rows = Rows()
    async with running(rows) as harness:
        harness.runtime.events.publish(plan(1))
        await harness.run(WRITE_S * 3)
        assert rows.last("plans").data[0]["entry_price"] == "1.50"
        assert rows.last("plan:P-001").data["plan"]["plan_id"] == "P-001"


@pytest.mark.asyncio
async def test_a_turn_writes_few_plans_and_none_is_left_out():
    rows = Rows()
    async with running(rows) as harness:
        for number in range(50):
            harness.runtime.events.publish(plan(number))
        for _ in range(10):
            for number in range(50):
                harness.runtime.events.publish(plan(number))
            await harness.run(WRITE_S)
        details = [[n for n in batch if n.startswith("plan:")] for batch in rows.batches]
        assert max(len(names) for names in details) <= PLANS_PER_TURN_MAX
        assert {f"plan:P-{number:03d}" for number in range(50)} <= rows.names()


@pytest.mark.asyncio
async def test_a_plan_that_rests_is_written_before_its_row_expires():
    rows = Rows()
    async with running(rows) as harness:
        harness.runtime.events.publish(plan(1))
        await harness.run(3 * PLAN_PERIOD_S + 1)
        assert sum(1 for batch in rows.batches if "plan:P-001" in batch) >= 3


@pytest.mark.asyncio
async def test_redis_away_costs_rows_and_nothing_else():
    rows = Rows()
    async with running(rows) as harness:
        rows.is_away = True
        harness.runtime.events.publish(plan(1))
        await harness.run(5)
        assert rows.batches == []
        assert harness.ref("dashboard").alive
        rows.is_away = False
        await harness.run(1)
        assert {str(name) for name in RowName} <= rows.names()
        assert rows.last("plans").data[0]["plan_id"] == "P-001"


@pytest.mark.asyncio
async def test_what_was_seen_survives_a_restart():
    rows, state, statuses = Rows(), DashboardState(), []
    async with running(rows, state, statuses) as harness:
        link = LinkChanged(AccountName.PAPER, "SIM1", "CLEAN", "127.0.0.1:1", "reconciled", 5)
        harness.runtime.events.publish(link)
        await harness.run(1)
        harness.runtime.kernel.kill(harness.ref("dashboard")._cell)
        await harness.run(10)
        statuses.clear()
        await harness.run(1)
        assert statuses[-1]["accounts"][0]["link"] == "CLEAN"


class Books:
    """Books that are away at first."""

    def __init__(self, failures):
        self.failures = failures
        self.asked = 0

    async def day(self, since_ns):
        self.asked += 1
        if self.asked <= self.failures:
            raise StoreUnavailable("away")
        return DayBooks((plan(9, "closed").row,), fills=4, denied=2, rejected=0)


@pytest.mark.asyncio
async def test_the_books_are_asked_for_the_day_until_they_answer_and_then_no_more():
    rows, books = Rows(), Books(failures=2)
    async with running(rows, books=books) as harness:
        await harness.run(RECALL_S - WRITE_S)
        assert (books.asked, rows.last("header").data["day"]) == (0, None)
        await harness.run(RECALL_S * 2 + WRITE_S)
        assert rows.last("header").data["day"] is None
        await harness.run(RECALL_S * 4)
        assert books.asked == 3
        assert rows.last("header").data["day"]["fills"] == 4
        assert [row["plan_id"] for row in rows.last("plans").data] == ["P-009"]
