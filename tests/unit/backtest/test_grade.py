"""Metrics by hand, and letters by their lines."""

import math

import numpy as np
import pytest

from tradebox.backtest.grade import LINES, grade, is_passing, lines_of
from tradebox.backtest.metrics import (
    DAYS_A_YEAR,
    PROFIT_FACTOR_MAX,
    drawdown_of,
    dsr_of,
    expected_best,
    measure,
    profit_factor_of,
    psr_of,
    sharpe_of,
)
from tradebox.backtest.records import TRADE_DTYPE
from tradebox.config.backtest import BacktestSettings

GRADES = BacktestSettings().model_dump(mode="json")["grades"]


def table(rs):
    made = np.zeros(len(rs), TRADE_DTYPE)
    made["r"] = rs
    made["pnl"] = np.array(rs) * 100
    made["entry_bar"] = np.arange(len(rs)) * 3
    made["exit_bar"] = made["entry_bar"] + 2
    made["side"] = 1
    return made


def perfect(letter="a"):
    limits = GRADES[letter]
    return {metric: limits[threshold] for threshold, (metric, _) in LINES.items()}


def test_r_metrics_by_hand():
    r = np.array([1.0, -1.0, -0.5, 2.0])
    assert profit_factor_of(r) == 2.0
    assert drawdown_of(r) == 1.5
    found = measure(table(r), np.full(50, 1000.0), 1)
    assert found["trades"] == 4
    assert found["expectancy_r"] == pytest.approx(0.375)
    assert found["win_share"] == 0.5
    assert found["bars_held"] == 2
    assert found["r_deviation"] == pytest.approx(np.std(r, ddof=1))


def test_drawdown_counts_the_start_as_a_height():
    assert drawdown_of(np.array([-1.0, -2.0, 5.0])) == 3.0
    assert drawdown_of(np.array([1.0, 2.0])) == 0.0


def test_nothing_is_never_infinite():
    for rs, equity in (([], []), ([], np.full(99, 5.0)), ([1.0], [1.0]), ([2.0, 1.0], [0.0] * 60)):
        found = measure(table(rs), np.array(equity, dtype=np.float64), 500)
        assert all(math.isfinite(value) for value in found.values())
    assert measure(table([]), np.full(99, 5.0), 1)["sharpe"] == 0.0
    assert profit_factor_of(np.array([1.0])) == PROFIT_FACTOR_MAX


def test_sharpe_is_annualised_by_252_days():
    returns = np.random.default_rng(1).normal(0.001, 0.01, 500)
    equity = 1000 * np.cumprod(np.concatenate([[1.0], 1 + returns]))
    by_hand = returns.mean() / returns.std(ddof=1)
    assert sharpe_of(returns) == pytest.approx(by_hand)
    assert measure(table([1.0]), equity, 1)["sharpe"] == pytest.approx(by_hand * math.sqrt(252))
    assert DAYS_A_YEAR == 252


def test_probabilities_of_a_sharpe_ratio():
    random = np.random.default_rng(2)
    normal = random.normal(0.0, 0.01, 5000)
    normal -= normal.mean()
    assert psr_of(normal, 0.0) == pytest.approx(0.5, abs=1e-6)
    lucky = normal[:1000] + 0.0005
    sharpe = sharpe_of(lucky)
    plain = 0.5 * (1 + math.erf(sharpe * math.sqrt(999) / math.sqrt(1 + sharpe**2 / 2) / 2**0.5))
    assert psr_of(lucky, 0.0) == pytest.approx(plain, abs=0.01)
    assert dsr_of(lucky, 1) == psr_of(lucky, 0.0)
    falling = [dsr_of(lucky, trials) for trials in (1, 2, 10, 100, 1000)]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] > 0.5 + falling[-1]


def test_the_expected_best_of_many_draws():
    draws = np.random.default_rng(3).normal(size=(4000, 100)).max(axis=1)
    assert expected_best(100) == pytest.approx(draws.mean(), abs=0.05)
    assert expected_best(1) == expected_best(0) == 0.0


@pytest.mark.parametrize("letter", ["A", "B", "C", "D"])
def test_a_letter_is_reached_on_its_very_lines(letter):
    found = grade(perfect(letter.lower()), GRADES)
    assert found.letter == letter
    assert all(line.holds for line in lines_of(letter, perfect(letter.lower()), GRADES))


@pytest.mark.parametrize("threshold", LINES)
def test_each_line_of_an_a_can_cost_it(threshold):
    metric, is_least = LINES[threshold]
    spoilt = perfect()
    spoilt[metric] += -1e-6 if is_least else 1e-6
    found = grade(spoilt, GRADES)
    assert found.letter != "A"
    assert found.reasons[0].text.startswith(f"{found.letter}, not A: {metric}")


@pytest.mark.parametrize("threshold", LINES)
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_was_not_measured_is_never_good(threshold, value):
    metrics = perfect()
    metrics[LINES[threshold][0]] = value
    if value is None:
        del metrics[LINES[threshold][0]]
    found = grade(metrics, GRADES)
    assert found.letter == "F"
    assert "was not measured" in found.reasons[0].text


def test_a_disagreement_is_an_f():
    found = grade(perfect(), GRADES, is_verified=False)
    assert found.letter == "F"
    assert "disagrees" in found.reasons[0].text
    assert grade(perfect(), GRADES, is_verified=True).letter == "A"


def test_passing_is_the_configured_letter_or_better():
    assert [is_passing(letter, {"passing": "B"}) for letter in "ABCDF"] == [1, 1, 0, 0, 0]
    assert not is_passing("", {"passing": "D"})
