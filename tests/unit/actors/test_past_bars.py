"""Past bars are read once a market day for whatever is wanted, from any broker that answers."""

from dataclasses import replace
from decimal import Decimal

import pytest

from support.manual_tree import manual_tree
from tradebox.actors.past_bars import LOOK_S, RETRY_S, PastBarBook, PastBars
from tradebox.domain.events import AlertRaised
from tradebox.domain.market import Bar
from tradebox.errors import BrokerUnavailable, StoreUnavailable
from tradebox.supervision.spec import ChildSpec
from tradebox.supervision.supervisor import nested

pytestmark = pytest.mark.asyncio
NOW_NS = 1_451_934_000_000_000_000  # 2016-01-04 14:00 in New York
DAY_NS = 86_400_000_000_000


class MarketTime:
    speed = 1.0

    def __init__(self):
        self.at_ns = NOW_NS

    def now_ns(self):
        return self.at_ns


class Reference:
    """Where bars are put."""

    def __init__(self):
        self.rows, self.is_down = [], False

    async def put_bars(self, rows, source):
        if self.is_down:
            raise StoreUnavailable("away")
        self.rows += rows
        assert source == "broker"


class Broker:
    """Tells one closed day and the running one; or nothing; or is away."""

    def __init__(self):
        self.asked, self.is_away, self.has_bars = [], False, True

    async def ask(self, symbol):
        self.asked.append(symbol)
        if self.is_away:
            raise BrokerUnavailable("away")
        return [bar(symbol, -1), bar(symbol, 1)] if self.has_bars else []


def bar(symbol, days):
    price = Decimal(10)
    return Bar(symbol, 86_400, NOW_NS + days * DAY_NS, price, price, price, price, 100)


class Scene:
    def __init__(self, *brokers):
        self.book, self.reference, self.time = PastBarBook(), Reference(), MarketTime()
        self.book.brokers = {str(number): broker.ask for number, broker in enumerate(brokers)}
        self.wanted = frozenset({"AAA"})

    def spec(self):
        def start():
            return PastBars(self.book, lambda: self.wanted, self.reference, self.time)

        return nested("root", None, [ChildSpec(id="past_bars", start=start)])

    def is_read(self, symbol):
        return self.book.is_read(symbol, self.time.at_ns)


async def test_each_wanted_symbol_is_read_once_a_market_day_and_closed_days_are_kept():
    broker = Broker()
    scene = Scene(broker)
    async with manual_tree(scene.spec()) as tree:
        await tree.run(3 * LOOK_S)
        assert (broker.asked, scene.is_read("AAA"), scene.is_read("BBB")) == (["AAA"], True, False)
        assert scene.reference.rows == [bar("AAA", -1)]
        scene.wanted = frozenset({"AAA", "BBB", "CCC"})
        await tree.run(3 * LOOK_S)
        assert broker.asked == ["AAA", "BBB", "CCC"]
        scene.time.at_ns += DAY_NS
        assert not scene.is_read("AAA")
        await tree.run(3 * LOOK_S)
        assert broker.asked[3:] == ["AAA", "BBB", "CCC"]


async def test_another_broker_is_asked_where_the_first_is_away():
    away, other = Broker(), Broker()
    away.is_away = True
    scene = Scene(away, other)
    async with manual_tree(scene.spec()) as tree:
        await tree.run(2 * LOOK_S)
        assert (away.asked, other.asked, scene.is_read("AAA")) == (["AAA"], ["AAA"], True)


@pytest.mark.parametrize("who", ["broker", "store"])
async def test_who_is_away_is_asked_again_and_nothing_counts_as_read_meanwhile(who):
    broker = Broker()
    scene = Scene(broker)
    broker.is_away, scene.reference.is_down = who == "broker", who == "store"
    async with manual_tree(scene.spec()) as tree:
        await tree.run(LOOK_S + RETRY_S * 1.5)
        assert (broker.asked, scene.is_read("AAA")) == (["AAA", "AAA"], False)
        broker.is_away = scene.reference.is_down = False
        await tree.run(RETRY_S)
        assert (scene.reference.rows, scene.is_read("AAA")) == ([bar("AAA", -1)], True)


async def test_a_bar_that_cannot_be_true_is_told_and_the_others_are_kept():
    class Careless(Broker):
        async def ask(self, symbol):
            await super().ask(symbol)
            bad = replace(bar(symbol, -2), high=Decimal("0.5"))
            return [bar(symbol, -3), bad, bar(symbol, -1), bar(symbol, -3)]

    scene, told = Scene(Careless()), []
    async with manual_tree(scene.spec()) as tree:
        tree.runtime.events.attach(AlertRaised, told.append)
        await tree.run(2 * LOOK_S)
        assert scene.reference.rows == [bar("AAA", -3), bar("AAA", -1)]
    assert [(alert.kind, alert.text) for alert in told] == [
        ("bar_refused", "AAA: high below open or close; AAA: not after the bar before it")
    ]


async def test_an_answer_without_bars_counts_and_is_told():
    broker = Broker()
    broker.has_bars = False
    scene, told = Scene(broker), []
    async with manual_tree(scene.spec()) as tree:
        tree.runtime.events.attach(AlertRaised, told.append)
        await tree.run(3 * LOOK_S)
        assert (broker.asked, scene.is_read("AAA")) == (["AAA"], True)
    assert [(alert.kind, alert.text.split(":")[0]) for alert in told] == [("no_past_bars", "AAA")]
