"""Garbage on every port: no crash, no other client the worse for it, and bounded memory."""

import asyncio
import json
import os
import random
import ssl
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from support.tws_bench import RawClient, eventually
from tradebox.sim.home import SimHome
from tradebox.sim.runner import SERVERS, World

DEADLINE_S = 90.0
pytestmark = pytest.mark.timeout(240)
CONNECTIONS = 200
GARBAGE = (
    b"\xff" * 4096,
    b"API\0\xff\xff\xff\xff" + b"x" * 1000,
    b"API\0\0\0\0\x09v157..178" + b"\0\0\0\x05\0\0\0\0\0" * 50,
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000,
    b"POST /faults/set HTTP/1.1\r\nContent-Length: 999999999\r\n\r\n",
    b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + b"\0" * 600,
    b"",
)


def resident_kb() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


@asynccontextmanager
async def world_at(folder: Path, speed: float = 1.0):
    home = SimHome(folder)
    world = World(home, speed, (0,) * len(SERVERS))
    loop = asyncio.get_running_loop()
    unheard: list[dict] = []
    loop.set_exception_handler(lambda _, context: unheard.append(context))
    await world.start()
    try:
        yield world
    finally:
        await world.stop()
        home.close()
    assert unheard == []


async def throw(address, data: bytes, tls: ssl.SSLContext | None = None) -> None:
    """Send garbage and wait until the peer has had enough, or a moment."""
    with suppress(OSError, TimeoutError, ssl.SSLError):
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection(*address, ssl=tls)
            try:
                writer.write(data)
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await reader.read(4096)
            finally:
                writer.transport.abort()


async def answers(world: World) -> None:
    """Ask every port something that it must answer."""
    for name in ("gateway_paper", "gateway_live"):
        client = await RawClient.open(world.addresses[name], 7)
        client.send(61, 1)
        await client.until(62)
        await client.close()
    for name, target in (
        ("control", "/clock"),
        ("alphavantage", "/query"),
        ("finnhub", "/api/v1/quote?symbol=AAPL"),
    ):
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection(*world.addresses[name])
            writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
        assert answer.startswith(b"HTTP/1.1 "), name
        json.loads(answer.rpartition(b"\r\n\r\n")[2] or b"{}")
    trusting = ssl.create_default_context(cafile=str(world.home.tls_dir / "ca.crt"))
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection(
            *world.addresses["yahoo"], ssl=trusting, server_hostname="query1.finance.yahoo.com"
        )
        writer.write(b"GET /v8/finance/chart/AAPL HTTP/1.1\r\nHost: query1\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.asyncio
async def test_garbage_harms_nobody_else(tmp_path: Path, name: str) -> None:
    dice = random.Random(name)
    async with world_at(tmp_path) as world:
        blind = ssl.create_default_context()
        blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
        pieces = [*GARBAGE, *(dice.randbytes(dice.randrange(1, 3_000)) for _ in range(12))]
        contexts = (None, blind) if name == "yahoo" else (None,)
        throws = [throw(world.addresses[name], data, tls) for data in pieces for tls in contexts]
        await asyncio.gather(*throws)
        await answers(world)


@pytest.mark.asyncio
async def test_clients_that_never_read_cost_little_and_nobody_else(tmp_path: Path) -> None:
    async with world_at(tmp_path, speed=200.0) as world:
        pump = asyncio.ensure_future(world.pump.run())
        before_kb = resident_kb()
        stock = ["0", "", "STK", "", "0.0", "", "", "SMART", "", "USD", "", ""]
        deaf = []
        for number in range(1, 9):
            client = await RawClient.open(world.addresses["gateway_paper"], number)
            deaf.append(client)
            for index, one in enumerate(world.market.symbols()):
                contract = ["0", one.symbol, *stock[2:]]
                client.send(1, 11, index, *contract, 0, "", 0, 0, "")
            for request_id in range(900, 910):
                contract = ["0", "AAPL", *stock[2:]]
                tail = (1, "TRADES", 1, 0, "")
                client.send(20, request_id, *contract, 0, "", "1 min", "10 D", *tail)
            client.writer.transport.pause_reading()
        reader = await RawClient.open(world.addresses["gateway_paper"], 30)
        contract = ["0", "AAPL", *stock[2:]]
        for number in range(1, 6):
            reader.place(number, "BUY", 1, "LMT", limit="1.00", contract=contract)
            await reader.until(3, "Submitted")
            await asyncio.sleep(0.05)
        # Eight megabytes a client at most, and the market's own next minutes.
        assert resident_kb() - before_kb < 8 * 8_192 + 60_000
        sessions = world.gateways["gateway_paper"].sessions()
        assert 30 in [one.client_id for one in sessions]
        for client in (*deaf, reader):
            client.writer.transport.abort()
        pump.cancel()
        await asyncio.wait((pump,))
        await answers(world)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_two_hundred_connections_to_each_port_are_borne(tmp_path: Path) -> None:
    async with world_at(tmp_path) as world:
        before_kb = resident_kb()
        writers = []
        for name in SERVERS:
            for _ in range(CONNECTIONS):
                with suppress(OSError):
                    _, writer = await asyncio.open_connection(*world.addresses[name])
                    writer.write(b"API\0")
                    writers.append(writer)
        assert resident_kb() - before_kb < 200_000
        for writer in writers:
            writer.transport.abort()
        http = (world.control, world.alphavantage, world.yahoo)
        await eventually(lambda: not any(server._connections for server in http))
        await answers(world)
