"""One ingest or poller between a vendor made up by a test and two feeds that write down."""

import contextlib
from types import SimpleNamespace

from support.ticks import Market
from tradebox.actors.market_hub import TickCounters
from tradebox.domain.events import AlertRaised, StreamChanged
from tradebox.ports.ticks import TickBatch
from tradebox.supervision.actor import Actor
from tradebox.supervision.clock import MonotonicClock
from tradebox.supervision.spec import ChildSpec, ChildType
from tradebox.supervision.supervisor import Supervisor
from tradebox.supervision.tree import Runtime

NAMES = ("market.feed_a", "market.feed_b")


class _Feed(Actor):
    def __init__(self, told):
        self._told = told

    async def handle(self, msg):
        self._told.append(msg)


class Slot:
    """What a vendor's actor needs of the feed slot."""

    def __init__(self):
        self.closes = {}
        self.told = []
        self.connections = 6

    def next_connection(self, _source):
        self.connections += 1
        return self.connections

    def order(self):
        return NAMES

    def provider(self, told):
        self.told.append(told)

    def subscribe(self, symbols):
        return SimpleNamespace(symbols=symbols)

    def note_close(self, symbol, micros):
        self.closes[symbol] = micros
        return SimpleNamespace(symbol=symbol, micros=micros)


class VendorWorld:
    """make: returns the actor under test, named market.vendor; called again after a crash."""

    def __init__(self, make):
        self.slot, self.market, self.counters = Slot(), Market(), TickCounters()
        self.fed = {name: [] for name in NAMES}
        self.alerts, self.changes, self.actors = [], [], []
        self._make = make
        self.runtime = Runtime(MonotonicClock())
        self.runtime.events.attach((AlertRaised,), self.alerts.append)
        self.runtime.events.attach((StreamChanged,), self.changes.append)

    def make(self):
        self.actors.append(self._make(self))
        return self.actors[-1]

    def root(self):
        children = [
            ChildSpec(id="feed_a", start=lambda: _Feed(self.fed[NAMES[0]])),
            ChildSpec(id="feed_b", start=lambda: _Feed(self.fed[NAMES[1]])),
            ChildSpec(id="vendor", start=self.make),
        ]
        market = ChildSpec(
            id="market", start=lambda: Supervisor(None, children), type=ChildType.SUPERVISOR
        )
        return ChildSpec(
            id="root", start=lambda: Supervisor(None, [market]), type=ChildType.SUPERVISOR
        )

    @property
    def ticks(self):
        batches = [one for one in self.fed[NAMES[0]] if isinstance(one, TickBatch)]
        return [tick for batch in batches for tick in batch.ticks]

    def kinds(self):
        return {told.kind for told in self.slot.told}


@contextlib.asynccontextmanager
async def vendor_world(make):
    """Run the world for the length of the block."""
    world = VendorWorld(make)
    await world.runtime.start(world.root())
    try:
        yield world
    finally:
        await world.runtime.stop()
