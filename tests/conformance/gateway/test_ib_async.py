"""Unmodified ib_async 2.1.0 against the gateway."""

import logging

import ib_async
import pytest

from support.scripted_market import OPEN_NS, micros
from support.tws_bench import eventually, tws
from tradebox.sim.exchange.market_port import SECOND_NS, Bar

AAPL = ib_async.Stock("AAPL", "SMART", "USD")


@pytest.fixture(autouse=True)
def decoder_complaints(caplog):
    """Fail a test in which the library could not decode a message."""
    caplog.set_level(logging.ERROR, "ib_async")
    yield
    bad = [r.message for r in caplog.records if "handling fields" in r.message]
    bad += [r.message for r in caplog.records if r.message.startswith("Error for ")]
    assert not bad


async def connected(bench, client_id=1, address=None):
    client = ib_async.IB()
    host, port = address or bench.address
    await client.connectAsync(host, port, client_id, timeout=5, raiseSyncErrors=True)
    return client


@pytest.mark.asyncio
async def test_connect_gets_every_start_up_answer():
    async with tws() as bench:
        client = await connected(bench)
        assert client.client.serverVersion() == 178
        assert client.managedAccounts() == ["SIM1234567P"]
        values = {value.tag: value.value for value in client.accountValues()}
        assert values["NetLiquidation"] == "100000.00"
        assert client.positions() == client.openTrades() == client.fills() == []
        client.disconnect()


@pytest.mark.asyncio
async def test_a_bracket_lives_from_submission_to_the_stop():
    async with tws() as bench:
        client = await connected(bench)
        (contract,) = await client.qualifyContractsAsync(AAPL)
        parent = ib_async.LimitOrder("BUY", 100, 99.5, orderRef="entry-1", transmit=False)
        parent.orderId = client.client.getReqId()
        stop = ib_async.StopOrder("SELL", 100, 98.0, orderRef="stop-1", tif="GTC")
        stop.orderId, stop.parentId = client.client.getReqId(), parent.orderId
        entry, guard = client.placeOrder(contract, parent), client.placeOrder(contract, stop)
        await eventually(lambda: guard.orderStatus.whyHeld == "child,trigger")
        assert entry.orderStatus.status == "Submitted"
        bench.market.print_trade(99.5, 40)
        await eventually(lambda: entry.orderStatus.filled == 40)
        bench.market.print_trade(99.5, 100)
        await eventually(lambda: guard.orderStatus.whyHeld == "trigger")
        assert entry.isDone()
        assert [fill.execution.orderRef for fill in entry.fills] == ["entry-1"] * 2
        await eventually(client.positions)
        assert (client.positions()[0].position, client.portfolio()[0].position) == (100, 100)
        stop.auxPrice, stop.parentId = 99.0, 0
        client.placeOrder(contract, stop)
        await eventually(lambda: len(guard.log) > 3)
        assert guard.orderStatus.status == "PreSubmitted"
        bench.market.show(98.9, 98.95)
        bench.market.print_trade(98.92)
        await eventually(guard.isDone)
        report = await eventually(lambda: guard.fills[0].commissionReport)
        await eventually(lambda: report.commission)
        assert report.realizedPNL == pytest.approx(100 * (98.9 - 99.5) - 2)
        done = await client.reqCompletedOrdersAsync(apiOnly=False)
        assert [trade.order.orderRef for trade in done] == ["entry-1", "stop-1"]
        assert [trade.order.filledQuantity for trade in done] == [100, 100]
        client.disconnect()


@pytest.mark.asyncio
async def test_orders_and_fills_are_found_again_after_a_reconnect_and_a_restart(tmp_path):
    path = tmp_path / "ledger.jsonl"
    async with tws(path) as bench:
        client = await connected(bench, 4)
        client.placeOrder(AAPL, ib_async.MarketOrder("BUY", 10, orderRef="a"))
        kept = client.placeOrder(AAPL, ib_async.LimitOrder("SELL", 10, 105.0, orderRef="b"))
        await eventually(lambda: kept.orderStatus.permId)
        await eventually(client.positions)
        perm_id = kept.orderStatus.permId
        client.disconnect()
        market = bench.market
    async with tws(path, market=market) as bench:
        client = await connected(bench, 4)
        (trade,) = client.openTrades()
        assert (trade.orderStatus.permId, trade.order.orderRef) == (perm_id, "b")
        assert [fill.execution.orderRef for fill in client.fills()] == ["a"]
        assert client.positions()[0].avgCost == pytest.approx(100.11)
        assert client.client.getReqId() > trade.order.orderId
        client.cancelOrder(trade.order)
        await eventually(lambda: trade.orderStatus.status == "Cancelled")
        other = await connected(bench, 5)
        assert other.openTrades() == []
        client.disconnect()
        other.disconnect()


@pytest.mark.asyncio
async def test_prices_history_and_reference_data():
    async with tws() as bench:
        price = micros(100)
        bench.market.bar_rows = [
            Bar(OPEN_NS - back * 60 * SECOND_NS, price, price + 5, price - 5, price, 500)
            for back in range(9, -1, -1)
        ]
        client = await connected(bench)
        (details,) = await client.reqContractDetailsAsync(AAPL)
        assert (details.contract.conId, details.minTick) == (265598, 0.01)
        assert details.longName == "APPLE INC"
        ticker = client.reqMktData(details.contract)
        await eventually(lambda: ticker.bid == 99.99 and ticker.ask == 100.01)
        assert (ticker.last, ticker.marketDataType, ticker.close) == (100.0, 1, 100.0)
        bench.market.show(0, 0)
        await eventually(lambda: ticker.bid == -1)
        client.cancelMktData(details.contract)
        bars = await client.reqHistoricalDataAsync(AAPL, "", "300 S", "1 min", "TRADES", True)
        assert len(bars) == 5
        assert bars[-1].date.timestamp() == OPEN_NS // SECOND_NS - 60
        (found,) = await client.reqMatchingSymbolsAsync("BRK")
        assert found.contract.description == "BERKSHIRE É CO"
        assert [rule.increment for rule in await client.reqMarketRuleAsync(27)] == [0.05]
        assert (await client.reqCurrentTimeAsync()).timestamp() >= OPEN_NS // SECOND_NS
        summary = await client.accountSummaryAsync()
        assert {row.tag for row in summary} >= {"NetLiquidation", "BuyingPower"}
        state = await client.whatIfOrderAsync(AAPL, ib_async.MarketOrder("BUY", 100))
        assert (state.initMarginChange, state.commission) == ("5000.00", 1.0)
        assert await client.qualifyContractsAsync(ib_async.Stock("NONE", "SMART", "USD")) == [None]
        client.disconnect()


@pytest.mark.asyncio
async def test_profit_and_loss_streams():
    async with tws() as bench:
        client = await connected(bench)
        client.placeOrder(AAPL, ib_async.MarketOrder("BUY", 100))
        await eventually(client.positions)
        bench.market.print_trade(102.0)
        whole = client.reqPnL("SIM1234567P")
        single = client.reqPnLSingle("SIM1234567P", "", 265598)
        await eventually(lambda: single.value == 10_200)
        assert whole.dailyPnL == pytest.approx(198)
        assert single.unrealizedPnL == pytest.approx(198)
        client.disconnect()


@pytest.mark.asyncio
async def test_a_taken_client_id_is_326_and_a_close():
    async with tws() as bench:
        first = await connected(bench, 9)
        codes = []
        second = ib_async.IB()
        second.errorEvent += lambda _id, code, _text, _contract: codes.append(code)
        with pytest.raises(TimeoutError):
            await second.connectAsync(*bench.address, 9, timeout=0.3)
        assert 326 in codes
        assert first.isConnected()
        first.disconnect()
