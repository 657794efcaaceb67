"""`python -m bench.layers`: what each smart layer is worth, out of sample, with and without it.

Rules of this file:
- the same stocks, once with every layer and once without each; differences are of the same stock,
  so that the market's own years cancel out;
- a difference counts where it is more than twice its error; all else is told as nil;
- without the shared universe beside the checkout the shipped sample is used, and said so.
"""

import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import load_average, machine, versions
from bench.report import RESULTS, ROOT

UNIVERSE = ROOT.parent / "shared" / "data" / "universe" / "daily_dev_2007_2017.parquet"
PAGE = ROOT / "docs" / "backtest-layers.md"
EVERY = 5
PEAK = "plateau"
"""Not a layer of its own: the search's choice by its neighbours, against the best setting alone."""
METRICS = ("sharpe", "expectancy_r", "drawdown_share", "dsr", "trades")
SURE = 2.0
INTRODUCTION = """# What each smart layer is worth

Measured {date} by `python -m bench.layers` on {stocks} stocks of
{source}, out of sample: each stock with all layers, and again without each one. A gain is the mean
difference of the same stock with and without the layer, ± its error; it counts where it is more
than twice that, and all else is nil. The verdict is by the Sharpe ratio; a drawdown above 0 is
deeper with the layer.
"""
HEAD = """| without | verdict | Sharpe gain | R a trade | drawdown | deflated Sharpe | trades | \
stocks changed | letters without it |
|---|---|---|---|---|---|---|---|---|"""
NOTE = """`plateau` is no layer: the search's choice by the mean of a setting and its neighbours,
against the best setting alone. Without `search` the middle of the first family's ranges is
traded, which is one trial: its deflated Sharpe ratio cannot be compared."""


def judge(job: tuple[str, str, str]) -> tuple[str, dict[str, float]]:
    """Return letter and out-of-sample metrics of one stock without one part ("": with all)."""
    from tradebox.backtest import walkforward
    from tradebox.backtest.data.arraystore import ArrayStore
    from tradebox.backtest.pipeline import run_stock
    from tradebox.config.backtest import LAYERS, BacktestSettings

    path, symbol, without = job
    config = BacktestSettings().model_dump(mode="json")
    config["layers"] = [name for name in LAYERS if name != without]
    smooth = walkforward.plateau
    if without == PEAK:
        walkforward.plateau = lambda scores, _shape: scores
    try:
        found = run_stock(ArrayStore.open(path).bars(symbol), config)
    finally:
        walkforward.plateau = smooth
    return found.grade or found.status, dict(found.metrics.get("out", {}))


def compared(
    all_layers: Mapping[str, tuple[str, dict[str, float]]],
    without: Mapping[str, tuple[str, dict[str, float]]],
) -> dict[str, Any]:
    """Return what a layer is worth: with it less without it, by stock."""
    both = [name for name in all_layers if all_layers[name][1] and without[name][1]]
    only = [name for name in without if without[name][1] and not all_layers[name][1]]
    worth = {}
    for metric in METRICS:
        gains = np.array([all_layers[n][1][metric] - without[n][1][metric] for n in both])
        error = float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else 0.0
        worth[metric] = {"gain": float(gains.mean()) if len(gains) else 0.0, "error": error}
    return {
        "stocks": len(both),
        "changed": sum(all_layers[n][1] != without[n][1] for n in both),
        "letters": dict(sorted(Counter(letter for letter, _ in without.values()).items())),
        "worth": worth,
        "refused_only_with_it": len(only),
        "refused_sharpe_mean": float(np.mean([without[n][1]["sharpe"] for n in only]))
        if only
        else None,
    }


def verdict(worth: Mapping[str, Mapping[str, float]]) -> str:
    """Return helps, hurts or nil, by the Sharpe ratio."""
    gain, error = worth["sharpe"]["gain"], worth["sharpe"]["error"]
    if abs(gain) <= SURE * error or error == 0.0:
        return "nil"
    return "helps" if gain > 0 else "hurts"


def measure(every: int) -> dict[str, Any]:
    """Run the stocks with all layers and without each; return what came of it."""
    from tradebox.backtest.data.prepare import prepare_apart
    from tradebox.config.backtest import LAYERS

    source = f"parquet:{UNIVERSE}" if UNIVERSE.exists() else "sample"
    workers = len(os.sched_getaffinity(0))
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool,
    ):
        made = prepare_apart(source, None, Path(folder))
        symbols = made.symbols[::every] if UNIVERSE.exists() else made.symbols
        jobs = [(made.path, one, without) for without in ("", *LAYERS, PEAK) for one in symbols]
        judged = dict(zip(jobs, pool.map(judge, jobs, chunksize=10), strict=True))
    by = {
        without: {one: judged[made.path, one, without] for one in symbols}
        for without in ("", *LAYERS, PEAK)
    }
    whole = by.pop("")
    letters = dict(sorted(Counter(letter for letter, _ in whole.values()).items()))
    outs = [out for _, out in whole.values() if out]
    return {
        "source": source.rsplit("/", maxsplit=1)[-1],
        "stocks": len(symbols),
        "letters": letters,
        "means": {name: float(np.mean([out[name] for out in outs])) for name in METRICS},
        "layers": {name: compared(whole, one) for name, one in by.items()},
    }


def page(found: Mapping[str, Any], date: str) -> str:
    """Return the page about what each layer is worth."""
    means = found["means"]
    told = INTRODUCTION.format(date=date, **found)
    told += (
        f"\nWith all layers: Sharpe {means['sharpe']:.3f}, {means['expectancy_r']:.3f} R a trade,"
        f" {means['trades']:.0f} trades, letters {_letters(found['letters'])}.\n\n"
    )
    lines = [told + HEAD]
    for name, one in found["layers"].items():
        worth = one["worth"]
        cells = [
            _cell(worth["sharpe"], 3), _cell(worth["expectancy_r"], 3),
            _cell(worth["drawdown_share"], 4), _cell(worth["dsr"], 3), _cell(worth["trades"], 1),
        ]  # fmt: skip
        lines.append(
            f"| {name} | {verdict(worth)} | {' | '.join(cells)} | {one['changed']}/{one['stocks']}"
            f" | {_letters(one['letters'])} |"
        )
    lines += ["", *_notes(found)]
    return "\n".join(lines) + "\n"


def _cell(value: Mapping[str, float], digits: int) -> str:
    return f"{value['gain']:+.{digits}f} ± {value['error']:.{digits}f}"


def _letters(letters: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {letter}" for letter, count in letters.items())


def _notes(found: Mapping[str, Any]) -> list[str]:
    quality = found["layers"]["quality"]
    notes = [NOTE]
    if quality["refused_only_with_it"]:
        notes += [""]
        notes.append(
            f"`quality` refuses {quality['refused_only_with_it']} of the stocks; without it their"
            f" mean Sharpe was {quality['refused_sharpe_mean']:.3f}."
        )
    return notes


def main() -> int:
    """Measure, keep the result and write the page."""
    every = int(sys.argv[1]) if len(sys.argv) > 1 else EVERY
    began_s = time.monotonic()
    found = measure(every)
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    found = {**found, "seconds": time.monotonic() - began_s, "load_during": load_average()}
    result = {"name": "layers", "date": date, "machine": machine(), "versions": versions()}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({**result, "measured": found}, indent=2, sort_keys=True)
    (RESULTS / f"{date}-layers.json").write_text(f"{text}\n")
    PAGE.write_text(page(found, date))
    print(page(found, date))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
