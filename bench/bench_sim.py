"""What the stand-in world serves on one core: orders, ticks, and what 2,000 symbols cost.

Rules of this file:
- everything runs as a person would run it: the simulator in a process of its own, bound to one
  core, its clients here, over loopback;
- the floor of an order is one append and fsync of what the ledger writes of it, in the same
  folder, between the orders, and one write and read over loopback;
- what is counted as a tick is one message of a price or a size, at the client.
"""

import asyncio
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from websockets.asyncio.client import connect

from bench.loopback import Loopback
from bench.machine import load_average, ratio, spread

ORDERS = 250
LEDGER_BYTES = 2_600
"""What the ledger writes of one order: its bytes, its ids, its ticket and its state."""

TICK_S = 5.0
SPEED = 200.0
TICK_SYMBOLS = 60
"""The most that print at the full rate."""

FINNHUB_SYMBOLS = 51
"""What one key may subscribe to."""

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
        os.sched_setaffinity(self.process.pid, {max(os.sched_getaffinity(0))})
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


class Floor:
    """What no gateway can leave out: the ledger's flush, and the bytes' way."""

    def __init__(self, folder: str) -> None:
        self.flush_us: list[float] = []
        self.loopback_us: list[float] = []
        self._file = os.open(Path(folder) / "floor", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        self._loopback = Loopback()

    def measure(self) -> None:
        """Flush as much as an order costs the ledger, and pass bytes over loopback."""
        began_ns = time.perf_counter_ns()
        os.write(self._file, b"x" * LEDGER_BYTES)
        os.fsync(self._file)
        self.flush_us.append((time.perf_counter_ns() - began_ns) / 1000)
        self.loopback_us.append(self._loopback.pass_over())

    def close(self) -> None:
        os.close(self._file)
        self._loopback.close()


async def order_acks(ready: dict, floor: Floor) -> list[float]:
    """Place and cancel orders one after another; microseconds from a send to its openOrder."""
    client = await Tws.open(ready["gateway_paper"], 1)
    took_us: list[float] = []
    for number in range(1, ORDERS + 1):
        began_ns = time.perf_counter_ns()
        client.writer.write(order(number, "AAPL"))
        while (await client.read())[0] != b"5":
            pass
        took_us.append((time.perf_counter_ns() - began_ns) / 1000)
        client.writer.write(frame(4, 1, number, ""))
        while True:
            fields = await client.read()
            if fields[0] == b"4" and fields[3] == b"202":
                break
        floor.measure()
        # Below the 50 messages a second that a client may send.
        await asyncio.sleep(0.042)
    client.writer.close()
    return took_us


async def finnhub_prints(ready: dict, key: str, symbols: list[str], until_s: float) -> int:
    """Stream every symbol on the one stream of the key; return how many prints came."""
    count = 0
    async with connect(f"{ready['finnhub_ws']}/?token={key}") as socket:
        for symbol in symbols:
            await socket.send(json.dumps({"type": "subscribe", "symbol": symbol}))
        while (left_s := until_s - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(left_s):
                    data = json.loads(await socket.recv())
            except TimeoutError:
                break
            count += len(data.get("data", ()))
    return count


async def ticks(simulator: Simulator, symbols: list[str]) -> dict[str, float]:
    """Stream every symbol to three clients of a gateway and to Finnhub's, at the same time."""
    ready = simulator.ready
    clients = [await Tws.open(ready["gateway_live"], number) for number in range(1, CLIENTS + 1)]
    for client in clients:
        for number, symbol in enumerate(symbols, 1):
            contract = [0, symbol, "STK", "", "0.0", "", "", "SMART", "", "USD", "", ""]
            client.writer.write(frame(1, 11, number, *contract, 0, "", 0, 0, ""))
            await asyncio.sleep(0.021)
    readers = [asyncio.ensure_future(client.drain()) for client in clients]
    await asyncio.sleep(0.5)

    def sent() -> tuple[int, int]:
        kinds = (b"1", b"2"), (b"46",)
        return tuple(sum(one.counts.get(k, 0) for one in clients for k in kind) for kind in kinds)

    before, cpu_s, began_s = sent(), simulator.cpu_s(), time.monotonic()
    watched = symbols[:FINNHUB_SYMBOLS]
    prints = await finnhub_prints(ready, simulator.key, watched, began_s + TICK_S)
    took_s, after = time.monotonic() - began_s, sent()
    used_s = simulator.cpu_s() - cpu_s
    for reader in readers:
        reader.cancel()
    for client in clients:
        client.writer.close()
    messages, trades = (now - then for now, then in zip(after, before, strict=True))
    return {
        "gateway_ticks_per_s": round(messages / took_s),
        "gateway_trades_per_s_and_client": round(trades / took_s / CLIENTS),
        "finnhub_prints_per_s": round(prints / took_s),
        "core_share": round(used_s / took_s, 2),
    }


def run() -> dict:
    """Measure, and return the figures."""
    measured: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        simulator, floor = Simulator(folder, "--speed", "20"), Floor(folder)
        try:
            acks = asyncio.run(order_acks(simulator.ready, floor))
            memory = {"symbols_41": simulator.memory_mb()}
        finally:
            simulator.stop()
            floor.close()
        flush, loopback = spread(floor.flush_us, 1), spread(floor.loopback_us, 1)
        floor_us = round(flush["p50"] + 2 * loopback["p50"], 1)
        measured["order_to_ack_us"] = spread(acks, 1)
        measured["floor"] = {"flush_us": flush, "loopback_us": loopback, "p50_us": floor_us}
        measured["ratio_to_floor_p50"] = ratio(spread(acks, 1)["p50"], floor_us)
    with tempfile.TemporaryDirectory() as folder:
        simulator = Simulator(folder, "--speed", str(SPEED), "--symbols", str(TICK_SYMBOLS))
        try:
            measured["ticks"] = asyncio.run(ticks(simulator, json_names(simulator.ready)))
            measured["load_during"] = load_average()
        finally:
            simulator.stop()
    with tempfile.TemporaryDirectory() as folder:
        simulator = Simulator(folder, "--speed", "20", "--symbols", str(SYMBOLS))
        try:
            measured["start_s"] = {"symbols_2000": round(simulator.start_s, 2)}
            time.sleep(5)
            memory["symbols_2000"] = simulator.memory_mb()
        finally:
            simulator.stop()
    measured["memory_mb"] = {name: round(one, 1) for name, one in memory.items()}
    return measured


def json_names(ready: dict) -> list[str]:
    """Return the symbols that the simulator trades."""
    from urllib.request import urlopen

    with urlopen(f"{ready['control']}/market") as answer:
        return [row["symbol"] for row in json.load(answer)["symbols"]]


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
