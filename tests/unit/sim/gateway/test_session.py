"""Connections: handshake, client ids, bad peers."""

import asyncio
import random

import pytest

from support.tws_bench import CONTRACT, RawClient, eventually, frame, ids, tws
from tradebox.errors import AddressInUse
from tradebox.sim.gateway import server as server_module
from tradebox.sim.gateway import session as session_module
from tradebox.sim.gateway.server import TwsGateway


@pytest.mark.asyncio
async def test_the_handshake_says_version_and_time_then_nothing_before_start():
    async with tws() as bench:
        client = await bench.client(start=False)
        assert client.version == 178
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.reader.read(1)
        client.send(71, 2, 1, "")
        await client.until(4, 2158)
        assert ids(client.messages) == ["15", "9", "4", "4", "4"]
        assert client.messages[0] == ["15", "1", "SIM1234567P"]
        assert client.messages[1] == ["9", "1", "1"]


@pytest.mark.parametrize(("low", "high", "version"), [(100, 226, 178), (157, 176, 176)])
@pytest.mark.asyncio
async def test_the_version_is_negotiated_down(low, high, version):
    async with tws() as bench:
        assert (await bench.client(low=low, high=high)).version == version


@pytest.mark.parametrize("versions", ["v100..150", "v180..200", "vx..y", "", "v" + "9" * 3000])
@pytest.mark.asyncio
async def test_a_peer_without_a_common_version_is_closed(versions):
    async with tws() as bench:
        reader, writer = await asyncio.open_connection(*bench.address)
        writer.write(b"API\0" + frame(versions.encode()))
        assert await asyncio.wait_for(_rest(reader), 5) == b""
        writer.close()


@pytest.mark.asyncio
async def test_a_client_id_is_taken_once_and_free_again_after():
    async with tws() as bench:
        first = await bench.client(5)
        second = await bench.client(5, start=False)
        second.send(71, 2, 5, "")
        assert (await second.read())[:4] == ["4", "2", "-1", "326"]
        await second.until_closed()
        await first.close()
        await eventually(lambda: 5 not in bench.paper._clients)
        await bench.client(5)


@pytest.mark.asyncio
async def test_next_ids_are_per_client_and_outlive_connection_and_restart(tmp_path):
    path = tmp_path / "ledger.jsonl"
    async with tws(path) as bench:
        client = await bench.client(3)
        client.place(41, "BUY", 10, "LMT", limit="99.0")
        await client.until(3, "Submitted")
        market = bench.market
    async with tws(path, market=market) as bench:
        assert ["9", "1", "42"] in (await bench.client(3)).messages
        assert ["9", "1", "1"] in (await bench.client(4)).messages


@pytest.mark.asyncio
async def test_unknown_and_broken_messages_are_answered_with_320():
    async with tws() as bench:
        client = await bench.client()
        client.send(9999, 1)
        assert "320" in await client.until(4)
        client.send(61)
        assert "320" in await client.until(4)
        client.send("what")
        assert "320" in await client.until(4)
        client.place(7, "BUY", "nan", "MKT")
        assert (await client.until(4))[2:4] == ["7", "320"]
        assert await client.sync() == []


@pytest.mark.asyncio
async def test_garbage_leaves_other_clients_alone():
    async with tws() as bench:
        good = await bench.client(1)
        rng = random.Random(4)
        writers = []
        for number in range(60):
            _, writer = await asyncio.open_connection(*bench.address)
            data = rng.randbytes(rng.randint(1, 2_000))
            if number % 3 == 0:
                data = b"API\0" + data
            if number % 3 == 1:
                data = b"API\0" + frame(b"v157..178") + data
            writer.write(data)
            writers.append(writer)
        good.place(1, "BUY", 10, "MKT")
        assert "Filled" in await good.until(3, "Filled")
        for writer in writers:
            writer.close()
        await eventually(lambda: len(bench.paper._connections) == 1, "the garbage is gone")


@pytest.mark.asyncio
async def test_no_request_whatever_its_fields_breaks_a_handler():
    rng = random.Random(11)
    words = ["", "0", "1", "-1", "7", "265598", "AAPL", "STK", "SMART", "USD", "BUY", "LMT", "é"]
    words += ["nan", "1e400", "99999999999999999999", "20250604 10:00:00", "99999999-99:99:99"]
    words += ["1 day", "1 D", "9999999999 Y", "1 min", "100.5", "None", "x" * 500]
    failures = []
    async with tws() as bench:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, what: failures.append(what))
        client = await bench.client()
        for message_id in sorted(bench.paper._handlers):
            for _ in range(25):
                size = rng.choice([0, 1, 3, 13, 20, 24, 114])
                client.send(message_id, *[rng.choice(words) for _ in range(size)])
            await client.sync()
        for _ in range(300):
            ends = rng.choice(["", "99999999-99:99:99", "20250604 10:00:00", "00010101 00:00:00"])
            size = rng.choice(["1 day", "1 min", "999999999999 mins", "7 secs"])
            span = rng.choice(["1 D", "9999999999999 Y", "0 D", "60 S"])
            client.send(20, 5, *CONTRACT, 0, ends, size, span, 1, "TRADES", 1, 0, "")
            client.send(9, 8, 5, *CONTRACT, *[rng.choice(words) for _ in range(4)])
            client.send(1, 11, 5, *CONTRACT, *[rng.choice(words) for _ in range(5)])
            client.place(rng.randint(1, 9), "BUY", 10, "LMT", limit="99.0")
            fields = ["3", "5", *CONTRACT, *[rng.choice(words) for _ in range(101)]]
            client.send(*fields[: rng.randint(90, 115)])
        await client.sync()
    assert failures == []


@pytest.mark.asyncio
async def test_an_oversized_frame_closes_only_its_sender():
    async with tws() as bench:
        good, bad = await bench.client(1), await bench.client(2)
        bad.writer.write(b"\x00\xff\xff\xff" + b"x" * 1000)
        await bad.until_closed()
        assert await good.sync() == []


@pytest.mark.asyncio
async def test_a_client_that_does_not_read_is_cut_off_and_others_go_on(monkeypatch):
    monkeypatch.setattr(session_module, "BACKLOG_BYTES_MAX", 64 * 1024)
    async with tws() as bench:
        good, slow = await bench.client(1), await bench.client(2)
        slow.writer.transport.pause_reading()
        for _ in range(400):
            for _ in range(50):
                slow.send(61, 1)
                slow.send(76, 1, 1, "", "", 0)
            await good.sync()
            if 2 not in bench.paper._clients:
                break
        assert 2 not in bench.paper._clients
        assert await good.sync() == []


@pytest.mark.asyncio
async def test_a_slow_reader_loses_ticks_but_no_order_message(monkeypatch):
    monkeypatch.setattr(session_module, "SHED_TICKS_BYTES", -1)
    async with tws() as bench:
        client = await bench.client(1)
        client.send(
            1, 11, 5, 265598, *["", "", "", "", "", "", "", "", "", "", ""], 0, "", 0, 0, ""
        )
        await client.until(58)
        await client.sync()
        start = len(client.messages)
        bench.market.show(98.0, 98.1)
        client.place(1, "BUY", 10, "MKT")
        await client.sync()
        assert ids(client.messages[start:-1]) == ["5", "3", "11", "5", "3", "59"]


@pytest.mark.asyncio
async def test_time_alone_expires_orders_and_renews_what_changes_slowly(monkeypatch):
    monkeypatch.setattr(server_module, "BEAT_S", 0.01)
    monkeypatch.setattr(server_module, "SLOW_BEATS", 2)
    async with tws() as bench:
        client = await bench.client(1)
        client.place(1, "BUY", 10, "LMT", limit="99.0")
        client.send(62, 1, 5, "All", "NetLiquidation")
        client.send(76, 1, 6, "SIM1234567P", "", 0)
        client.send(92, 7, "SIM1234567P", "")
        await client.until(64)
        for message_id, request_id in [(63, 5), (73, 6), (94, 7)]:
            await client.until(message_id, request_id)
        bench.market.clock.time_ns = bench.market.clock.open_until_ns
        assert (await client.until(3))[2] == "Cancelled"


@pytest.mark.asyncio
async def test_the_master_client_hears_of_everybodys_orders():
    async with tws() as bench:
        bench.paper.master_client_id = 9
        master, owner = await bench.client(9), await bench.client(1)
        owner.place(1, "BUY", 10, "MKT")
        await owner.until(59)
        assert ids(await master.sync())[:3] == ["5", "3", "11"]


@pytest.mark.asyncio
async def test_too_many_connections_are_refused(monkeypatch):
    monkeypatch.setattr("tradebox.sim.gateway.server.CONNECTIONS_MAX", 1)
    async with tws() as bench:
        await bench.client(1)
        reader, writer = await asyncio.open_connection(*bench.address)
        assert await asyncio.wait_for(_rest(reader), 5) == b""
        writer.close()


@pytest.mark.asyncio
async def test_a_silent_connection_is_closed_after_the_handshake_limit(monkeypatch):
    monkeypatch.setattr(session_module, "HANDSHAKE_S_MAX", 0.02)
    async with tws() as bench:
        reader, writer = await asyncio.open_connection(*bench.address)
        assert await asyncio.wait_for(_rest(reader), 5) == b""
        writer.close()


@pytest.mark.asyncio
async def test_a_taken_port_is_said_so():
    async with tws() as bench:
        other = TwsGateway(bench.bench.exchange, "live", *bench.address)
        with pytest.raises(AddressInUse):
            await other.start()


@pytest.mark.asyncio
async def test_a_burst_of_the_official_clients_read_size_is_split():
    async with tws() as bench:
        client = await bench.client(1)
        session = bench.paper._clients[1]
        session.send([107, 1, ""])
        missing = 4096 - len(session._out) - 4 - len("107\x00" + "2\x00\x00")
        session.send([107, 2, "x" * missing])
        assert len(session._out) == 4096
        session.flush()
        assert 0 < len(session._out) < 4096
        await client.until(107, 2)


@pytest.mark.asyncio
async def test_the_first_bytes_may_come_one_by_one():
    async with tws() as bench:
        reader, writer = await asyncio.open_connection(*bench.address)
        for byte in b"API\0" + frame(b"v157..178"):
            writer.write(bytes([byte]))
            await writer.drain()
        client = RawClient(reader, writer)
        assert (await client.read())[0] == "178"
        await client.close()


async def _rest(reader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""
