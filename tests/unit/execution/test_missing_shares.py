"""Shares that a person sold at the broker: the plan's stop must not sell them a second time."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tradebox.domain.orders import AccountName, OrderRole, OrderState, OrderType, Side, Tif
from tradebox.execution.intake import Intake
from tradebox.execution.order_book import OrderBook
from tradebox.ports.order_store import (
    FillRow,
    FillSeen,
    OrderMoved,
    OrderRecorded,
    OrderRow,
    PositionAdjusted,
    SymbolQuarantined,
)
from tradebox.ports.orders import (
    BrokerSnapshot,
    LinkInfo,
    OpenOrderFact,
    PositionFact,
    SnapshotTaken,
)
from tradebox.supervision.clock import ManualClock

ACCOUNT, SYMBOL = "SIM1234567P", "AAPL"
ENTRY = OrderRow(
    "entry", "p1", AccountName.PAPER, ACCOUNT, SYMBOL, 1, OrderRole.ENTRY, Side.BUY, 100,
    OrderType.MARKET, None, None, Tif.DAY, None, 11, 1, OrderState.FILLED, filled=100,
)  # fmt: skip
STOP = replace(
    ENTRY, order_ref="stop", role=OrderRole.STOP, side=Side.SELL, order_type=OrderType.STOP,
    stop_price=Decimal(95), tif=Tif.GTC, order_id=2, state=OrderState.WORKING, filled=0,
)  # fmt: skip
OTHER = replace(ENTRY, order_ref="other", plan_id="p2", order_id=3)
FILL = FillRow("0.1", "0.1.01", "entry", "p1", 5, SYMBOL, 1, Side.BUY, 100, Decimal(100), 1)
RESTING = OpenOrderFact(
    2, 11, 6, "stop", ACCOUNT, SYMBOL, 1, Side.SELL, Decimal(100), "STP", None, Decimal(95), "GTC",
    0, "", 0, outside_rth=False, status="PreSubmitted",
)  # fmt: skip


class Link:
    account_id, client_id, breaks = ACCOUNT, 11, 1
    info = LinkInfo((ACCOUNT,), 1, 178, "127.0.0.1", 5000)

    def __init__(self):
        self.looks = []

    def mono_ns(self):
        return 0

    def want_look(self, reason, *, is_pressing=False):
        self.looks.append((reason, is_pressing))


class World:
    def __init__(self, *more) -> None:
        self.clock, self.book = ManualClock(100.0), OrderBook()
        self.book.apply([OrderRecorded(ENTRY), FillSeen(FILL), OrderRecorded(STOP), *more])
        self.link = Link()
        self.intake = Intake(self.book, self.link, self.clock, 3.0)
        self.told = []

    def read(self, held, *opened, is_whole=True):
        started_ns = int(self.clock.now() * 1e9)
        for fact in opened:
            self.book.apply(self.intake.learn(fact).changes)
        position = PositionFact(ACCOUNT, SYMBOL, 1, Decimal(held), Decimal(100))
        snapshot = BrokerSnapshot(opened, (), (), (), (position,), started_ns, is_whole)
        learnt = self.intake.learn(SnapshotTaken(snapshot, 1, started_ns))
        self.book.apply(learnt.changes)
        self.is_news = learnt.is_news
        self.told += [alarm.kind for alarm in learnt.alarms]
        self.clock.advance(3.5)
        return [one for one in learnt.changes if isinstance(one, PositionAdjusted)]


@pytest.mark.parametrize(("held", "lost"), [(0, 100), (40, 60), (50, 50), (-30, 100)])
def test_two_reads_take_what_a_person_sold_off_the_plan(held, lost):
    world = World()
    assert world.read(held, RESTING) == []
    assert world.book.plan_position("p1") == 100
    (adjusted,) = world.read(held, RESTING)
    assert (adjusted.quantity, adjusted.plan_id) == (-lost, "p1")
    assert world.book.plan_position("p1") == 100 - lost
    assert world.told == ["position_gap", "position_adjusted"]
    assert SYMBOL in world.book.quarantined
    gap = world.intake.confirmed_gap(SYMBOL)
    assert gap is not None
    assert (gap.broker, gap.books) == (held, 100 - lost), "the rest may leave at once"
    for _ in range(3):
        assert world.read(held, RESTING) == []


def test_a_symbol_that_was_quarantined_before_is_no_exception():
    """The person's order was seen, and its symbol blocked, before it filled."""
    world = World(SymbolQuarantined(SYMBOL, "external order 9"))
    assert world.read(100, RESTING) == []
    assert world.read(0, RESTING) == []
    (adjusted,) = world.read(0, RESTING)
    assert adjusted.quantity == -100


ITS_FILL = replace(FILL, exec_stem="0.2", exec_id="0.2.01", order_ref="other", plan_id="p2")
UNCLEAR = {
    "more than the books": (140, (), RESTING),
    "the stop is gone": (50, (), None),
    "the stop has begun to fill": (
        40, (OrderMoved("stop", OrderState.PARTIAL, 60, 100, None, Decimal(95), "x"),), RESTING,
    ),
    "an exit is under way": (
        40,
        (OrderRecorded(replace(STOP, order_ref="exit", role=OrderRole.EXIT, order_id=4)),),
        RESTING,
    ),
    "two plans hold it": (
        150,
        (OrderRecorded(OTHER), FillSeen(ITS_FILL)),
        RESTING,
    ),
    "a person keeps some too": (100, (PositionAdjusted(SYMBOL, 40, "kept aside"),), RESTING),
}  # fmt: skip


@pytest.mark.parametrize("why", UNCLEAR)
def test_what_is_not_clear_is_told_and_not_touched(why):
    held, more, stop = UNCLEAR[why]
    world = World(*more)
    books = world.book.positions()
    for _ in range(4):
        assert world.read(held, *([stop] if stop else [])) == []
    assert world.book.positions() == books
    assert "position_gap" in world.told or held > 100


@pytest.mark.parametrize("more", [(), (SymbolQuarantined(SYMBOL, "external order 9"),)])
@pytest.mark.parametrize(("held", "wanted"), [(100, []), (40, [True])])
def test_a_brief_read_that_shows_other_shares_asks_for_the_whole_at_once(held, wanted, more):
    world = World(*more)
    assert world.read(held, RESTING, is_whole=False) == []
    assert [is_pressing for _reason, is_pressing in world.link.looks] == wanted
    assert world.is_news is bool(wanted), "an exit waits for the whole read"
    assert world.told == [], "and nothing is taken over of the brief one"


def test_a_brief_read_proves_no_absence():
    """The stop may stand in the list of what is done, which was not asked for."""
    world = World()
    for _ in range(3):
        world.read(100, is_whole=False)
    assert not world.book.orders["stop"].is_over
    for _ in range(2):
        world.read(100)
    assert world.book.orders["stop"].is_over


def bought(ref, stem, plan_id, *, side=Side.BUY, quantity=100):
    row = replace(ENTRY, order_ref=ref, plan_id=plan_id, order_id=9, side=side)
    fill = replace(
        FILL, exec_stem=stem, exec_id=f"{stem}.01", order_ref=ref, plan_id=plan_id, side=side,
        quantity=quantity,
    )  # fmt: skip
    return [OrderRecorded(row), FillSeen(fill)]


def test_a_brief_read_agrees_with_no_gap_that_was_settled_since():
    """The last whole read showed the same gap, of shares that were taken off the books after it."""
    world = World()
    world.read(100, RESTING)
    world.read(0)
    world.read(0)
    assert world.book.position(SYMBOL) == 0
    world.book.apply(bought("again", "0.9", "p3"))
    world.read(0, is_whole=False)
    assert world.is_news, "an exit would sell what is not held"


def test_a_brief_read_without_a_gap_that_was_there_asks_for_the_whole():
    """A fill explained it: an exit is not to wait until a timer asks."""
    world = World()
    world.read(40, RESTING)
    assert world.intake.has_gap(SYMBOL)
    world.book.apply(bought("sold", "0.8", "p1", side=Side.SELL, quantity=60))
    world.link.looks.clear()
    world.read(40, RESTING, is_whole=False)
    assert [is_pressing for _reason, is_pressing in world.link.looks] == [True]
    world.read(40, RESTING)
    assert not world.intake.has_gap(SYMBOL)


def test_a_brief_read_that_lists_an_order_ends_the_proof_that_it_is_gone():
    world = World()
    for is_whole, rows in ((True, [RESTING]), (True, []), (False, [RESTING]), (True, [])):
        world.read(100, *rows, is_whole=is_whole)
    assert not world.book.orders["stop"].is_over
    world.read(100)
    assert world.book.orders["stop"].is_over


def test_a_streamed_position_that_no_fill_explains_is_looked_at_once():
    world = World()

    def streamed(shares, account=ACCOUNT):
        world.intake.see_position(PositionFact(account, SYMBOL, 1, Decimal(shares), Decimal(100)))

    streamed(100)
    streamed(0, account="another")
    world.clock.advance(2.0)
    assert world.intake.unconfirmed() == ""
    streamed(60)
    assert world.intake.unconfirmed() == ""
    world.clock.advance(2.0)
    assert SYMBOL in world.intake.unconfirmed()
    streamed(60)
    world.clock.advance(2.0)
    assert world.intake.unconfirmed() == ""
    streamed(0)
    sold = replace(FILL, exec_stem="0.3", exec_id="0.3.01", order_ref="stop", side=Side.SELL)
    world.book.apply([FillSeen(sold)])
    world.clock.advance(2.0)
    assert world.intake.unconfirmed() == "", "its fill came in time"
