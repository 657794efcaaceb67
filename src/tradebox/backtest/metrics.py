"""What a simulated account was worth, in numbers: pure functions of its trades and equity.

Rules of this file:
- every metric is finite whatever the account did: no trades give zeros, never NaN or infinity;
- R is measured per trade, fees inside; drawdown is in R over the trades in order of their exits;
- a Sharpe ratio is of daily returns and annualised by 252 days; its probability is not.

Public names: measure, sharpe_of, psr_of, dsr_of, drawdown_of, profit_factor_of.
Source: Bailey and Lopez de Prado, The Sharpe Ratio Efficient Frontier (2012) and The Deflated
        Sharpe Ratio (2014).
"""

import math
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

DAYS_A_YEAR: Final = 252
PROFIT_FACTOR_MAX: Final = 100.0
"""Said where nothing was lost: a document and a threshold need a number."""

RETURNS_MIN: Final = 20
"""Fewer daily returns than this have no Sharpe ratio worth a name: it is 0."""

_NORMAL: Final = NormalDist()
_EULER: Final = 0.5772156649015329


def measure(
    trades: NDArray[np.void], equity: NDArray[np.floating[Any]], trials: int = 1
) -> dict[str, float]:
    """Return the metrics of an account.

    trades: TRADE_DTYPE. equity: USD at each close of the judged days, oldest first, > 0 at first.
    trials: how many settings were looked at to find this one.
    Holds:   every value is finite; the order of the trades does not matter.
    """
    trades = trades[np.argsort(trades["exit_bar"], kind="stable")]
    r = trades["r"].astype(np.float64)
    wins = r[r > 0]
    returns = returns_of(equity)
    sharpe = sharpe_of(returns)
    psr = psr_of(returns, 0.0)
    return {
        "trades": float(len(r)),
        "expectancy_r": _mean(r),
        "total_r": float(r.sum()),
        "profit_factor": profit_factor_of(r),
        "drawdown_r": drawdown_of(r),
        "sharpe": sharpe * math.sqrt(DAYS_A_YEAR),
        "psr": psr,
        "dsr": dsr_of(returns, trials),
        "win_share": len(wins) / len(r) if len(r) else 0.0,
        "r_deviation": float(r.std(ddof=1)) if len(r) > 1 else 0.0,
        "bars_held": _mean((trades["exit_bar"] - trades["entry_bar"]).astype(np.float64)),
        "mae_r": _mean(trades["mae_r"].astype(np.float64)),
        "mfe_r": _mean(trades["mfe_r"].astype(np.float64)),
        "long_share": _mean((trades["side"] > 0).astype(np.float64)),
        "fees_usd": float(trades["fees"].sum()),
        "pnl_usd": float(trades["pnl"].sum()),
        "return_share": _return_of(equity),
        "drawdown_share": _fall_of(equity),
        "days": float(len(equity)),
    }


def returns_of(equity: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the daily returns of an account; after it is lost they are 0."""
    values = equity.astype(np.float64)
    if len(values) < 2:
        return np.empty(0)
    before = values[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.where(before > 0, values[1:] / before - 1.0, 0.0)
    return np.nan_to_num(change, nan=0.0, posinf=0.0, neginf=0.0)


def sharpe_of(returns: NDArray[np.float64]) -> float:
    """Return mean over deviation per day: 0 where nothing moved or too little is known."""
    if len(returns) < RETURNS_MIN:
        return 0.0
    deviation = float(returns.std(ddof=1))
    return float(returns.mean()) / deviation if deviation > 1e-12 else 0.0


def psr_of(returns: NDArray[np.float64], benchmark: float) -> float:
    """Return the probability that the true daily Sharpe ratio is above the benchmark.

    Holds:   within [0, 1]; falls as the benchmark rises; 0 where nothing moved.
    """
    sharpe = sharpe_of(returns)
    count = len(returns)
    if count < RETURNS_MIN or float(returns.std(ddof=1)) <= 1e-12:
        return 0.0
    centred = (returns - returns.mean()) / returns.std()
    squared = centred * centred  # a power of an array would take 20 times as long
    skew, kurtosis = float((squared * centred).mean()), float((squared * squared).mean())
    spread = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe
    if spread <= 0.0:
        return 0.0
    return _NORMAL.cdf((sharpe - benchmark) * math.sqrt(count - 1) / math.sqrt(spread))


def dsr_of(returns: NDArray[np.float64], trials: int, trial_variance: float | None = None) -> float:
    """Return the probability that the Sharpe ratio beats the best of `trials` worthless ones.

    trial_variance: of the daily Sharpe ratios tried; None = that of ratios with no edge at all.
    Holds:   at most psr_of(returns, 0); falls as trials rise.
    """
    if len(returns) < RETURNS_MIN:
        return 0.0
    variance = 1.0 / (len(returns) - 1) if trial_variance is None else max(trial_variance, 0.0)
    return psr_of(returns, math.sqrt(variance) * expected_best(trials))


def expected_best(trials: int) -> float:
    """Return the expected highest of so many standard normal draws; 0 for one."""
    if trials < 2:
        return 0.0
    high = _NORMAL.inv_cdf(1.0 - 1.0 / trials)
    higher = _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return max(0.0, (1.0 - _EULER) * high + _EULER * higher)


def drawdown_of(r: NDArray[np.float64]) -> float:
    """Return the deepest fall of the running sum from its highest point, zero included; ≥ 0."""
    curve = np.concatenate([[0.0], np.cumsum(r)])
    return float((np.maximum.accumulate(curve) - curve).max())


def profit_factor_of(r: NDArray[np.float64]) -> float:
    """Return what was won over what was lost, at most PROFIT_FACTOR_MAX; 0 without a win."""
    won, lost = float(r[r > 0].sum()), float(-r[r < 0].sum())
    if won <= 0.0:
        return 0.0
    return min(won / lost, PROFIT_FACTOR_MAX) if lost > 0.0 else PROFIT_FACTOR_MAX


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 0.0


def _return_of(equity: NDArray[np.floating[Any]]) -> float:
    if not len(equity) or not equity[0] > 0:
        return 0.0
    return float(equity[-1]) / float(equity[0]) - 1.0  # in single precision this may overflow


def _fall_of(equity: NDArray[np.floating[Any]]) -> float:
    if not len(equity):
        return 0.0
    highest = np.maximum.accumulate(equity.astype(np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        fall = np.where(highest > 0, 1.0 - equity / highest, 0.0)
    return float(fall.max())
