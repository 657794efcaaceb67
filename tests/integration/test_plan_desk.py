"""What `tradebox plan add` stores where no table names the symbol: the broker is asked later."""

import json
from decimal import Decimal

import pytest
import pytest_asyncio

from tradebox.adapters.postgres.plan_desk import PlanDesk
from tradebox.adapters.postgres.pool import PgPool
from tradebox.adapters.postgres.reference import PgReference
from tradebox.domain.market import Instrument
from tradebox.domain.orders import AccountName
from tradebox.errors import PlanInvalid
from tradebox.supervision.clock import MonotonicClock

pytestmark = pytest.mark.asyncio


class FixedClock:
    """The market's time, standing still."""

    def now_ns(self):
        return 1_451_900_000_000_000_000


@pytest_asyncio.fixture
async def pool(pg_dsn):
    made = PgPool(pg_dsn, MonotonicClock())
    yield made
    await made.close()


def text(price="100.00", **changes):
    document = {
        "symbol": "AAA", "side": "long", "size": {"quantity": 10},
        "entry": {"type": "limit", "price": price, "valid_until": 60}, "stop": {"percent": "2.5"},
    }  # fmt: skip
    return json.dumps({**document, **changes}).encode()


async def test_an_unknown_symbol_is_refused_where_every_symbol_is_in_the_table(pool):
    desk = PlanDesk(pool, FixedClock())
    with pytest.raises(PlanInvalid, match="symbol = AAA"):
        await desk.add(text(), AccountName.PAPER)
    assert await desk.list_plans(with_ended=True) == ()


async def test_an_unknown_symbol_waits_for_the_broker_where_there_is_one(pool):
    desk = PlanDesk(pool, FixedClock(), asks_broker=True)
    with pytest.raises(PlanInvalid, match="quantity"):
        await desk.add(text(size={"quantity": -1}), AccountName.PAPER)
    too_late = text(entry={"type": "market", "valid_until": "2015-12-31T20:00:00Z"})
    with pytest.raises(PlanInvalid, match="valid_until"):
        await desk.add(too_late, AccountName.PAPER)
    plan_id = await desk.add(text(), AccountName.PAPER)
    assert [plan.plan_id for plan in await desk.list_plans(with_ended=False)] == [plan_id]


async def test_a_known_symbol_is_checked_at_once_although_a_broker_could_be_asked(pool):
    instrument = Instrument("AAA", 7, "NYSE", "USD", Decimal("0.01"), "Triple A")
    await PgReference(pool).put_instruments([instrument], "broker")
    desk = PlanDesk(pool, FixedClock(), asks_broker=True)
    with pytest.raises(PlanInvalid, match=r"100\.005"):
        await desk.add(text("100.005"), AccountName.PAPER)
    assert await desk.add(text("100.01"), AccountName.PAPER)
