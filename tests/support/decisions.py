"""The whole way from vendor ticks to plan decisions, tick by tick, beside a real bus.

Rules of this file:
- feeds, gate, hub, publisher and plan runner are real; the order path and the plan store are
  scripted, so that decisions depend on nothing but the ticks;
- one tick is sent only when the one before has been decided on, and plan time is market time: two
  runs of the same seed see the same, whatever the bus does meanwhile;
- a decision is (plan, step, its event time, its price).
"""

from collections import deque
from dataclasses import replace
from decimal import Decimal
from typing import Any

from support.finnhub_double import eventually
from support.manual_tree import until
from support.plan_bench import Broker, MarketTime, MemoryReference, MemoryStore, ScriptedPath
from support.ticks import LIMITS, S
from tradebox.actors.feed import Feed
from tradebox.actors.feed_monitor import FeedMonitor
from tradebox.actors.feed_slot import AdmissionGate, FeedSlot
from tradebox.actors.market_hub import MarketHub
from tradebox.actors.publisher import Publisher
from tradebox.adapters.redis.bus import RedisBus
from tradebox.adapters.redis.prices import RedisPrices
from tradebox.domain.market import Session, Source, Tick
from tradebox.domain.orders import AccountName
from tradebox.domain.plan_document import document_from
from tradebox.execution.plan_runner import PlanRunner
from tradebox.ports.ticks import KEY_BITS, TickBatch
from tradebox.sim.market import hours
from tradebox.sim.market.data import load
from tradebox.sim.market.replay import Replay
from tradebox.supervision.clock import MonotonicClock
from tradebox.supervision.gate import EpochGate
from tradebox.supervision.spec import ChildSpec, ChildType
from tradebox.supervision.supervisor import Supervisor
from tradebox.supervision.tree import Runtime

NAMES = ("market.feed_a", "market.feed_b")
SYMBOLS = ("SPY", "AAPL", "NFLX")
TIMER_NS = S // 4
PLAN = {
    "side": "long",
    "size": {"quantity": 100},
    "entry": {"type": "market"},
    "stop": {"percent": "0.15"},
    "steps": [
        {"at": {"r": "0.5"}, "move_stop": {"to": "break_even"}},
        {"at": {"r": "1"}, "take": {"fraction": "0.5"}},
        {"at": {"r": "1"}, "trail": {"percent": "0.1"}},
    ],
}

Decision = tuple[str, str, int, Decimal]


def day_ticks(seed: int, minutes: int, first: int = 0) -> list[Tick]:
    """Return what the shipped market of a seed trades in its first session, by time."""
    data = load().only(SYMBOLS)
    replay = Replay(data, seed)
    number = data.first_number
    prints = sorted(
        (print_.event_ns, symbol, print_.price_micros, print_.size)
        for symbol in SYMBOLS
        for minute in range(first, first + minutes)
        for print_ in replay.prints(symbol, number, minute)
    )
    return [
        Tick(symbol, price, size, at_ns, at_ns + S // 10, Source.FINNHUB, (1 << KEY_BITS) | place)
        for place, (at_ns, symbol, price, size) in enumerate(prints, 1)
    ]


class EngineClock:
    """The runner's seconds, those of market time."""

    def __init__(self, market: MarketTime) -> None:
        self._market = market

    def now(self) -> float:
        return self._market.at_ns / S


class DecisionWorld:
    """One engine's price path and one account's plans."""

    def __init__(self, redis_url: str, seed: int, minutes: int) -> None:
        self.ticks = day_ticks(seed, minutes)
        session = hours.session(load().first_number)
        self.market = MarketTime(self.ticks[0].event_ns)
        self.hub = MarketHub(self.market, LIMITS.stale_ns_max)
        self.gate = AdmissionGate(EpochGate(1, 1, "feed"), self.hub.deliver)
        self.runtime = Runtime(MonotonicClock())
        self.slot = FeedSlot(
            NAMES, self.gate, MonotonicClock(), self.market, self.runtime.events.publish
        )
        self.slot.subscribe(frozenset(SYMBOLS))
        self.bus = RedisBus(redis_url)
        self.publisher: Any = None
        self.got: deque[Any] = deque()
        self.hub.subscribe("paper", self.got.append, None)
        self.broker = Broker(self.market)
        self.store = MemoryStore()
        reference = MemoryReference(SYMBOLS)
        reference.rows = (
            Session("XNYS", "day", session.open_ns, session.close_ns, is_early_close=False),
        )
        self.path = ScriptedPath(self.broker)
        self.runner = PlanRunner(
            AccountName.PAPER, self.path, self.store, reference, self.market,
            EngineClock(self.market), self.hub, lambda _: None,
        )  # fmt: skip
        self.timer_ns = 0

    def root(self) -> ChildSpec:
        def feed() -> Feed:
            return Feed(self.slot, LIMITS, self.hub.counters)

        def publisher() -> Publisher:
            prices = RedisPrices(self.bus)
            self.publisher = Publisher(prices, self.gate, self.hub, self.market, 0.01)
            return self.publisher

        children = [
            ChildSpec(id="feed_a", start=feed),
            ChildSpec(id="feed_b", start=feed),
            ChildSpec(id="monitor", start=lambda: FeedMonitor(self.slot)),
            ChildSpec(id="publisher", start=publisher),
        ]
        market = ChildSpec(
            id="market", start=lambda: Supervisor(None, children), type=ChildType.SUPERVISOR
        )
        return ChildSpec(
            id="root", start=lambda: Supervisor(None, [market]), type=ChildType.SUPERVISOR
        )

    async def start(self) -> None:
        await self.runtime.start(self.root())
        await eventually(lambda: self.slot.active is not None)
        await self.runner.load()

    async def stop(self) -> None:
        await self.runtime.stop()
        await self.bus.close()

    async def play(self, first: int, end: int) -> None:
        """Send these ticks, each when the one before has been decided on."""
        for tick in self.ticks[first:end]:
            await self._let_time_pass(tick.recv_ns)
            await self._keep_plans()
            settled = self.gate.settled(tick.source)
            for name in self.slot.order():
                self.runtime.registry.via(name).tell(TickBatch((tick,), 0))
            await until(lambda was=settled, now=tick.source: self.gate.settled(now) != was)
            while self.got:
                await self._decide(self.got.popleft())

    async def _let_time_pass(self, now_ns: int) -> None:
        self.timer_ns = self.timer_ns or self.market.at_ns
        while self.timer_ns + TIMER_NS <= now_ns:
            self.timer_ns += TIMER_NS
            self.market.at_ns = max(self.market.at_ns, self.timer_ns)
            await self.runner.on_timer()
        self.market.at_ns = max(self.market.at_ns, now_ns)

    async def _keep_plans(self) -> None:
        """Have one plan at work on each symbol."""
        known = self.runner.symbols | {
            row.symbol for row in self.store.rows.values() if row.state == "requested"
        }
        for symbol in SYMBOLS:
            if symbol not in known:
                document = document_from({**PLAN, "symbol": symbol})
                await self.store.request_plan(
                    document, AccountName.PAPER, now_ns=self.market.at_ns, author="test"
                )

    async def _decide(self, tick: Any) -> None:
        self.broker.prices[tick.symbol] = Decimal(tick.price_micros) / 1_000_000
        fills = self.broker.trigger_stops(tick.symbol)
        if fills:
            await self.runner.on_fact(fills)
        await self.runner.on_tick(replace(tick, mailbox_mono_ns=0))

    def decisions(self) -> list[Decision]:
        """Return every step that was taken, with the tick that caused it."""
        return [
            (plan_id, step.kind.value, step.evidence.event_ns if step.evidence else step.at_ns,
             step.price)
            for plan_id, steps in sorted(self.store.steps.items())
            for _, step in sorted(steps.items())
        ]  # fmt: skip
