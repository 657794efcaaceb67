"""A socket that is gone, its end not told yet: what is written then is refused, not dropped."""

from decimal import Decimal

import pytest

from support.tws_bench import TwsBench
from tradebox.adapters.ibkr.orders.port import IbOrderPort
from tradebox.domain.market import Instrument
from tradebox.domain.orders import AccountName, OrderIntent, OrderRole, OrderType, Side, Tif
from tradebox.errors import BrokerUnavailable
from tradebox.ports.orders import OrderTicket
from tradebox.supervision.clock import MonotonicClock

AAPL = Instrument("AAPL", 265598, "NASDAQ", "USD", Decimal("0.01"), "APPLE INC")
INTENT = OrderIntent(
    "tbp-1-x", "p1", AccountName.PAPER, "AAPL", 265598, OrderRole.STOP, Side.SELL, 10,
    OrderType.STOP, Tif.GTC, stop_price=Decimal("95.07"),
)  # fmt: skip
TICKET = OrderTicket(
    7, INTENT, "SIM1", AAPL, 10, OrderType.STOP, Tif.GTC, None, Decimal("95.07"), 6, True
)


@pytest.mark.asyncio
async def test_an_order_into_a_socket_that_is_gone_is_refused():
    bench = await TwsBench(None).start()
    port = IbOrderPort(*bench.address, 11, MonotonicClock())
    try:
        await port.connect(lambda _: None)
        port.prepare(TICKET)
        client = port._session.client
        assert client.isConnected()
        transport, client.conn.transport = client.conn.transport, None
        for write in (lambda: port.send(TICKET), lambda: port.send(TICKET), lambda: port.cancel(7)):
            with pytest.raises(BrokerUnavailable):
                write()
        client.conn.transport = transport
    finally:
        port.close()
        await bench.stop()
