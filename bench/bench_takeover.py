"""The feed pair alone: from a crash, or an await that never ends, to the standby's first admission.

Rules of this file:
- real feeds, slot, gate and supervisor under a load of ticks; the vendor alone is left out;
- a takeover ends when the standby holds the epoch and has admitted what the active left over;
- the admitted log is then compared with what was sent: lost or doubled ticks are counted;
- suspicions that follow each other are damped by design, so a pair is hung once and replaced;
- a pair runs for a while first: how long a standby waits follows from the lag it has seen.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import uvloop

from bench.machine import load_average, ratio, spread
from tradebox.actors.feed import Feed
from tradebox.actors.feed_monitor import FeedMonitor
from tradebox.actors.feed_slot import AdmissionGate, FeedSlot
from tradebox.actors.market_hub import MarketHub
from tradebox.config import FilterSettings
from tradebox.domain.events import FeedFailover
from tradebox.domain.feed_pair import Role
from tradebox.domain.market import AdmittedTick, Source, Tick
from tradebox.domain.tick_filter import FilterLimits
from tradebox.ports.ticks import KEY_BITS, TickBatch
from tradebox.supervision.clock import MonotonicClock
from tradebox.supervision.gate import EpochGate
from tradebox.supervision.spec import Backoff, ChildSpec, ChildType
from tradebox.supervision.supervisor import Supervisor
from tradebox.supervision.tree import Runtime

CRASHES = 1000
HANGS = 80
HANGS_A_PAIR = 1
NAMES = ("market.feed_a", "market.feed_b")
SYMBOLS = ("SPY", "AAPL")
QUICK = Backoff(initial_s=0.001, max_s=0.001)
PERIOD_S = 0.001
SHUTDOWN_S = 0.1
BATCH = 3
WAIT_S_MAX = 5.0
SETTLE_S = 0.3
DAY_NS = 1_451_918_400_000_000_000
US_NS = 1000


class SteppedClock:
    """Market time that goes on with the ticks."""

    speed = 1.0
    ns = DAY_NS

    def now_ns(self) -> int:
        return self.ns


@dataclass(frozen=True)
class Harm:
    """To a feed: fail now, and say when."""

    kind: str


class FragileFeed(Feed):
    """A feed that fails when told to."""

    harmed_ns = 0

    async def handle(self, msg: Any) -> None:
        if not isinstance(msg, Harm):
            await super().handle(msg)
            return
        FragileFeed.harmed_ns = time.perf_counter_ns()
        if msg.kind == "crash":
            raise RuntimeError("told to")
        await asyncio.Event().wait()


class Pair:
    """The market branch without its vendor, and a load of ticks in the vendor's place."""

    def __init__(self) -> None:
        self.market, self.clock = SteppedClock(), MonotonicClock()
        self.limits = FilterLimits.of(FilterSettings())
        self.hub = MarketHub(self.market, self.limits.stale_ns_max)
        self.keys: list[int] = []
        self.hub.subscribe("paper", self._admitted, None)
        self.gate = AdmissionGate(EpochGate(1, 1, "feed"), self.hub.deliver)
        self.runtime = Runtime(self.clock, zombies_max=HANGS)
        self.took_over_ns = 0
        self.runtime.events.attach(FeedFailover, self._took_over)
        self.slot = FeedSlot(NAMES, self.gate, self.clock, self.market, self.runtime.events.publish)
        self.slot.subscribe(frozenset(SYMBOLS))
        for symbol in SYMBOLS:
            self.slot.note_close(symbol, 100_000_000)
        self.sent = 0

    def _admitted(self, tick: AdmittedTick) -> None:
        self.keys.append(tick.key)

    def _took_over(self, _event: FeedFailover) -> None:
        self.took_over_ns = time.perf_counter_ns()

    def root(self) -> ChildSpec:
        def feed() -> Feed:
            return FragileFeed(self.slot, self.limits, self.hub.counters)

        children = [
            ChildSpec(id="feed_a", start=feed, backoff=QUICK, shutdown=SHUTDOWN_S),
            ChildSpec(id="feed_b", start=feed, backoff=QUICK, shutdown=SHUTDOWN_S),
            ChildSpec(id="monitor", start=lambda: FeedMonitor(self.slot), backoff=QUICK),
        ]
        market = ChildSpec(
            id="market", start=lambda: Supervisor(None, children), type=ChildType.SUPERVISOR
        )
        return ChildSpec(
            id="root", start=lambda: Supervisor(None, [market]), type=ChildType.SUPERVISOR
        )

    def _ticks(self) -> Iterator[Tick]:
        for _ in range(BATCH):
            self.sent += 1
            self.market.ns = DAY_NS + self.sent * 10_000_000
            yield Tick(
                SYMBOLS[self.sent % 2],
                100_000_000 + self.sent % 3 * 10_000,
                self.sent % 997 + 1,
                self.market.ns,
                self.market.ns,
                Source.FINNHUB,
                (1 << KEY_BITS) | self.sent,
            )

    def send(self) -> None:
        """Give both feeds one batch, as the ingest does."""
        batch = TickBatch(tuple(self._ticks()), time.monotonic_ns())
        for name in self.slot.order():
            self.runtime.registry.via(name).tell(batch)

    async def load(self) -> None:
        """Send for ever."""
        while True:
            self.send()
            await asyncio.sleep(PERIOD_S)

    def is_whole(self) -> bool:
        """Say whether one is active and one warm."""
        return {self.slot.role(name) for name in NAMES} == {Role.ACTIVE, Role.WARM}

    async def until(self, look: Callable[[], bool]) -> None:
        """Wait. Raises TimeoutError."""
        async with asyncio.timeout(WAIT_S_MAX):
            while not look():  # noqa: ASYNC110 - benches poll
                await asyncio.sleep(PERIOD_S / 2)

    async def harm(self, kind: str) -> float:
        """Harm the active and return how many microseconds nobody held its role."""
        await self.until(self.is_whole)
        active, before = self.slot.active, self.took_over_ns
        assert active is not None
        self.runtime.registry.via(active).tell(Harm(kind))
        self.send()
        await self.until(lambda: self.took_over_ns != before)
        return (self.took_over_ns - FragileFeed.harmed_ns) / US_NS

    async def settle(self) -> tuple[int, int]:
        """Wait for the last tick; return how many were lost and how many came twice."""
        await self.until(self.is_whole)
        last = (1 << KEY_BITS) | self.sent
        await self.until(lambda: bool(self.keys) and self.keys[-1] >= last)
        unique = len(set(self.keys))
        return self.sent - unique, len(self.keys) - unique


async def _with_pair(work: Callable[[Pair], Awaitable[None]]) -> tuple[int, int, int]:
    """Run a pair under load for some work; return what was sent, lost and doubled."""
    pair = Pair()
    await pair.runtime.start(pair.root())
    load = asyncio.create_task(pair.load())
    try:
        await work(pair)
        load.cancel()
        lost, doubled = await pair.settle()
        return pair.sent, lost, doubled
    finally:
        load.cancel()
        await pair.runtime.stop()


async def _takeovers(kind: str, count: int, each: int) -> dict[str, Any]:
    found: list[float] = []
    totals = [0, 0, 0]

    async def work(pair: Pair) -> None:
        for _ in range(each):
            if kind == "hang":
                await pair.until(pair.is_whole)
                await asyncio.sleep(SETTLE_S)
            found.append(await pair.harm(kind))

    for _ in range(count // each):
        counted = await _with_pair(work)
        totals = [whole + part for whole, part in zip(totals, counted, strict=True)]
    sent, lost, doubled = totals
    return {"takeover_us": spread(found, 1), "sent": sent, "lost": lost, "doubled": doubled}


async def _loop_turn_us() -> list[float]:
    """The floor: what a loop takes from a timer's due time, or a wish, to the next callback."""
    found = []
    for _ in range(CRASHES):
        began_ns = time.perf_counter_ns()
        await asyncio.sleep(0)
        found.append((time.perf_counter_ns() - began_ns) / US_NS)
    return found


async def _measure() -> dict[str, Any]:
    crash = await _takeovers("crash", CRASHES, CRASHES)
    hang = await _takeovers("hang", HANGS, HANGS_A_PAIR)
    turn = spread(await _loop_turn_us(), 2)
    return {
        "load_during": load_average(),
        "crash": crash,
        "await_for_ever": hang,
        "floor": {"loop_turn_us": turn},
        "ratio_crash_to_loop_turn": ratio(crash["takeover_us"]["p50"], turn["p50"]),
        "ratio_hang_to_loop_turn": ratio(hang["takeover_us"]["p50"], turn["p50"]),
    }


def run() -> dict[str, Any]:
    """Harm feeds and return the figures. Units stand in the names."""
    return uvloop.run(_measure())
