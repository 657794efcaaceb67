"""Where a feed that starts gets its memory from: a partner that is behind, a hung one, nobody."""

import asyncio
from types import SimpleNamespace

import pytest

from support.finnhub_double import eventually
from support.ticks import LIMITS, T0, Market, S, tick
from tradebox.actors import feed as feed_module
from tradebox.actors.feed import Feed
from tradebox.actors.feed_slot import (
    LOST_TOLD_S,
    AdmissionGate,
    Confirmed,
    FeedMemory,
    FeedSlot,
)
from tradebox.actors.market_hub import MarketHub
from tradebox.domain.breaker import ProviderKind, ProviderTold
from tradebox.domain.market import Source
from tradebox.domain.tick_filter import is_blocked
from tradebox.ports.ticks import KEY_BITS, TickBatch
from tradebox.supervision.clock import ManualClock, MonotonicClock
from tradebox.supervision.errors import ActorDown
from tradebox.supervision.gate import EpochGate
from tradebox.supervision.reasons import NoProc

NAMES = ("market.feed_a", "market.feed_b")
DAY_S = 86_400


class Deaf:
    """A partner that never gets to the question."""

    async def ask(self, *_):
        await asyncio.Event().wait()


class Gone:
    """A partner that is dead."""

    async def ask(self, *_):
        raise ActorDown("partner", NoProc())


class Slow:
    """A partner that gets to the question when it is told to."""

    def __init__(self, feed):
        self.feed = feed
        self.may_answer = asyncio.Event()
        self.questions = 0

    async def ask(self, *_):
        self.questions += 1
        await self.may_answer.wait()
        return self.feed.memory.copy()


class Pair:
    """One active feed, and others that start beside it. Both are told by hand."""

    def __init__(self):
        self.market = Market()
        self.hub = MarketHub(self.market, LIMITS.stale_ns_max)
        self.gate = AdmissionGate(EpochGate(1, 1), self.hub.deliver)
        self.clock, self.events = ManualClock(), []
        self.slot = FeedSlot(NAMES, self.gate, self.clock, self.market, self.events.append)
        self.boxes = {}
        self.slot.tell = self.tell
        self.slot.subscribe(frozenset({"SPY"}))
        self.slot.note_close("SPY", 100_000_000)
        self.key = 0
        self.checkins = 0
        self.first = self.starting(NAMES[0], Gone())
        asyncio.run(self.first.handle_continue("warm up"))
        self.slot.warmed(self.first)

    def starting(self, name, partner):
        """Return a feed that has a mailbox from here on, and no memory yet."""
        made = Feed(self.slot, LIMITS, self.hub.counters)
        made.name, made.incarnation = name, 1
        made._ctx = SimpleNamespace(
            events=SimpleNamespace(publish=lambda _: None),
            registry=SimpleNamespace(via=lambda _: partner),
            ref=SimpleNamespace(tell=lambda _: True),
            checkin=self.checked_in,
            clock=MonotonicClock(),
        )
        self.boxes[name] = []
        self.slot.join(made)
        return made

    def checked_in(self):
        self.checkins += 1

    def tell(self, message):
        for box in self.boxes.values():
            box.append(message)

    def read(self, feed):
        """Have a feed handle what its mailbox holds."""
        box, self.boxes[feed.name] = self.boxes[feed.name], []
        for message in box:
            asyncio.run(feed.handle(message))

    def see(self, price, at_s, connection=1):
        self.key += 1
        key = connection << KEY_BITS | self.key
        self.market.ns = T0 + round(at_s * S)
        self.tell(TickBatch((tick(price, at_s, key=key, size=100 + self.key),), 0))

    def split_overnight(self):
        """Show a level, then half of it as the first price of the next day."""
        for second in range(30):
            self.see(100 + second % 3 / 100, second)
        self.see(50.0, DAY_S)


def is_waiting(feed):
    return is_blocked(feed.memory.states["SPY"])


@pytest.mark.asyncio
async def test_a_partner_that_is_behind_is_waited_for_while_it_gets_on(monkeypatch):
    monkeypatch.setattr(feed_module, "LOOK_S", 0.03)
    pair = await asyncio.to_thread(Pair)
    slow = Slow(pair.first)
    second = pair.starting(NAMES[1], slow)
    warming = asyncio.ensure_future(second.handle_continue("warm up"))

    def gets_on():
        pair.first.memory.seq += 1
        return pair.checkins >= 3 * feed_module.LOOKS_MAX

    await eventually(gets_on)
    assert not warming.done(), "it went on from an old copy"
    pair.first.memory.around = pair.first.memory.around._replace(movers=(("SPY", 7),))
    slow.may_answer.set()
    await warming
    assert second.memory.around.movers == (("SPY", 7),)
    assert slow.questions == 1, "a second question would stand further behind"


@pytest.mark.asyncio
async def test_a_partner_that_gets_no_further_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(feed_module, "LOOK_S", 0.01)
    pair = await asyncio.to_thread(Pair)
    second = pair.starting(NAMES[1], Deaf())
    await asyncio.wait_for(second.handle_continue("warm up"), 15)
    assert second.memory.states.keys() == {"SPY"}
    assert pair.checkins == feed_module.LOOKS_MAX


@pytest.mark.parametrize("is_told_before", [True, False], ids=["before", "after"])
def test_a_persons_word_is_not_lost_with_the_partner_that_had_not_read_it(is_told_before):
    """Told before its mailbox was there, the slot tells; told after, it comes in its place."""
    pair = Pair()
    pair.split_overnight()
    pair.read(pair.first)
    assert is_waiting(pair.first)
    if is_told_before:
        pair.slot.confirm("SPY")
    second = pair.starting(NAMES[1], Gone())
    if not is_told_before:
        pair.slot.confirm("SPY")
    asyncio.run(second.handle_continue("warm up"))
    assert is_waiting(second) is not is_told_before
    pair.read(second)
    assert not is_waiting(second)


def test_a_word_that_follows_a_tick_in_the_mailbox_is_read_after_it():
    pair = Pair()
    for second in range(30):
        pair.see(100 + second % 3 / 100, second)
    pair.read(pair.first)
    late = pair.starting(NAMES[1], Gone())
    pair.see(50.0, DAY_S)
    pair.slot.confirm("SPY")
    asyncio.run(late.handle_continue("warm up"))
    pair.read(late)
    pair.read(pair.first)
    assert not is_waiting(late)
    assert not is_waiting(pair.first)
    assert late.memory.fingerprint() == pair.first.memory.fingerprint()


def test_a_lost_provider_is_known_to_a_feed_that_starts_without_a_partner():
    pair = Pair()
    pair.read(pair.first)
    pair.slot.provider(ProviderTold(Source.FINNHUB, ProviderKind.CLOSED, T0))
    second = pair.starting(NAMES[1], Gone())
    asyncio.run(second.handle_continue("warm up"))
    assert not second.memory.tiers.is_up(Source.FINNHUB)


def test_signs_of_life_push_no_persons_word_out():
    pair = Pair()
    pair.slot.confirm("SPY")
    for number in range(2 * pair.slot.told.maxlen):
        pair.slot.provider(ProviderTold(Source.YAHOO, ProviderKind.OK, T0 + number))
    assert [type(one) for one in pair.slot.told] == [Confirmed]


@pytest.mark.parametrize("is_first_newer", [True, False])
def test_the_newest_memory_is_the_one_that_got_further_in_any_source(is_first_newer):
    """The source with the most connections has the highest key, whoever is ahead elsewhere."""
    pair = Pair()
    idle = 900 << KEY_BITS
    old = FeedMemory(keys={Source.IB: idle, Source.FINNHUB: 1 << KEY_BITS | 5})
    new = FeedMemory(keys={Source.IB: idle, Source.FINNHUB: 1 << KEY_BITS | 6})
    pair.slot.memories = dict(zip(NAMES, (new, old) if is_first_newer else (old, new), strict=True))
    second = pair.starting(NAMES[1], Gone())
    asyncio.run(second.handle_continue("warm up"))
    assert second.memory.keys == new.keys


def test_a_person_is_told_of_ticks_that_were_lost_on_their_way_now_and_then():
    pair = Pair()

    def told():
        return [one.text for one in pair.events if getattr(one, "kind", "") == "ticks_lost"]

    pair.see(100.0, 1)
    pair.slot.pass_time()
    pair.read(pair.first)
    assert not told()
    for second in (2, 3):
        pair.key += 4
        pair.see(100.0, second)
        pair.read(pair.first)
        pair.slot.pass_time()
    assert [text.partition(" ")[0] for text in told()] == ["4"]
    pair.clock.advance(LOST_TOLD_S)
    pair.slot.pass_time()
    pair.slot.pass_time()
    assert [text.partition(" ")[0] for text in told()] == ["4", "4"]
