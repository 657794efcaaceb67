"""Instruments, bars and sessions in PostgreSQL: exact, replaceable, never guessed."""

import random
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from tradebox.adapters.postgres import reference
from tradebox.adapters.postgres.pool import PgPool
from tradebox.adapters.postgres.reference import PgReference
from tradebox.adapters.postgres.splits import PgSplits
from tradebox.domain.market import Bar, Instrument, Session
from tradebox.ports.splits import SplitRow
from tradebox.supervision.clock import MonotonicClock

SPY = Instrument("SPY", 756733, "ARCA", "USD", Decimal("0.01"), "SPDR S&P 500")


@pytest.fixture
def pool(pg_dsn):
    return PgPool(pg_dsn, MonotonicClock())


def bar(end_ns, close="100.25"):
    price = Decimal(close)
    return Bar("SPY", 60, end_ns, price, price + 1, price - 1, price, 12_345)


@pytest.mark.asyncio
async def test_an_instrument_comes_back_as_it_was_and_can_be_replaced(pool):
    store = PgReference(pool)
    assert await store.instrument("SPY") is None
    await store.put_instruments([SPY, replace(SPY, symbol="AAA", con_id=1)], "seed")
    assert await store.instrument("SPY") == SPY
    newer = replace(SPY, increment=Decimal("0.005"), name="new")
    await store.put_instruments([newer], "broker")
    assert await store.instrument("SPY") == newer
    assert [row.symbol for row in await store.instruments()] == ["AAA", "SPY"]
    await pool.close()


@pytest.mark.asyncio
async def test_bars_are_the_last_ones_oldest_first_and_exact(pool, monkeypatch):
    monkeypatch.setattr(reference, "SLICE_ROWS", 7)
    store = PgReference(pool)
    rows = [bar(end, f"{100 + end}.0001") for end in range(1, 41)]
    shuffled = random.Random(3).sample(rows, len(rows))
    await store.put_bars(shuffled, "seed")
    assert await store.bars("SPY", 60, 5) == tuple(rows[-5:])
    assert await store.bars("SPY", 60, 3, until_ns=10) == tuple(rows[7:10])
    assert await store.bars("SPY", 300, 3) == ()
    await store.put_bars([bar(40, "7")], "vendor")
    assert (await store.bars("SPY", 60, 1))[0].close == Decimal(7)
    await pool.close()


@pytest.mark.asyncio
async def test_a_write_with_one_impossible_bar_writes_none(pool):
    store = PgReference(pool)
    with pytest.raises(Exception, match="bar_check"):
        await store.put_bars([bar(1), replace(bar(2), high=Decimal(1))], "seed")
    assert await store.bars("SPY", 60, 10) == ()
    await pool.close()


@pytest.mark.asyncio
async def test_sessions_answer_what_is_open_and_how_far_is_known(pool):
    store = PgReference(pool)
    one = Session("XNYS", "2026-11-25", 100, 200)
    two = Session("XNYS", "2026-11-27", 300, 350, is_early_close=True)
    assert await store.horizon_ns("XNYS") is None
    await store.put_sessions([two, one])
    await store.put_sessions([one])
    found = {at: await store.session_at("XNYS", at) for at in (99, 100, 199, 200, 300, 349, 350)}
    assert found == {99: None, 100: one, 199: one, 200: None, 300: two, 349: two, 350: None}
    assert await store.session_at("XLON", 100) is None
    assert await store.sessions("XNYS", 0, 1000) == (one, two)
    assert await store.sessions("XNYS", 200, 1000) == (two,)
    assert await store.horizon_ns("XNYS") == 350
    await pool.close()


@pytest.mark.asyncio
async def test_a_split_announced_by_a_person_is_a_corporate_action_on_its_eve(pool):
    store = PgReference(pool)
    await PgSplits(pool).add(SplitRow("SPY", date(2016, 1, 6), 4, 1, "person"))
    assert await store.actions("SPY", "2016-01-05", "2016-01-09") == ("split 4:1 on 2016-01-06",)
    assert await store.actions("SPY", "2016-01-06", "2016-01-09") == ()
    assert await store.actions("AAA", "2016-01-05", "2016-01-09") == ()
    async with pool.connection() as connection:
        await connection.execute(
            "INSERT INTO trade.corporate_action (symbol, ex_day, kind, amount, source)"
            " VALUES ('SPY', '2016-01-05', 'dividend', 0.25, 'person')"
        )
    found = await store.actions("SPY", "2016-01-04", "2016-01-09")
    assert found == ("dividend 0.25 on 2016-01-05", "split 4:1 on 2016-01-06")
    await pool.close()
