"""`python -m bench.honesty [COUNT]`: how often chance reaches a passing grade.

Rules of this file:
- the whole pipeline judges, with the settings a run has by default;
- walks are seeded, without and with the drift of stocks; shuffled series are real ones, their days
  in another order, so that every day keeps its shape and the past is gone.
"""

import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import load_average, machine, versions
from bench.report import RESULTS, ROOT

sys.path.insert(0, str(ROOT / "tests"))

UNIVERSE = ROOT.parent / "shared" / "data" / "universe" / "daily_dev_2007_2017.parquet"
COUNT = 1000
BARS = 2520
DRIFT = 0.0003
SHUFFLED_EVERY = 7


def judge_walk(job: tuple[int, float]) -> tuple[str, dict[str, float]]:
    """Return the letter and the out-of-sample metrics of one walk."""
    from support.price_series import walk

    seed, drift = job
    return _judge(walk(seed, BARS, drift=drift))


def judge_shuffled(job: tuple[str, str, int]) -> tuple[str, dict[str, float]]:
    """Return the letter and metrics of a stored stock; seed < 0: as it was."""
    from support.price_series import shuffled
    from tradebox.backtest.data.arraystore import ArrayStore

    path, symbol, seed = job
    bars = ArrayStore.open(path).bars(symbol)
    return _judge(bars if seed < 0 else shuffled(bars, seed))


def _judge(bars: Any) -> tuple[str, dict[str, float]]:
    from tradebox.backtest.pipeline import run_stock
    from tradebox.config.backtest import BacktestSettings

    found = run_stock(bars, BacktestSettings().model_dump(mode="json"))
    return found.grade or found.status, dict(found.metrics.get("out", {}))


def told(judged: Iterable[tuple[str, dict[str, float]]]) -> dict[str, Any]:
    """Return letters, the share that passes, and the middle of what was earned."""
    from tradebox.backtest.grade import is_passing
    from tradebox.config.backtest import BacktestSettings

    grades = BacktestSettings().model_dump(mode="json")["grades"]
    rows = list(judged)
    letters = Counter(letter for letter, _ in rows)
    graded = [(letter, out) for letter, out in rows if out]
    passing = sum(is_passing(letter, grades) for letter, _ in graded)  # type: ignore[arg-type]

    def middle(name: str) -> float:
        return float(np.median([out[name] for _, out in graded])) if graded else 0.0

    r = np.array([out["expectancy_r"] for _, out in graded])
    return {
        "judged": len(rows),
        "letters": dict(sorted(letters.items())),
        "passing": passing,
        "passing_share": passing / max(len(rows), 1),
        "expectancy_r_median": middle("expectancy_r"),
        "expectancy_r_mean": float(r.mean()) if len(r) else 0.0,
        "expectancy_r_error": float(r.std(ddof=1) / np.sqrt(len(r))) if len(r) > 1 else 0.0,
        "sharpe_median": middle("sharpe"),
    }


def measure(count: int, map_: Callable[..., Any]) -> dict[str, Any]:
    """Return the figures of walks, of real stocks and of the same ones shuffled."""
    found = {
        "walks": told(map_(judge_walk, [(seed, 0.0) for seed in range(count)], chunksize=20)),
        "walks_with_drift": told(
            map_(judge_walk, [(seed, DRIFT) for seed in range(count)], chunksize=20)
        ),
    }
    if UNIVERSE.exists():
        from tradebox.backtest.data.prepare import prepare_apart

        with tempfile.TemporaryDirectory() as folder:
            made = prepare_apart(f"parquet:{UNIVERSE}", None, Path(folder))
            symbols = made.symbols[::SHUFFLED_EVERY]
            for name, first in (("stocks", -1), ("stocks_shuffled", 0)):
                jobs = [
                    (made.path, symbol, first if first < 0 else number)
                    for number, symbol in enumerate(symbols)
                ]
                found[name] = told(map_(judge_shuffled, jobs, chunksize=10))
    return found


def main() -> int:
    """Measure and keep the result; 1 where chance passes in 5 % or more."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    began_s = time.monotonic()
    context = get_context("forkserver")
    workers = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        found = measure(count, pool.map)
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    found = {**found, "seconds": time.monotonic() - began_s, "load_during": load_average()}
    result = {"name": "honesty", "date": date, "machine": machine(), "versions": versions()}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({**result, "measured": found}, indent=2, sort_keys=True)
    (RESULTS / f"{date}-honesty.json").write_text(f"{text}\n")
    print(json.dumps(found, indent=1))
    walks = [found[name]["passing_share"] for name in ("walks", "walks_with_drift")]
    return int(max(walks) >= 0.05)


if __name__ == "__main__":
    raise SystemExit(main())
