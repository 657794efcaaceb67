"""The control port: what it says, what it changes, and what it refuses."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tradebox.sim.exchange.orders import OrderType, Side, Ticket, Tif
from tradebox.sim.home import SimHome
from tradebox.sim.http import BODY_BYTES_MAX, CONNECTIONS_MAX, HEADER_BYTES_MAX
from tradebox.sim.runner import World

DEADLINE_S = 10.0


@asynccontextmanager
async def world_at(folder: Path) -> AsyncIterator[World]:
    home = SimHome(folder)
    world = World(home, 1.0, (0, 0, 0, 0, 0, 0))
    try:
        await world.start()
        yield world
    finally:
        await world.stop()
        home.close()


def base(world: World) -> str:
    return str(world.ready()["control"])


async def get(world: World, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=base(world), trust_env=False) as client:
        return await client.get(path)


async def post(world: World, path: str, body: object) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with httpx.AsyncClient(base_url=base(world), trust_env=False) as client:
        return await client.post(path, content=content)


@pytest.mark.asyncio
async def test_it_says_what_the_world_is(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        clock = (await get(world, "/clock")).json()
        assert (clock["speed"], clock["is_open"], clock["session"]) == (1.0, True, "2016-01-04")
        assert clock["opens"] == "2016-01-04T14:30:00.000Z"
        at_ns = world.clock.now_ns()
        ticket = Ticket(
            symbol="AAPL",
            con_id=world.market.instrument("AAPL").con_id,
            side=Side.BUY,
            quantity=10,
            order_type=OrderType.LMT,
            limit_micros=98_000_000,
            tif=Tif.GTC,
            order_ref="tb-1",
        )
        world.exchange.submit("paper", 11, 1, ticket, at_ns)
        accounts = (await get(world, "/accounts")).json()
        assert accounts["paper"]["account"] == world.home.identity.account_paper
        assert accounts["paper"]["net_liquidation_usd"] == "1000000.000000"
        (order,) = accounts["paper"]["open_orders"]
        assert (order["symbol"], order["order_ref"], order["limit"]) == (
            "AAPL",
            "tb-1",
            "98.000000",
        )
        assert accounts["live"]["open_orders"] == []
        rows = (await get(world, "/ledger")).json()
        assert [row["seq"] for row in rows["rows"]] == list(range(1, rows["next"] + 1))
        first = (await get(world, "/ledger?count=2")).json()
        rest = (await get(world, f"/ledger?since={first['next']}")).json()
        assert first["rows"] + rest["rows"] == rows["rows"]
        assert (await get(world, "/ledger?since=99999")).json() == {"rows": [], "next": 99999}


@pytest.mark.asyncio
async def test_it_tells_the_next_price(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        body = (await get(world, "/market?symbol=AAPL")).json()
        trade = world.market.next_trade("AAPL")
        assert body["next"]["at_ns"] == trade.event_ns
        assert float(body["bid"]) < float(body["ask"])
        assert len((await get(world, "/market")).json()["symbols"]) == 41
        unknown = await get(world, "/market?symbol=NONE")
        assert (unknown.status_code, unknown.json()["value"]) == (404, "NONE")


@pytest.mark.asyncio
async def test_faults_are_listed_set_and_cleared(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        boards = (await get(world, "/faults")).json()
        assert {"gateway", "finnhub", "alphavantage", "yahoo"} <= set(boards)
        assert all(
            {"name", "summary", "arguments", "active"} <= set(row) for row in boards["finnhub"]
        )
        spike = {"name": "finnhub.spike", "arguments": {"symbol": "AAPL", "percent": 3}}
        answer = await post(world, "/faults/set", spike)
        assert answer.json()["finnhub"]["spike"][0]["percent"] == 3
        await post(world, "/faults/set", {"name": "gateway.read_only"})
        await post(world, "/faults/set", {"name": "finnhub.bad_key"})
        answer = await post(world, "/faults/clear", {"name": "finnhub.spike"})
        assert set(answer.json()["finnhub"]) == {"bad_key"}
        answer = await post(world, "/faults/clear", {"name": "finnhub"})
        assert answer.json()["finnhub"] == {}
        assert set(answer.json()["gateway"]) == {"read_only"}
        answer = await post(world, "/faults/clear", b"")
        assert not any(answer.json().values())


WRONG_FAULTS = [
    (b"\xff\xfe", "no JSON"),
    (b"[" * 5000, "no JSON"),
    (b"[]", "the body is"),
    (b"null", "the body is"),
    (b'{"name": 5}', "the body is"),
    (b'{"name": "finnhub.spike", "arguments": []}', "the body is"),
    (b'{"name": "finnhub.spike", "arguments": {"percent": NaN}}', "no JSON"),
    (b'{"name": "finnhub.spike", "arguments": {"percent": [1]}}', "percent is neither"),
    (b'{"name": "finnhub.spike", "arguments": {"percent": 1e99}}', "does not fit"),
    (b'{"name": "finnhub.spike", "arguments": {"speed": 1}}', "no argument"),
    (b'{"name": "finnhub.close_connection", "arguments": {"code": 5}}', "may not be sent"),
    (b'{"name": "finnhub.none"}', "there is no fault"),
    (b'{"name": "finnhub"}', "there is no fault"),
    (b'{"name": "bloomberg.spike"}', "there is no fault"),
    (b"", "there is no fault"),
]


@pytest.mark.asyncio
async def test_a_wrong_fault_is_refused_in_json(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        for body, match in WRONG_FAULTS:
            answer = await post(world, "/faults/set", body)
            assert (body, answer.status_code) == (body, 400)
            assert match in answer.json()["error"], body
        assert all(not row["active"] for row in (await get(world, "/faults")).json()["finnhub"])


@pytest.mark.asyncio
async def test_unknown_ways_and_words_are_refused(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        assert (await get(world, "/nothing")).status_code == 404
        assert (await get(world, "/faults/set")).status_code == 405
        assert (await post(world, "/clock", {})).status_code == 405
        for value in ("-1", "x", "1.5", "9" * 30, "²"):
            answer = await get(world, f"/ledger?since={value}")
            assert (answer.status_code, answer.json()["field"]) == (400, "since")


async def exchange(world: World, request: bytes) -> bytes:
    port = world.addresses["control"][1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), DEADLINE_S)
    except ConnectionError:
        return b""
    finally:
        writer.close()


GARBAGE = [
    (b"", b""),
    (b"\x00" * 100, b""),
    (b"\r\n\r\n", b"400"),
    (b"GET\r\n\r\n", b"400"),
    (b"GET / SPDY/3\r\n\r\n", b"400"),
    (b"GET http://[ HTTP/1.1\r\n\r\n", b"400"),
    (b"GET /" + b"a" * HEADER_BYTES_MAX * 2 + b" HTTP/1.1\r\n\r\n", b"431"),
    (b"POST /faults/set HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"411"),
    (b"POST /faults/set HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"411"),
    (b"POST /faults/set HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
    (
        f"POST /faults/set HTTP/1.1\r\nContent-Length: {BODY_BYTES_MAX + 1}\r\n\r\n".encode(),
        b"413",
    ),
    (b"POST /faults/set HTTP/1.1\r\nContent-Length: 50\r\n\r\nshort", b""),
]


@pytest.mark.asyncio
async def test_garbage_on_the_port_is_answered_or_dropped(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        for request, status in GARBAGE:
            answer = await exchange(world, request)
            assert answer.split(b" ")[1:2] == ([status] if status else []), request
            if answer:
                assert "error" in json.loads(answer.partition(b"\r\n\r\n")[2])
        assert (await get(world, "/clock")).status_code == 200


@pytest.mark.asyncio
async def test_connections_beyond_the_limit_cost_the_silent_ones(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        port = world.addresses["control"][1]
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS_MAX)]
        for _ in range(3):
            assert (await get(world, "/clock")).status_code == 200
        async with asyncio.timeout(DEADLINE_S):
            with suppress(ConnectionError):
                assert await idle[0][0].read() == b""
        for _, writer in idle:
            writer.transport.abort()
