"""What a listener that comes late is told by the order link, without a wire."""

from decimal import Decimal

import pytest

from tradebox.domain.orders import AccountName, Side
from tradebox.errors import BrokerUnavailable
from tradebox.execution.identity import Identity
from tradebox.execution.order_link import OrderLink
from tradebox.ports.claim import Claim
from tradebox.ports.orders import (
    AccountValueFact,
    BrokerSnapshot,
    CodeFact,
    CompletedOrderFact,
    LinkClosed,
    LinkInfo,
)
from tradebox.supervision.clock import ManualClock

ACCOUNT = "SIM1234567"
WORTH = AccountValueFact(ACCOUNT, "NetLiquidation", "1000000.00", "USD")

DONE = CompletedOrderFact(7, "tb|p1", ACCOUNT, "AAPL", Side.BUY, Decimal(10), "Filled", "")


class Market:
    speed = 1.0

    def now_ns(self):
        return 1_451_918_407_000_000_000


class Port:
    """Streams the account's money once, when it is asked to, as a gateway does."""

    def __init__(self):
        self.sink = None
        self.money = (WORTH,)
        self.reads = []
        self.waits = []

    async def connect(self, sink):
        self.sink = sink
        return LinkInfo((ACCOUNT,), 1, 178, "127.0.0.1", 54321)

    def watch_account(self, account_id):
        for fact in self.money:
            self.sink(fact)

    def close(self):
        self.sink(LinkClosed("closed"))

    async def heartbeat(self, deadline_s):
        return Market().now_ns()

    async def snapshot(self, deadline_s, *, is_whole=True):
        self.reads.append(is_whole)
        return BrokerSnapshot((), (), (), (), (), 0, is_whole)

    def look_wait_s(self, *, is_whole, is_pressing):
        self.waits.append((is_whole, is_pressing))
        return 0.0


@pytest.fixture
def port():
    return Port()


@pytest.fixture
def link(port):
    who = Identity("sim", AccountName.PAPER, account_id=ACCOUNT, host="127.0.0.1", port=54321)
    return OrderLink(who, port, 11, ManualClock(), Market(), lambda _: None)


def listen(link):
    heard = []

    def take(fact):
        heard.append(fact)
        return True

    link.attach(take)
    return heard


@pytest.mark.asyncio
async def test_a_listener_that_comes_after_the_connection_knows_what_the_account_is_worth(link):
    await link.connect()
    assert listen(link) == [WORTH]
    assert listen(link) == [WORTH], "and so does the next incarnation"


@pytest.mark.asyncio
async def test_figures_of_an_earlier_connection_are_handed_to_nobody(link, port):
    await link.connect()
    link.close("a test")
    assert listen(link) == []
    port.money = ()
    await link.connect()
    assert listen(link) == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("claim", "enters", "reduces"),
    [
        (Claim.UNASKED, False, False),
        (Claim.HELD, True, True),
        (Claim.UNSURE, False, True),
        (Claim.LOST, False, False),
    ],
)
async def test_what_may_leave_follows_the_right_to_act(port, claim, enters, reduces):
    claims = [claim]
    who = Identity("sim", AccountName.PAPER, account_id=ACCOUNT, host="127.0.0.1", port=54321)
    link = OrderLink(
        who, port, 11, ManualClock(), Market(), lambda _: None, claim=lambda: claims[0]
    )
    await link.connect()
    link.mark_clean(link.breaks)
    assert (link.can_enter, link.can_reduce) == (enters, reduces)
    if not reduces:
        with pytest.raises(BrokerUnavailable) as caught:
            link.cancel(7)
        assert caught.value.fields["state"] == "fenced"
    claims[0] = Claim.HELD
    assert link.can_enter


@pytest.mark.asyncio
async def test_what_a_listener_took_is_not_handed_to_it_at_each_look(link, port):
    await link.connect()
    first = listen(link)
    port.sink(DONE)
    port.sink(DONE)
    assert first.count(DONE) == 1
    second = listen(link)
    port.sink(DONE)
    assert second.count(DONE) == 1, "the next incarnation has not taken it"
    link.close("a test")
    await link.connect()
    port.sink(DONE)
    assert second.count(DONE) == 2, "a new connection says everything anew"


@pytest.mark.asyncio
async def test_what_a_listener_refused_is_handed_to_it_again(link, port):
    await link.connect()
    heard, is_full = [], [True]

    def take(fact):
        heard.append(fact)
        return not is_full[0]

    link.attach(take)
    port.sink(DONE)
    is_full[0] = False
    port.sink(DONE)
    port.sink(DONE)
    assert heard.count(DONE) == 2


@pytest.mark.asyncio
async def test_a_look_is_brief_only_where_every_wish_was_and_the_link_is_clean(link, port):
    await link.connect()
    listen(link)
    link.want_look("an exit", is_pressing=True, is_whole=False)
    link.look_wait_s()
    await link.take_snapshot()
    assert port.reads == [True], "what was missed before is not proven by half of the lists"
    link.mark_clean(link.breaks)
    for wishes in ([False], [False, True], [True, False], []):
        for is_whole in wishes:
            link.want_look("a wish", is_pressing=not is_whole, is_whole=is_whole)
        link.look_wait_s()
        await link.take_snapshot()
    assert port.reads == [True, False, True, True, True]
    assert port.waits[:2] == [(True, True), (False, True)]
    link.want_look("an exit", is_pressing=True, is_whole=False)
    link.on_fact(CodeFact(-1, 1101, "restored, data lost"))
    await link.take_snapshot()
    assert port.reads[-1] is True, "a break asks for the whole"
