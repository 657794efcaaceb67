"""Vendor bytes to a controller's mailbox: latency at a steady rate, and ticks a second at most.

Rules of this file:
- the real path: WebSocket on loopback, ingest, two feeds, admission, hub, a mailbox;
- latency runs from the moment the frame is read to the moment the mailbox has the tick;
- figures only, no verdicts: `run()` returns them, `python bench/bench_feed.py` prints them.
"""

import contextlib
import json
import time
from collections.abc import Sequence

import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tradebox.actors.feed import Feed
from tradebox.actors.feed_monitor import FeedMonitor
from tradebox.actors.feed_slot import AdmissionGate, FeedSlot
from tradebox.actors.ingest import Ingest
from tradebox.actors.market_hub import MarketHub
from tradebox.adapters.finnhub.stream import FinnhubStream
from tradebox.config import FilterSettings
from tradebox.domain.market import AdmittedTick
from tradebox.domain.tick_filter import FilterLimits
from tradebox.supervision.clock import MonotonicClock
from tradebox.supervision.gate import EpochGate
from tradebox.supervision.mailbox import Mailbox, Overflow
from tradebox.supervision.spec import ChildSpec, ChildType
from tradebox.supervision.supervisor import Supervisor
from tradebox.supervision.tree import Runtime

NAMES = ("market.feed_a", "market.feed_b")
SYMBOLS = tuple(f"S{number:02d}" for number in range(45))
RATE = 500
STEADY_S = 4.0
BURST_TICKS = 20_000
FRAME_TICKS = 10


class WallClock:
    """Wall time as market time."""

    speed = 1.0

    def now_ns(self) -> int:
        return time.time_ns()


class Bench:
    """The price path with a scripted vendor before it and a mailbox behind it."""

    def __init__(self) -> None:
        self.clock, self.market = MonotonicClock(), WallClock()
        limits = FilterLimits.of(FilterSettings())
        self.hub = MarketHub(self.market, limits.stale_ns_max)
        self.gate = AdmissionGate(EpochGate(1, 1, "feed"), self.hub.deliver)
        self.runtime = Runtime(self.clock)
        publish = self.runtime.events.publish
        self.slot = FeedSlot(NAMES, self.gate, self.clock, self.market, publish)
        self.limits = limits
        self.latencies_us: list[float] = []
        self.box: Mailbox[AdmittedTick] = Mailbox(
            1024, Overflow.CONFLATE, lambda tick: tick.symbol, "controller"
        )
        self.hub.subscribe("paper", self.deliver, None)
        self.hub.want("paper", frozenset(SYMBOLS))
        self.socket: ServerConnection | None = None
        self.sent = 0

    def deliver(self, tick: AdmittedTick) -> None:
        self.box.put_nowait(tick)
        self.latencies_us.append((time.monotonic_ns() - tick.mono_ns) / 1000)

    async def accept(self, socket: ServerConnection) -> None:
        self.socket = socket
        with contextlib.suppress(ConnectionClosed):
            async for _ in socket:
                continue

    def root(self, url: str) -> ChildSpec:
        def feed() -> Feed:
            return Feed(self.slot, self.limits, self.hub.counters)

        def ingest() -> Ingest:
            stream = FinnhubStream(url, "bench", self.market, self.clock)
            return Ingest(stream, self.hub, self.slot, self.market)

        specs = [
            ChildSpec(id="feed_a", start=feed),
            ChildSpec(id="feed_b", start=feed),
            ChildSpec(id="monitor", start=lambda: FeedMonitor(self.slot)),
            ChildSpec(id="ingest", start=ingest),
        ]
        market = ChildSpec(
            id="market", start=lambda: Supervisor(None, specs), type=ChildType.SUPERVISOR
        )
        return ChildSpec(
            id="root", start=lambda: Supervisor(None, [market]), type=ChildType.SUPERVISOR
        )

    def frame(self, count: int) -> str:
        data = []
        now_ms = time.time_ns() // 1_000_000
        for _ in range(count):
            self.sent += 1
            symbol = SYMBOLS[self.sent % len(SYMBOLS)]
            price = 100 + self.sent // len(SYMBOLS) % 5 / 100
            data.append({"c": None, "p": price, "s": symbol, "t": now_ms, "v": self.sent % 997})
        return json.dumps({"type": "trade", "data": data})

    async def seen(self, count: int) -> None:
        while self.hub.counters.received < count:
            await self.clock.sleep(0.002)

    async def warm_up(self) -> None:
        while self.socket is None or len(self.slot.memories) < len(NAMES):
            await self.clock.sleep(0.01)
        for _ in range(30):
            await self.socket.send(self.frame(len(SYMBOLS)))
            await self.clock.sleep(0.1)
        await self.seen(self.sent)
        self.latencies_us.clear()

    async def steady(self) -> dict[str, float]:
        assert self.socket is not None
        began_cpu_s, began_s = time.process_time(), time.monotonic()
        for number in range(int(RATE * STEADY_S)):
            await self.socket.send(self.frame(1))
            due_s = began_s + (number + 1) / RATE
            await self.clock.sleep(max(0.0, due_s - time.monotonic()))
        await self.seen(self.sent)
        cpu_share = (time.process_time() - began_cpu_s) / (time.monotonic() - began_s)
        return {
            "rate_per_s": RATE,
            "p50_us": quantile(self.latencies_us, 0.50),
            "p99_us": quantile(self.latencies_us, 0.99),
            "cpu_share_with_vendor": round(cpu_share, 3),
        }

    async def burst(self) -> float:
        """Return the ticks a second of one long burst, the vendor's side included."""
        assert self.socket is not None
        frames = [self.frame(FRAME_TICKS) for _ in range(BURST_TICKS // FRAME_TICKS)]
        began_s = time.monotonic()
        for frame in frames:
            await self.socket.send(frame)
        await self.seen(self.sent)
        return BURST_TICKS / (time.monotonic() - began_s)


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1) if ordered else 0.0


async def _run() -> dict[str, object]:
    bench = Bench()
    server = await serve(bench.accept, "127.0.0.1", 0, ping_interval=None, compression=None)
    port = next(iter(server.sockets)).getsockname()[1]
    await bench.runtime.start(bench.root(f"ws://127.0.0.1:{port}"))
    try:
        await bench.warm_up()
        steady = await bench.steady()
        burst_per_s = await bench.burst()
    finally:
        await bench.runtime.stop()
        server.close()
        await server.wait_closed()
    return {
        "name": "feed",
        "vendor_bytes_to_mailbox": steady,
        "burst_ticks_per_s": round(burst_per_s),
        "received": bench.hub.counters.received,
        "admitted": bench.hub.counters.admitted,
        "gaps": bench.gate.gaps,
    }


def run() -> dict[str, object]:
    """Measure once and return the figures. Units stand in the names."""
    return uvloop.run(_run())


if __name__ == "__main__":
    print(json.dumps(run(), indent=2))
