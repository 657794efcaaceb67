"""Who keeps the right to act: asks on, tells a person when it matters, ends the run when lost."""

import pytest

from support.manual_tree import manual_tree
from tradebox.actors.claim_keeper import HELD_S, UNSURE_ALERT_S, WANTED_S, ClaimKeeper
from tradebox.domain.events import AlertRaised
from tradebox.ports.claim import Claim
from tradebox.supervision.spec import ChildSpec
from tradebox.supervision.supervisor import nested

pytestmark = pytest.mark.asyncio


class MarketTime:
    speed = 1.0

    def now_ns(self):
        return 77


class Right:
    """A claim that the test decides about."""

    reason = "the test says so"

    def __init__(self, claim):
        self.claim = claim
        self.asked = 0
        self.closed = 0

    async def tend(self):
        self.asked += 1
        return self.claim

    async def close(self):
        self.closed += 1


def kept(right, lost):
    keeper = ChildSpec(id="claim", start=lambda: ClaimKeeper(right, MarketTime(), lost.append))
    return nested("root", None, [keeper])


def alerts_of(tree):
    told = []
    tree.runtime.events.attach(AlertRaised, told.append)
    return told


async def test_a_right_that_is_held_is_looked_after_and_given_back():
    right, lost = Right(Claim.HELD), []
    async with manual_tree(kept(right, lost)) as tree:
        told = alerts_of(tree)
        await tree.run(10 * HELD_S + 0.1)
        assert 10 <= right.asked <= 12
    assert (right.closed, told, lost) == (1, [], [])


async def test_a_short_doubt_is_asked_about_often_and_told_to_nobody():
    right, lost = Right(Claim.UNSURE), []
    async with manual_tree(kept(right, lost)) as tree:
        told = alerts_of(tree)
        await tree.run(1.0)
        assert right.asked >= 1.0 / WANTED_S - 1
        right.claim = Claim.HELD
        await tree.run(20.0)
        assert told == []


async def test_a_long_doubt_is_told_and_so_is_its_end():
    right, lost = Right(Claim.HELD), []
    async with manual_tree(kept(right, lost)) as tree:
        told = alerts_of(tree)
        right.claim = Claim.UNSURE
        await tree.run(HELD_S + UNSURE_ALERT_S + 2.0)
        right.claim = Claim.HELD
        await tree.run(2.0)
        assert [(one.severity, one.kind) for one in told] == [
            ("warning", "engine_claim_unsure"),
            ("info", "engine_claim_held"),
        ]
    assert lost == []


async def test_a_lost_right_ends_the_run_once():
    right, lost = Right(Claim.LOST), []
    async with manual_tree(kept(right, lost)) as tree:
        told = alerts_of(tree)
        await tree.run(60.0)
        assert right.asked == 1
    assert lost == ["the test says so"]
    assert told == [] or told[0].severity == "critical"


async def test_a_crash_leaves_the_right_to_the_successor():
    right, lost = Right(Claim.HELD), []
    async with manual_tree(kept(right, lost)) as tree:
        tree.runtime.kernel.kill(tree.ref("claim")._cell)
        await tree.run(0.1)
        assert right.closed == 0
        assert right.asked >= 2
