"""The watch over the active feed: a hang is told from a wait for one's turn."""

import asyncio

import pytest

from support.ticks import Market, tick
from tradebox.actors.feed_slot import AdmissionGate, FeedSlot, Outcome
from tradebox.domain.events import FeedFailover
from tradebox.domain.feed_pair import Cause
from tradebox.domain.market import Quality, Source
from tradebox.supervision.clock import ManualClock
from tradebox.supervision.gate import EpochGate

NAMES = ("market.feed_a", "market.feed_b")
FINNHUB = Source.FINNHUB


class TurnClock(ManualClock):
    """Time stands still while turns pass; what is due comes with the loop's next turn."""

    def call_at(self, when, callback):
        if when > self.now():
            return super().call_at(when, callback)
        return asyncio.get_running_loop().call_soon(callback)

    def advance(self, seconds):
        loop = asyncio.get_running_loop()
        loop.call_soon(super().advance, seconds)


class Member:
    """A feed by its roles alone."""

    def __init__(self, name):
        self.name, self.incarnation, self.epoch = name, 1, None

    def promote(self, epoch):
        self.epoch = epoch
        return 0

    def demote(self):
        self.epoch = None


def pair():
    clock, events = TurnClock(100.0), []
    gate = AdmissionGate(EpochGate(1, 1), lambda _: None)
    slot = FeedSlot(NAMES, gate, clock, Market(), events.append)
    for name in NAMES:
        member = Member(name)
        slot.join(member)
        slot.warmed(member)
    clock._now += 60  # long after the start: nothing is held down
    return slot, clock, events


def settle(slot, key):
    one = tick(100.0, key=key)
    slot.gate.push(slot.gate.epoch, Outcome(FINNHUB, key, one, Quality.LIVE, 0))


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_an_active_that_waits_for_its_turn_behind_the_standby_is_not_hung():
    slot, clock, events = pair()
    for batch in range(1, 4):
        slot.standby_reached(FINNHUB, 10 * batch)
        clock.advance(slot.hang_limit_s)  # the standby's long turn ends: the watch is due,
        asyncio.get_running_loop().call_soon(settle, slot, 10 * batch - 5)  # then it is its turn
        await turns()
        settle(slot, 10 * batch)
        slot.active_settled(FINNHUB, 10 * batch)
    assert slot.active == NAMES[0]
    assert [one.cause for one in events if isinstance(one, FeedFailover)] == [Cause.START]


@pytest.mark.asyncio
async def test_an_active_that_does_nothing_with_its_turn_is_hung():
    slot, clock, events = pair()
    slot.standby_reached(FINNHUB, 10)
    clock.advance(slot.hang_limit_s)
    await turns()
    assert slot.active == NAMES[1]
    assert [one.cause for one in events if isinstance(one, FeedFailover)][1:] == [Cause.HANG]
