"""Which looks press: the one before an exit does, one that repeats a wait does not."""

from decimal import Decimal

from tradebox.domain.orders import AccountName, OrderRole, OrderState, OrderType, Side, Tif
from tradebox.execution.order_book import OrderBook
from tradebox.execution.procedures import Exit, Look, PlanDesk
from tradebox.ports.order_store import FillRow, FillSeen, OrderMoved, OrderRecorded, OrderRow

REF = "tbp-entry"


def holding() -> PlanDesk:
    """Return the desk of a plan that holds ten shares, its stop gone."""
    book = OrderBook()
    desk = PlanDesk("p1", "AAPL", Side.BUY, book)
    row = OrderRow(
        REF, "p1", AccountName.PAPER, "DU1", "AAPL", 1, OrderRole.ENTRY, Side.BUY, 10,
        OrderType.MARKET, None, None, Tif.DAY, None, 11, 1, OrderState.SENDING,
    )  # fmt: skip
    fill = FillRow("e", "e.01", REF, "p1", 7, "AAPL", 1, Side.BUY, 10, Decimal(100), 1)
    filled = OrderMoved(REF, OrderState.FILLED, 10, 10, None, None, "filled")
    book.apply([OrderRecorded(row), FillSeen(fill), filled])
    return desk


def test_the_look_before_an_exit_presses_and_a_repeated_one_does_not():
    desk, now_s = holding(), 10.0
    desk.procedure = Exit("a person asked to exit")
    desk.procedure.phase = "clear"
    assert desk.advance(now_s, 1) == [Look("the position before an exit", is_pressing=True)]
    assert desk.advance(now_s, 1) == [], "it waits"
    later_s = now_s + desk.patience.look_s
    assert desk.advance(later_s, 1) == [Look("the position before an exit")]
