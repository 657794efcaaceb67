"""A cancel we asked for: its status is awaited before the whole day is read again."""

from decimal import Decimal

from tradebox.domain.orders import AccountName, OrderRole, OrderState, OrderType, Side, Tif
from tradebox.execution.intake import Intake
from tradebox.execution.order_book import OrderBook
from tradebox.ports.order_store import OrderMoved, OrderRecorded, OrderRow
from tradebox.ports.orders import CodeFact, LinkInfo
from tradebox.supervision.clock import ManualClock

REF, ORDER_ID = "tb|paper|1", 7
ROW = OrderRow(
    REF, "p1", AccountName.PAPER, "SIM1234567P", "AAPL", 1, OrderRole.STOP, Side.SELL, 10,
    OrderType.STOP, None, Decimal(95), Tif.GTC, None, 11, ORDER_ID, OrderState.WORKING,
)  # fmt: skip
CANCELLED = CodeFact(ORDER_ID, 202, "Order Canceled - reason:")


class Link:
    account_id, client_id = "SIM1234567P", 11
    info = LinkInfo(("SIM1234567P",), 1, 178, "127.0.0.1", 5000)

    def __init__(self) -> None:
        self.looks = []

    def mono_ns(self):
        return 0

    def want_look(self, reason):
        self.looks.append(reason)


class World:
    def __init__(self, *, is_asked: bool) -> None:
        self.clock, self.link, self.book = ManualClock(100.0), Link(), OrderBook()
        self.book.apply([OrderRecorded(ROW)])
        if is_asked:
            self.book.orders[REF].cancel_asked_s = self.clock.now()
        self.intake = Intake(self.book, self.link, self.clock, 3.0)
        self.intake.learn(CANCELLED)

    def status_says(self, state: OrderState) -> None:
        moved = OrderMoved(REF, state, 0, ROW.quantity, None, ROW.stop_price, "orderStatus")
        self.book.apply([moved])


def test_a_confirmed_cancel_asks_for_no_look():
    world = World(is_asked=True)
    assert world.link.looks == []
    world.status_says(OrderState.CANCELLED)
    world.clock.advance(5.0)
    assert world.intake.unconfirmed() == ""
    assert world.link.looks == []


def test_a_cancel_that_no_status_follows_is_looked_after_once():
    world = World(is_asked=True)
    assert world.intake.unconfirmed() == ""
    world.clock.advance(0.6)
    assert REF in world.intake.unconfirmed()
    assert world.intake.unconfirmed() == ""


def test_a_cancel_that_nobody_asked_for_is_looked_after_at_once():
    world = World(is_asked=False)
    assert world.link.looks == [f"code 202 on {REF}"]
