"""The strategies there are.

Rules of this file:
- each strategy is a value: an opinion of a few array operations, and the exits of its plan;
- comparisons with NaN are false, so nothing is said before an indicator is warm.

Public name: STRATEGIES.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from tradebox.strategies.base import (
    SIDES,
    STOP_ATR,
    Exits,
    Parameter,
    Setting,
    Signals,
    Strategy,
    fresh,
    opinion_of,
)
from tradebox.strategies.indicators import Indicators

ATR_PERIOD = 14
_BOTH = Parameter(SIDES, (1.0, 2.0), "exit", "1 long only, 2 long and short")


def _stop(*values: float) -> Parameter:
    return Parameter(STOP_ATR, values, "exit", "initial stop in average true ranges")


def _cross(indicators: Indicators, setting: Setting) -> Signals:
    above = indicators.sma(int(setting["fast"])) > indicators.sma(int(setting["slow"]))
    entry = np.empty(len(above), np.int8)
    entry[0] = 0
    np.subtract(above.view(np.int8)[1:], above.view(np.int8)[:-1], out=entry[1:])
    return Signals(entry, ~above, above, indicators.atr(ATR_PERIOD))


def _cross_exits(_setting: Setting) -> Exits:
    return Exits(trail=True)


def _donchian(indicators: Indicators, setting: Setting) -> Signals:
    close, entry, leave = indicators.bars.close, int(setting["entry"]), int(setting["leave"])
    above, below = close > indicators.highest(entry), close < indicators.lowest(entry)
    leaves = (close < indicators.lowest(leave), close > indicators.highest(leave))
    return opinion_of(fresh(above), fresh(below), leaves, indicators.atr(20))


def _donchian_exits(_setting: Setting) -> Exits:
    return Exits()


def _reversion(indicators: Indicators, setting: Setting) -> Signals:
    close, rsi = indicators.bars.close, indicators.rsi(int(setting["period"]))
    trend, mean = indicators.sma(200), indicators.sma(5)
    threshold = setting["threshold"]
    long = (rsi < threshold) & (close > trend)
    short = (rsi > 100.0 - threshold) & (close < trend)
    return opinion_of(long, short, (close > mean, close < mean), indicators.atr(ATR_PERIOD))


def _reversion_exits(setting: Setting) -> Exits:
    return Exits(bars_max=int(setting["bars_max"]))


def _squeeze(indicators: Indicators, setting: Setting) -> Signals:
    period, close = int(setting["period"]), indicators.bars.close
    width = indicators.recent_low(f"squeeze{period}", 10, lambda: indicators.squeeze(period))
    quiet = width < setting["tightness"]
    long = quiet & (close > indicators.highest(period))
    short = quiet & (close < indicators.lowest(period))
    mean = indicators.sma(period)
    return opinion_of(
        fresh(long), fresh(short), (close < mean, close > mean), indicators.atr(period)
    )


def _squeeze_exits(setting: Setting) -> Exits:
    return Exits(target_r=setting["target_r"])


def _pullback(indicators: Indicators, setting: Setting) -> Signals:
    close, trend = indicators.bars.close, indicators.sma(int(setting["trend"]))
    momentum, rsi = indicators.change(60), indicators.rsi(int(setting["period"]))
    depth = setting["depth"]
    up, down = (close > trend) & (momentum > 0.0), (close < trend) & (momentum < 0.0)
    long, short = up & fresh(rsi > depth), down & fresh(rsi < 100.0 - depth)
    return opinion_of(long, short, (close < trend, close > trend), indicators.atr(ATR_PERIOD))


def _pullback_exits(setting: Setting) -> Exits:
    target_r = setting["target_r"]
    return Exits(target_r=target_r, bars_max=40, scale_out_r=target_r / 2.0, scale_out_fraction=0.5)


_ALL = (
    Strategy(
        "trend_cross",
        "trend",
        "a faster average of the close crosses a slower one; the stop trails",
        (
            Parameter("fast", (5.0, 10.0, 20.0, 30.0, 50.0), "signal", "bars of the fast average"),
            Parameter("slow", (60.0, 100.0, 150.0, 200.0), "signal", "bars of the slow average"),
            _stop(2.0, 3.0, 4.5),
            _BOTH,
        ),
        _cross,
        _cross_exits,
        lambda setting: int(setting["slow"]) + 1,
    ),
    Strategy(
        "donchian_breakout",
        "breakout",
        "the close leaves the range of the last bars; a shorter range leaves the position",
        (
            Parameter("entry", (20.0, 40.0, 55.0, 80.0), "signal", "bars of the range to break"),
            Parameter("leave", (10.0, 20.0, 30.0), "signal", "bars of the range that ends it"),
            _stop(1.5, 2.5, 3.5),
            _BOTH,
        ),
        _donchian,
        _donchian_exits,
        lambda setting: max(int(setting["entry"]), int(setting["leave"]), 20) + 2,
    ),
    Strategy(
        "mean_reversion",
        "reversion",
        "a short-term extreme against the long trend; out at the five-day mean or in time",
        (
            Parameter("period", (2.0, 3.0, 4.0), "signal", "bars of the relative strength index"),
            Parameter("threshold", (5.0, 10.0, 15.0, 20.0), "signal", "the extreme, of 100"),
            _stop(1.5, 2.5, 3.5),
            Parameter("bars_max", (5.0, 10.0), "exit", "bars after which it is left"),
            _BOTH,
        ),
        _reversion,
        _reversion_exits,
        lambda _setting: 201,
    ),
    Strategy(
        "volatility_squeeze",
        "volatility",
        "a breakout after the band has been narrow; out at a target or at the mean",
        (
            Parameter("period", (15.0, 20.0, 30.0), "signal", "bars of band and range"),
            Parameter("tightness", (0.8, 1.0, 1.2), "signal", "band over channel that is narrow"),
            _stop(1.5, 2.5, 3.5),
            Parameter("target_r", (2.0, 3.0, 4.0), "exit", "target in R"),
            _BOTH,
        ),
        _squeeze,
        _squeeze_exits,
        lambda setting: int(setting["period"]) * 2 + 12,
    ),
    Strategy(
        "momentum_pullback",
        "momentum",
        "a dip in a strong trend that ends; half out half-way to the target",
        (
            Parameter("trend", (100.0, 150.0, 200.0), "signal", "bars of the trend's average"),
            Parameter("period", (5.0, 10.0), "signal", "bars of the relative strength index"),
            Parameter("depth", (35.0, 40.0, 45.0), "signal", "how deep the dip was, of 100"),
            _stop(2.0, 3.0, 4.0),
            Parameter("target_r", (2.0, 3.0), "exit", "target in R; half is sold half-way"),
            _BOTH,
        ),
        _pullback,
        _pullback_exits,
        lambda setting: int(setting["trend"]) + 1,
    ),
)

STRATEGIES: Mapping[str, Strategy] = MappingProxyType({one.name: one for one in _ALL})
"""Every strategy by name."""
