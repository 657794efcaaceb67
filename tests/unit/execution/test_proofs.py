"""What the broker's lists prove of an order, and what they do not; codes that stop entries."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tradebox.domain.orders import AccountName, OrderRole, OrderState, OrderType, Side, Tif
from tradebox.execution.buckets import SLOW_S, Buckets
from tradebox.execution.intake import Intake
from tradebox.execution.order_book import ORDER_IDS_BELOW, OrderBook
from tradebox.ports.order_store import OrderMoved, OrderRecorded, OrderRow
from tradebox.ports.orders import (
    BrokerSnapshot,
    CodeFact,
    CompletedOrderFact,
    LinkInfo,
    OpenOrderFact,
    OrderStatusFact,
    SnapshotTaken,
)
from tradebox.supervision.clock import ManualClock

REF, ORDER_ID, ACCOUNT, PERM_ID = "tbp-7-a", 7, "SIM1234567P", 77
ROW = OrderRow(
    REF, "p1", AccountName.PAPER, ACCOUNT, "AAPL", 1, OrderRole.STOP, Side.SELL, 10,
    OrderType.STOP, None, Decimal(95), Tif.GTC, None, 11, ORDER_ID, OrderState.WORKING,
)  # fmt: skip
OPEN = OpenOrderFact(
    ORDER_ID, 11, PERM_ID, REF, ACCOUNT, "AAPL", 1, Side.SELL, Decimal(10), "STP", None,
    Decimal(95), "GTC", 0, "", 0, outside_rth=False, status="PreSubmitted",
)  # fmt: skip
CANCELLED = OrderStatusFact(
    ORDER_ID, 11, PERM_ID, 0, "Cancelled", Decimal(0), Decimal(10), Decimal(0), ""
)
COMPLETED = CompletedOrderFact(
    PERM_ID, REF, ACCOUNT, "AAPL", Side.SELL, Decimal(0), "Cancelled", ""
)


class Link:
    account_id, client_id = ACCOUNT, 11
    info = LinkInfo((ACCOUNT,), 1, 178, "127.0.0.1", 5000)

    def __init__(self) -> None:
        self.breaks = 1
        self.looks, self.halts = [], []

    def mono_ns(self):
        return 100

    def want_look(self, reason, *, is_pressing=False):
        self.looks.append(reason)

    def halt(self, reason):
        self.halts.append(reason)


class World:
    def __init__(self) -> None:
        self.clock, self.link, self.book = ManualClock(100.0), Link(), OrderBook()
        self.book.apply([OrderRecorded(ROW)])
        self.intake = Intake(self.book, self.link, self.clock, 3.0)
        self.learn(OPEN)

    @property
    def state(self) -> OrderState:
        return self.book.orders[REF].state

    def learn(self, fact):
        learnt = self.intake.learn(fact)
        self.book.apply(learnt.changes)
        return learnt

    def read(self, *, opened=(), completed=(), session=None):
        """Take a look at the broker's lists, and let more than the gap of a proof pass."""
        started_ns = int(self.clock.now() * 1e9)
        for fact in (*opened, *completed):
            self.learn(fact)
        snapshot = BrokerSnapshot(opened, (), completed, (), (), started_ns)
        learnt = self.learn(
            SnapshotTaken(snapshot, self.link.breaks if session is None else session, started_ns)
        )
        self.clock.advance(3.5)
        return learnt


def test_two_reads_of_one_session_prove_an_absence():
    world = World()
    world.read()
    assert world.state is OrderState.WORKING
    world.read()
    assert world.state is OrderState.CANCELLED


def test_a_read_during_which_the_link_broke_proves_no_absence():
    """It was asked for before 1100, and answered by a gateway that is cut off."""
    world = World()
    world.read()
    world.link.breaks += 1
    world.read(session=1)
    assert world.state is OrderState.WORKING


def test_reads_on_two_sides_of_a_break_prove_no_absence():
    world = World()
    world.read()
    world.link.breaks += 1
    world.read()
    assert world.state is OrderState.WORKING
    world.read()
    assert world.state is OrderState.CANCELLED


@pytest.mark.parametrize("is_told", [True, False])
def test_an_order_that_is_listed_at_work_after_its_end_comes_back(is_told):
    """Else a second stop would be placed beside it, for the same shares."""
    world = World()
    if is_told:
        world.learn(CANCELLED)
    else:
        world.read()
        world.read()
    assert world.state is OrderState.CANCELLED
    assert world.read(opened=(OPEN,)).alarms == []
    assert world.state is OrderState.CANCELLED
    told = world.read(opened=(OPEN,)).alarms
    assert [alarm.kind for alarm in told] == ["order_back"]
    assert any("at work" in look for look in world.link.looks), "its end may have been told since"
    assert world.state is OrderState.WORKING
    assert world.book.open_orders("AAPL")
    world.learn(CANCELLED)
    assert world.state is OrderState.CANCELLED


def test_an_order_that_is_listed_as_done_too_does_not_come_back():
    world = World()
    world.learn(CANCELLED)
    for _ in range(3):
        world.read(opened=(OPEN,), completed=(COMPLETED,))
    assert world.state is OrderState.CANCELLED


def test_a_filled_order_does_not_come_back():
    world = World()
    world.book.apply([OrderMoved(REF, OrderState.FILLED, 10, 10, None, Decimal(95), "x")])
    for _ in range(3):
        world.read(opened=(OPEN,))
    assert world.state is OrderState.FILLED


def test_our_ids_are_above_every_one_that_was_listed():
    """TWS API: lower ones are refused (103), whosever orders they were."""
    world = World()
    theirs = replace(OPEN, order_id=812, client_id=3, perm_id=5, order_ref="")
    assert world.learn(theirs).records == []
    assert world.book.order_id_max == 812
    world.learn(replace(theirs, order_id=ORDER_IDS_BELOW))
    assert world.book.order_id_max == 812


@pytest.mark.parametrize(
    ("code", "request_id", "halts", "looks"),
    [
        (2137, ORDER_ID, 1, 1),  # it would flip the position: a belief of ours is wrong
        (2148, -1, 1, 0),  # margin or liquidation
        (435, ORDER_ID, 1, 1),
        (399, ORDER_ID, 0, 0),
        (201, ORDER_ID, 0, 1),
        (392, 500, 0, 0),  # a what-if of ours is no order
        (2103, -1, 0, 0),  # prices of this connection are not used
    ],
)
def test_codes_after_which_a_person_must_look_stop_entries(code, request_id, halts, looks):
    world = World()
    world.learn(CodeFact(request_id, code, "text"))
    assert (len(world.link.halts), len(world.link.looks)) == (halts, looks)
    assert world.state is OrderState.WORKING


@pytest.mark.parametrize("code", [103, 512, 10328])
def test_a_send_in_doubt_holds_every_entry_until_the_lists_were_read(code):
    world = World()
    assert world.intake.unproven("MSFT") == ""
    world.learn(CodeFact(ORDER_ID, code, "text"))
    assert str(code) in world.intake.unproven("MSFT")
    assert world.link.looks
    world.read(opened=(OPEN,))
    empty = BrokerSnapshot((), (), (), (), (), 0)
    world.intake.reconciled(SnapshotTaken(empty, 1, 99))
    assert str(code) in world.intake.unproven("MSFT"), "it was under way when the code came"
    world.intake.reconciled(SnapshotTaken(empty, 1, 101))
    assert world.intake.unproven("MSFT") == ""


def test_entries_go_at_half_their_rate_after_the_broker_had_too_many():
    buckets = Buckets(10, 120, 2000)
    assert buckets.entry_tokens(0.0) == 10
    buckets.slow_down(0.0)
    assert buckets.entry_tokens(0.0) == 5
    buckets.take_entry(2, 0.0)
    assert buckets.entry_tokens(0.0) == 3
    assert buckets.reduce_tokens(0.0) == 20
    assert buckets.entry_tokens(SLOW_S) == 10


def test_an_end_is_known_where_it_would_change_nothing():
    world = World()
    assert not world.intake.knows(COMPLETED)
    world.learn(CANCELLED)
    assert world.intake.knows(COMPLETED)
    assert not world.intake.knows(replace(COMPLETED, status="Filled"))
    assert not world.intake.knows(replace(COMPLETED, perm_id=78)), "a copy that nobody told of"
    assert not world.intake.knows(replace(COMPLETED, filled=Decimal(3)))


def test_the_end_of_a_cancelled_order_that_had_filled_by_then_is_news():
    """Its quantity was heard of after its cancel: it is filled, and the list says so."""
    world = World()
    cancelled = replace(CANCELLED, filled=Decimal(4), remaining=Decimal(6))
    world.learn(cancelled)
    world.book.apply([OrderMoved(REF, OrderState.CANCELLED, 4, 4, None, Decimal(95), "an echo")])
    fact = replace(COMPLETED, filled=Decimal(4))
    assert not world.intake.knows(fact)
    world.learn(fact)
    assert world.state is OrderState.FILLED
    assert world.intake.knows(replace(fact, status="Filled"))
