"""The open risk follows fills, stops and forgotten plans, weighed where it changed."""

from decimal import Decimal

from tradebox.domain.orders import AccountName, OrderRole, OrderState, OrderType, Side, Tif
from tradebox.execution.order_book import OrderBook
from tradebox.execution.path_views import Views
from tradebox.execution.procedures import PlanDesk
from tradebox.ports.order_store import FillRow, FillSeen, OrderMoved, OrderRecorded, OrderRow


class Scene:
    def __init__(self):
        self.book = OrderBook()
        self.views = Views(self.book, None, None, None, None, None)

    def open(self, plan_id, price, stop):
        ref = f"tbp-{plan_id}"
        desk = PlanDesk(plan_id, "AAPL", Side.BUY, self.book)
        row = OrderRow(
            ref, plan_id, AccountName.PAPER, "DU1", "AAPL", 1, OrderRole.ENTRY, Side.BUY, 10,
            OrderType.MARKET, None, None, Tif.DAY, None, 11, len(self.book.orders) + 1,
            OrderState.SENDING,
        )  # fmt: skip
        fill = FillRow(
            f"e-{ref}", f"e-{ref}.01", ref, plan_id, 7, "AAPL", 1, Side.BUY, 10, price, 1
        )
        filled = OrderMoved(ref, OrderState.FILLED, 10, 10, None, None, "filled")
        self.book.apply([OrderRecorded(row), FillSeen(fill), filled])
        desk.stop_level = stop
        self.views.desks[plan_id] = desk
        return desk


def test_the_risk_is_weighed_anew_where_a_stop_moved_alone():
    scene = Scene()
    one = scene.open("one", Decimal("100.00"), Decimal("98.00"))
    scene.open("two", Decimal("50.00"), Decimal("49.50"))
    assert scene.views.open_risk() == 25
    one.stop_level = Decimal("99.00")
    assert scene.views.open_risk() == 15
    one.stop_level = Decimal("101.00")
    assert scene.views.open_risk() == 5


def test_a_plan_that_is_forgotten_risks_nothing():
    scene = Scene()
    scene.open("one", Decimal("100.00"), Decimal("98.00"))
    assert scene.views.open_risk() == 20
    scene.views.forget("one")
    assert scene.views.open_risk() == 0
