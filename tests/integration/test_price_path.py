"""Vendor bytes to the controller's door: the sim's Finnhub, ingest, both feeds, admission, hub."""

from collections import defaultdict

import pytest
import pytest_asyncio

from support.finnhub_double import eventually
from support.sim_market import SYMBOLS, market_at
from tradebox.actors.feed import Feed
from tradebox.actors.feed_monitor import FeedMonitor
from tradebox.actors.feed_slot import AdmissionGate, FeedSlot
from tradebox.actors.ingest import Ingest
from tradebox.actors.market_hub import MarketHub
from tradebox.adapters.finnhub.rest import FinnhubRest
from tradebox.adapters.finnhub.stream import FinnhubStream, StreamTiming
from tradebox.config import FilterSettings
from tradebox.domain.events import AlertRaised, StreamChanged, TickRefused
from tradebox.domain.feed_pair import Role
from tradebox.domain.market import Quality
from tradebox.domain.tick_filter import FilterLimits, is_blocked
from tradebox.ports.ticks import KEY_BITS
from tradebox.sim.exchange.market_port import SECOND_NS, Trade
from tradebox.sim.finnhub.faults import finnhub_faults
from tradebox.sim.finnhub.server import FinnhubServer
from tradebox.sim.market import hours
from tradebox.supervision.clock import MonotonicClock
from tradebox.supervision.gate import EpochGate
from tradebox.supervision.spec import Backoff, ChildSpec, ChildType
from tradebox.supervision.supervisor import Supervisor
from tradebox.supervision.tree import Runtime

KEY = "c0ffee"
SPEED = 20
NAMES = ("market.feed_a", "market.feed_b")
QUICK = Backoff(initial_s=0.002, max_s=0.01)
TIMING = StreamTiming(backoff_s_min=0.005, backoff_s_max=0.02)


class World:
    """A vendor whose market moves when told, and the engine's price path on real sockets."""

    def __init__(self):
        self.market = market_at(hours.session(2).open_ns + 600 * SECOND_NS)
        self.clock = MonotonicClock()
        self.faults = finnhub_faults()
        self.server = FinnhubServer(self.market, KEY, self.clock, self.faults)
        limits = FilterLimits.of(FilterSettings(), SPEED)
        self.hub = MarketHub(self.market.clock, limits.stale_ns_max)
        self.gate = AdmissionGate(EpochGate(1, 1, "feed"), self.hub.deliver)
        self.runtime = Runtime(self.clock)
        self.slot = FeedSlot(
            NAMES, self.gate, self.clock, self.market.clock, self.runtime.events.publish
        )
        self.limits = limits
        self.streams = []
        self.events = []
        self.runtime.events.attach((AlertRaised, StreamChanged, TickRefused), self.events.append)
        self.printed = defaultdict(set)
        self.market.subscribe(self.on_market)
        self.admitted = []
        self.hub.subscribe("paper", self.admitted.append, None)
        self.hub.want("paper", frozenset(SYMBOLS))

    def on_market(self, event):
        if isinstance(event, Trade):
            self.printed[event.symbol].add(event.price_micros)

    async def start(self):
        _, port = await self.server.start()
        self.address = f"127.0.0.1:{port}"
        await self.runtime.start(self.root())
        await self.connected(1)

    def make_ingest(self):
        stream = FinnhubStream(
            f"ws://{self.address}", KEY, self.market.clock, self.clock, timing=TIMING
        )
        self.streams.append(stream)
        quotes = FinnhubRest(f"http://{self.address}/api/v1", KEY)
        return Ingest(
            stream, self.hub, self.slot, self.market.clock, quotes=quotes, quote_gap_s=0.001
        )

    def root(self):
        def feed():
            return Feed(self.slot, self.limits, self.hub.counters)

        children = [
            ChildSpec(id="feed_a", start=feed, backoff=QUICK),
            ChildSpec(id="feed_b", start=feed, backoff=QUICK),
            ChildSpec(id="monitor", start=lambda: FeedMonitor(self.slot), backoff=QUICK),
            ChildSpec(id="ingest", start=self.make_ingest, backoff=QUICK),
        ]
        market = ChildSpec(
            id="market", start=lambda: Supervisor(None, children), type=ChildType.SUPERVISOR
        )
        return ChildSpec(
            id="root", start=lambda: Supervisor(None, [market]), type=ChildType.SUPERVISOR
        )

    @property
    def connections(self):
        return self.slot._connections.get(self.streams[0].source, 0) if self.streams else 0

    async def connected(self, number):
        """Wait for the connection of this number and its subscriptions."""
        await eventually(lambda: self.connections >= number)
        await eventually(
            lambda: any(
                client.stream.symbols == set(self.hub.wanted()) for client in self.server._clients
            )
        )
        self.sent_before = self.server.sent_frames
        self.read_before = self.streams[-1].figures.frames

    async def move(self, seconds):
        """Let the market move second by second; wait until both feeds have seen it all."""
        for _ in range(seconds):
            self.market.clock.at_ns += SECOND_NS
            while not self.market.advance(self.market.clock.at_ns, 1000):
                pass
            self.server.flush()
            await eventually(self.is_all_seen)

    def is_all_seen(self):
        stream = self.streams[-1]
        is_sent = all(not client.stream.waiting for client in self.server._clients)
        read = stream.figures.frames - self.read_before
        is_read = is_sent and read == self.server.sent_frames - self.sent_before
        has_ticks = stream._key % (1 << KEY_BITS) > 0
        known = [self.slot.memories[name].keys.get(stream.source, 0) for name in NAMES]
        return is_read and (not has_ticks or all(key >= stream._key for key in known))

    def live(self):
        return [one for one in self.admitted if one.quality is Quality.LIVE]

    def kinds(self, kind):
        return [one for one in self.events if isinstance(one, kind)]


@pytest_asyncio.fixture
async def world():
    made = World()
    await made.start()
    yield made
    await made.runtime.stop()
    await made.server.stop()


@pytest.mark.asyncio
async def test_what_the_market_prints_reaches_the_door_once_and_live(world):
    await eventually(lambda: set(world.slot.closes) == set(SYMBOLS))
    await world.move(120)
    counters = world.hub.counters
    assert counters.received == world.streams[0].figures.trades > 100
    assert counters.admitted == len(world.admitted)
    assert counters.received == counters.admitted + counters.refused
    refused = [one for one in world.kinds(TickRefused) if one.check != "first"]
    assert len(refused) < counters.received / 100
    assert counters.refused - len(refused) <= 2 * len(SYMBOLS)  # first prices wait for a second
    assert len(world.live()) == len(world.admitted)
    assert all(one.price_micros in world.printed[one.symbol] for one in world.admitted)
    assert world.gate.gaps == world.gate.duplicates == 0
    assert {world.slot.role(name) for name in NAMES} == {Role.ACTIVE, Role.WARM}
    assert all(world.hub.quality_now(symbol) is Quality.LIVE for symbol in SYMBOLS)
    world.market.clock.at_ns += 301 * SECOND_NS
    assert all(world.hub.quality_now(symbol) is Quality.STALE for symbol in SYMBOLS)


HARMLESS = {
    "duplicate": {"times": 3},
    "reorder": {},
    "null_conditions": {},
    "bad_frame": {"count": 3},
    "spike": {"count": 3, "percent": 20.0},
    "zero_price": {"count": 3},
    "stale_time": {"age_s": 600.0, "count": 3},
    "future_time": {"ahead_s": 120.0, "count": 3},
}


@pytest.mark.parametrize("fault", HARMLESS)
@pytest.mark.asyncio
async def test_no_fault_of_the_vendor_makes_a_wrong_price_live(world, fault):
    await world.move(40)
    world.faults.set(fault, **HARMLESS[fault])
    before = len(world.live())
    await world.move(40)
    world.faults.clear(fault)
    await world.move(20)
    assert len(world.live()) > before
    assert all(one.price_micros in world.printed[one.symbol] for one in world.live())
    keys = [one.key for one in world.admitted]
    assert keys == sorted(set(keys))
    refused = {one.check for one in world.kinds(TickRefused)}
    expected = {
        "duplicate": "duplicate",
        "spike": "spike",
        "zero_price": "sentinel",
        "stale_time": "late",
        "future_time": "future",
    }
    assert expected.get(fault, "") in {*refused, ""}


@pytest.mark.asyncio
async def test_a_dropped_connection_comes_back_with_higher_keys(world):
    await world.move(20)
    world.faults.set("drop_connection")
    await world.connected(2)
    await world.move(20)
    assert {one.key >> KEY_BITS for one in world.admitted} == {1, 2}
    await eventually(lambda: len(world.kinds(StreamChanged)) >= 3)
    assert [one.is_up for one in world.kinds(StreamChanged)][:3] == [True, False, True]
    assert world.gate.gaps == 0


@pytest.mark.asyncio
async def test_an_ingest_that_dies_is_replaced_and_prices_go_on(world):
    await world.move(20)
    world.runtime.kernel.kill(world.runtime.registry.whereis("market.ingest")._cell)
    await eventually(lambda: len(world.streams) == 2)
    await world.connected(2)
    before = len(world.admitted)
    await world.move(20)
    assert len(world.admitted) > before
    keys = [one.key for one in world.admitted]
    assert keys == sorted(set(keys))


@pytest.mark.asyncio
async def test_wishes_reach_the_vendor_and_the_filter(world):
    world.hub.want("paper", frozenset({"SPY"}))
    await eventually(
        lambda: any(client.stream.symbols == {"SPY"} for client in world.server._clients)
    )
    await eventually(
        lambda: all(set(world.slot.memories[name].states) == {"SPY"} for name in NAMES)
    )
    await world.move(20)
    assert {one.symbol for one in world.admitted} == {"SPY"}


@pytest.mark.asyncio
async def test_more_wishes_than_the_budget_are_told(world):
    many = frozenset(f"S{number:03d}" for number in range(46))
    world.hub.want("live", many)
    await eventually(lambda: [one.kind for one in world.kinds(AlertRaised)] == ["symbol_budget"])


@pytest.mark.asyncio
async def test_a_first_price_at_half_its_close_reaches_nobody_until_a_person_confirms(world):
    await eventually(lambda: set(world.slot.closes) == set(SYMBOLS))
    for symbol in SYMBOLS:  # as a vendor tells it on the day of a split that it has not adjusted
        unadjusted = 2 * world.slot.closes[symbol].price_micros
        world.slot.tell(world.slot.note_close(symbol, unadjusted))
    await world.move(40)
    states = world.slot.memories[world.slot.active].states
    blocked = {symbol for symbol in SYMBOLS if is_blocked(states[symbol])}
    assert blocked
    assert blocked.isdisjoint(one.symbol for one in world.admitted)
    refused = [one for one in world.kinds(TickRefused) if one.symbol in blocked]
    assert {one.check for one in refused} == {"split"}
    for symbol in blocked:
        world.slot.confirm(symbol)
    await world.move(40)
    assert all(world.hub.last(symbol).quality is Quality.LIVE for symbol in blocked)
    assert world.slot.memories[NAMES[0]].states == world.slot.memories[NAMES[1]].states
