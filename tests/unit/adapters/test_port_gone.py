"""A socket that is gone, its end not told yet: what is written then is refused, not dropped."""

import pytest

from support.tickets import TICKET
from support.tws_bench import TwsBench
from tradebox.adapters.ibkr.orders.port import IbOrderPort
from tradebox.errors import BrokerUnavailable
from tradebox.supervision.clock import MonotonicClock


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
