"""What each request is answered with, on the wire."""

import pytest

from support.scripted_market import OPEN_NS, micros
from support.tws_bench import CONTRACT, ids, tws
from tradebox.sim.exchange.market_port import SECOND_NS, Bar


@pytest.mark.asyncio
async def test_a_bracket_on_the_wire():
    async with tws() as bench:
        client = await bench.client()
        client.place(1, "BUY", 100, "LMT", limit="99.5", transmit="0")
        assert await client.sync() == []
        client.place(2, "SELL", 100, "STP", trigger="98.0", parent_id=1, tif="GTC")
        messages = await client.sync()
        assert ids(messages) == ["5", "3", "5", "3"]
        assert [len(fields) for fields in messages] == [135, 12, 135, 12]
        parent, child = messages[1], messages[3]
        assert (parent[1:3], child[1:3]) == (["1", "Submitted"], ["2", "PreSubmitted"])
        assert (child[7], child[10]) == ("1", "child,trigger")
        bench.market.print_trade(99.5)
        messages = await client.sync()
        assert ids(messages)[:4] == ["11", "5", "3", "59"]
        assert len(messages[0]) == 32
        assert messages[-1][10] == "trigger"


@pytest.mark.asyncio
async def test_lists_end_with_their_end_marker():
    async with tws() as bench:
        client = await bench.client()
        client.place(1, "BUY", 10, "LMT", limit="99.0")
        client.place(2, "BUY", 10, "MKT")
        await client.until(3, "Filled")
        await client.sync()
        for request, expected in [
            ([5, 1], ["5", "3", "53"]),
            ([16, 1], ["5", "3", "53"]),
            ([99, 0], ["101", "102"]),
            ([7, 3, 9, 0, "", "", "", "", "", ""], ["11", "59", "55"]),
            ([61, 1], ["61", "62"]),
            ([74, 1, 4, "", ""], ["71", "72"]),
        ]:
            client.send(*request)
            messages = await client.sync()
            assert ids(messages) == expected
            if request[0] == 99:
                assert len(messages[0]) == 100


@pytest.mark.asyncio
async def test_a_176_client_gets_one_field_more_in_orders_and_one_less_in_executions():
    async with tws() as bench:
        client = await bench.client(high=176)
        values = [""] * 115
        values[0:2] = ["3", "1"]
        values[2:14] = CONTRACT
        values[16:19] = ["BUY", "10", "MKT"]
        values[27] = "1"
        for index in (82, 85, 90):
            values[index] = "0"
        client.send(*values)
        await client.until(59)
        sizes = {fields[0]: len(fields) for fields in client.messages}
        assert (sizes["5"], sizes["11"]) == (136, 31)
        client.send(99, 0)
        assert len(await client.until(101)) == 101


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (["0", "", "", "", "", "", ""], 2),
        (["1", "", "", "", "", "", ""], 1),
        (["0", "SIM1234567P", "", "AAPL", "STK", "SMART", "BUY"], 1),
        (["0", "", "", "", "", "", "SLD"], 1),
        (["0", "OTHER", "", "", "", "", ""], 0),
        (["0", "", "", "MSFT", "", "", ""], 0),
        (["0", "", "20250604-09:59:00", "", "", "", ""], 2),
        (["0", "", "20250604 23:00:00", "", "", "", ""], 0),
    ],
)
@pytest.mark.asyncio
async def test_executions_pass_a_filter(filters, count):
    async with tws() as bench:
        first, second = await bench.client(1), await bench.client(2)
        first.place(1, "BUY", 10, "MKT")
        await first.until(59)
        second.place(1, "SELL", 10, "MKT")
        await second.until(59)
        first.send(7, 3, 77, *filters)
        messages = await first.sync()
        assert ids(messages) == ["11", "59"] * count + ["55"]


@pytest.mark.asyncio
async def test_orders_are_pushed_to_their_owner_and_client_zero_only():
    async with tws() as bench:
        zero, owner, other = [await bench.client(number) for number in (0, 1, 2)]
        owner.place(1, "BUY", 10, "MKT")
        await owner.until(59)
        assert "11" in ids(await zero.sync())
        assert await other.sync() == []
        other.send(4, 1, 1, "")
        assert "10147" in await other.until(4)


@pytest.mark.asyncio
async def test_the_two_accounts_know_nothing_of_each_other():
    async with tws() as bench:
        paper = await bench.client(1)
        live = type(paper)
        live = await live.open(bench.live_address, 1)
        bench.clients.append(live)
        paper.place(1, "BUY", 10, "MKT")
        await paper.until(59)
        live.send(61, 1)
        assert ids(await live.sync()) == ["62"]
        assert ["15", "1", "SIM1234567L"] in live.messages


@pytest.mark.asyncio
async def test_account_updates_positions_and_profit_follow_a_fill():
    async with tws() as bench:
        client = await bench.client()
        client.send(61, 1)
        client.send(6, 2, 1, "SIM1234567P")
        client.send(92, 8, "SIM1234567P", "")
        client.send(94, 9, "SIM1234567P", "", 265598)
        client.send(62, 1, 5, "All", "NetLiquidation,BuyingPower")
        first = await client.sync()
        assert ["54", "1", "SIM1234567P"] in first
        assert [fields[4] for fields in first if fields[0] == "63"] == [
            "NetLiquidation",
            "BuyingPower",
        ]
        assert ["94", "8", "0.0", "0.0", "0.0"] in first
        client.place(1, "BUY", 100, "MKT")
        await client.until(8)
        position = next(fields for fields in client.messages if fields[0] == "61")
        assert (len(position), position[-2:]) == (16, ["100", "100.02"])
        portfolio = next(fields for fields in client.messages if fields[0] == "7")
        assert len(portfolio) == 20
        assert "" not in portfolio[13:]
        net = [f for f in client.messages if f[0] == "6" and f[2] == "NetLiquidation"]
        assert (net[0][3], net[-1][3]) == ("100000.00", "99998.00")


@pytest.mark.asyncio
async def test_market_data_streams_changes_and_sentinels():
    async with tws() as bench:
        client = await bench.client()
        request = [1, 11, 5, *CONTRACT, 0, "", 0, 0, ""]
        client.send(*request)
        first = await client.sync()
        assert ids(first)[:2] == ["81", "58"]
        assert ["1", "6", "5", "1", "99.99", "1000", "1"] in first
        bench.market.show(99.98, 100.01)
        assert await client.sync() == [["1", "6", "5", "1", "99.98", "1000", "1"]]
        bench.market.show(99.98, 100.01, size=700)
        assert ids(await client.sync()) == ["2", "2"]
        bench.market.print_trade(100.0, 12)
        assert ["1", "6", "5", "4", "100.0", "12", "0"] in await client.sync()
        bench.market.show(0, 0)
        assert ["1", "6", "5", "1", "-1.0", "0", "0"] in await client.sync()
        client.send(*request)
        assert "322" in await client.until(4)
        client.send(2, 2, 5)
        assert await client.sync() == []
        bench.market.show(99.0, 100.0)
        assert await client.sync() == []
        client.send(2, 2, 5)
        assert "300" in await client.until(4)


@pytest.mark.asyncio
async def test_a_snapshot_ends_and_an_unknown_stock_is_200():
    async with tws() as bench:
        client = await bench.client()
        client.send(1, 11, 6, *CONTRACT, 0, "", 1, 0, "")
        await client.until(57)
        unknown = ["0", "NONE", "STK", *CONTRACT[3:]]
        client.send(1, 11, 7, *unknown, 0, "", 0, 0, "")
        assert "200" in await client.until(4)
        client.send(9, 8, 8, *unknown, 0, "", "", "")
        assert "200" in await client.until(4)


@pytest.mark.asyncio
async def test_contract_details_symbols_and_rules():
    async with tws() as bench:
        client = await bench.client()
        client.send(9, 8, 3, "0", "BRK", "STK", *CONTRACT[3:], 0, "", "", "")
        details = await client.until(10)
        assert details[12:14] == ["72063691", "0.05"]
        assert details[19] == "BERKSHIRE \\xc9 CO"
        rule = next(field for field in details if field == "27,27").split(",")[0]
        await client.until(52)
        client.send(91, rule)
        assert await client.until(93) == ["93", "27", "1", "0", "0.05"]
        client.send(91, 999)
        assert "321" in await client.until(4)
        client.send(81, 4, "a")
        samples = await client.until(79)
        assert samples[1:5] == ["4", "1", "265598", "AAPL"]


@pytest.mark.asyncio
async def test_historical_bars_daily_intraday_and_refusals():
    async with tws() as bench:
        price = micros(100)
        bench.market.bar_rows = [
            Bar(OPEN_NS - back * 60 * SECOND_NS, price, price, price, price, 500)
            for back in range(9, -1, -1)
        ]
        client = await bench.client()
        tail = ["1", "TRADES", "1", "0", ""]
        client.send(20, 4, *CONTRACT, 0, "", "1 min", "300 S", *tail)
        bars = await client.until(17)
        assert bars[4] == "5"
        assert bars[5:12] == [
            "20250604 09:55:00 US/Eastern", "100.0", "100.0", "100.0", "100.0", "500", "100.0",
        ]  # fmt: skip
        client.send(20, 5, *CONTRACT, 0, "20250604-13:55:00", "1 min", "60 S", *tail)
        assert (await client.until(17))[5] == "20250604 09:54:00 US/Eastern"
        for same in ("20250604 13:55:00 UTC", "20250604 09:55:00", "20250604 09:55:00 US/Eastern"):
            client.send(20, 5, *CONTRACT, 0, same, "1 min", "60 S", *tail)
            assert (await client.until(17))[5] == "20250604 09:54:00 US/Eastern"
        client.send(20, 6, *CONTRACT, 0, "", "1 day", "2 D", *tail)
        assert (await client.until(17))[5] == "20250604"
        for bad in (["1 parsec", "1 D"], ["1 min", "x"], ["0 min", "1 D"]):
            client.send(20, 7, *CONTRACT, 0, "", *bad, *tail)
            assert "321" in await client.until(4)
        client.send(20, 7, *CONTRACT, 0, "2025-nonsense", "1 min", "1 D", *tail)
        assert "321" in await client.until(4)
        client.send(87, 9, *CONTRACT, 0, 1, "TRADES", 1)
        assert await client.until(88) == ["88", "9", "20250604-09:30:00"]
        bench.market.bar_rows = []
        client.send(87, 9, *CONTRACT, 0, 1, "TRADES", 1)
        assert "162" in await client.until(4)
        client.send(20, 8, *CONTRACT, 0, "", "1 min", "1 D", *tail)
        assert "162" in await client.until(4)


@pytest.mark.asyncio
async def test_market_time_what_if_and_global_cancel():
    async with tws() as bench:
        client = await bench.client()
        client.send(49, 1)
        assert await client.until(49) == ["49", "1", str(bench.market.clock.time_ns // SECOND_NS)]
        values = [""] * 114
        values[0:2] = ["3", "9"]
        values[2:14] = CONTRACT
        values[16:19] = ["BUY", "100", "MKT"]
        values[27], values[81], values[84], values[89] = "1", "0", "1", "0"
        client.send(*values)
        preview = await client.until(5)
        assert (len(preview), preview[92], preview[97]) == (135, "1", "5000.00")
        client.place(10, "BUY", 10, "LMT", limit="99.0")
        await client.until(3, "Submitted")
        client.send(58, 1)
        assert "202" in await client.until(4)
        client.send(5, 1)
        assert ids(await client.sync()) == ["53"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({16: "SLEL"}, "321"),
        ({17: "0.5"}, "10243"),
        ({17: "-3"}, "320"),
        ({18: "REL"}, "387"),
        ({18: "TRAIL"}, "321"),
        ({21: "GTD"}, "321"),
        ({21: "FOK"}, "201"),
        ({23: "DU999"}, "435"),
        ({1: "2548181185"}, "320"),
        ({19: "inf", 18: "LMT"}, "320"),
        ({27: "maybe"}, "320"),
    ],
)
@pytest.mark.asyncio
async def test_orders_that_cannot_be_are_refused_by_their_code(changes, code):
    async with tws() as bench:
        client = await bench.client()
        values = [""] * 114
        values[0:2] = ["3", "9"]
        values[2:14] = CONTRACT
        values[16:19] = ["BUY", "100", "MKT"]
        values[27], values[81], values[84], values[89] = "1", "0", "0", "0"
        for index, value in changes.items():
            values[index] = value
        client.send(*values)
        assert (await client.until(4))[3] == code
        client.send(16, 1)
        assert ids(await client.sync()) == ["53"]


@pytest.mark.parametrize(("mode", "statuses"), [("said", 2), ("omitted", 1)])
@pytest.mark.asyncio
async def test_the_status_of_an_instant_fill_may_be_left_out(mode, statuses):
    async with tws(instant_fill_status=mode) as bench:
        client = await bench.client()
        client.place(1, "BUY", 10, "MKT")
        messages = await client.sync()
        assert ids(messages).count("3") == statuses
        assert {"11", "59"} <= set(ids(messages))
        client.place(2, "BUY", 10, "LMT", limit="99.0")
        await client.sync()
        bench.market.print_trade(99.0)
        assert "Filled" in await client.until(3, "Filled")


@pytest.mark.asyncio
async def test_hours_know_holidays_and_early_closes():
    async with tws() as bench:
        bench.market.clock.time_ns = 1_751_472_000 * SECOND_NS  # 2025-07-02
        client = await bench.client()
        client.send(9, 8, 3, *CONTRACT, 0, "", "", "")
        details = await client.until(10)
        liquid = next(one for one in details if one.startswith("20250702:0930"))
        assert liquid.split(";")[:4] == [
            "20250702:0930-20250702:1600",
            "20250703:0930-20250703:1300",
            "20250704:CLOSED",
            "20250705:CLOSED",
        ]
