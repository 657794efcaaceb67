"""Finnhub's frames: exact numbers, and no input that raises."""

import json
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradebox.adapters.exact_json import load_json, micros_of
from tradebox.adapters.finnhub.wire import (
    Malformed,
    Trade,
    Trades,
    VendorError,
    VendorPing,
    parse_frame,
)

QUICK = settings(max_examples=150, derandomize=True, database=None, deadline=None)


def test_a_frame_of_several_trades_keeps_its_order():
    frame = parse_frame(
        b'{"type":"trade","data":['
        b'{"c":["1","24","12"],"p":146.75,"s":"AAPL","t":1628238530221,"v":1},'
        b'{"c":null,"p":0.0001,"s":"PENNY","t":1628238530220,"v":100},'
        b'{"p":12,"s":"X","t":1628238530219,"v":2.9}]}'
    )
    assert frame == Trades(
        (
            Trade("AAPL", 146_750_000, 1, 1_628_238_530_221_000_000, ("1", "24", "12")),
            Trade("PENNY", 100, 100, 1_628_238_530_220_000_000, ()),
            Trade("X", 12_000_000, 2, 1_628_238_530_219_000_000, ()),
        ),
        0,
    )


def test_what_a_float_would_spoil_stays_exact():
    big, small = load_json("[123456789.123456, 0.1]")
    assert micros_of(big) == 123_456_789_123_456
    assert micros_of(small) == 100_000
    assert micros_of(load_json("254.73999999999998")) == 254_740_000


@pytest.mark.parametrize(
    "entry",
    [
        "null",
        "7",
        '{"p":1,"t":1628238530221,"v":1}',
        '{"p":1,"s":"","t":1628238530221,"v":1}',
        '{"p":"1","s":"A","t":1628238530221,"v":1}',
        '{"p":true,"s":"A","t":1628238530221,"v":1}',
        '{"p":null,"s":"A","t":1628238530221,"v":1}',
        '{"p":1e30,"s":"A","t":1628238530221,"v":1}',
        '{"p":1,"s":"A","t":1628238530,"v":1}',
        '{"p":1,"s":"A","t":"1628238530221","v":1}',
        '{"p":1,"s":"A","t":1628238530221,"v":1e300}',
        '{"p":1,"s":["A"],"t":1628238530221,"v":1}',
    ],
)
def test_an_entry_that_cannot_be_read_is_counted_and_the_rest_kept(entry):
    good = '{"p":1.5,"s":"B","t":1628238530221,"v":1}'
    frame = parse_frame(f'{{"type":"trade","data":[{entry},{good}]}}')
    assert isinstance(frame, Trades)
    assert frame.malformed == 1
    assert [trade.symbol for trade in frame.trades] == ["B"]


def test_zero_and_minus_one_are_left_to_the_filter():
    frame = parse_frame(
        '{"type":"trade","data":[{"p":0,"s":"A","t":1628238530221,"v":-1},'
        '{"p":-1,"s":"A","t":1628238530221}]}'
    )
    assert [(trade.price_micros, trade.size) for trade in frame.trades] == [(0, -1), (-(10**6), 0)]


def test_pings_and_errors_are_known():
    assert parse_frame('{"type":"ping"}') == VendorPing()
    error = parse_frame('{"type":"error","msg":"Subscribing to too many symbols"}')
    assert error == VendorError("Subscribing to too many symbols")
    assert error.is_budget
    assert not parse_frame('{"type":"error"}').is_budget


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe\x00",
        b"not json",
        b"[]",
        b'{"type":"trade"}',
        b'{"type":"trade","data":{}}',
        b'{"type":"news"}',
        b'{"p":NaN}',
        b"[" * 100_000,
        b'{"type":"ping","x":' + b"9" * 5000 + b"}",
        b'{"type":"ping","x":1e9999999999999999999}',
    ],
)
def test_anything_else_is_malformed(raw):
    assert parse_frame(raw) == Malformed()


@QUICK
@given(st.binary(max_size=60))
def test_bytes_never_raise(raw):
    parse_frame(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
keys = st.sampled_from(["p", "s", "t", "v", "c"])


@QUICK
@given(st.lists(st.dictionaries(keys, json_values), max_size=4))
def test_any_json_in_a_trade_frame_is_read_or_counted(entries):
    raw = json.dumps({"type": "trade", "data": entries})
    frame = parse_frame(raw)
    if isinstance(frame, Trades):
        assert len(frame.trades) + frame.malformed == len(entries)
    else:
        assert "NaN" in raw or "Infinity" in raw


@QUICK
@given(st.decimals(-999, 10**6, places=8))
def test_prices_are_rounded_half_even_to_the_micro(price):
    exact = (price * 10**6).to_integral_value(ROUND_HALF_EVEN)
    assert micros_of(load_json(f"{price:f}")) == int(exact)
    assert micros_of(Decimal("NaN")) is None
