"""Real-time bars, bars kept up to date, and tick by tick, by their bytes and in ib_async."""

import pytest
from ib_async import IB, Stock

from support.scripted_market import OPEN_NS
from support.tws_bench import CONTRACT, eventually, ids, tws
from tradebox.sim.exchange.market_port import CLOSING, OPENING, OUTSIDE, REGULAR, SECOND_NS, Bar


def bar_of(start_s, *rest):
    """Return a real-time bar that begins so many seconds after the first."""
    return ["50", "3", "9", str(OPEN_NS // SECOND_NS + start_s), *rest]


@pytest.mark.asyncio
async def test_real_time_bars_are_of_five_seconds():
    async with tws() as bench:
        client = await bench.client()
        client.send(50, 3, 9, *CONTRACT, 5, "TRADES", 1, "")
        await client.sync()
        for price, size in ((100.0, 10), (101.0, 20), (99.5, 10)):
            bench.market.print_trade(price, size)
        assert await client.sync() == []
        bench.market.tick(5_000)
        bench.market.print_trade(98.0)
        (bar,) = await client.sync()
        assert bar == bar_of(0, "100.0", "101.0", "99.5", "99.5", "40", "100.375", "3")
        client.send(51, 1, 9)
        await client.sync()
        bench.market.tick(9_000)
        bench.market.print_trade(98.0)
        assert await client.sync() == []


@pytest.mark.parametrize("use_rth", [1, 0])
@pytest.mark.asyncio
async def test_a_real_time_bar_without_a_print_says_the_last_price(use_rth):
    async with tws() as bench:
        client = await bench.client()
        bench.market.print_trade(97.0, 10)
        client.send(50, 3, 9, *CONTRACT, 5, "TRADES", use_rth, "")
        await client.sync()
        bench.market.tick(15_000)
        bench.paper.followers.on_beat(bench.market.clock.time_ns)
        quiet = ["97.0"] * 4 + ["0", "97.0", "0"]
        assert await client.sync() == [bar_of(start_s, *quiet) for start_s in (0, 5, 10)]
        bench.market.clock.open_until_ns = OPEN_NS + 20 * SECOND_NS
        bench.market.clock.tradable_until_ns = OPEN_NS + 25 * SECOND_NS
        bench.market.tick(3_600_000)
        bench.paper.followers.on_beat(bench.market.clock.time_ns)
        starts = (15,) if use_rth else (15, 20)
        assert await client.sync() == [bar_of(start_s, *quiet) for start_s in starts]


@pytest.mark.parametrize(("use_rth", "count"), [(1, 0), (0, 1)])
@pytest.mark.asyncio
async def test_prints_around_the_session_count_where_they_are_asked_for(use_rth, count):
    async with tws() as bench:
        client = await bench.client()
        bench.market.clock.open_until_ns = bench.market.clock.tradable_until_ns = OPEN_NS
        client.send(50, 3, 9, *CONTRACT, 5, "TRADES", use_rth, "")
        await client.sync()
        bench.market.print_trade(97.0, 10, kind=OUTSIDE)
        bench.market.tick(6_000)
        bench.paper.followers.on_beat(bench.market.clock.time_ns)
        assert len(await client.sync()) == count


@pytest.mark.parametrize(
    ("kind", "size", "said"),
    [(REGULAR, 100, ""), (OPENING, 500, "O"), (CLOSING, 500, "6"), (OUTSIDE, 5, "TI")],
)
@pytest.mark.asyncio
async def test_a_print_says_its_sale_conditions(kind, size, said):
    async with tws() as bench:
        client = await bench.client()
        client.send(97, 9, *CONTRACT, "AllLast", 0, 0)
        await client.sync()
        bench.market.print_trade(97.0, size, kind=kind)
        (tick,) = await client.sync()
        assert tick[-1] == said


@pytest.mark.asyncio
async def test_a_complete_bar_is_said_without_another_print():
    async with tws() as bench:
        client = await bench.client()
        client.send(50, 3, 9, *CONTRACT, 5, "TRADES", 1, "")
        await client.sync()
        bench.market.print_trade(100.0)
        bench.market.tick(6_000)
        bench.paper.followers.on_beat(bench.market.clock.time_ns)
        assert ids(await client.sync()) == ["50"]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("Last", ["1", "101.0", "30", "0", "", "I"]),
        ("AllLast", ["2", "101.0", "30", "0", "", "I"]),
        ("BidAsk", ["3", "100.5", "100.7", "1000", "1000", "0"]),
        ("MidPoint", ["4", "100.6"]),
    ],
)
@pytest.mark.asyncio
async def test_tick_by_tick_says_one_kind_of_event(kind, fields):
    async with tws() as bench:
        client = await bench.client()
        client.send(97, 9, *CONTRACT, kind, 0, 0)
        await client.sync()
        bench.market.show(100.5, 100.7)
        bench.market.print_trade(101.0, 30)
        (tick,) = await client.sync()
        assert tick[:2] == ["99", "9"]
        assert [tick[2], *tick[4:]] == fields
        client.send(98, 9)
        await client.sync()
        bench.market.print_trade(101.0, 30)
        assert await client.sync() == []


@pytest.mark.asyncio
async def test_unknown_stocks_and_kinds_are_refused():
    async with tws() as bench:
        client = await bench.client()
        unknown = ["0", "NONE", *CONTRACT[2:]]
        client.send(50, 3, 9, *unknown, 5, "TRADES", 1, "")
        client.send(97, 9, *unknown, "Last", 0, 0)
        client.send(97, 9, *CONTRACT, "Never", 0, 0)
        assert [fields[3] for fields in await client.sync()] == ["200", "200", "321"]


@pytest.mark.asyncio
async def test_ib_async_understands_all_three():
    async with tws() as bench:
        bench.market.bar_rows = [Bar(OPEN_NS - 60 * SECOND_NS, 10**8, 10**8, 10**8, 10**8, 500)]
        ib = IB()
        await ib.connectAsync(*bench.address, clientId=3)
        try:
            (stock,) = await ib.qualifyContractsAsync(Stock("AAPL", "SMART", "USD"))
            live = ib.reqRealTimeBars(stock, 5, "TRADES", True)
            ticks = ib.reqTickByTickData(stock, "AllLast")
            kept = await ib.reqHistoricalDataAsync(
                stock, "", "1 D", "1 min", "TRADES", True, keepUpToDate=True
            )
            count, seen = len(kept), []
            ticks.updateEvent += lambda ticker: seen.extend(ticker.tickByTicks)
            bench.market.tick(61_000)
            bench.market.print_trade(100.5, 70)
            bench.market.tick(6_000)
            await eventually(lambda: live and seen and len(kept) > count)
            assert (live[-1].close, live[-1].volume) == (100.5, 70)
            assert seen[-1].price == 100.5
            assert (kept[-1].close, kept[-1].volume) == (100.5, 70)
        finally:
            ib.disconnect()
