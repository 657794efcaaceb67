"""`python -m bench.backtest_peers`: workload W by us and by others, one after the other; JSON out.

W: one stock of 2,520 synthetic days (seeded random walk), 60 settings of a moving-average cross
with a trailing stop: 5 fast by 4 slow averages by 3 stop distances, judged on the first 70 %.

Rules of this file:
- ratios hold inside one run of it alone: rounds are interleaved, medians are kept;
- the peers are not checked equal here: a peer's stop is the one it has, and ours does more
  (next-open fills, entry bars checked, costs, sums by block of a walk-forward over all days);
- what is scaled up says from how many it was.
"""

import itertools
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

BARS, SETS, ROUNDS, SEED = 2520, 60, 5, 7
TRAIN = 1764
FAST, SLOW, STOPS = (5, 10, 20, 30, 50), (60, 100, 150, 200), (2.0, 3.0, 4.5)
FEES = 0.0005
NAIVE_SETS, PEER_SETS = 12, 3
SIDES = 2
"""Our family tests each of the 60 settings both ways: long and short, long alone."""


def walk(seed: int) -> dict[str, Any]:
    """Return a random walk's open, high, low, close, volume."""
    random = np.random.default_rng(seed)
    close = 50.0 * np.exp(np.cumsum(random.normal(0.0003, 0.018, BARS)))
    opened = np.concatenate(([close[0]], close[:-1])) * np.exp(random.normal(0, 0.004, BARS))
    span = np.abs(random.normal(0, 0.008, BARS))
    high = np.maximum(opened, close) * (1 + span)
    low = np.minimum(opened, close) * (1 - span)
    volume = random.uniform(1e6, 2e6, BARS)
    return {"open": opened, "high": high, "low": low, "close": close, "volume": volume}


def timed_ms(call: Callable[[], object]) -> float:
    """Return how long a call took. Units: ms."""
    began_s = time.perf_counter()
    call()
    return (time.perf_counter() - began_s) * 1000


def ours(prices: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """Return our search of the 60 settings, and our whole pipeline on the same family."""
    from tradebox.backtest.layers.search import sweep_strategy
    from tradebox.backtest.pipeline import begin, run_stock
    from tradebox.strategies.bars import Bars
    from tradebox.strategies.catalogue import STRATEGIES
    from tradebox.strategies.indicators import Indicators

    columns = {name: np.ascontiguousarray(column) for name, column in prices.items()}
    for column in columns.values():
        column.flags.writeable = False
    bars = Bars("W", np.arange(BARS, dtype=np.int32), **columns)
    family = STRATEGIES["trend_cross"]
    config = {"strategies": (family.name,), "splits": 5}
    state = begin(bars, config)

    def search() -> object:
        return sweep_strategy(family, Indicators(bars), state.per_bar, state.blocks)

    return {"search": search, "pipeline": lambda: run_stock(bars, config, 1)}


def vectorbts(prices: dict[str, Any]) -> dict[str, Callable[[], object]]:
    """Return vectorbt's ways: a call a setting, one call for all, by numba and by rust."""
    import pandas as pd
    import vectorbt as vbt

    frame = {name: pd.Series(column) for name, column in prices.items()}
    close = frame["close"]
    true_range = (frame["high"] - frame["low"]).rolling(14).mean() / close
    means = {length: close.rolling(length).mean() for length in (*FAST, *SLOW)}
    grid = list(itertools.product(FAST, SLOW, STOPS))
    assert len(grid) == SETS

    def signals(fast: int, slow: int) -> tuple[Any, Any]:
        above = (means[fast] > means[slow]).shift(1, fill_value=False)
        before = above.shift(1, fill_value=False)
        return above & ~before, ~above & before

    def one(setting: tuple[int, int, float], engine: str) -> float:
        fast, slow, stop = setting
        entries, exits = signals(fast, slow)
        width = (true_range * stop).bfill()
        portfolio = vbt.Portfolio.from_signals(
            close[:TRAIN], entries[:TRAIN], exits[:TRAIN], open=frame["open"][:TRAIN],
            high=frame["high"][:TRAIN], low=frame["low"][:TRAIN], sl_stop=width[:TRAIN],
            sl_trail=True, tp_stop=2 * width[:TRAIN], fees=FEES, freq="1D", engine=engine,
        )  # fmt: skip
        return float(portfolio.sharpe_ratio())

    def every(engine: str) -> object:
        table = [signals(fast, slow) for fast, slow, _ in grid]
        entries = pd.concat([each[0] for each in table], axis=1, keys=range(SETS))[:TRAIN]
        exits = pd.concat([each[1] for each in table], axis=1, keys=range(SETS))[:TRAIN]
        width = pd.concat([(true_range * stop).bfill() for _, _, stop in grid], axis=1)[:TRAIN]
        width.columns = entries.columns
        portfolio = vbt.Portfolio.from_signals(
            close[:TRAIN], entries, exits, open=frame["open"][:TRAIN], high=frame["high"][:TRAIN],
            low=frame["low"][:TRAIN], sl_stop=width, sl_trail=True, tp_stop=2 * width, fees=FEES,
            freq="1D", engine=engine,
        )  # fmt: skip
        return portfolio.sharpe_ratio().idxmax()

    return {
        "vectorbt_naive_loop": lambda: [one(each, "numba") for each in grid[:NAIVE_SETS]],
        "vectorbt_vectorised": lambda: every("numba"),
        "vectorbt_rust": lambda: every("rust"),
    }


def backtesting_py(prices: dict[str, Any]) -> Callable[[], object]:
    """Return backtesting.py on some of the settings."""
    import backtesting
    import pandas as pd

    frame = pd.DataFrame(
        {name.title(): column for name, column in prices.items()},
        index=pd.date_range("2010-01-01", periods=BARS, freq="D"),
    )[:TRAIN]

    def mean(values: Any, length: int) -> Any:
        return pd.Series(values).rolling(length).mean()

    class Cross(backtesting.Strategy):
        """A moving-average cross with a trailing stop and a target."""

        fast, slow, stop = 10, 60, 3.0

        def init(self) -> None:
            self.quick = self.I(mean, self.data.Close, self.fast)
            self.calm = self.I(mean, self.data.Close, self.slow)
            spans = np.asarray(self.data.High) - np.asarray(self.data.Low)
            self.width = self.I(mean, spans / np.asarray(self.data.Close), 14)

        def next(self) -> None:
            price, width = self.data.Close[-1], self.stop * self.width[-1]
            for trade in self.trades:
                trade.sl = max(trade.sl or 0.0, price * (1 - width))
            if self.quick[-1] > self.calm[-1] and not self.position:
                self.buy(sl=price * (1 - width), tp=price * (1 + 2 * width))
            elif self.quick[-1] < self.calm[-1] and self.position:
                self.position.close()

    test = backtesting.Backtest(frame, Cross, commission=FEES, cash=1e6, finalize_trades=True)
    settings = [(5, 60, 2.0), (20, 100, 3.0), (50, 200, 4.5)]
    assert len(settings) == PEER_SETS
    return lambda: [test.run(fast=f, slow=s, stop=d) for f, s, d in settings]


def main() -> None:
    """Measure, and print one object. Units: ms a stock of 60 settings."""
    warnings.simplefilter("ignore")
    prices = walk(SEED)
    mine, theirs = ours(prices), vectorbts(prices)
    calls = {**mine, **theirs, "backtesting_py": backtesting_py(prices)}
    scale = {
        "search": 1 / SIDES,
        "vectorbt_naive_loop": SETS / NAIVE_SETS,
        "backtesting_py": SETS / PEER_SETS,
    }
    for call in calls.values():
        call()  # compile and fill caches
    repeats = {"search": 20, "pipeline": 5}
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            times = [timed_ms(call) for _ in range(repeats.get(name, 1))]
            found[name].append(statistics.median(times) * scale.get(name, 1.0))
    medians = {name: statistics.median(each) for name, each in found.items()}
    answer = {
        "bars": BARS,
        "settings": SETS,
        "ms_per_stock": {name: round(each, 3) for name, each in medians.items()},
        "times_our_search": {
            name: round(each / medians["search"], 1) for name, each in medians.items()
        },
        "times_our_pipeline": {
            name: round(each / medians["pipeline"], 2) for name, each in medians.items()
        },
        "scaled": {"vectorbt_naive_loop": NAIVE_SETS, "backtesting_py": PEER_SETS},
    }
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
