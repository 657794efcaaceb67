"""The official client, unmodified, against the gateway."""

import asyncio
import threading
import warnings
from decimal import Decimal

import pytest

from support.tws_bench import eventually, tws

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ibapi.client import EClient
    from ibapi.contract import Contract
    from ibapi.execution import ExecutionFilter
    from ibapi.order import Order
    from ibapi.wrapper import EWrapper


class Recorder(EWrapper):
    """Keeps each callback of the library by name."""

    def __init__(self):
        super().__init__()
        self.calls = {}

    def __getattribute__(self, name):
        if name in _CALLBACKS:
            return lambda *args: self.calls.setdefault(name, []).append(args)
        return super().__getattribute__(name)


_CALLBACKS = {
    name
    for name in vars(EWrapper)
    if not name.startswith("_") and name not in ("logAnswer", "connectAck")
}


class Official:
    """The client with its reader thread."""

    def __init__(self):
        self.seen = Recorder()
        self.client = EClient(self.seen)
        self.thread = threading.Thread(target=self.client.run, daemon=True)

    async def connect(self, address, client_id):
        await asyncio.to_thread(self.client.connect, *address, client_id)
        self.thread.start()
        await eventually(lambda: self.calls("nextValidId"), "nextValidId")
        return self

    def calls(self, name):
        return self.seen.calls.get(name, [])

    async def close(self):
        self.client.disconnect()
        await asyncio.to_thread(self.thread.join, 5)
        assert not self.thread.is_alive()


def stock():
    contract = Contract()
    contract.symbol, contract.secType = "AAPL", "STK"
    contract.exchange, contract.currency = "SMART", "USD"
    return contract


def order(side, quantity, kind, *, limit=None, trigger=None, **fields):
    made = Order()
    made.action, made.totalQuantity, made.orderType = side, Decimal(quantity), kind
    if limit is not None:
        made.lmtPrice = limit
    if trigger is not None:
        made.auxPrice = trigger
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@pytest.mark.asyncio
async def test_a_bracket_positions_and_lists():
    async with tws() as bench:
        official = await Official().connect(bench.address, 11)
        client = official.client
        assert client.serverVersion() == 178
        assert official.calls("managedAccounts") == [("SIM1234567P",)]
        client.placeOrder(1, stock(), order("BUY", 100, "LMT", limit=99.5, transmit=False))
        client.placeOrder(
            2, stock(), order("SELL", 100, "STP", trigger=98.0, parentId=1, tif="GTC")
        )
        await eventually(lambda: len(official.calls("orderStatus")) >= 2)
        held = official.calls("orderStatus")[-1]
        assert (held[0], held[1], held[6], held[9]) == (2, "PreSubmitted", 1, "child,trigger")
        bench.market.print_trade(99.5)
        await eventually(lambda: official.calls("commissionAndFeesReport"))
        _, _, execution = official.calls("execDetails")[0]
        assert (execution.shares, execution.price) == (Decimal(100), 99.5)
        opened = official.calls("openOrder")[0]
        assert (opened[2].lmtPrice, opened[2].transmit, opened[3].status) == (
            99.5,
            True,
            "Submitted",
        )
        client.reqPositions()
        client.reqAllOpenOrders()
        client.reqCompletedOrders(False)
        client.reqExecutions(5, ExecutionFilter())
        await eventually(lambda: official.calls("execDetailsEnd"))
        assert official.calls("position")[0][2:] == (Decimal(100), pytest.approx(99.51))
        assert official.calls("completedOrder")[0][1].filledQuantity == Decimal(100)
        assert official.calls("openOrderEnd")
        assert official.calls("positionEnd")
        assert official.calls("completedOrdersEnd")
        client.cancelOrder(2, _cancel())
        await eventually(lambda: any(202 in call for call in official.calls("error")))
        await official.close()


@pytest.mark.asyncio
async def test_account_market_data_and_reference():
    async with tws() as bench:
        official = await Official().connect(bench.address, 12)
        client = official.client
        client.reqContractDetails(1, stock())
        client.reqMktData(2, stock(), "", False, False, [])
        client.reqAccountUpdates(True, "SIM1234567P")
        client.reqAccountSummary(3, "All", "NetLiquidation")
        client.reqCurrentTime()
        client.reqMatchingSymbols(4, "MICRO")
        client.reqMarketRule(26)
        client.reqPnL(5, "SIM1234567P", "")
        client.reqAccountUpdatesMulti(6, "SIM1234567P", "", False)
        client.placeOrder(1, stock(), order("BUY", 10, "MKT", whatIf=True))
        for name in (
            "contractDetailsEnd",
            "tickPrice",
            "accountDownloadEnd",
            "accountSummaryEnd",
            "currentTime",
            "symbolSamples",
            "marketRule",
            "pnl",
            "accountUpdateMultiEnd",
            "openOrder",
        ):
            await eventually(lambda wanted=name: official.calls(wanted), name)
        _, details = official.calls("contractDetails")[0]
        assert (details.contract.conId, details.minTick) == (265598, 0.01)
        assert official.calls("openOrder")[0][3].initMarginChange == "500.00"
        assert official.calls("accountSummary")[0][3] == "100000.00"
        await official.close()


def _cancel():
    from ibapi.order_cancel import OrderCancel

    return OrderCancel()
