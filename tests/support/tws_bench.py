"""Gateways over an exchange bench, and a client that shows the bytes on the wire."""

import asyncio
import struct
from contextlib import asynccontextmanager, suppress

from support.exchange_bench import Bench
from support.scripted_market import ScriptedMarket
from tradebox.sim.gateway.faults import Faults
from tradebox.sim.gateway.server import TwsGateway

CONTRACT = ["265598", "AAPL", "STK", "", "0.0", "", "", "SMART", "", "USD", "", ""]
DEADLINE_S = 20.0


class RawClient:
    """Speaks frames and keeps every message it got, as lists of fields."""

    def __init__(self, reader, writer) -> None:
        self.reader, self.writer = reader, writer
        self.messages: list[list[str]] = []
        self.version = 0

    @classmethod
    async def open(cls, address, client_id=1, *, low=157, high=178, start=True):
        client = cls(*await asyncio.open_connection(*address))
        client.writer.write(b"API\0" + frame(f"v{low}..{high}".encode()))
        try:
            client.version = int((await client.read())[0])
        except BaseException:
            await client.close()
            raise
        client.messages.clear()
        if start:
            client.send(71, 2, client_id, "")
            await client.until(4, 2158)
        return client

    def send(self, *fields) -> None:
        self.writer.write(frame("".join(f"{field}\0" for field in fields).encode()))

    def place(self, order_id, side, quantity, kind, *, limit="", trigger="", **fields) -> None:
        """Send a placeOrder of 114 fields."""
        values = [""] * 114
        values[0:2] = ["3", str(order_id)]
        values[2:14] = fields.get("contract", CONTRACT)
        values[16:21] = [side, str(quantity), kind, str(limit), str(trigger)]
        values[21] = fields.get("tif", "DAY")
        values[22], values[23] = fields.get("oca_group", ""), fields.get("account", "")
        values[26] = fields.get("order_ref", "")
        values[27] = fields.get("transmit", "1")
        values[28] = str(fields.get("parent_id", 0))
        for index in (84, 89, 81):
            values[index] = "0"
        self.send(*values)

    async def read(self) -> list[str]:
        async with asyncio.timeout(DEADLINE_S):
            (size,) = struct.unpack(">I", await self.reader.readexactly(4))
            payload = await self.reader.readexactly(size)
        fields = payload.decode()[:-1].split("\0")
        self.messages.append(fields)
        return fields

    async def until(self, message_id, *parts) -> list[str]:
        """Read until a message of this id holds these fields; return it."""
        wanted = {str(part) for part in parts}
        while True:
            fields = await self.read()
            if fields[0] == str(message_id) and wanted <= set(fields):
                return fields

    async def sync(self) -> list[list[str]]:
        """Return every message up to the answer of a time request that is sent now."""
        start = len(self.messages)
        self.send(49, 1)
        await self.until(49)
        return self.messages[start:-1]

    async def until_closed(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    if not await self.reader.read(65536):
                        return
                except ConnectionError:
                    return

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


class TwsBench:
    """A paper and a live gateway over one exchange."""

    def __init__(self, path=None, *, market=None, **settings) -> None:
        self.bench = Bench(path, market=market, **settings)
        self.faults = Faults()
        self.paper = TwsGateway(self.bench.exchange, "paper", faults=self.faults)
        self.live = TwsGateway(self.bench.exchange, "live", faults=self.faults)
        self.address = ("", 0)
        self.live_address = ("", 0)
        self.clients: list[RawClient] = []

    @property
    def market(self) -> ScriptedMarket:
        return self.bench.market

    async def start(self):
        self.address = await self.paper.start()
        self.live_address = await self.live.start()
        return self

    async def client(self, client_id=1, **options) -> RawClient:
        client = await RawClient.open(self.address, client_id, **options)
        self.clients.append(client)
        return client

    async def stop(self) -> None:
        for client in self.clients:
            await client.close()
        await self.paper.stop()
        await self.live.stop()
        self.bench.close()


@asynccontextmanager
async def tws(path=None, **settings):
    bench = await TwsBench(path, **settings).start()
    try:
        yield bench
    finally:
        await bench.stop()


async def eventually(condition, what="the condition"):
    """Return the condition's value once it is true.

    Raises: TimeoutError if it is not within the deadline.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + DEADLINE_S
    while not (value := condition()):
        if loop.time() > end:
            raise TimeoutError(f"{what} did not come true")
        await asyncio.sleep(0.005)
    return value


def frame(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


def ids(messages) -> list[str]:
    return [fields[0] for fields in messages]
