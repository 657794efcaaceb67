"""Order types beyond the plain ones, as the unmodified ib_async sends and reads them."""

import pytest
from ib_async import IB, Order, Stock

from support.scripted_market import OPEN_NS
from support.tws_bench import eventually, tws

LATER = "20250604 15:30:00 US/Eastern"


async def placed(ib, bench, **fields):
    """Place an order and return its trade once the gateway has said it."""
    (stock,) = await ib.qualifyContractsAsync(Stock("AAPL", "SMART", "USD"))
    trade = ib.placeOrder(stock, Order(**{"totalQuantity": 10, "tif": "DAY", **fields}))
    await eventually(lambda: trade.order.permId and trade.log[-1].status != "PendingSubmit")
    return trade, bench.bench.order(trade.order.orderId, client=3)


@pytest.mark.asyncio
async def test_ib_async_sends_and_reads_every_order_type():
    async with tws() as bench:
        ib = IB()
        await ib.connectAsync(*bench.address, clientId=3)
        try:
            trail, order = await placed(
                ib, bench, action="SELL", orderType="TRAIL", auxPrice=1.5, tif="GTC"
            )
            assert (order.ticket.trail_micros, order.stop_micros) == (1_500_000, 98_500_000)
            assert trail.orderStatus.status == "PreSubmitted"
            _, order = await placed(
                ib, bench, action="BUY", orderType="TRAIL", trailingPercent=2.5, trailStopPrice=103
            )
            assert (order.ticket.trail_ppm, order.stop_micros) == (25_000, 102_500_000)
            limit, order = await placed(
                ib, bench, action="SELL", orderType="TRAIL LIMIT", auxPrice=2, trailStopPrice=97.5,
                lmtPriceOffset=0.25,
            )  # fmt: skip
            assert (order.stop_micros, order.limit_micros) == (98_000_000, 97_750_000)
            assert limit.order.lmtPrice == 97.75
            _, order = await placed(
                ib, bench, action="BUY", orderType="LMT", lmtPrice=99, tif="GTD", goodTillDate=LATER
            )
            assert order.expires_ns - OPEN_NS == 5.5 * 3600 * 10**9
            closing, _ = await placed(ib, bench, action="BUY", orderType="MOC")
            assert closing.orderStatus.status == "PreSubmitted"
            await placed(ib, bench, action="BUY", orderType="LOC", lmtPrice=101)
            await placed(ib, bench, action="BUY", orderType="LMT", lmtPrice=99, tif="OPG")
            opened = await ib.reqAllOpenOrdersAsync()
            kinds = sorted((one.order.orderType, one.order.tif) for one in opened)
            assert kinds == [
                ("LMT", "GTD"), ("LMT", "OPG"), ("LOC", "DAY"), ("MOC", "DAY"),
                ("TRAIL", "DAY"), ("TRAIL", "GTC"), ("TRAIL LIMIT", "DAY"),
            ]  # fmt: skip
        finally:
            ib.disconnect()
