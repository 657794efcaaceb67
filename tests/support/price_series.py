"""Made-up price series and choices for tests of strategies and of the backtest's engine."""

import numpy as np

from tradebox.backtest.layers.state import Choice, Sizing
from tradebox.backtest.rows import rows_of
from tradebox.strategies.bars import Bars
from tradebox.strategies.base import Exits, Parameter, Signals, Strategy
from tradebox.strategies.indicators import Indicators


def bars_of(rows, volume=1_000_000.0, symbol="TEST"):
    """Return bars from (open, high, low, close) rows on successive days."""
    table = np.array(rows, np.float64)
    open_, high, low, close = (np.ascontiguousarray(table[:, column]) for column in range(4))
    days = np.arange(len(table), dtype=np.int32) + 14_000
    return Bars(symbol, days, open_, high, low, close, np.full(len(table), volume))


def walk(seed, count=600, drift=0.0003, volatility=0.02, start=50.0, gaps=0.3, symbol="WALK"):
    """Return a seeded random walk with gaps, on weekdays."""
    random = np.random.default_rng(seed)
    night = random.normal(0.0, volatility * gaps, count)
    day = random.normal(drift, volatility, count)
    close = start * np.exp(np.cumsum(night + day))
    before = np.concatenate([[start], close[:-1]])
    open_ = before * np.exp(night)
    reach = np.abs(random.normal(0.0, volatility / 2, (2, count)))
    high = np.maximum(open_, close) * np.exp(reach[0])
    low = np.minimum(open_, close) * np.exp(-reach[1])
    number = np.arange(count)
    days = (14_000 + number // 5 * 7 + number % 5).astype(np.int32)
    volume = np.round(np.exp(random.normal(14.0, 0.6, count)))
    return Bars(symbol, days, open_, high, low, close, volume)


def shuffled(bars, seed):
    """Return the same days in another order: every bar keeps its shape, the past is gone."""
    random = np.random.default_rng(seed)
    order = random.permutation(np.arange(1, len(bars)))
    before = bars.close[:-1]
    parts = [np.log(getattr(bars, name)[1:] / before) for name in ("open", "high", "low", "close")]
    close = bars.close[0] * np.exp(np.concatenate([[0.0], np.cumsum(parts[3][order - 1])]))
    open_, high, low = (
        np.concatenate([[getattr(bars, name)[0]], close[:-1] * np.exp(part[order - 1])])
        for name, part in zip(("open", "high", "low"), parts[:3], strict=True)
    )
    volume = np.concatenate([bars.volume[:1], bars.volume[order]])
    return Bars(bars.symbol, bars.day, open_, high, low, close, volume)


def scripted(entries, distance, exits=None, leaves=(), name="scripted"):
    """Return a strategy that enters where it is told: entries {bar: side}, leaves: bars."""

    def opinion(indicators, _setting):
        count = len(indicators.bars)
        entry = np.zeros(count, np.int8)
        for bar, side in entries.items():
            if bar < count:
                entry[bar] = side
        leave = np.zeros(count, np.bool_)
        leave[[bar for bar in leaves if bar < count]] = True
        where = np.broadcast_to(np.asarray(distance, np.float64), np.shape(distance) or count)
        return Signals(entry, leave, leave.copy(), where[:count].copy())

    one = (Parameter("stop_atr", (1.0,), "exit", ""), Parameter("sides", (2.0,), "exit", ""))
    return Strategy(
        name, "trend", "", one, opinion, lambda _setting: exits or Exits(), lambda _setting: 0
    )


def rows_for(bars, strategy, costs, setting=None, sizing=None, final=(0.0, 0.0)):
    """Return the kernel's rows of one choice that may trade at every bar."""
    chosen = Choice(strategy, setting or strategy.settings()[0], 0.0, -1)
    regime = np.zeros(len(bars), np.int64)
    return rows_of([chosen], regime, Indicators(bars), costs, sizing or Sizing(), final)
