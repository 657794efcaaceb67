"""What the stand-in world serves on one core: orders, ticks, and what 2,000 symbols cost.

Everything runs as a person would: the simulator in a process of its own, its clients here, over
loopback. Figures are real seconds and megabytes.
"""

import asyncio
import json
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from websockets.asyncio.client import connect

ORDERS = 300
TICK_S = 4.0
SPEED = 200.0
SYMBOLS = 2_000
CLIENTS = 3
START_S_MAX = 120


def frame(*fields: object) -> bytes:
    payload = "".join(f"{field}\0" for field in fields).encode()
    return struct.pack(">I", len(payload)) + payload


class Simulator:
    """A simulator in a process of its own."""

    def __init__(self, folder: str, *arguments: str) -> None:
        began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tradebox.sim", "--home", folder, "--json", *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = json.loads(self.process.stdout.readline())
        self.start_s = time.monotonic() - began
        self.key = json.loads(Path(self.ready["identity_file"]).read_text())["finnhub_key"]

    def memory_mb(self) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in text.splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1]) / 1024

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


class Tws:
    """A client that counts messages and nothing else."""

    def __init__(self, reader, writer) -> None:
        self.reader, self.writer = reader, writer
        self.counts: dict[bytes, int] = {}

    @classmethod
    async def open(cls, address: str, client_id: int) -> "Tws":
        host, _, port = address.partition(":")
        client = cls(*await asyncio.open_connection(host, int(port)))
        client.writer.write(b"API\0" + struct.pack(">I", 9) + b"v157..178")
        await client.read()
        client.writer.write(frame(71, 2, client_id, ""))
        while (await client.read())[:1] != [b"9"]:
            pass
        return client

    async def read(self) -> list[bytes]:
        (size,) = struct.unpack(">I", await self.reader.readexactly(4))
        fields = (await self.reader.readexactly(size))[:-1].split(b"\0")
        self.counts[fields[0]] = self.counts.get(fields[0], 0) + 1
        return fields

    async def drain(self) -> None:
        while True:
            await self.read()


def order(order_id: int, symbol: str) -> bytes:
    values = [""] * 114
    values[0:2] = ["3", str(order_id)]
    values[2:14] = ["0", symbol, "STK", "", "0.0", "", "", "SMART", "", "USD", "", ""]
    values[16:22] = ["BUY", "1", "LMT", "1.00", "", "DAY"]
    values[27], values[28], values[81], values[84], values[89] = "1", "0", "0", "0", "0"
    return frame(*values)


async def order_acks(ready: dict) -> dict[str, float]:
    """Place and cancel orders one after another; time from the send to the first openOrder."""
    client = await Tws.open(ready["gateway_paper"], 1)
    took: list[float] = []
    for number in range(1, ORDERS + 1):
        began = time.perf_counter()
        client.writer.write(order(number, "AAPL"))
        while (await client.read())[0] != b"5":
            pass
        took.append((time.perf_counter() - began) * 1000)
        client.writer.write(frame(4, 1, number, ""))
        while True:
            fields = await client.read()
            if fields[0] == b"4" and fields[3] == b"202":
                break
        # Below the 50 messages a second that a client may send.
        await asyncio.sleep(0.045)
    client.writer.close()
    took.sort()
    return {
        "order_ack_ms_p50": round(statistics.median(took), 3),
        "order_ack_ms_p99": round(took[int(len(took) * 0.99)], 3),
    }


async def gateway_ticks(ready: dict, symbols: list[str]) -> tuple[int, float]:
    """Stream every symbol to three clients; return the messages and the seconds."""
    clients = [await Tws.open(ready["gateway_live"], number) for number in range(1, CLIENTS + 1)]
    for client in clients:
        for number, symbol in enumerate(symbols, 1):
            contract = [0, symbol, "STK", "", "0.0", "", "", "SMART", "", "USD", "", ""]
            client.writer.write(frame(1, 11, number, *contract, 0, "", 0, 0, ""))
            await asyncio.sleep(0.02)
    readers = [asyncio.ensure_future(client.drain()) for client in clients]
    await asyncio.sleep(0.5)
    before = sum(sum(client.counts.get(kind, 0) for kind in (b"1", b"2")) for client in clients)
    began = time.perf_counter()
    await asyncio.sleep(TICK_S)
    took = time.perf_counter() - began
    after = sum(sum(client.counts.get(kind, 0) for kind in (b"1", b"2")) for client in clients)
    for reader in readers:
        reader.cancel()
    for client in clients:
        client.writer.close()
    return after - before, took


async def finnhub_ticks(ready: dict, key: str, symbols: list[str]) -> tuple[int, float]:
    """Stream every symbol on the one stream of the key; return the prints and the seconds."""
    count = 0
    async with connect(f"{ready['finnhub_ws']}/?token={key}") as socket:
        for symbol in symbols:
            await socket.send(json.dumps({"type": "subscribe", "symbol": symbol}))
        began = time.perf_counter()
        while (took := time.perf_counter() - began) < TICK_S:
            try:
                async with asyncio.timeout(max(0.01, TICK_S - took)):
                    data = json.loads(await socket.recv())
            except TimeoutError:
                continue
            count += len(data.get("data", ()))
    return count, time.perf_counter() - began


def run() -> dict:
    """Measure, and return the figures."""
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        simulator = Simulator(folder, "--speed", "20")
        try:
            figures["start_s"] = round(simulator.start_s, 2)
            figures.update(asyncio.run(order_acks(simulator.ready)))
        finally:
            simulator.stop()
        simulator = Simulator(folder, "--speed", str(SPEED))
        try:
            names = json_names(simulator.ready)
            cpu_s = simulator.cpu_s()
            count, took = asyncio.run(gateway_ticks(simulator.ready, names))
            figures["gateway_ticks_per_s_to_3_clients"] = round(count / took)
            figures["gateway_ticks_cpu_share"] = round((simulator.cpu_s() - cpu_s) / took, 2)
            count, took = asyncio.run(finnhub_ticks(simulator.ready, simulator.key, names))
            figures["finnhub_prints_per_s"] = round(count / took)
            figures["memory_mb"] = round(simulator.memory_mb(), 1)
        finally:
            simulator.stop()
    with tempfile.TemporaryDirectory() as folder:
        simulator = Simulator(folder, "--speed", "20", "--symbols", str(SYMBOLS))
        try:
            figures["start_s_2000_symbols"] = round(simulator.start_s, 2)
            time.sleep(5)
            figures["memory_mb_2000_symbols"] = round(simulator.memory_mb(), 1)
        finally:
            simulator.stop()
    return figures


def json_names(ready: dict) -> list[str]:
    """Return the symbols that the simulator trades."""
    from urllib.request import urlopen

    with urlopen(f"{ready['control']}/market") as answer:
        return [row["symbol"] for row in json.load(answer)["symbols"]]


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
