"""The two ends of the data path in processes of their own: a vendor, and readers of Redis.

Rules of this file:
- `vendor` speaks Finnhub's WebSocket on loopback and does what its stdin says, a JSON line each;
- it tells when it sent each tick, so that latency counts from the vendor's hand, kernel included;
- `readers` follows the outward prices as any other process would, and tells what it saw; told how
  market time runs, also how long its first reader's prices took from the vendor's hand, to the
  millisecond that a price's event time has.
"""

import asyncio
import contextlib
import itertools
import json
import random
import sys
import time
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tradebox.adapters.redis.follower import PriceFollower
from tradebox.supervision.clock import MonotonicClock

MS_NS = 1_000_000
READERS = 5
CENTS_APART_MAX = 40


class Walk:
    """Symbols that walk a cent at a time, so that the filter has nothing to refuse."""

    def __init__(self, symbols: list[str], seed: int) -> None:
        self._random = random.Random(seed)
        self._symbols = itertools.cycle(symbols)
        self._cents = dict.fromkeys(symbols, 10_000)

    def trade(self, at_ms: int) -> dict[str, Any]:
        """Return one trade of the next symbol, as Finnhub writes it."""
        symbol = next(self._symbols)
        cents = self._cents[symbol] + self._random.choice((-1, 0, 1))
        cents = min(max(cents, 10_000 - CENTS_APART_MAX), 10_000 + CENTS_APART_MAX)
        self._cents[symbol] = cents
        size = 100 * self._random.randint(1, 9)
        return {"c": None, "p": cents / 100, "s": symbol, "t": at_ms, "v": size}


class Vendor:
    """One socket, one order after the other."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._walk = Walk(told["symbols"], told["seed"])
        self._mono_ns, self._market_ns = told["mono_ns"], told["market_ns"]
        self._speed = told["speed"]
        self._socket: ServerConnection | None = None
        self._is_wanted = asyncio.Event()
        self._wanted = len(told["symbols"])
        self.sent = 0

    async def accept(self, socket: ServerConnection) -> None:
        self._socket, subscribed = socket, 0
        with contextlib.suppress(ConnectionClosed):
            async for _ in socket:
                subscribed += 1
                if subscribed >= self._wanted:
                    self._is_wanted.set()

    def _frame(self, count: int) -> str:
        passed_ns = time.monotonic_ns() - self._mono_ns
        at_ms = (self._market_ns + int(passed_ns * self._speed)) // MS_NS
        data = [self._walk.trade(at_ms) for _ in range(count)]
        return json.dumps({"type": "trade", "data": data})

    async def send(self, per_s: float, seconds: float, ticks: int) -> list[tuple[int, int]]:
        """Send at a rate, `ticks` a frame; return (ticks sent before, when) of each frame."""
        await self._is_wanted.wait()
        assert self._socket is not None, "somebody has subscribed"
        sent: list[tuple[int, int]] = []
        began_s = time.monotonic()
        for number in range(int(per_s * seconds / ticks)):
            frame = self._frame(ticks)
            sent.append((self.sent, time.monotonic_ns()))
            self.sent += ticks
            await self._socket.send(frame)
            due_s = began_s + (number + 1) * ticks / per_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        return sent

    async def flood(self, count: int, ticks: int) -> list[tuple[int, int]]:
        """Send as fast as the other side takes it: the socket's own back-pressure is the rate."""
        await self._is_wanted.wait()
        assert self._socket is not None, "somebody has subscribed"
        sent = []
        for _ in range(count // ticks):
            frame = self._frame(ticks)
            sent.append((self.sent, time.monotonic_ns()))
            self.sent += ticks
            await self._socket.send(frame)
        return sent


async def _lines() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def _ignore(_: dict[str, Any]) -> None:
    """Look at no price: it is read all the same."""


def _tell(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


async def vendor() -> None:
    """Serve until stdin ends."""
    lines = await _lines()
    made = Vendor(json.loads(await lines.readline()))
    async with serve(
        made.accept, "127.0.0.1", 0, ping_interval=None, compression=None, write_limit=1 << 16
    ) as server:
        _tell(port=next(iter(server.sockets)).getsockname()[1])
        while line := await lines.readline():
            order = json.loads(line)
            if order.pop("do") == "send":
                _tell(frames=await made.send(**order))
            else:
                _tell(frames=await made.flood(**order))


class Stopwatch:
    """How long each price took to a reader, where the market runs at the speed of real time.

    A price that is said again, since it has aged, is no news and not timed.
    """

    def __init__(self, told: dict[str, Any]) -> None:
        self._is_told = "mono_ns" in told
        self._ahead_ns = told["market_ns"] - told["mono_ns"] if self._is_told else 0
        self._took_us: list[float] = []
        self._numbers: dict[str, int] = {}

    def see(self, blob: dict[str, Any]) -> None:
        if self._is_told and blob["n"] != self._numbers.get(blob["s"]):
            self._numbers[blob["s"]] = blob["n"]
            now_ns = time.monotonic_ns() + self._ahead_ns
            self._took_us.append((now_ns - blob["e"]) / 1000)

    def taken(self) -> list[float]:
        """Return what was measured since the last call."""
        taken, self._took_us = self._took_us, []
        return taken


async def readers() -> None:
    """Follow with so many readers until stdin ends; answer each line with what was seen."""
    lines = await _lines()
    told = json.loads(await lines.readline())
    clock, watch = MonotonicClock(), Stopwatch(told)
    count = told.get("count", READERS)
    watching = [watch.see, *(_ignore for _ in range(count - 1))]
    made = [PriceFollower(told["url"], told["symbols"], clock, on_price) for on_price in watching]
    tasks = [asyncio.create_task(one.run()) for one in made]
    _tell(ready=True)
    while await lines.readline():
        _tell(
            batches=[one.batches for one in made],
            symbols=[len(one.prices) for one in made],
            resyncs=[one.resyncs for one in made],
            took_us=watch.taken(),
        )
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run({"vendor": vendor, "readers": readers}[sys.argv[1]]())
