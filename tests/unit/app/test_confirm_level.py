"""`tradebox ctl confirm` from the question to both feeds: a split blocks, a person lifts it."""

from types import SimpleNamespace

import pytest

from support.feed_world import FeedWorld
from support.ticks import tick
from tradebox.app.asks import Asks
from tradebox.domain.market import Quality
from tradebox.domain.tick_filter import is_blocked
from tradebox.ports.ticks import TickBatch


@pytest.fixture
def asked():
    """A pair of feeds whose SPY waits for a person, and what asks the engine."""
    world = FeedWorld()
    slot = world.slot
    world.say = lambda price, at_s, key: TickBatch((tick(price, at_s, key=key),), 1)
    asks = Asks(SimpleNamespace(slot=slot, settings=SimpleNamespace(profile="paper")), None)

    def ask(symbol):
        answers = []
        question = SimpleNamespace(
            name="confirm_level",
            data={"symbol": symbol},
            reply=answers.append,
            refuse=answers.append,
        )
        asks(question)
        return answers

    return SimpleNamespace(world=world, slot=slot, ask=ask)


def feeds(world):
    return [member.feed for member in world.members.values()]


def tell(world, message):
    for name in world.slot.order():
        world.members[name].box.append(message)
    for name in world.slot.order():
        world.run(name, 10)


def test_a_first_price_at_half_is_blocked_until_a_person_says_so(asked):
    world = asked.world
    world.slot.tell = lambda message: tell(world, message)
    key = 1 << 40
    for n in range(6):
        tell(world, world.say(50, n, key + n + 1))
    assert all(is_blocked(feed.memory.states["SPY"]) for feed in feeds(world))
    [answer] = asked.ask("SPY")
    assert answer == {"symbol": "SPY", "numerator": 2, "denominator": 1}
    assert not any(is_blocked(feed.memory.states["SPY"]) for feed in feeds(world))
    states = [feed.memory.states["SPY"] for feed in feeds(world)]
    assert states[0] == states[1]
    tell(world, world.say(50.2, 7, key + 8))
    assert world.hub.last("SPY").quality is Quality.LIVE
    [again] = asked.ask("SPY")
    assert again == "nothing of SPY waits for a person"


def test_a_symbol_nobody_wants_has_nothing_to_confirm(asked):
    [answer] = asked.ask("GE")
    assert answer == "no prices of GE are asked for"
