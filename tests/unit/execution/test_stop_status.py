"""What a stop's own status says of it: held by its parent, or at work."""

from dataclasses import replace
from decimal import Decimal

from tradebox.domain.orders import AccountName, OrderRole, OrderState, OrderType, Side, Tif
from tradebox.execution.order_book import OrderBook
from tradebox.ports.order_store import OrderRecorded, OrderRow
from tradebox.ports.orders import OrderStatusFact

ROW = OrderRow(
    "tb|paper|2", "p1", AccountName.PAPER, "SIM1234567P", "AAPL", 1, OrderRole.STOP, Side.SELL, 10,
    OrderType.STOP, None, Decimal(95), Tif.GTC, "tb|paper|1", 11, 8, OrderState.SENDING,
)  # fmt: skip
HELD = OrderStatusFact(
    8, 11, 77, 7, "PreSubmitted", Decimal(0), Decimal(10), Decimal(0), "child,trigger"
)


def state_after(*facts: OrderStatusFact) -> OrderState:
    book = OrderBook()
    book.apply([OrderRecorded(ROW)])
    for fact in facts:
        _, changes = book.learn_status(fact)
        book.apply(changes)
    return book.orders[ROW.order_ref].row.state


def test_a_child_is_held_while_its_parent_works():
    assert state_after(HELD) is OrderState.ACKED
    assert state_after(replace(HELD, why_held="")) is OrderState.ACKED


def test_a_stop_works_with_the_first_status_that_names_its_trigger_alone():
    assert state_after(HELD, replace(HELD, why_held="trigger")) is OrderState.WORKING
