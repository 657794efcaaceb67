"""Made-up results of stocks, seeded: for the store, the report and the commands that read."""

import numpy as np

from tradebox.backtest.metrics import measure
from tradebox.backtest.records import (
    ORDER_DTYPE,
    TRADE_DTYPE,
    BatchResult,
    Reason,
    RunSpec,
    StockResult,
    result_hash,
)
from tradebox.config.backtest import BacktestSettings


def stock_result(symbol, seed=1, trades=12, bars=300, status="ok", grade="C"):
    """Return a whole result with books that agree: equity is what the trades made."""
    random = np.random.default_rng([seed, *symbol.encode()])
    if status == "refused":
        made = StockResult(symbol, "refused", reasons=(Reason("quality", "too few bars"),))
        return signed(made)
    days = weekdays(bars)
    table = np.zeros(trades, TRADE_DTYPE)
    entries = np.sort(random.choice(bars - 12, trades, replace=False)) if trades else []
    table["entry_bar"] = entries
    table["exit_bar"] = table["entry_bar"] + 1 + random.integers(0, 10, trades)
    table["side"] = random.choice([1, -1], trades)
    table["size"] = random.integers(10, 200, trades)
    table["entry_price"] = random.uniform(20, 60, trades).round(2)
    table["stop_price"] = table["entry_price"] * (1 - 0.05 * table["side"])
    table["exit_price"] = table["entry_price"] * random.uniform(0.95, 1.07, trades)
    table["fees"] = 2.0
    gained = table["side"] * (table["exit_price"] - table["entry_price"]) * table["size"]
    table["pnl"] = gained - table["fees"]
    risk = np.abs(table["entry_price"] - table["stop_price"]) * table["size"]
    table["r"] = table["pnl"] / risk
    table["reason"] = random.integers(1, 8, trades)
    orders = np.zeros(2 * trades, ORDER_DTYPE)
    orders["bar"] = np.ravel(np.column_stack([table["entry_bar"], table["exit_bar"]]))
    orders["side"] = np.ravel(np.column_stack([table["side"], -table["side"]]))
    orders["size"] = np.repeat(table["size"], 2)
    orders["price"] = np.ravel(np.column_stack([table["entry_price"], table["exit_price"]]))
    orders["fees"] = 1.0
    gains = np.bincount(table["exit_bar"], weights=table["pnl"], minlength=bars)
    equity = (100_000 + np.cumsum(gains)).astype(np.float32)
    out = measure(table, equity, 200) | {
        "costs_doubled_expectancy_r": 0.01,
        "neighbour_share": 0.5,
        "positive_splits": 0.6,
    }
    made = StockResult(
        symbol=symbol,
        status=status,
        strategy="trend_cross",
        setting={"fast": 10.0, "slow": 40.0, "stop_atr": 2.5},
        grade=grade,
        reasons=(Reason("character", "trends"), Reason("grade", f"{grade}, not B: sharpe 0.1 < 1")),
        metrics={"in": {"trades": 40.0, "expectancy_r": 0.3}, "out": out},
        details={"splits": [0.1, -0.2, float(random.normal())]},
        trials=200,
        verified=status != "mismatch",
        orders=orders,
        trades=table,
        days=days,
        equity=equity,
        data_hash="d" * 64,
    )
    return signed(made)


def signed(result):
    """Return the result with its hash."""
    from dataclasses import replace

    return replace(result, result_hash=result_hash(result))


def weekdays(count, first="2015-01-05"):
    """Return so many Mondays to Fridays as days since 1970-01-01."""
    return np.busday_offset(first, np.arange(count)).astype(np.int64).astype(np.int32)


def run_spec(run_id="run-1", symbols=("AAA", "BBB", "CCC"), **changes):
    """Return a run's record."""
    fields = {
        "run_id": run_id,
        "seed": 1,
        "strategies": ("trend_cross", "mean_reversion"),
        "universe": "all",
        "symbols": tuple(symbols),
        "data_source": "sample",
        "data_path": "/nowhere",
        "data_hash": "d" * 64,
        "code_hash": "c" * 64,
        "config": BacktestSettings().model_dump(mode="json"),
        "executor": "pool",
        "refused": {"ZZZ": "only 1 bar: at least 60 are needed"},
    }
    return RunSpec(**{**fields, **changes})


def batch(number, results):
    """Return a batch that took some time."""
    return BatchResult(number, tuple(results), {"search": 0.5, "verify": 0.1}, 1_000_000)
