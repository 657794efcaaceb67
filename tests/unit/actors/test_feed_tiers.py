"""A feed with several sources: who is let through, and what the others may not spoil."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from support.ticks import LIMITS, T0, Market, S, tick
from tradebox.actors.feed import Feed
from tradebox.actors.feed_slot import AdmissionGate, FeedSlot
from tradebox.actors.market_hub import MarketHub
from tradebox.domain.breaker import ProviderKind, ProviderTold
from tradebox.domain.events import PriceSourceChanged, TickRefused
from tradebox.domain.market import Quality, Source
from tradebox.domain.staleness import Hours
from tradebox.ports.ticks import TickBatch
from tradebox.supervision.clock import ManualClock
from tradebox.supervision.gate import EpochGate

NAMES = ("market.feed_a", "market.feed_b")
FINNHUB, YAHOO, IB = Source.FINNHUB, Source.YAHOO, Source.IB


class World:
    """One active feed, told by hand. Times in seconds after T0."""

    def __init__(self, close=100.0, near=frozenset()):
        self.market, self.events, self.admitted = Market(), [], []
        self.hub = MarketHub(self.market, LIMITS.stale_ns_max)
        self.hub.subscribe("paper", self.admitted.append, None)
        self.gate = AdmissionGate(EpochGate(1, 1), self.hub.deliver)
        self.slot = FeedSlot(NAMES, self.gate, ManualClock(), self.market, self.events.append)
        self.slot.tell = self.handle
        self.slot.near = lambda: near
        self.slot.hours = lambda _: Hours.REGULAR
        self.feed = Feed(self.slot, LIMITS, self.hub.counters)
        self.feed.name, self.feed.incarnation = NAMES[0], 1
        self.feed._ctx = SimpleNamespace(events=SimpleNamespace(publish=self.events.append))
        self.slot.join(self.feed)
        self.slot.warmed(self.feed)
        self.handle(self.slot.subscribe(frozenset({"SPY"})))
        self.handle(self.slot.note_close("SPY", round(close * 1e6)))
        self.keys = {}

    def handle(self, message):
        asyncio.run(self.feed.handle(message))

    def see(self, source, price, at_s, lag_s=0.2, **fields):
        key = self.keys[source] = self.keys.get(source, 0) + 1
        one = tick(price, at_s - lag_s, recv_s=at_s, source=source, key=key, size=100 + key)
        self.market.ns = T0 + round(at_s * S)
        self.handle(TickBatch((replace(one, **fields),), 0))

    def time(self, at_s):
        self.market.ns = T0 + round(at_s * S)
        self.slot.pass_time()

    def lose(self, source, at_s):
        self.slot.provider(ProviderTold(source, ProviderKind.CLOSED, T0 + round(at_s * S)))

    def prices(self):
        return [(one.source, one.price_micros / 1e6, one.quality) for one in self.admitted]


def settled(world, until_s=40):
    for second in range(until_s):
        world.see(FINNHUB, 100 + second % 3 / 100, second)
        world.time(second)


@pytest.mark.parametrize("others", [(), (IB,)])
def test_a_first_level_is_confirmed_whoever_else_speaks(others):
    world = World(close=100.0, near=frozenset({"SPY"}))
    for second in range(20):
        world.see(FINNHUB, 97.0 + second % 2 / 100, second)
        for other in others:
            world.see(other, 97.0 + second % 2 / 100, second + 0.3)
    assert len(world.admitted) > 10


def test_only_the_serving_source_is_let_through():
    world = World()
    settled(world)
    world.admitted.clear()
    for second in range(40, 60):
        world.see(FINNHUB, 100.0, second)
        world.see(YAHOO, 100.01, second + 0.5, lag_s=0.4)
    assert {one.source for one in world.admitted} == {FINNHUB}


def test_a_witness_that_is_ahead_makes_the_serving_source_no_later():
    world = World()
    settled(world)
    world.admitted.clear()
    for second in range(43, 63):
        world.see(YAHOO, 100.0 + second % 3 / 100, second, lag_s=0.0)
        world.see(FINNHUB, 100.0 + second % 3 / 100, second + 0.1, lag_s=3.0)
    assert len(world.admitted) == 20


def test_a_source_that_takes_over_is_no_spike_and_is_let_through_at_once():
    world = World()
    settled(world)
    world.lose(FINNHUB, 40)
    for second in range(41, 70):
        world.time(second)
    world.see(YAHOO, 100.8, 70, lag_s=1)
    assert world.prices()[-1] == (YAHOO, 100.8, Quality.LIVE)
    changed = [event for event in world.events if isinstance(event, PriceSourceChanged)]
    assert [(event.before, event.after) for event in changed] == [(None, FINNHUB), (FINNHUB, YAHOO)]


def test_a_far_price_of_a_source_that_takes_over_waits_for_a_second():
    world = World()
    settled(world)
    world.lose(FINNHUB, 40)
    for second in range(41, 70):
        world.time(second)
    world.admitted.clear()
    world.see(YAHOO, 108.0, 70, lag_s=1)
    assert world.admitted == []
    for second in range(75, 100, 5):
        world.see(YAHOO, 108.0, second, lag_s=1)
    assert world.prices()[-1][:2] == (YAHOO, 108.0)


def test_a_delayed_price_serves_as_delayed_and_says_so():
    world = World()
    settled(world)
    world.lose(FINNHUB, 40)
    for second in range(41, 70):
        world.time(second)
    for second in range(70, 80):
        world.see(YAHOO, 99.0, second, lag_s=900, delay_s=900)
    assert world.prices()[-1] == (YAHOO, 99.0, Quality.DELAYED)
    assert world.hub.last("SPY").source is YAHOO
    assert world.hub.quality_now("SPY") is Quality.DELAYED


def test_the_same_answer_again_is_no_refusal_and_serves_where_nothing_better_does():
    world = World()
    settled(world)
    world.see(YAHOO, 100.0, 40, lag_s=1)
    for second in range(41, 60):
        world.see(YAHOO, 100.0, second, lag_s=second - 39)
    assert not [event for event in world.events if isinstance(event, TickRefused)]
    world.lose(FINNHUB, 60)
    for second in range(61, 80):
        world.time(second)
    world.see(YAHOO, 100.0, 80, lag_s=41)
    assert world.prices()[-1][:2] == (YAHOO, 100.0)


def test_who_is_polled_is_told_to_the_hub():
    world = World()
    world.slot.on_polled = world.hub.poll
    world.hub.want("paper", frozenset({"SPY"}))
    settled(world)
    assert world.hub.wanted_of(YAHOO) == []
    world.lose(FINNHUB, 40)
    for second in range(41, 50):
        world.time(second)
    assert world.hub.wanted_of(Source.ALPHAVANTAGE) == ["SPY"]
    for second in range(50, 70):
        world.time(second)
    assert world.hub.wanted_of(YAHOO) == ["SPY"]


def test_a_quote_in_whole_seconds_beside_the_stream_takes_nobody_back_in_time():
    world, tape = World(), []
    world.hub.subscribe("bars", tape.append, None, is_tape=True)
    settled(world, 40)
    for at_s in (40.7, 41.9, 43.4):
        world.see(FINNHUB, 100.01, at_s)
        whole_s = int(at_s - 0.2)
        world.see(FINNHUB, 100.02, at_s + 0.1, at_s + 0.1 - whole_s, is_quote=True, size=0)
    events = [one.event_ns for one in world.admitted]
    assert events == sorted(events)
    assert len(tape) == len(world.admitted) + 3
    assert world.gate.outbox.behind == 3


@pytest.mark.parametrize(
    ("price", "lag_s"), [(100.0, -3600.0), (100.0, 3600.0), (0.0, 0.2), (-1.0, 0.2)]
)
def test_a_stream_that_talks_on_but_says_no_price_of_now_is_handed_on_and_taken_back(price, lag_s):
    world = World()
    world.slot.on_polled = world.hub.poll
    world.hub.want("paper", frozenset({"SPY"}))
    settled(world)
    for second in range(40, 80):
        world.see(FINNHUB, price, second, lag_s)
        world.time(second)
    assert world.hub.wanted_of(YAHOO) == ["SPY"], "whose every print is refused serves nobody"
    world.see(YAHOO, 100.02, 80, lag_s=1)
    assert world.prices()[-1] == (YAHOO, 100.02, Quality.LIVE)
    for second in range(81, 220):
        world.see(FINNHUB, 100.0 + second % 3 / 100, second)
        if second % 20 == 0:
            world.see(YAHOO, 100.0, second + 0.5, lag_s=1)
        world.time(second)
    assert world.prices()[-1][0] is FINNHUB


def test_a_stream_that_runs_far_behind_from_its_start_is_handed_on():
    world = World()
    for second in range(160):
        world.see(FINNHUB, 100 + second % 3 / 100, second, lag_s=1200)
        world.time(second)
    assert {one.quality for one in world.admitted} == {Quality.STALE}
    for second in range(160, 190):
        world.see(FINNHUB, 100 + second % 3 / 100, second, lag_s=1200)
        world.see(YAHOO, 100.02, second + 0.5, lag_s=1)
        world.time(second)
    assert world.prices()[-1][::2] == (YAHOO, Quality.LIVE)


def test_a_brokers_quote_beside_an_old_trade_keeps_its_line_alive():
    world = World(near=frozenset({"SPY"}))
    for second in range(200):
        world.see(IB, 100.0, second, lag_s=0.5 if second < 5 else second - 4, is_quote=second > 4,
                  bid_micros=99_990_000 + second % 2, ask_micros=100_010_000)  # fmt: skip
        world.time(second)
    assert world.feed.memory.tiers.bad_since_ns("SPY", IB) is None
