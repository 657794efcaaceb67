"""The parser against the libraries' own encoders: every field, to the last one."""

import random
import warnings
from decimal import Decimal
from types import SimpleNamespace

import ib_async
import pytest
from ib_async.client import Client as CommunityClient
from ib_async.wrapper import Wrapper

from tradebox.sim.gateway.place_order import PlaceOrder, read_place_order
from tradebox.sim.gateway.wire import FieldReader

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ibapi import order_condition
    from ibapi.client import EClient
    from ibapi.contract import ComboLeg, Contract, DeltaNeutralContract
    from ibapi.order import Order, OrderComboLeg
    from ibapi.tag_value import TagValue
    from ibapi.wrapper import EWrapper

ORDERS_PER_CASE = 700
SCALARS = {
    "account": "SIM1",
    "activeStartTime": "20250604 10:00:00",
    "allOrNone": True,
    "auxPrice": 12.5,
    "blockOrder": True,
    "cashQty": 55.0,
    "clearingAccount": "C",
    "designatedLocation": "L",
    "discretionaryAmt": 0.5,
    "displaySize": 10,
    "goodTillDate": "20250604 16:00:00",
    "hidden": True,
    "lmtPrice": 0.1 + 0.2,
    "minQty": 5,
    "modelCode": "M",
    "notHeld": True,
    "ocaGroup": "group",
    "ocaType": 3,
    "orderRef": "ref-1",
    "outsideRth": True,
    "parentId": 77,
    "percentOffset": 0.25,
    "scaleInitLevelSize": 4,
    "scaleTable": "t",
    "settlingFirm": "F",
    "solicited": True,
    "sweepToFill": True,
    "tif": "GTC",
    "trailStopPrice": 9.5,
    "trailingPercent": 1.5,
    "transmit": False,
    "triggerMethod": 8,
    "triggerPrice": 3.0,
    "usePriceMgmtAlgo": True,
    "whatIf": True,
}


def official_encoder(version):
    client = EClient(EWrapper())
    sent = []
    client.serverVersion_ = version
    client.setConnState(EClient.CONNECTED)
    client.conn = SimpleNamespace(isConnected=lambda: True)
    client.sendMsg = lambda _id, message: sent.append(message)

    def encode(order, contract):
        sent.clear()
        client.placeOrder(7, contract, order)
        assert sent, "the library refused the order"
        return ["3", *sent[-1].split("\0")[:-1]]

    return encode


def community_encoder(version):
    client = CommunityClient(Wrapper(None))
    sent = []
    client._serverVersion = version
    client.connState = client.CONNECTED
    client.sendMsg = sent.append

    def encode(order, contract):
        sent.clear()
        client.placeOrder(7, contract, order)
        return sent[-1].split("\0")[:-1]

    return encode


def parsed(fields, version):
    reader = FieldReader(fields)
    assert reader.integer() == 3
    message = PlaceOrder()
    read_place_order(reader, version, message)
    assert reader.left == 0
    return message


def randomize(rng, order, contract, *, is_official):
    for name, value in SCALARS.items():
        if hasattr(order, name) and rng.random() < 0.3:
            setattr(order, name, value)
    kinds = ["LMT", "MKT", "STP", "TRAIL", "PEG BENCH", "PEG MID", "PEG BEST", "STP LMT"]
    order.orderType = rng.choice(kinds)
    order.action = rng.choice(["BUY", "SELL"])
    amount = rng.randint(1, 900)
    order.totalQuantity = Decimal(amount) if is_official else amount
    if rng.random() < 0.3:
        order.scalePriceIncrement = 0.05
    if rng.random() < 0.3:
        order.hedgeType, order.hedgeParam = "B", "1.5"
    if rng.random() < 0.3:
        order.deltaNeutralOrderType, order.deltaNeutralConId = "None", 0
    if rng.random() < 0.3:
        tag = TagValue if is_official else ib_async.TagValue
        order.algoStrategy = "Adaptive"
        order.algoParams = [tag("adaptivePriority", "Normal")] * rng.randint(1, 3)
    if order.orderType == "PEG BEST" and rng.random() < 0.5:
        order.competeAgainstBestOffset = float("inf")
        order.midOffsetAtWhole = order.midOffsetAtHalf = 0.01
    contract.exchange = rng.choice(["SMART", "IBKRATS"])
    if rng.random() < 0.3:
        combine(rng, order, contract, is_official=is_official)
    if rng.random() < 0.3:
        neutral = DeltaNeutralContract if is_official else ib_async.DeltaNeutralContract
        contract.deltaNeutralContract = neutral()
    if rng.random() < 0.4:
        order.conditions = conditions(rng, is_official=is_official)


def combine(rng, order, contract, *, is_official):
    leg = ComboLeg if is_official else ib_async.ComboLeg
    price = OrderComboLeg if is_official else ib_async.OrderComboLeg
    tag = TagValue if is_official else ib_async.TagValue
    count = rng.randint(1, 3)
    contract.secType = "BAG"
    contract.comboLegs = [leg() for _ in range(count)]
    order.orderComboLegs = [price() for _ in range(count)]
    order.smartComboRoutingParams = [tag("NonGuaranteed", "1")]


def conditions(rng, *, is_official):
    kinds = ["Price", "Time", "Margin", "Execution", "Volume", "PercentChange"]
    chosen = [rng.choice(kinds) + "Condition" for _ in range(rng.randint(1, 4))]
    if is_official:
        made = [getattr(order_condition, kind)() for kind in chosen]
        for condition in made:
            for name, value in {
                "time": "20250604 10:00:00",
                "price": 5.0,
                "percent": 10,
                "volume": 100,
                "changePercent": 1.5,
                "conId": 1,
                "exchange": "SMART",
                "isMore": True,
                "secType": "STK",
                "symbol": "AAPL",
                "triggerMethod": 0,
            }.items():
                if hasattr(condition, name):
                    setattr(condition, name, value)
        return made
    return [getattr(ib_async, kind)() for kind in chosen]


CASES = [(maker, version) for maker in ("official", "community") for version in (176, 177, 178)]


@pytest.mark.parametrize(("maker", "version"), CASES)
def test_random_orders_are_consumed_to_the_last_field(maker, version):
    rng = random.Random(version)
    is_official = maker == "official"
    encode = (official_encoder if is_official else community_encoder)(version)
    for _ in range(ORDERS_PER_CASE):
        order = Order() if is_official else ib_async.Order()
        contract = Contract() if is_official else ib_async.Contract()
        contract.symbol, contract.secType, contract.currency = "AAPL", "STK", "USD"
        randomize(rng, order, contract, is_official=is_official)
        message = parsed(encode(order, contract), version)
        assert message.order_id == 7
        assert message.fields["orderType"] == order.orderType
        assert message.fields["parentId"] == str(order.parentId)


@pytest.mark.parametrize(("maker", "version"), CASES)
def test_one_changed_attribute_is_one_changed_field_of_that_name(maker, version):
    is_official = maker == "official"
    encode = (official_encoder if is_official else community_encoder)(version)

    def fields(**changes):
        order = Order() if is_official else ib_async.Order()
        contract = Contract() if is_official else ib_async.Contract()
        contract.secType = "STK"
        for name, value in changes.items():
            setattr(order, name, value)
        return parsed(encode(order, contract), version).fields

    plain = fields()
    for name, value in SCALARS.items():
        changed = fields(**{name: value})
        assert {key for key in plain if plain[key] != changed[key]} == {name}


@pytest.mark.parametrize(("version", "count"), [(176, 115), (177, 114), (178, 114)])
def test_a_plain_order_has_the_known_length(version, count):
    contract = Contract()
    contract.secType = "STK"
    assert len(official_encoder(version)(Order(), contract)) == count
    assert len(community_encoder(version)(ib_async.Order(), ib_async.Stock())) == count
