"""A stop order's ticket as the order port gets it."""

from decimal import Decimal

from tradebox.domain.market import Instrument
from tradebox.domain.orders import AccountName, OrderIntent, OrderRole, OrderType, Side, Tif
from tradebox.ports.orders import OrderTicket

AAPL = Instrument("AAPL", 265598, "NASDAQ", "USD", Decimal("0.01"), "APPLE INC")
INTENT = OrderIntent(
    "tbp-1-x", "p1", AccountName.PAPER, "AAPL", 265598, OrderRole.STOP, Side.SELL, 10,
    OrderType.STOP, Tif.GTC, stop_price=Decimal("95.07"),
)  # fmt: skip
TICKET = OrderTicket(
    7, INTENT, "SIM1", AAPL, 10, OrderType.STOP, Tif.GTC, None, Decimal("95.07"), 6, True
)
