"""What is read back from rows is what was written: bit for bit, whatever the numbers are."""

import math
import pickle
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from support.stock_results import signed, stock_result
from tradebox.backtest.records import ORDER_DTYPE, TRADE_DTYPE, StockResult, result_hash
from tradebox.backtest.store_encoding import (
    EQUITY_COLUMNS,
    R_PART,
    RESULT_COLUMNS,
    TRADE_COLUMNS,
    decode,
    encode,
    plain,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def tables(dtype):
    raw = st.integers(0, 5).flatmap(lambda n: st.binary(min_size=n * dtype.itemsize,
                                                        max_size=n * dtype.itemsize))  # fmt: skip
    return raw.map(lambda content: np.frombuffer(content, dtype))


@st.composite
def results(draw):
    length = draw(st.integers(0, 20))
    equity = hnp.arrays(np.float32, length, elements=st.floats(width=32))
    days = st.lists(st.integers(-30_000, 30_000), min_size=length, max_size=length, unique=True)
    metrics = st.dictionaries(st.sampled_from(["trades", "sharpe", "psr"]), FINITE)
    return signed(
        StockResult(
            symbol=draw(st.sampled_from(["A", "BRK.B", "ÄÖ"])),
            status=draw(st.sampled_from(["ok", "failed"])),
            setting=draw(st.dictionaries(st.sampled_from(["fast", "slow"]), FINITE)),
            metrics={"in": draw(metrics), "out": draw(metrics)},
            orders=draw(tables(ORDER_DTYPE)),
            trades=draw(tables(TRADE_DTYPE)),
            days=np.array(sorted(draw(days)), np.int32),
            equity=draw(equity),
        )
    )


def back(row):
    result = dict(zip(RESULT_COLUMNS, row.result, strict=True))
    trade = dict(zip(TRADE_COLUMNS, row.trade, strict=True))
    equity = dict(zip(EQUITY_COLUMNS, row.equity, strict=True))
    return decode(result, trade, equity)


@given(results())
def test_decode_of_encode_is_the_same_result(result):
    found = back(pickle.loads(pickle.dumps(encode(result))))
    assert found.result_hash == result_hash(found) == result.result_hash
    assert found.orders.tobytes() == result.orders.tobytes()
    assert found.trades.tobytes() == result.trades.tobytes()
    assert found.equity.tobytes() == result.equity.tobytes()
    assert found.days.tobytes() == result.days.tobytes()


@given(st.permutations([("a", 1.0), ("b", -0.0), ("c", 1e-300)]))
def test_the_order_of_a_setting_does_not_matter_to_the_hash(items):
    one = replace(stock_result("AAA"), setting=dict(items))
    assert result_hash(one) == result_hash(replace(one, setting={"c": 1e-300, "a": 1.0, "b": 0.0}))


def test_every_decided_field_changes_the_hash():
    one = stock_result("AAA")
    orders = one.orders.copy()
    orders["price"][3] = np.nextafter(orders["price"][3], 1e9)
    changed = [
        replace(one, symbol="AAB"),
        replace(one, status="mismatch"),
        replace(one, strategy="x"),
        replace(one, setting={**one.setting, "fast": 11.0}),
        replace(one, grade="B"),
        replace(one, metrics={**one.metrics, "in": {}}),
        replace(one, trials=201),
        replace(one, orders=orders),
        replace(one, trades=one.trades[:-1]),
    ]
    hashes = {result_hash(each) for each in [one, *changed]}
    assert len(hashes) == len(changed) + 1
    assert result_hash(replace(one, details={}, reasons=())) == result_hash(one)


def test_a_document_holds_no_number_that_json_lacks():
    row = encode(replace(stock_result("AAA"), metrics={"out": {"sharpe": math.inf}}))
    metrics = dict(zip(RESULT_COLUMNS, row.result, strict=True))["metrics"]
    assert sum(metrics.pop(R_PART).values()) == len(stock_result("AAA").trades)
    assert metrics == {"out": {"sharpe": None}}
    assert plain({"a": np.float64("nan"), 1: np.arange(2), "c": (np.int8(3),)}) == {
        "a": None,
        "1": [0, 1],
        "c": [3],
    }


def test_a_spark_keeps_both_ends_and_is_short():
    result = stock_result("AAA", bars=2520)
    spark = encode(result).equity[-1]
    assert len(spark) == 96
    assert spark[0] == result.equity[0]
    assert spark[-1] == result.equity[-1]
