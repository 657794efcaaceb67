"""Two real feeds, slot, gate and hub, driven step by step without a runtime.

Rules of this file:
- a mailbox is a deque; a feed runs only when told; a hung one does not run until it wakes;
- every admission, failover and bus write is checked the moment it happens (F1-F11).
"""

import asyncio
import math
from collections import deque
from types import SimpleNamespace

from support.ticks import LIMITS, T0, Market, S, tick
from tradebox.actors.feed import CaughtUp, Feed
from tradebox.actors.feed_slot import AdmissionGate, FeedSlot
from tradebox.actors.market_hub import MarketHub
from tradebox.domain.events import FeedFailover
from tradebox.domain.feed_pair import Cause, Role
from tradebox.domain.market import Source
from tradebox.domain.tick_filter import fingerprint
from tradebox.ports.ticks import KEY_BITS, TickBatch
from tradebox.supervision.actor import Stop
from tradebox.supervision.clock import ManualClock
from tradebox.supervision.errors import ActorDown
from tradebox.supervision.gate import EpochGate
from tradebox.supervision.reasons import NoProc

NAMES = ("market.feed_a", "market.feed_b")
SYMBOLS = ("AAPL", "SPY")
SUSPICION = (Cause.HANG, Cause.CHECKIN)
WINDOW_S = 20.0
TAKEOVERS_MAX = 4


class StallingClock(ManualClock):
    """A manual clock whose loop can stall: timers then come late."""

    def stall(self, seconds):
        self._now += seconds
        self.advance(0.0)


class Member:
    """One incarnation: a real Feed, its mailbox, whether it runs."""

    def __init__(self, world, name, incarnation):
        self.name, self.incarnation = name, incarnation
        self.box = deque()
        self.is_hung = False
        self.is_asking = True
        self.feed = Feed(world.slot, LIMITS, world.hub.counters, slice_s=math.inf)
        self.feed.name, self.feed.incarnation = name, incarnation
        self.feed._ctx = SimpleNamespace(
            clock=world.clock,
            checkin=lambda: None,
            events=SimpleNamespace(publish=world.events.append),
            registry=SimpleNamespace(via=lambda _: SimpleNamespace(ask=nobody_answers)),
        )
        world.slot.join(self.feed)

    def take_memory(self, memory, slot):
        self.feed.memory = memory
        slot.memories[self.name] = memory
        self.is_asking = False
        self.box.append(CaughtUp())


class FeedWorld:
    """The pair and all around it.

    judged: the promises that are looked at, by default all; is_sound turns false when nobody
    can know a tick any more.
    """

    judged = frozenset(f"F{number}" for number in range(1, 12))

    def __init__(self):
        self.clock = StallingClock(100.0)
        self.market = Market()
        self.events = []
        self.admitted = []
        self.sent = []
        self.redis = {}
        self.epochs_seen = []
        self.suspicions = []
        self.running = None
        self.is_sound = True
        self.is_stalled = False
        self.connection, self.number, self.at_ms, self.incarnations = 1, 0, 0, 0
        self.hub = MarketHub(self.market, LIMITS.stale_ns_max)
        self.gate = AdmissionGate(EpochGate(3, 1, "feed"), self.on_admitted)
        self.slot = FeedSlot(NAMES, self.gate, self.clock, self.market, self.on_event)
        self.zombies = []
        self.members = dict.fromkeys(NAMES)
        self.slot.subscribe(frozenset(SYMBOLS))
        for symbol in SYMBOLS:
            self.slot.note_close(symbol, 100_000_000)
        for name in NAMES:
            self.start(name)
        for name in (*NAMES, *NAMES):
            self.run(name, 10)

    def must(self, holds, promise):
        """Raise AssertionError with the promise that is broken, where it is judged."""
        assert holds or promise.partition(":")[0] not in self.judged, promise

    # --- what is checked as it happens --------------------------------------------------------

    def on_admitted(self, one):
        self.must(one.epoch == self.gate.epoch, "F2: not of the epoch in force")
        name = self.running and self.running.name
        self.must(self.gate._epochs.owner == name, "F2: not by the owner")
        self.must(name and self.slot.is_current(self.running.feed), "F5: by a zombie")
        same = [each for each in self.admitted if each.symbol == one.symbol]
        self.must(one.pub_seq == len(same) + 1, "F3: pub_seq has a hole")
        self.must(all(each.key < one.key for each in same), "F3: a key twice or out of order")
        self.admitted.append(one)
        self.hub.deliver(one)

    def on_event(self, event):
        self.events.append(event)
        if not isinstance(event, FeedFailover):
            return
        self.must(not self.epochs_seen or event.epoch > self.epochs_seen[-1], "F6")
        self.epochs_seen.append(event.epoch)
        if event.cause in SUSPICION:
            self.must(not self.is_stalled, "F10: a takeover though the loop stalled")
            now_s = self.clock.now()
            self.suspicions = [at for at in self.suspicions if now_s - at < WINDOW_S]
            self.suspicions.append(now_s)
            self.must(len(self.suspicions) <= TAKEOVERS_MAX, "F9: flapping")

    def check(self):
        everyone = [each for each in (*self.members.values(), *self.zombies) if each is not None]
        holders = [each for each in everyone if each.feed.epoch == self.gate.epoch]
        self.must(len(holders) <= 1, "F1: two hold the epoch")
        box = self.gate.outbox
        self.must(box.committed <= box.admitted == len(self.admitted), "F7")
        first, second = (self.members[name] for name in NAMES)
        ready = (Role.WARM, Role.ACTIVE)
        if first and second and all(self.slot.role(name) in ready for name in NAMES):
            one, other = first.feed.memory, second.feed.memory
            if one.keys == other.keys:
                self.must(fingerprint(one.states) == fingerprint(other.states), "F8")

    # --- what can happen -----------------------------------------------------------------------

    def start(self, name):
        if self.members[name] is not None:
            return
        self.incarnations += 1
        previous, self.running = self.running, None
        member = Member(self, name, self.incarnations)
        self.members[name] = member
        self.running = previous
        partner = self.members[self.slot.pair.partner(name)]
        if partner and self.slot.role(partner.name) in (Role.ACTIVE, Role.WARM):
            partner.box.append(member)
        else:
            self.is_sound = self.is_sound and not self.sent
            member.take_memory(self.cold_memory(member), self.slot)

    def cold_memory(self, member):
        """Run the feed's own way without a partner."""
        return asyncio.run(member.feed._partner_memory())

    def send(self, count, moves=None):
        ticks = []
        for place in range(count):
            self.number += 1
            self.at_ms += 7
            symbol = SYMBOLS[self.number % 2]
            key = (self.connection << KEY_BITS) | self.number
            price = 100 + (self.number % 3) / 100 if moves is None else moves[place]
            ticks.append(tick(price, self.at_ms / 1000, symbol=symbol, key=key))
        self.sent.extend(ticks)
        self.market.ns = T0 + self.at_ms * S // 1000
        batch = TickBatch(tuple(ticks), 0)
        for name in self.slot.order():
            if self.members[name] is not None:
                self.members[name].box.append(batch)
        for zombie in self.zombies:
            zombie.box.append(batch)
        if all(member is None for member in self.members.values()):
            self.is_sound = False

    def reconnect(self):
        self.connection, self.number = self.connection + 1, 0

    def run(self, name, turns=1):
        member = self.members[name]
        if member is not None:
            self.run_member(member, turns)

    def run_member(self, member, turns):
        for _ in range(turns):
            if member.is_hung or member.is_asking or not member.box:
                return
            message = member.box.popleft()
            self.running = member
            if isinstance(message, Member):
                if self.members[message.name] is message:
                    message.take_memory(member.feed.memory.copy(), self.slot)
                continue
            self.handle(member, message)

    def handle(self, member, message):
        """Run one real handler; a feed that stops itself is a zombie's end."""
        self.running = member
        try:
            member.feed.handle(message).send(None)
        except StopIteration:
            pass
        except Stop:
            assert member in self.zombies, "a living member stopped itself"
            self.zombies.remove(member)
            member.box.clear()

    def healthy(self, but):
        member = self.members[self.slot.pair.partner(but)]
        ready = (Role.WARM, Role.ACTIVE)
        return member is not None and not member.is_hung and self.slot.role(member.name) in ready

    def crash(self, name, after=0):
        """End a feed, maybe in the middle of a batch: `after` ticks of it were handled."""
        member = self.members[name]
        if member is None:
            return
        self.is_sound = self.is_sound and self.healthy(but=name)
        if after and member.box and isinstance(member.box[0], TickBatch) and not member.is_hung:
            batch = member.box.popleft()
            self.handle(member, TickBatch(batch.ticks[:after], 0))
        self.end(member)

    def end(self, member):
        self.members[member.name] = None
        for other in self.members.values():
            if other is not None and other.is_asking:
                other.take_memory(self.cold_memory(other), self.slot)
        self.running = self.members[self.slot.pair.partner(member.name)]
        self.slot.exited(member.name, member.incarnation)

    def hang(self, name):
        member = self.members[name]
        if member is not None:
            self.is_sound = self.is_sound and self.healthy(but=name)
            member.is_hung = True

    def pass_time(self, seconds):
        self.before_takeover()
        self.clock.advance(seconds)
        self.restart_wished()

    def before_takeover(self):
        active = self.slot.active
        self.running = None if active is None else self.members[self.slot.pair.partner(active)]

    def stall(self, seconds):
        self.before_takeover()
        self.is_stalled = True
        self.clock.stall(seconds)
        self.is_stalled = False

    def restart_wished(self):
        """What supervisor and monitor do: abandon the hung one, start another."""
        for wish in self.slot.take_restart_wishes():
            member = self.members[wish.name]
            if member is not None and member.incarnation == wish.incarnation:
                self.zombies.append(member)
                self.end(member)
                self.start(wish.name)

    def swap(self):
        self.before_takeover()
        self.slot.swap()

    def wake_zombies(self):
        for zombie in list(self.zombies):
            before = len(self.admitted), self.gate.epoch, dict(self.gate._settled)
            zombie.is_hung = False
            self.run_member(zombie, 100)
            after = len(self.admitted), self.gate.epoch, dict(self.gate._settled)
            self.must(before == after, "F5: a zombie changed something")

    def publish(self, *, is_lost=False):
        mark, ticks = self.gate.outbox.pending()
        known = {(one.symbol, one.pub_seq) for one in self.admitted}
        for one in ticks:
            self.must((one.symbol, one.pub_seq) in known, "F7: not admitted")
            old = self.redis.get(one.symbol)
            self.must(old is None or old.event_ns <= one.event_ns, "F7: back in time")
            self.redis[one.symbol] = one
        if not is_lost:
            self.gate.outbox.commit(mark)

    def settle(self):
        """Let everything heal, then compare what was sent with what was admitted."""
        for name in NAMES:
            member = self.members[name]
            if member is not None and member.is_hung:
                self.crash(name)
        for _ in range(6):
            for name in NAMES:
                self.start(name)
                self.run(name, 1000)
        self.check()
        assert self.slot.active is not None, "nobody is active"
        roles = {self.slot.role(name) for name in NAMES}
        assert roles == {Role.WARM, Role.ACTIVE}
        if self.is_sound:
            self.must([one.key for one in self.admitted] == [one.key for one in self.sent], "F4")
            self.must(self.gate.gaps == 0, "F4: a gap was counted")
        self.publish()
        self.send(1)
        for name in self.slot.order():
            self.run(name, 1000)
        self.must(self.admitted[-1].key == self.sent[-1].key, "F4: prices do not go on")
        settled = self.gate.settled(Source.FINNHUB)
        self.must(settled == self.sent[-1].key, "F4: not all is settled")


async def nobody_answers(*_):
    raise ActorDown("partner", NoProc())
