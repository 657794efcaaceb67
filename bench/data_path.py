"""The engine's data path alone: Finnhub's socket, two feeds, admission, two controllers, Redis.

Rules of this file:
- everything on it is real, restarts are as the engine's; vendor and readers are processes of
  their own (data_vendor.py);
- a tick's latency runs from the vendor's hand to the start of the live controller's handler.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tradebox.actors.feed import Feed
from tradebox.actors.feed_monitor import FeedMonitor
from tradebox.actors.feed_slot import AdmissionGate, FeedSlot
from tradebox.actors.ingest import Ingest
from tradebox.actors.market_hub import MarketHub
from tradebox.actors.publisher import Publisher
from tradebox.adapters.finnhub.stream import FinnhubStream, StreamTiming
from tradebox.adapters.redis.bus import RedisBus
from tradebox.adapters.redis.prices import RedisPrices
from tradebox.config import FilterSettings, FinnhubSettings, TierSettings
from tradebox.domain.filter_values import FilterLimits
from tradebox.domain.market import AdmittedTick, Source
from tradebox.domain.staleness import AgeLimits
from tradebox.domain.tier_values import TierLimits
from tradebox.supervision.actor import Actor
from tradebox.supervision.clock import MonotonicClock
from tradebox.supervision.gate import EpochGate
from tradebox.supervision.mailbox import Overflow
from tradebox.supervision.spec import ChildSpec, ChildType, Rank, SupFlags
from tradebox.supervision.supervisor import Supervisor, nested
from tradebox.supervision.tree import Runtime

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("market.feed_a", "market.feed_b")
KEY_MASK = (1 << 40) - 1
SYMBOLS_OVER = 10
START_NS = 1_451_917_800_000_000_000


class FastClock:
    """Market time that runs `speed` times as fast as the machine's."""

    def __init__(self, speed: float, market_ns: int | None = None) -> None:
        self.speed = speed
        self.mono_ns = time.monotonic_ns()
        self.market_ns = time.time_ns() if market_ns is None else market_ns

    def now_ns(self) -> int:
        return self.market_ns + int((time.monotonic_ns() - self.mono_ns) * self.speed)


class Reader(Actor[AdmittedTick]):
    """A controller's place: prices conflate by symbol. seen: (vendor's number, when handled)."""

    mailbox_capacity = 4096
    overflow = Overflow.CONFLATE

    def __init__(self, path: "DataPath", name: str) -> None:
        self._path = path
        self._name = name

    def conflate_key(self, msg: AdmittedTick) -> str:
        return msg.symbol

    async def init(self, ctx: Any) -> None:
        self._path.hub.subscribe(self._name, ctx.ref.tell, None)
        self._path.refs[self._name] = ctx.ref

    async def handle(self, msg: AdmittedTick) -> None:
        if self._name == "paper":
            await self._path.paper_reads.wait()
        else:
            self._path.seen.append((msg.key & KEY_MASK, time.monotonic_ns()))


class DataPath:
    """The path under a real supervision tree."""

    def __init__(
        self,
        symbols: Sequence[str],
        redis_url: str,
        *,
        speed: float = 1.0,
        market_ns: int | None = None,
        extra: Sequence[ChildSpec] = (),
    ) -> None:
        self.symbols = tuple(symbols)
        self.clock, self.market = MonotonicClock(), FastClock(speed, market_ns)
        filters = FilterSettings()
        self.limits = FilterLimits.of(filters, speed)
        self.tiers = TierLimits.of(TierSettings(), filters, speed)
        ages = AgeLimits.of(TierSettings(), filters, speed)
        self.hub = MarketHub(self.market, self.limits.stale_ns_max, ages=ages)
        self.gate = AdmissionGate(EpochGate(1, 1, "feed"), self.hub.deliver)
        self.runtime = Runtime(self.clock)
        publish = self.runtime.events.publish
        self.slot = FeedSlot(NAMES, self.gate, self.clock, self.market, publish)
        self.slot.near, self.slot.on_polled = self.hub.near, self.hub.poll
        self.bus = RedisBus(redis_url)
        self.seen: list[tuple[int, int]] = []
        self.refs: dict[str, Any] = {}
        self.paper_reads = asyncio.Event()
        self.paper_reads.set()
        self.publisher: Publisher | None = None
        self._extra = tuple(extra)

    def add(self, *specs: ChildSpec) -> None:
        """Have more actors under the tree."""
        self._extra = (*self._extra, *specs)

    def _root(self, url: str) -> ChildSpec:
        def feed() -> Feed:
            return Feed(self.slot, self.limits, self.hub.counters, tiers=self.tiers)

        def ingest() -> Ingest:
            timing = StreamTiming.of(FinnhubSettings(), self.market.speed)
            stream = FinnhubStream(
                url,
                "bench",
                self.market,
                self.clock,
                symbols_max=len(self.symbols) + SYMBOLS_OVER,
                timing=timing,
            )
            return Ingest(stream, self.hub, self.slot, self.market)

        def publisher() -> Publisher:
            self.publisher = Publisher(RedisPrices(self.bus), self.gate, self.hub, self.market)
            return self.publisher

        market = [
            ChildSpec(id="feed_a", start=feed),
            ChildSpec(id="feed_b", start=feed),
            ChildSpec(id="monitor", start=lambda: FeedMonitor(self.slot)),
            ChildSpec(id="publisher", start=publisher),
            *self._extra,
            ChildSpec(id="ingest", start=ingest),
        ]
        children = [
            ChildSpec(id="live", start=lambda: Reader(self, "live"), rank=Rank.URGENT),
            ChildSpec(id="paper", start=lambda: Reader(self, "paper"), rank=Rank.PATIENT),
            nested("market", SupFlags(intensity=10, period=60.0), market),
        ]
        return ChildSpec(
            id="root", start=lambda: Supervisor(None, children), type=ChildType.SUPERVISOR
        )

    async def start(self, port: int) -> None:
        """Start the tree against a vendor's port and wait until both feeds are there."""
        self.hub.want("bench", frozenset(self.symbols))
        await self.runtime.start(self._root(f"ws://127.0.0.1:{port}"))
        while len(self.slot.memories) < len(NAMES):
            await self.clock.sleep(0.01)

    async def received(self, count: int, within_s: float = 120.0) -> None:
        """Wait until so many ticks have come, and both feeds have dealt with the last of them."""
        until_s = self.clock.now() + within_s
        while self.hub.counters.received < count or self._dealt_with() < count:
            if self.clock.now() > until_s:
                came = self.hub.counters.received
                raise TimeoutError(
                    f"{came} of {count} ticks came, {self._dealt_with()} were judged"
                )
            await self.clock.sleep(0.002)

    async def settled(self, count: int, within_s: float = 120.0) -> int:
        """Wait until gate and both feeds are past the last of so many; return how many came."""
        until_s = self.clock.now() + within_s
        while self._dealt_with() < count:
            if self.clock.now() > until_s:
                raise TimeoutError(f"{self._dealt_with()} of {count} ticks were judged")
            await self.clock.sleep(0.01)
        return self.hub.counters.received

    def _dealt_with(self) -> int:
        """Return the vendor's number up to which gate and both feeds are."""
        keys = (self.slot.memories[name].keys.get(Source.FINNHUB, 0) for name in NAMES)
        return min(self.gate.settled(Source.FINNHUB), *keys) & KEY_MASK

    async def stop(self) -> None:
        await self.runtime.stop()
        await self.bus.close()


class Part:
    """A process of data_vendor.py that is asked line by line."""

    def __init__(self, name: str, core: int | None, **told: Any) -> None:
        command = [sys.executable, "-m", "bench.data_vendor", name]
        if core is not None:
            command = ["taskset", "-c", str(core), *command]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        self.pid = self._process.pid
        self.first = self._ask(told)

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    async def ask(self, **order: Any) -> dict[str, Any]:
        """Give an order and wait for its answer, beside the loop."""
        return await asyncio.to_thread(self._ask, order)

    def close(self) -> None:
        """End the process: its input ends."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
