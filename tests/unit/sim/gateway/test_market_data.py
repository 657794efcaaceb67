"""Types of market data, halts and past ticks, on the wire and as the libraries read them."""

import ib_async
import pytest

from support.scripted_market import OPEN_NS
from support.tws_bench import CONTRACT, eventually, ids, tws
from tradebox.sim.exchange.market_port import SECOND_NS

QUARTER_MS = 15 * 60 * 1000
REQUEST = [*CONTRACT, 0, "", 0, 0, ""]
PAST = [*CONTRACT, 0]


def ticks(messages, request_id=5):
    """Return type and value of each tick message of a request."""
    return [
        (int(fields[3]), fields[4])
        for fields in messages
        if fields[0] in ("1", "2", "45", "46") and fields[2] == str(request_id)
    ]


async def streaming(bench, data_type=0, request_id=5):
    client = await bench.client()
    if data_type:
        client.send(59, 1, data_type)
    client.send(1, 11, request_id, *REQUEST)
    return client, await client.sync()


@pytest.mark.asyncio
async def test_live_data_say_the_day_and_follow_its_range():
    async with tws() as bench:
        bench.market.print_trade(100.0, 70)
        client, first = await streaming(bench)
        assert ["58", "1", "5", "1"] in first
        assert (14, "100.0") in ticks(first)
        assert (8, "70") in ticks(first)
        assert (49, "0.0") in ticks(first)
        assert {(6, "100.0"), (7, "100.0")} <= set(ticks(first))
        bench.market.print_trade(101.0, 30)
        said = ticks(await client.sync())
        assert {(4, "101.0"), (8, "100"), (6, "101.0")} <= set(said)
        assert 7 not in dict(said)


@pytest.mark.parametrize(("wanted", "said"), [(3, "3"), (4, "3")])
@pytest.mark.asyncio
async def test_delayed_data_are_a_quarter_of_an_hour_old(wanted, said):
    async with tws(delayed_request="delayed") as bench:
        bench.market.show(90.0, 90.1)
        bench.market.print_trade(90.0, 10)
        bench.market.tick(QUARTER_MS)
        bench.market.show(95.0, 95.1)
        bench.market.print_trade(95.0, 20)
        bench.market.tick(60_000)
        client, first = await streaming(bench, wanted)
        assert ["58", "1", "5", said] in first
        assert {(66, "90.0"), (67, "90.1"), (68, "90.0"), (74, "10"), (90, "0.0")} <= set(
            ticks(first)
        )
        assert "4" not in ids(first)
        bench.market.show(97.0, 97.1)
        bench.market.print_trade(97.0, 5)
        assert ticks(await client.sync()) == []
        bench.market.tick(QUARTER_MS - 50_000)
        bench.market.print_trade(99.0, 1)
        said_now = dict(ticks(await client.sync()))
        assert (said_now[66], said_now[68], said_now[74]) == ("95.0", "95.0", "30")
        assert "97.0" not in said_now.values()
        assert set(said_now) <= {66, 67, 68, 69, 70, 74, 88}


@pytest.mark.asyncio
async def test_delayed_data_come_by_time_alone():
    async with tws(delayed_request="delayed") as bench:
        bench.market.print_trade(90.0, 10)
        client, _ = await streaming(bench, 3)
        bench.market.tick(QUARTER_MS + 1)
        while (68, "90.0") not in ticks([await client.read()]):
            pass


@pytest.mark.asyncio
async def test_frozen_is_said_when_the_market_is_closed_and_a_bad_type_is_refused():
    async with tws(delayed_request="delayed") as bench:
        client, first = await streaming(bench, 2)
        assert ["58", "1", "5", "1"] in first
        bench.market.clock.open_until_ns = bench.market.clock.time_ns
        client.send(1, 11, 6, *REQUEST)
        assert ["58", "1", "6", "2"] in await client.sync()
        client.send(59, 1, 4)
        client.send(1, 11, 7, *REQUEST)
        assert ["58", "1", "7", "4"] in await client.sync()
        client.send(59, 1, 9)
        assert (await client.sync())[0][3] == "321"


@pytest.mark.asyncio
async def test_live_data_go_before_delayed_ones_unless_the_variant_says_otherwise():
    async with tws() as bench:
        _, first = await streaming(bench, 3)
        assert ["58", "1", "5", "1"] in first
        assert not {kind for kind, _ in ticks(first)} & set(range(66, 91))


@pytest.mark.asyncio
async def test_a_halt_is_tick_49_at_once_and_at_the_start():
    async with tws() as bench:
        client, _ = await streaming(bench)
        bench.market.halt("AAPL")
        assert ticks(await client.sync()) == [(49, "1.0")]
        client.send(1, 11, 6, *REQUEST)
        assert (49, "1.0") in ticks(await client.sync(), 6)
        bench.market.halt("AAPL", is_halted=False)
        messages = await client.sync()
        assert ticks(messages, 5) == ticks(messages, 6) == [(49, "0.0")]


async def three_prints(bench):
    for price, size in ((99.0, 10), (99.5, 20), (99.7, 30)):
        bench.market.tick(2_000)
        bench.market.print_trade(price, size)


@pytest.mark.asyncio
async def test_past_ticks_of_three_kinds():
    async with tws() as bench:
        await three_prints(bench)
        client = await bench.client()
        start = "20250604-14:00:00"
        client.send(96, 3, *PAST, start, "", 2, "TRADES", 1, 0, "")
        second = OPEN_NS // SECOND_NS
        assert await client.until(98) == [
            "98", "3", "2",
            str(second + 2), "0", "99.0", "10", "NASDAQ", "I",
            str(second + 4), "0", "99.5", "20", "NASDAQ", "I",
            "1",
        ]  # fmt: skip
        client.send(96, 4, *PAST, "", "20250604 10:00:05 US/Eastern", 1, "BID_ASK", 1, 0, "")
        assert await client.until(97) == [
            "97", "4", "1", str(second + 4), "0", "99.99", "100.01", "1000", "1000", "1",
        ]  # fmt: skip
        client.send(96, 5, *PAST, start, "", 1, "MIDPOINT", 1, 0, "")
        assert await client.until(96) == ["96", "5", "1", str(second + 2), "", "100.0", "0", "1"]


@pytest.mark.asyncio
async def test_past_ticks_never_cut_a_second():
    async with tws() as bench:
        bench.market.tick(5_000)
        for price in (99.0, 99.1, 99.2):
            bench.market.print_trade(price)
        bench.market.tick(5_000)
        bench.market.print_trade(99.3)
        client = await bench.client()
        client.send(96, 3, *PAST, "20250604-14:00:00", "", 2, "TRADES", 1, 0, "")
        assert (await client.until(98))[2] == "3"
        client.send(96, 3, *PAST, "", "20250604-14:00:07", 1, "TRADES", 1, 0, "")
        assert (await client.until(98))[2] == "3"
        client.send(96, 3, *PAST, "", "20250604-13:00:00", 1, "TRADES", 1, 0, "")
        assert await client.until(98) == ["98", "3", "0", "1"]


@pytest.mark.parametrize(
    "fields",
    [
        ["20250604-14:00:00", "20250604-15:00:00", 5, "TRADES"],
        ["", "", 5, "TRADES"],
        ["20250604-14:00:00", "", 1_001, "TRADES"],
        ["20250604-14:00:00", "", 0, "TRADES"],
        ["20250604-14:00:00", "", 5, "RUMOURS"],
        ["soon", "", 5, "TRADES"],
    ],
)
@pytest.mark.asyncio
async def test_past_ticks_that_cannot_be_are_321(fields):
    async with tws() as bench:
        client = await bench.client()
        client.send(96, 3, *PAST, *fields, 1, 0, "")
        (error,) = await client.sync()
        assert error[2:4] == ["3", "321"]


@pytest.mark.asyncio
async def test_ib_async_reads_past_ticks_delayed_data_and_halts():
    async with tws(delayed_request="delayed") as bench:
        await three_prints(bench)
        ib = ib_async.IB()
        await ib.connectAsync(*bench.address, clientId=3)
        (stock,) = await ib.qualifyContractsAsync(ib_async.Stock("AAPL", "SMART", "USD"))
        begin = "20250604 10:00:00 US/Eastern"
        for what, kind in (
            ("TRADES", ib_async.HistoricalTickLast),
            ("BID_ASK", ib_async.HistoricalTickBidAsk),
            ("MIDPOINT", ib_async.HistoricalTick),
        ):
            found = await ib.reqHistoricalTicksAsync(stock, begin, "", 10, what, True)
            assert [type(one) for one in found] == [kind] * 3
        live = ib.reqMktData(stock)
        await eventually(lambda: live.last == 99.7 and live.marketDataType == 1)
        bench.market.halt("AAPL")
        await eventually(lambda: live.halted == 1)
        bench.market.tick(QUARTER_MS)
        other = ib_async.IB()
        await other.connectAsync(*bench.address, clientId=4)
        other.reqMarketDataType(3)
        delayed = other.reqMktData(stock)
        await eventually(lambda: delayed.marketDataType == 3 and delayed.last == 99.7)
        for client in (ib, other):
            client.disconnect()
