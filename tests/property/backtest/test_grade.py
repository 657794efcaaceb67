"""Laws of metrics and letters."""

import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tradebox.backtest.grade import LETTERS, LINES, grade
from tradebox.backtest.metrics import drawdown_of, dsr_of, measure, psr_of
from tradebox.backtest.records import GRADES as ORDER
from tradebox.backtest.records import TRADE_DTYPE
from tradebox.config.backtest import BacktestSettings

GRADES = BacktestSettings().model_dump(mode="json")["grades"]
RS = hnp.arrays(np.float64, st.integers(0, 40), elements=st.floats(-20, 20))
RETURNS = hnp.arrays(np.float64, st.integers(0, 80), elements=st.floats(-0.3, 0.3))


def table(r, exits):
    made = np.zeros(len(r), TRADE_DTYPE)
    made["r"], made["exit_bar"] = r, exits
    return made


@given(RS, hnp.arrays(np.float32, st.integers(0, 60), elements=st.floats(0, 2**30, width=32)),
       st.integers(0, 10**6))  # fmt: skip
@example(r=np.empty(0), equity=np.array([6e-45, 1.0], np.float32), trials=0)
def test_every_metric_is_finite(r, equity, trials):
    found = measure(table(r, np.arange(len(r))), equity, trials)
    assert all(math.isfinite(value) for value in found.values())
    assert 0 <= found["psr"] <= 1
    assert 0 <= found["dsr"] <= found["psr"]
    assert found["drawdown_r"] >= max(0.0, -found["total_r"] - 1e-9)


@given(RS, st.randoms(use_true_random=False))
def test_the_order_of_the_trades_does_not_matter(r, random):
    trades = table(r, np.arange(len(r)))
    order = list(range(len(r)))
    random.shuffle(order)
    equity = np.linspace(100, 110, 40)
    assert measure(trades[order], equity, 5) == measure(trades, equity, 5)


@given(RS)
def test_a_drawdown_is_no_deeper_when_a_gain_is_added(r):
    assert drawdown_of(np.concatenate([r, [1.0]])) == drawdown_of(r)
    assert drawdown_of(r) <= np.abs(np.minimum(r, 0)).sum() + 1e-9


@given(RETURNS, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_benchmark_is_harder(returns, one, two):
    low, high = sorted((one, two))
    assert psr_of(returns, high) <= psr_of(returns, low)


@given(RETURNS, st.integers(1, 10**6), st.integers(1, 10**6))
def test_more_trials_make_luck_likelier(returns, one, two):
    few, many = sorted((one, two))
    assert dsr_of(returns, many) <= dsr_of(returns, few)


METRICS = st.fixed_dictionaries(
    {metric: st.floats(-2, 60) for metric, _ in LINES.values()},
)


@given(METRICS, st.sampled_from(sorted(LINES)), st.floats(0, 10))
def test_better_metrics_never_give_a_worse_letter(metrics, threshold, step):
    metric, is_least = LINES[threshold]
    better = {**metrics, metric: metrics[metric] + (step if is_least else -step)}
    before, after = (grade(each, GRADES).letter for each in (metrics, better))
    assert ORDER.index(after) <= ORDER.index(before)


@given(METRICS)
def test_a_letter_below_an_a_says_what_is_missing(metrics):
    found = grade(metrics, GRADES)
    assert found.reasons
    if found.letter != "A":
        above = LETTERS[LETTERS.index(found.letter) - 1] if found.letter in LETTERS else "D"
        assert all(f"not {above}:" in reason.text for reason in found.reasons)
