"""The wire's spellings of numbers, times, sides and orders."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from support.tickets import TICKET
from tradebox.adapters.ibkr import wire
from tradebox.errors import WireInvalid

AT_NS = int(datetime(2026, 6, 11, 13, 31, 8, tzinfo=UTC).timestamp()) * 10**9


@pytest.mark.parametrize(
    "text",
    [
        "20260611-13:31:08",
        "20260611 09:31:08 US/Eastern",
        "20260611 15:31:08 Europe/Berlin",
        str(AT_NS // 10**9),
    ],
)
def test_a_time_is_read_in_its_own_zone(text, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert wire.time_ns(text, ZoneInfo("Asia/Kolkata")) == AT_NS


@pytest.mark.parametrize("text", ["20260611 09:31:08", "20260611  09:31:08"])
def test_a_time_without_zone_is_in_the_zone_we_were_told(text):
    assert wire.time_ns(text, ZoneInfo("America/New_York")) == AT_NS


@pytest.mark.parametrize(
    "text", ["", "yesterday", "20261311 10:00:00", "20260611 10:00:00 No/Zone"]
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(WireInvalid):
        wire.time_ns(text)


@pytest.mark.parametrize(
    "text", ["", "1.7976931348623157E308", "nan", "inf", float("inf"), "2" * 39]
)
def test_every_unset_is_none(text):
    assert wire.decimal_of(text) is None


def test_a_float_becomes_the_decimal_that_it_prints():
    assert wire.decimal_of(0.1) == Decimal("0.1")
    with pytest.raises(WireInvalid):
        wire.decimal_of("ten")
    with pytest.raises(WireInvalid):
        wire.side_of("SLEL")


def test_an_order_carries_every_field_as_a_plain_type():
    order = wire.order_of(TICKET)
    assert (order.action, order.totalQuantity, order.orderType) == ("SELL", 10, "STP")
    assert (order.auxPrice, order.tif, order.parentId) == (95.07, "GTC", 6)
    assert (order.orderRef, order.account, order.transmit) == ("tbp-1-x", "SIM1", True)
    assert order.outsideRth is False
    assert type(order.totalQuantity) is int
    assert type(order.auxPrice) is float
    assert order.ocaGroup == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"stop_price": Decimal("95.075")},
        {"stop_price": Decimal(0)},
        {"stop_price": Decimal("NaN")},
        {"stop_price": None},
        {"quantity": 0},
    ],
)
def test_a_malformed_ticket_is_a_bug(wrong):
    ticket = replace(TICKET, **wrong)
    with pytest.raises((AssertionError, ArithmeticError)):
        wire.order_of(ticket)
