"""Who holds a vendor's port, or talks nonsense on its streams, harms nobody else."""

import asyncio
import json
import ssl
from contextlib import asynccontextmanager, suppress

import pytest

from support.tws_bench import eventually
from tradebox.sim.home import SimHome
from tradebox.sim.market.data import load
from tradebox.sim.runner import SERVERS, World
from tradebox.sim.yahoo.streamer import CLIENTS_MAX

DEADLINE_S = 30.0
CONNECTIONS = 200
NAMES = ("finnhub", "alphavantage", "yahoo", "control")
HANDSHAKE = (
    "GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
NONSENSE = (
    b"\xff" * 5000,
    b"\x81\xff" + (2**62).to_bytes(8, "big") + b"0000",
    b"\x81\x81\0\0\0\0{",
    b"\x01\x80\0\0\0\0" * 1000,
    b"\x89\xfd" + b"x" * 2000,
    b"\x88\x80\0\0\0\0",
    b"\x81\x05hello",
)


@asynccontextmanager
async def world_at(folder):
    """Run a world of three symbols; nothing may be left to the loop's own handler."""
    home = SimHome(folder)
    world = World(home, 1.0, (0,) * len(SERVERS), None, load().only(("AAPL", "SPY", "NFLX")))
    unheard = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
    await world.start()
    try:
        yield world
    finally:
        await world.stop()
        home.close()
    assert unheard == []


def trusting(world):
    return ssl.create_default_context(cafile=world.home.tls_dir / "ca.crt")


async def opened(world, name):
    secure = {"ssl": trusting(world), "server_hostname": "localhost"} if name == "yahoo" else {}
    return await asyncio.open_connection(*world.addresses[name], **secure)


async def is_well(world):
    """Ask every port something that it must answer."""
    key, premium = world.home.identity.finnhub_key, world.home.identity.alphavantage_premium_key
    for name, target in (
        ("finnhub", f"/api/v1/stock/market-status?token={key}"),
        ("alphavantage", f"/query?function=MARKET_STATUS&apikey={premium}"),
        ("yahoo", "/v8/finance/chart/AAPL?range=5d"),
        ("control", "/clock"),
    ):
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await opened(world, name)
            writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answer = await reader.read()
            writer.transport.abort()
        assert answer.startswith(b"HTTP/1.1 200 "), name
        assert isinstance(json.loads(answer.partition(b"\r\n\r\n")[2]), dict)


@pytest.mark.asyncio
@pytest.mark.parametrize("name", NAMES)
async def test_two_hundred_silent_connections_keep_nobody_out(tmp_path, name):
    async with world_at(tmp_path) as world:
        address = world.addresses[name]
        held = [(await asyncio.open_connection(*address))[1] for _ in range(CONNECTIONS)]
        await is_well(world)
        for writer in held:
            writer.transport.abort()


@pytest.mark.asyncio
async def test_streams_that_ask_for_nothing_make_room(tmp_path):
    async with world_at(tmp_path) as world:
        held = []
        for _ in range(CLIENTS_MAX + 6):
            reader, writer = await opened(world, "yahoo")
            writer.write(HANDSHAKE.format(target="/?version=2").encode())
            async with asyncio.timeout(DEADLINE_S):
                assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
            held.append(writer)
        assert len(world.streamer._clients) <= CLIENTS_MAX
        await is_well(world)
        for writer in held:
            writer.transport.abort()


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["finnhub", "yahoo"])
async def test_nonsense_on_a_stream_ends_it_alone(tmp_path, name):
    async with world_at(tmp_path) as world:
        query = f"/?token={world.home.identity.finnhub_key}" if name == "finnhub" else "/"
        head = HANDSHAKE.format(target=query)
        wrong = head.replace("Version: 13", "Version: 1")
        for text in (*(head.encode() + data for data in NONSENSE), wrong.encode()):
            reader, writer = await opened(world, name)
            writer.write(text)
            with suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(0.3):
                    await reader.read()
            writer.transport.abort()
        await is_well(world)
        await eventually(lambda: not world.streamer._clients and not world.finnhub._clients)
