"""Each fault of the broker behind the gateway, and of data, shown by its bytes on the wire."""

import asyncio

import pytest

from support.tws_bench import CONTRACT, RawClient, eventually, ids, tws


def codes(messages):
    return [fields[3] for fields in messages if fields[0] == "4"]


async def with_fill(bench, quantity=100):
    client = await bench.client()
    client.place(1, "BUY", quantity, "MKT")
    await client.sync()
    return client


@pytest.mark.asyncio
async def test_omit_end_leaves_a_list_without_its_end():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("omit_end", message_id=55)
        client.send(7, 3, 5, 0, "", "", "", "", "", "")
        client.send(5, 1)
        assert ids(await client.sync()) == ["53"]


@pytest.mark.parametrize(
    ("pushes", "during", "after"),
    [("wait", [], ["4", "5", "3"]), ("lose", [], ["4"]), ("pass", ["5", "3"], ["4"])],
)
@pytest.mark.asyncio
async def test_link_loss_says_1100_and_what_is_pushed_meanwhile_waits(pushes, during, after):
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("link_loss", account="paper", code=1101, pushes=pushes)
        client.place(1, "BUY", 10, "LMT", limit="99.0")
        messages = await client.sync()
        assert codes(messages) == ["1100"]
        assert ids(messages)[1:] == during
        assert bench.bench.order(1, client=1).status == "Submitted"
        bench.faults.clear("link_loss")
        bench.paper._scripts.look()
        messages = await client.sync()
        assert ids(messages) == after
        assert codes(messages) == ["1101"]


@pytest.mark.asyncio
async def test_link_loss_ends_by_itself():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.now_ns = bench.market.clock.now_ns
        bench.faults.set("link_loss", for_s=30.0)
        bench.market.tick(40_000)
        await client.until(4, 1102)


@pytest.mark.asyncio
async def test_nightly_restart_takes_no_connection_for_a_while():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("nightly_restart", down_s=0.3)
        await client.until(4, 1100)
        await client.until_closed()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await RawClient.open(bench.address)
        await eventually(lambda: not bench.paper._scripts.is_down)
        await bench.client(2)


@pytest.mark.asyncio
async def test_id_jump_says_an_id_far_ahead():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("id_jump", by=500)
        client.send(8, 1, 1)
        assert await client.until(9) == ["9", "1", "501"]


@pytest.mark.asyncio
async def test_reorder_status_says_the_last_status_first():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("reorder_status")
        client.place(1, "BUY", 10, "MKT")
        statuses = [fields[2] for fields in await client.sync() if fields[0] == "3"]
        assert statuses == ["Filled", "PreSubmitted"]


@pytest.mark.asyncio
async def test_unknown_order_id_is_on_the_execution():
    async with tws() as bench:
        bench.faults.set("unknown_order_id")
        client = await with_fill(bench)
        (said,) = [fields for fields in client.messages if fields[0] == "11"]
        assert said[2] == "1000001"


@pytest.mark.asyncio
async def test_replay_executions_says_them_again():
    async with tws() as bench:
        client = await with_fill(bench)
        first = [fields for fields in client.messages if fields[0] in ("11", "59")]
        bench.faults.set("replay_executions")
        assert await client.sync() == first


@pytest.mark.asyncio
async def test_correct_execution_and_bust_execution_are_revisions():
    async with tws() as bench:
        client = await with_fill(bench)
        bench.faults.set("correct_execution", shares=60, price=99.5)
        (fixed,) = [one for one in await client.sync() if one[0] == "11"]
        assert (fixed[14].endswith(".02"), fixed[19], fixed[20]) == (True, "60", "99.5")
        bench.faults.set("bust_execution", order_id=1)
        (busted,) = [one for one in await client.sync() if one[0] == "11"]
        assert (busted[14].endswith(".03"), busted[19]) == (True, "0")
        assert bench.bench.position() == 0


@pytest.mark.asyncio
async def test_partial_fills_come_in_their_sizes():
    async with tws() as bench:
        bench.faults.set("partial_fills", sizes="1,7,92")
        client = await with_fill(bench)
        assert [one[19] for one in client.messages if one[0] == "11"] == ["1", "7", "92"]


async def with_fork(bench):
    """Return a client whose order 1 lives twice, at 99 and at 98."""
    client = await bench.client()
    client.place(1, "BUY", 10, "LMT", limit="99.0")
    await client.sync()
    bench.faults.set("fork_modify", count=1)
    client.place(1, "BUY", 10, "LMT", limit="98.0")
    await client.sync()
    return client


@pytest.mark.asyncio
async def test_fork_modify_leaves_two_live_orders_of_one_id():
    async with tws() as bench:
        client = await with_fork(bench)
        client.send(16, 1)
        opened = [fields for fields in await client.sync() if fields[0] == "5"]
        assert [fields[1] for fields in opened] == ["1", "1"]
        assert len({fields[25] for fields in opened}) == 2


@pytest.mark.asyncio
async def test_cancel_by_broker_takes_one_copy_of_a_forked_order():
    async with tws() as bench:
        client = await with_fork(bench)
        first, second = bench.bench.exchange.open_orders("paper")
        bench.faults.set("cancel_by_broker", perm_id=second.perm_id)
        assert bench.bench.exchange.open_orders("paper") == [first]
        client.place(1, "BUY", 10, "LMT", limit="97.0")
        await client.sync()
        (left,) = bench.bench.exchange.open_orders("paper")
        assert (left.perm_id, left.ticket.limit_micros) == (first.perm_id, 97_000_000)


@pytest.mark.parametrize(("code", "said"), [(0, []), (10331, ["10331"])])
@pytest.mark.asyncio
async def test_hold_modify_leaves_the_order_as_it_was(code, said):
    async with tws() as bench:
        client = await bench.client()
        client.place(1, "BUY", 10, "LMT", limit="99.0")
        await client.sync()
        bench.faults.set("hold_modify", code=code)
        client.place(1, "BUY", 10, "LMT", limit="98.0")
        messages = await client.sync()
        assert codes(messages) == said
        assert ids(messages) == ["4"] * len(said)
        assert bench.bench.order(1, client=1).ticket.limit_micros == 99_000_000


@pytest.mark.asyncio
async def test_order_code_keeps_the_order():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("order_code", code=10999)
        client.place(1, "BUY", 10, "LMT", limit="99.0")
        messages = await client.sync()
        assert (codes(messages), ids(messages)) == (["10999"], ["4", "5", "3"])


@pytest.mark.asyncio
async def test_mass_errors_come_for_every_live_order():
    async with tws() as bench:
        client = await bench.client()
        for order_id in (1, 2):
            client.place(order_id, "BUY", 10, "LMT", limit="99.0")
        await client.sync()
        bench.faults.set("mass_errors", times=5)
        assert codes(await client.sync()) == ["10326"] * 10


@pytest.mark.asyncio
async def test_cancel_by_broker_takes_stops_alone():
    async with tws() as bench:
        client = await bench.client()
        client.place(1, "BUY", 10, "LMT", limit="99.0")
        client.place(2, "BUY", 10, "STP", trigger="110.0")
        await client.sync()
        bench.faults.set("cancel_by_broker", order_type="STP")
        messages = await client.sync()
        assert codes(messages) == ["202"]
        assert [fields[1:3] for fields in messages if fields[0] == "3"] == [["2", "Cancelled"]]


@pytest.mark.asyncio
async def test_manual_order_moves_the_position_of_everybody():
    async with tws() as bench:
        client = await bench.client()
        client.send(61, 1)
        await client.sync()
        bench.faults.set("manual_order", side="SELL", quantity=30)
        assert [one[14] for one in await client.sync() if one[0] == "61"] == ["-30"]


@pytest.mark.asyncio
async def test_clock_skew_moves_the_time_that_is_said():
    async with tws() as bench:
        client = await bench.client()
        await client.sync()
        plain = int(client.messages[-1][2])
        bench.faults.set("clock_skew", skew_s=-3600)
        await client.sync()
        assert int(client.messages[-1][2]) - plain in (-3600, -3599)


@pytest.mark.asyncio
async def test_pacing_drops_a_message_with_error_100():
    async with tws() as bench:
        client = await bench.client()
        bench.faults.set("pacing", count=1)
        client.place(1, "BUY", 10, "MKT")
        assert codes(await client.sync()) == ["100"]
        assert bench.bench.order(1, client=1) is None


async def with_stream(bench):
    client = await bench.client()
    client.send(1, 11, 5, *CONTRACT, 0, "", 0, 0, "")
    return client, await client.sync()


@pytest.mark.asyncio
async def test_competing_session_silences_the_streams():
    async with tws() as bench:
        client, _ = await with_stream(bench)
        bench.faults.set("competing_session")
        bench.market.show(98.0, 98.1)
        assert codes(await client.sync()) == ["10197"]
        client.send(1, 11, 6, *CONTRACT, 0, "", 0, 0, "")
        assert codes(await client.sync()) == ["10197"]
        bench.faults.clear()
        bench.market.show(97.0, 97.1)
        assert "1" in ids(await client.sync())


@pytest.mark.asyncio
async def test_delayed_data_has_its_own_types():
    async with tws() as bench:
        bench.faults.set("delayed_data", symbol="AAPL")
        client, first = await with_stream(bench)
        assert codes(first) == ["10167"]
        assert ["58", "1", "5", "3"] in first
        bench.market.print_trade(99.0)
        types = {fields[3] for fields in first + await client.sync() if fields[0] in "12"}
        assert types <= {"66", "67", "68", "69", "70", "74", "75"}


@pytest.mark.parametrize("price", ["NaN", "0.0", "-1", "1e-9"])
@pytest.mark.asyncio
async def test_bad_tick_says_an_impossible_price(price):
    async with tws() as bench:
        client, _ = await with_stream(bench)
        bench.faults.set("bad_tick", price=price, count=1)
        bench.market.print_trade(99.0)
        assert (await client.sync())[0][4] == price


@pytest.mark.asyncio
async def test_repeat_price_freezes_the_price_while_times_go_on():
    async with tws() as bench:
        client, _ = await with_stream(bench)
        bench.market.print_trade(99.0)
        bench.faults.set("repeat_price")
        bench.market.tick(2_000)
        bench.market.show(94.99, 95.01, last=95.0)
        bench.market.print_trade(95.0)
        messages = await client.sync()
        assert not [one for one in messages if one[0] == "1" and one[3] in ("1", "2")], "no quote"
        lasts = [fields[4] for fields in messages if fields[0] == "1" and fields[3] == "4"]
        times = [fields[4] for fields in messages if fields[0] == "46"]
        assert lasts == ["99.0", "99.0"]
        assert times[0] < times[1]


@pytest.mark.asyncio
async def test_a_client_that_sends_too_fast_is_told_error_100():
    async with tws() as bench:
        bench.paper.messages_per_s_max = 10
        client = await bench.client()
        for _ in range(40):
            client.send(61, 1)
        while not (client.messages and client.messages[-1][3:4] == ["100"]):
            await client.read()
