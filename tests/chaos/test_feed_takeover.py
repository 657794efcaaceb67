"""Real feeds under a real supervisor and load: whatever befalls them, the admitted log is whole."""

import asyncio
import contextlib
from dataclasses import dataclass

import pytest
import pytest_asyncio

from support.finnhub_double import eventually
from support.ticks import LIMITS, T0, Market, S, tick
from tradebox.actors.feed import Feed
from tradebox.actors.feed_monitor import FeedMonitor, SwapFeeds
from tradebox.actors.feed_slot import AdmissionGate, FeedSlot
from tradebox.actors.market_hub import MarketHub
from tradebox.domain.events import FeedFailover
from tradebox.domain.feed_pair import Role
from tradebox.ports.ticks import KEY_BITS, TickBatch
from tradebox.supervision.clock import MonotonicClock
from tradebox.supervision.gate import EpochGate
from tradebox.supervision.spec import Backoff, ChildSpec, ChildType
from tradebox.supervision.supervisor import Supervisor
from tradebox.supervision.tree import Runtime

NAMES = ("market.feed_a", "market.feed_b")
QUICK = Backoff(initial_s=0.002, max_s=0.01)
SLOW_S, SLOW_MESSAGES = 0.2, 8
"""Together more than a feed that starts waits for a partner that does not get on."""


@dataclass(frozen=True)
class Harm:
    kind: str


class FragileFeed(Feed):
    """A feed that can be told to fail in each of the usual ways."""

    slow_messages = 0

    async def handle(self, msg):
        if not isinstance(msg, Harm):
            if self.slow_messages:
                self.slow_messages -= 1
                await asyncio.sleep(SLOW_S)
            await super().handle(msg)
        elif msg.kind == "crash":
            raise RuntimeError("told to")
        elif msg.kind == "hang":
            await asyncio.Event().wait()
        else:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await asyncio.sleep(0)


class Pair:
    """The market branch without its vendor, and the load in the vendor's place."""

    def __init__(self):
        self.market = Market()
        self.clock = MonotonicClock()
        self.hub = MarketHub(self.market, LIMITS.stale_ns_max)
        self.admitted = []
        self.hub.subscribe("paper", self.admitted.append, None)
        self.gate = AdmissionGate(EpochGate(1, 1, "feed"), self.hub.deliver)
        self.runtime = Runtime(self.clock, zombies_max=1000)
        self.failovers = []
        self.runtime.events.attach(FeedFailover, self.failovers.append)
        self.slot = FeedSlot(NAMES, self.gate, self.clock, self.market, self.runtime.events.publish)
        self.slot.subscribe(frozenset({"SPY", "AAPL"}))
        for symbol in ("SPY", "AAPL"):
            self.slot.note_close(symbol, 100_000_000)
        self.sent = 0
        self.before_start = lambda: None

    def root(self):
        def feed():
            self.before_start()
            return FragileFeed(self.slot, LIMITS, self.hub.counters)

        children = [
            ChildSpec(id="feed_a", start=feed, backoff=QUICK),
            ChildSpec(id="feed_b", start=feed, backoff=QUICK),
            ChildSpec(id="monitor", start=lambda: FeedMonitor(self.slot), backoff=QUICK),
        ]

        def branch():
            return Supervisor(None, children)

        market = ChildSpec(id="market", start=branch, type=ChildType.SUPERVISOR)
        return ChildSpec(
            id="root", start=lambda: Supervisor(None, [market]), type=ChildType.SUPERVISOR
        )

    def send(self, count=3):
        ticks = []
        for _ in range(count):
            self.sent += 1
            at_s = self.sent / 100
            symbol = ("SPY", "AAPL")[self.sent % 2]
            key = (1 << KEY_BITS) | self.sent
            ticks.append(tick(100 + self.sent % 3 / 100, at_s, symbol=symbol, key=key))
        self.market.ns = T0 + self.sent * S // 100
        for name in self.slot.order():
            self.runtime.registry.via(name).tell(TickBatch(tuple(ticks), 0))

    async def load(self):
        while True:
            self.send()
            await asyncio.sleep(0.001)

    def ref(self, name):
        return self.runtime.registry.whereis(name)

    def is_whole(self):
        return {self.slot.role(name) for name in NAMES} == {Role.ACTIVE, Role.WARM}

    async def harm(self, kind, name):
        """Fail a feed of a whole pair; wait until the pair is whole again without it."""
        await eventually(self.is_whole)
        incarnation = self.ref(name).incarnation
        assert self.ref(name).tell(Harm(kind))
        await eventually(
            lambda: (ref := self.ref(name)) is not None and ref.incarnation != incarnation
        )
        await eventually(self.is_whole)

    async def log_is_whole(self):
        """Nothing lost, nothing doubled, in order."""
        await eventually(lambda: len(self.admitted) >= self.sent)
        assert [one.key & ((1 << KEY_BITS) - 1) for one in self.admitted] == list(
            range(1, self.sent + 1)
        )
        for symbol in ("SPY", "AAPL"):
            seqs = [one.pub_seq for one in self.admitted if one.symbol == symbol]
            assert seqs == list(range(1, len(seqs) + 1))
        epochs = [one.epoch for one in self.failovers]
        assert epochs == sorted(set(epochs))
        assert self.gate.gaps == 0


@pytest_asyncio.fixture
async def pair():
    made = Pair()
    await made.runtime.start(made.root())
    load = asyncio.ensure_future(made.load())
    yield made
    load.cancel()
    await made.runtime.stop()


@pytest.mark.asyncio
async def test_crashes_lose_and_double_nothing(pair):
    for _ in range(20):
        await pair.harm("crash", pair.slot.active)
    for _ in range(5):
        await pair.harm("crash", pair.slot.order()[1])
    await pair.log_is_whole()
    assert sum(one.cause == "exit" for one in pair.failovers) == 20


@pytest.mark.parametrize("kind", ["hang", "deaf"])
@pytest.mark.asyncio
async def test_a_hung_active_loses_its_role_before_it_is_replaced(pair, kind):
    old = pair.slot.active
    await pair.harm(kind, old)
    await pair.log_is_whole()
    assert pair.failovers[1].cause == "hang"
    assert pair.failovers[1].old == old
    assert pair.slot.active != old


@pytest.mark.asyncio
async def test_hangs_in_a_row_are_damped_and_lose_nothing(pair):
    for _ in range(3):
        await pair.harm("crash", pair.slot.active)
    await pair.harm("hang", pair.slot.active)
    await pair.log_is_whole()


@pytest.mark.asyncio
async def test_a_standby_that_starts_beside_a_slow_active_takes_no_old_memory(pair):
    await eventually(pair.is_whole)
    active = pair.slot.active

    def fall_behind():
        """Leave the active work that the mailbox of the one that starts will never see."""
        pair.before_start = lambda: None
        pair.slot._members[active].slow_messages = SLOW_MESSAGES
        for _ in range(SLOW_MESSAGES):
            pair.send()

    pair.before_start = fall_behind
    await pair.harm("crash", pair.slot.pair.partner(active))
    await pair.log_is_whole()
    assert [one.cause for one in pair.failovers] == ["start"]
    first, second = (pair.slot.memories[name] for name in NAMES)
    await eventually(lambda: first.keys == second.keys and first.seq == second.seq)
    assert first.fingerprint() == second.fingerprint()


@pytest.mark.asyncio
async def test_a_planned_swap_moves_the_epoch_and_nothing_else(pair):
    monitor = pair.ref("market.monitor")
    for _ in range(10):
        await eventually(pair.is_whole)
        before, incarnations = pair.slot.active, [pair.ref(name).incarnation for name in NAMES]
        assert await monitor.ask(SwapFeeds()) not in (None, before)
        assert [pair.ref(name).incarnation for name in NAMES] == incarnations
        await asyncio.sleep(0.005)
    await pair.log_is_whole()


@pytest.mark.asyncio
async def test_both_at_once_come_back_and_what_was_lost_is_counted(pair):
    await eventually(pair.is_whole)
    for name in NAMES:
        pair.ref(name).tell(Harm("crash"))
    await asyncio.sleep(0.01)
    await eventually(pair.is_whole)
    sent = pair.sent
    await eventually(lambda: pair.admitted[-1].key & ((1 << KEY_BITS) - 1) > sent)
    keys = [one.key for one in pair.admitted]
    assert keys == sorted(set(keys))
    assert len(keys) + pair.gate.gaps >= sent


@pytest.mark.asyncio
async def test_the_pair_fails_over_without_its_monitor(pair):
    await eventually(pair.is_whole)
    pair.runtime.kernel.kill(pair.ref("market.monitor")._cell)
    await pair.harm("crash", pair.slot.active)
    await pair.log_is_whole()
