"""Long answers take turns; histories are bounded and can be cancelled."""

import time
from types import SimpleNamespace

import pytest

from support.scripted_market import OPEN_NS, micros
from support.tws_bench import CONTRACT, eventually, ids, tws
from tradebox.sim.exchange.market_port import Bar
from tradebox.sim.gateway import work_queue
from tradebox.sim.gateway.work_queue import WorkQueue


class Client:
    """Whoever asks."""


def long_work(done, name):
    def work():
        time.sleep(2 * work_queue.LONG_S)
        done.append(name)

    return work


@pytest.mark.asyncio
async def test_after_a_long_answer_clients_take_turns():
    queue, done, first, second = WorkQueue(), [], Client(), Client()
    assert queue.add(first, 0, long_work(done, "a0"))
    assert done == ["a0"]
    for number in (1, 2, 3):
        assert queue.add(first, number, long_work(done, f"a{number}"))
    assert queue.add(second, 1, long_work(done, "b1"))
    queue.cancel(first, 2)
    queue.cancel(first, 77)
    assert done == ["a0"], "the others have a turn first"
    await eventually(lambda: len(done) == 4)
    assert done == ["a0", "a1", "b1", "a3"]
    assert queue.add(second, 2, lambda: done.append("short"))
    await eventually(lambda: done[-1] == "short")
    queue.stop()


@pytest.mark.asyncio
async def test_work_in_pieces_lets_others_have_turns_and_can_be_cancelled():
    queue, done, asking = WorkQueue(), [], Client()

    def pieces(name):
        for number in range(3):
            time.sleep(2 * work_queue.LONG_S)
            done.append(f"{name}{number}")
            yield

    queue.add(asking, 1, lambda: pieces("a"))
    assert done == ["a0"]
    queue.add(asking, 2, lambda: pieces("b"))
    await eventually(lambda: done[-1] == "b0")
    assert done == ["a0", "a1", "a2", "b0"]
    queue.add(asking, 3, lambda: done.append("c"))
    queue.cancel(asking, 2)
    await eventually(lambda: done[-1] == "c")
    queue.add(asking, 4, lambda: pieces("d"))
    queue.forget(asking)
    queue.add(asking, 5, lambda: done.append("e"))
    await eventually(lambda: done[-1] == "e")
    assert set(done[4:]) <= {"b1", "c", "d0", "e"}
    queue.stop()


@pytest.mark.asyncio
async def test_a_client_has_a_bounded_number_waiting():
    queue, done, greedy, other = WorkQueue(), [], Client(), Client()
    queue.add(greedy, 0, long_work(done, 0))
    taken = [queue.add(greedy, number, lambda: done.append(1)) for number in range(60)]
    assert taken == [True] * work_queue.WAITING_MAX + [False] * 10
    assert queue.add(other, 1, lambda: done.append("other"))
    queue.forget(greedy)
    await eventually(lambda: done == [0, "other"])
    queue.stop()


@pytest.mark.asyncio
async def test_a_history_beyond_the_limit_is_162_and_a_cancelled_one_follows_no_more(monkeypatch):
    async with tws() as bench:
        price = micros(100)
        bench.market.bar_rows = [Bar(OPEN_NS, price, price, price, price, 500)]
        client = await bench.client()
        ask = [*CONTRACT, 0, "", "1 min", "60 S", 1, "TRADES", 1, 1, ""]
        client.send(20, 8, *ask)
        await client.until(17)
        bench.market.print_trade(101.0)
        await client.until(90, "8")
        client.send(25, 1, 8)
        await client.sync()
        bench.market.print_trade(102.0)
        bench.paper.followers.on_beat(bench.market.clock.time_ns)
        assert "90" not in ids(await client.sync())
        monkeypatch.setattr(work_queue, "WAITING_MAX", 0)
        monkeypatch.setattr(work_queue, "LONG_S", -1.0)
        client.send(20, 9, *ask)
        client.send(20, 10, *ask)
        messages = await client.sync()
        assert [fields[2:4] for fields in messages if fields[0] == "4"] == [["10", "162"]]


def in_one_write(client, *sends):
    """Write several messages so that they arrive as one."""
    written, writer = bytearray(), client.writer
    client.writer = SimpleNamespace(write=written.extend)
    for send in sends:
        send()
    client.writer = writer
    writer.write(bytes(written))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("asked", "row", "end"),
    [([99, 0], "101", "102"), ([7, 3, 1, 0, "", "", "", "", "", ""], "11", "55")],
)
async def test_an_order_is_answered_before_the_day_is_listed_to_its_end(
    monkeypatch, asked, row, end
):
    async with tws() as bench:
        client = await bench.client()
        for number in range(1, 6):
            client.place(number, "BUY", 10, "MKT")
            await client.until(11)
        await client.sync()
        monkeypatch.setattr(work_queue, "LONG_S", -1.0)
        start = len(client.messages)
        in_one_write(
            client,
            lambda: client.send(*asked),
            lambda: client.place(6, "BUY", 10, "LMT", limit="1.0"),
        )
        await client.until(end)
        said = [fields[0] for fields in client.messages[start:]]
        assert said.count(row) == 5
        assert said.index("5") < said.index(end), "the list waited, and not the order"
        monkeypatch.setattr(work_queue, "WAITING_MAX", 1)
        in_one_write(client, *[lambda: client.send(*asked)] * 3)
        refused = await client.until(4, 100)
        assert refused[2] == "-1"


@pytest.mark.asyncio
async def test_a_fill_in_the_middle_of_a_list_is_in_it_by_its_end(monkeypatch):
    async with tws() as bench:
        owner, reader = await bench.client(), await bench.client(2)
        for number in range(1, 6):
            owner.place(number, "BUY", 10, "MKT")
            await owner.until(11)
        await owner.sync()
        monkeypatch.setattr(work_queue, "LONG_S", -1.0)
        in_one_write(reader, lambda: reader.send(7, 3, 1, 0, "", "", "", "", "", ""))
        await reader.until(11)
        exchange = bench.bench.exchange
        exchange.correct("paper", exchange.last_execution("paper").exec_id, 7, micros(99), OPEN_NS)
        await reader.until(55)
        said = [fields[14] for fields in reader.messages if fields[0] == "11"]
        assert exchange.last_execution("paper").exec_id in said
