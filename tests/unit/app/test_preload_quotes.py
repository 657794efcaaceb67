"""A process that has loaded what the launcher loads follows the broker's quotes without more."""

import os
import subprocess
import sys

PROGRAM = """
import asyncio, importlib, struct, sys
from tradebox.app.run import OPTIONAL, PRELOAD
for name in OPTIONAL:
    sys.modules[name] = None
for name in PRELOAD:
    importlib.import_module(name)
from tradebox.adapters.ibkr.quotes import IbQuoteStream
from tradebox.adapters.marketclock import WallMarketClock
from tradebox.supervision.clock import MonotonicClock
before = set(sys.modules)

def frame(*fields):
    payload = "".join(f"{field}\\0" for field in fields).encode()
    return struct.pack(">I", len(payload)) + payload

async def gateway(reader, writer):
    await reader.readexactly(4)
    while True:
        try:
            (size,) = struct.unpack(">I", await reader.readexactly(4))
        except asyncio.IncompleteReadError:
            return
        words = (await reader.readexactly(size)).decode().split("\\0")
        if words[0].startswith("v"):
            writer.write(frame(178, "20260102 10:00:00 EST"))
        elif words[0] == "71":
            writer.write(frame(15, 1, "SIM1") + frame(9, 1, 1) + frame(4, 2, -1, 2104, "ok:a", ""))
        elif words[0] == "1":
            writer.write(
                frame(81, 1, "0.01", "x", 3) + frame(58, 1, 1, 1) + frame(4, 2, 1, 10167, "d", "")
                + frame(58, 1, 1, 1) + frame(1, 6, 1, 4, "100.01", 5, 0)
                + frame(46, 6, 1, 45, 1767366000) + frame(45, 6, 1, 49, "0.0")
                + frame(1, 6, 1, 1, "100.0", 5, 0)
            )

class Sink:
    def __init__(self):
        self.seen, self.closes = [], 0
    def opened(self):
        return 1
    def ticks(self, batch):
        self.seen.extend(batch.ticks)
    def closed(self, reason, retry_s):
        self.closes += 1
    def noted(self, kind, text):
        pass

async def until(holds):
    while not holds():
        await asyncio.sleep(0.01)

async def main():
    server = await asyncio.start_server(gateway, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()[:2]
    sink = Sink()
    stream = IbQuoteStream(address, 21, WallMarketClock(), MonotonicClock())
    stream.want(["SPY"])
    running = asyncio.ensure_future(stream.run(sink))
    await until(lambda: len(sink.seen) == 2)
    server.close()
    stream._session.client.conn.transport.abort()
    await until(lambda: sink.closes > 1)
    running.cancel()
    await asyncio.wait({running})

asyncio.run(asyncio.wait_for(main(), 30))
print(sorted(set(sys.modules) - before))
"""


def test_the_brokers_quotes_load_no_module() -> None:
    told = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert told.stdout.strip() == "[]"
