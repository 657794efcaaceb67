"""Each fault, shown by its bytes on the wire."""

import asyncio
from pathlib import Path

import pytest

from support.tws_bench import CONTRACT, RawClient, ids, tws
from tradebox.sim.gateway.faults import CATALOGUE, Faults


async def assert_silent(client):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await client.reader.readexactly(1)


@pytest.mark.asyncio
async def test_mute_request_answers_everything_but_that():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("mute_request", message_id=61)
        client.send(61, 1)
        client.send(5, 1)
        assert ids(await client.sync()) == ["53"]
        bench.faults.clear("mute_request")
        client.send(61, 1)
        assert ids(await client.sync()) == ["62"]


@pytest.mark.asyncio
async def test_mute_handshake_accepts_and_says_nothing():
    async with tws() as bench:
        bench.faults.set("mute_handshake", count=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await RawClient.open(bench.address)
        await bench.client()


@pytest.mark.asyncio
async def test_refuse_connection_closes_before_the_handshake():
    async with tws() as bench:
        bench.faults.set("refuse_connection", count=1)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await RawClient.open(bench.address)
        await bench.client()


@pytest.mark.asyncio
async def test_client_id_taken_is_326_and_a_close():
    async with tws() as bench:
        bench.faults.set("client_id_taken", client_id=0)
        await bench.client(4)
        client = await bench.client(start=False)
        client.send(71, 2, 0, "")
        assert (await client.read())[3] == "326"
        await client.until_closed()


@pytest.mark.asyncio
async def test_half_open_keeps_the_socket_and_loses_what_is_sent():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("half_open", client_id=1)
        client.place(1, "BUY", 10, "MKT")
        await assert_silent(client)
        assert bench.bench.order(1, client=1) is None
        assert not client.reader.at_eof()
        bench.faults.clear()
        other = await bench.client(2)
        assert await other.sync() == []


@pytest.mark.asyncio
async def test_disconnect_resets_the_connections_of_one_account():
    async with tws() as bench:
        paper = await bench.client()
        live = await RawClient.open(bench.live_address)
        bench.clients.append(live)
        bench.faults.set("disconnect", account="paper")
        await paper.until_closed()
        assert await live.sync() == []


@pytest.mark.parametrize("code", [1100, 1101, 1102, 2103])
@pytest.mark.asyncio
async def test_notice_sends_a_code_as_often_as_told(code):
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("notice", code=code, repeats=3)
        messages = await client.sync()
        assert [fields[:4] for fields in messages] == [["4", "2", "-1", str(code)]] * 3
        assert all(fields[4] for fields in messages)
        assert all(not fault["active"] for fault in bench.faults.listing())


@pytest.mark.asyncio
async def test_id_rollback_says_an_id_that_is_used():
    async with tws() as bench:
        client = await bench.client()
        for order_id in (1, 2, 3):
            client.place(order_id, "BUY", 1, "LMT", limit="99.0")
        await client.sync()
        bench.faults.set("id_rollback", by=2)
        client.send(8, 1, 1)
        assert await client.until(9) == ["9", "1", "2"]


@pytest.mark.asyncio
async def test_drop_ack_takes_the_order_and_says_nothing():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("drop_ack", order_id=1)
        client.place(1, "BUY", 10, "LMT", limit="99.0")
        client.place(2, "BUY", 10, "LMT", limit="99.0")
        messages = await client.sync()
        assert [(fields[0], fields[1]) for fields in messages] == [("5", "2"), ("3", "2")]
        assert bench.bench.order(1, client=1).status == "Submitted"
        bench.market.print_trade(99.0)
        assert "11" in ids(await client.sync())


@pytest.mark.asyncio
async def test_delay_ack_says_everything_later_in_order():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("delay_ack", delay_s=0.15, count=1)
        client.place(1, "BUY", 10, "MKT")
        await assert_silent(client)
        assert bench.bench.order(1, client=1).status == "Filled"
        await client.until(59)
        assert ids(client.messages)[-6:] == ["5", "3", "11", "5", "3", "59"]


@pytest.mark.parametrize("is_lost", [True, False])
@pytest.mark.asyncio
async def test_close_after_order_leaves_the_client_without_an_answer(is_lost):
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("close_after_order", lost=is_lost)
        client.place(1, "BUY", 10, "LMT", limit="99.0")
        await client.until_closed()
        assert (bench.bench.order(1, client=1) is None) is is_lost


@pytest.mark.asyncio
async def test_perm_id_zero_comes_with_the_ack_only():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("perm_id_zero")
        client.place(1, "BUY", 10, "LMT", limit="99.0")
        opened, status = await client.sync()
        assert (opened[25], status[6]) == ("0", "0")
        bench.market.print_trade(99.0)
        assert (await client.until(3))[6] != "0"


@pytest.mark.asyncio
async def test_double_perm_id_is_the_one_of_the_order_before():
    async with tws() as bench:
        client = await bench.client()
        client.place(1, "BUY", 10, "LMT", limit="99.0")
        first = await client.sync()
        bench.faults.set("double_perm_id", order_id=2)
        client.place(2, "BUY", 10, "LMT", limit="98.0")
        opened, status = await client.sync()
        assert (opened[25], status[6]) == (first[0][25], first[1][6])
        bench.market.print_trade(98.0)
        filled = [one for one in await client.sync() if one[0] == "3" and one[1] == "2"]
        assert filled[0][6] not in ("0", first[1][6])


@pytest.mark.asyncio
async def test_oca_account_refuses_an_order_of_a_group_without_an_account():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("oca_account")
        client.place(1, "BUY", 10, "LMT", limit="99.0", oca_group="g")
        assert [fields[2:4] for fields in await client.sync()] == [["1", "10224"]]
        client.place(2, "BUY", 10, "LMT", limit="99.0", oca_group="g", account="SIM1234567P")
        client.place(3, "BUY", 10, "LMT", limit="99.0")
        assert ids(await client.sync()) == ["5", "3", "5", "3"]


@pytest.mark.asyncio
async def test_duplicate_status_repeats_each():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("duplicate_status", times=4)
        client.place(1, "BUY", 10, "LMT", limit="99.0")
        messages = await client.sync()
        assert ids(messages) == ["5", "3", "3", "3", "3"]
        assert messages[1:] == [messages[1]] * 4


@pytest.mark.asyncio
async def test_omit_fill_status_leaves_the_execution_alone():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("omit_fill_status")
        client.place(1, "BUY", 10, "MKT")
        assert ids(await client.sync()) == ["5", "3", "11", "5", "59"]


@pytest.mark.asyncio
async def test_status_before_fill_turns_the_order_round():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("status_before_fill")
        client.place(1, "BUY", 10, "MKT")
        assert ids(await client.sync()) == ["5", "3", "5", "3", "11", "59"]


@pytest.mark.asyncio
async def test_reject_child_leaves_the_parent_unprotected():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("reject_child")
        client.place(1, "BUY", 10, "LMT", limit="99.0", transmit="0")
        client.place(2, "SELL", 10, "STP", trigger="98.0", parent_id=1)
        messages = await client.sync()
        assert ids(messages[-3:]) == ["4", "5", "3"]
        assert messages[-3][2:4] == ["2", "201"]
        assert messages[-1][2] == "Inactive"
        client.send(5, 1)
        open_ids = [fields[1] for fields in await client.sync() if fields[0] == "5"]
        assert open_ids == ["1"]


@pytest.mark.asyncio
async def test_refuse_order_and_refuse_modify_say_their_code():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("refuse_order", code=463, text="No.", count=1)
        client.place(1, "BUY", 10, "LMT", limit="99.0")
        assert (await client.sync())[0][2:5] == ["1", "463", "No."]
        client.place(2, "BUY", 10, "LMT", limit="99.0")
        await client.sync()
        bench.faults.set("refuse_modify", code=10327)
        client.place(2, "BUY", 10, "LMT", limit="98.0")
        assert (await client.sync())[0][2:4] == ["2", "10327"]
        assert bench.bench.order(2, client=1).ticket.limit_micros == 99_000_000


@pytest.mark.asyncio
async def test_preset_tif_turns_gtc_to_day_with_10349():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("preset_tif")
        client.place(1, "SELL", 10, "STP", trigger="98.0", tif="GTC")
        messages = await client.sync()
        assert messages[0][3] == "10349"
        assert messages[1][18] == "DAY"


@pytest.mark.asyncio
async def test_read_only_refuses_orders_and_cancels():
    async with tws() as bench:
        client = await bench.client()
        client.place(1, "BUY", 10, "LMT", limit="99.0")
        await client.sync()
        bench.faults.set("read_only")
        client.place(2, "BUY", 10, "MKT")
        client.send(4, 1, 1, "")
        client.send(58, 1)
        assert [fields[2:4] for fields in await client.sync()] == [
            ["2", "321"],
            ["1", "321"],
            ["-1", "321"],
        ]
        assert bench.bench.order(1, client=1).status == "Submitted"


@pytest.mark.asyncio
async def test_cancel_race_says_filled_before_the_fill():
    async with tws() as bench:
        client = await bench.client()
        client.place(1, "BUY", 10, "LMT", limit="99.0")
        await client.sync()
        bench.faults.set("cancel_race")
        client.send(4, 1, 1, "")
        messages = await client.sync()
        assert ids(messages) == ["4", "11", "5", "3", "59"]
        assert messages[0][3] == "10148"
        assert "state: Filled" in messages[0][4]


@pytest.mark.asyncio
async def test_ignore_cancel_leaves_the_order():
    async with tws() as bench:
        client = await bench.client()
        client.place(1, "BUY", 10, "LMT", limit="99.0")
        await client.sync()
        bench.faults.set("ignore_cancel", count=1)
        client.send(4, 1, 1, "")
        assert await client.sync() == []
        client.send(4, 1, 1, "")
        assert (await client.sync())[-1][3] == "202"


@pytest.mark.asyncio
async def test_market_data_can_be_refused_and_frozen():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("refuse_market_data", symbol="AAPL", code=10197, count=1)
        client.send(1, 11, 5, *CONTRACT, 0, "", 0, 0, "")
        assert (await client.sync())[0][2:4] == ["5", "10197"]
        client.send(1, 11, 5, *CONTRACT, 0, "", 0, 0, "")
        await client.sync()
        bench.faults.set("freeze_market_data", symbol="AAPL")
        bench.market.show(98.0, 98.1)
        assert await client.sync() == []
        bench.faults.clear("freeze_market_data")
        bench.market.show(97.0, 97.1)
        assert "1" in ids(await client.sync())


def test_a_fault_is_narrowed_to_a_client_zero_included():
    faults = Faults()
    faults.set("drop_ack", client_id=0)
    assert not faults.take("drop_ack", account="paper", client_id=4, order_id=1)
    assert faults.take("drop_ack", account="paper", client_id=0, order_id=1)


def test_every_fault_is_shown_on_the_wire_here():
    folder = Path(__file__).parent
    source = "".join(path.read_text() for path in sorted(folder.glob("test_*faults.py")))
    missing = [spec.name for spec in CATALOGUE if f'faults.set("{spec.name}"' not in source]
    assert not missing
