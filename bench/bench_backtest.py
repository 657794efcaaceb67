"""The whole universe in one command, its memory against budgets, its growth, and its peers.

Rules of this file:
- every run is the command a person types, on a home of its own, stores included;
- memory is the proportional set size of the command's whole process tree, PostgreSQL and all, read
  from outside every 20 ms, in runs of their own: reading takes most of a core from what is read;
- 5,000 stocks are a block bootstrap of the real ones and marked so; they, 1,000 stocks and the
  whole universe under the sampler come with TRADEBOX_BENCH_BACKTEST=full;
- without the shared universe beside the checkout it says so and measures nothing.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.live_run import environ
from bench.machine import load_average
from tradebox.backtest.memory import MIB, held_by, tree_of

ROOT = Path(__file__).resolve().parents[1]
UNIVERSE = ROOT.parent / "shared" / "data" / "universe" / "daily_dev_2007_2017.parquet"
FULL = "TRADEBOX_BENCH_BACKTEST"
SAMPLE_S = 0.02
BUDGETS_GIB = (1, 2, 4)
SAMPLED_STOCKS = 120
GROWTH, GROWTH_FULL = (250, 500), (250, 500, 1000)
BOOTSTRAP_STOCKS, BLOCK_DAYS, SEED = 5000, 20, 11
EFFICIENCY_STOCKS = 250
RUN_S_MAX = 900.0
BARE_PAIRS = 3
BARE_LOOP = """
import time
began_s = time.perf_counter()
total = 0
for number in range(20_000_000):
    total += number * number
print(time.perf_counter() - began_s)
"""


class Sampler(threading.Thread):
    """Reads the memory of a process tree until it ends. Units: bytes."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._has_ended = threading.Event()
        self.samples: list[int] = []
        self.worst_gap_s = 0.0

    def run(self) -> None:
        """Read every SAMPLE_S, or as soon as the last reading is through."""
        last_s = time.monotonic()
        while not self._has_ended.is_set():
            began_s = time.monotonic()
            self.worst_gap_s = max(self.worst_gap_s, began_s - last_s)
            last_s = began_s
            try:
                self.samples.append(sum(held_by(pid).pss for pid in tree_of(self._pid)))
            except FileNotFoundError:  # the command has ended while it was read
                return
            self._has_ended.wait(max(0.0, SAMPLE_S - (time.monotonic() - began_s)))

    def end(self) -> dict[str, Any]:
        """Stop, and return what was seen."""
        self._has_ended.set()
        self.join()
        return {
            "samples": len(self.samples),
            "peak_mib": round(max(self.samples) / MIB, 1),
            "longest_gap_ms": round(self.worst_gap_s * 1000, 1),
        }


def command(home: Path, *words: str, sampled: bool = False) -> dict[str, Any]:
    """Run one backtest and return its summary; "seen" is what the sampler saw."""
    began_s = time.monotonic()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tradebox",
            "backtest",
            "run",
            "--home",
            str(home),
            "--json",
            *words,
        ],
        cwd=ROOT,
        env=environ(),  # without this bench's own TRADEBOX_ variable: it is no setting
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    sampler = Sampler(process.pid) if sampled else None
    if sampler is not None:
        sampler.start()
    told, said = process.communicate(timeout=RUN_S_MAX)
    seen = sampler.end() if sampler is not None else {}
    if process.returncode != 0:
        raise RuntimeError(f"the command ended with {process.returncode}: {said[-2000:].decode()}")
    summary = dict(json.loads(told))
    return {**summary, "command_s": round(time.monotonic() - began_s, 2), "seen": seen}


@contextmanager
def universe_of(count: int) -> Iterator[str]:
    """Lend a file with the first symbols of the universe."""
    lines = (UNIVERSE.parent / "universe.csv").read_text().splitlines()[1 : count + 1]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(line.partition(",")[0] for line in lines) + "\n")
        file.flush()
        yield file.name


def whole(home: Path, data: str) -> dict[str, Any]:
    """Measure the whole universe, all strategies, from the command to its last row."""
    told = command(home, "--data", data, "--memory-budget", "1GiB")
    figures = told["figures"]
    searched_ms = figures["stage_seconds"]["search"] * 1000 / figures["stocks"]
    return {
        **{name: told[name] for name in ("stocks", "results", "failed", "mismatch", "grades")},
        "command_s": told["command_s"],
        "wall_s": figures["wall_s"],
        "prepare_s": figures["prepare_s"],
        "stocks_per_s": figures["stocks_per_s"],
        "workers": figures["workers"],
        "stage_shares": figures["stage_shares"],
        "search_ms_per_stock": round(searched_ms, 2),
        "pool_busy_share": figures["pool_busy_share"],
        "peak_mib": round(figures["peak_bytes"] / MIB, 1),
        "budget_mib": round(figures["budget_bytes"] / MIB),
        "worker_private_mib_max": round(figures["worker_private_bytes_max"] / MIB, 1),
        "database_mib": round(figures["database_bytes"] / MIB, 1),
        "run_hash": told["run_hash"],
    }


def budgets(home: Path, data: str, *, is_full: bool) -> list[dict[str, Any]]:
    """Measure memory from outside at each budget."""
    found = []
    for gib in BUDGETS_GIB:
        words = ["--data", data, "--memory-budget", f"{gib}GiB"]
        with universe_of(SAMPLED_STOCKS) as file:
            told = command(home, *words, *([] if is_full else ["--universe", file]), sampled=True)
        peak = told["seen"]["peak_mib"]
        found.append(
            {
                "budget_gib": gib,
                "stocks": told["stocks"],
                **told["seen"],
                "peak_share": round(peak / (gib * 1024), 3),
                "is_over": peak > gib * 1024,
                "worker_private_mib_max": round(
                    told["figures"]["worker_private_bytes_max"] / MIB, 1
                ),
            }
        )
    return found


def growth(home: Path, data: str, counts: Sequence[int]) -> list[dict[str, Any]]:
    """Measure time and memory as the universe grows."""
    found = []
    for count in counts:
        with universe_of(count) as file:
            found.append(_grown(command(home, "--data", data, "--universe", file)))
    return found


def _grown(told: dict[str, Any]) -> dict[str, Any]:
    figures = told["figures"]
    return {
        "stocks": told["stocks"],
        "wall_s": figures["wall_s"],
        "stocks_per_s": figures["stocks_per_s"],
        "peak_mib": round(figures["peak_bytes"] / MIB, 1),
        "database_mib": round(figures["database_bytes"] / MIB, 1),
    }


def efficiency(home: Path, data: str) -> dict[str, Any]:
    """Measure two workers beside one, and two bare loops beside one: the machine's own part."""
    rates = []
    hashes = set()
    with universe_of(EFFICIENCY_STOCKS) as file:
        for workers in ("1", "2"):
            told = command(home, "--data", data, "--universe", file, "--workers", workers)
            rates.append(told["figures"]["stocks_per_s"])
            hashes.add(told["run_hash"])
    machine = cores_efficiency()
    efficiency = rates[1] / (2 * rates[0])
    return {
        "stocks_per_s": {"1": rates[0], "2": rates[1]},
        "pool_efficiency": round(efficiency, 3),
        "two_bare_loops_efficiency": round(machine, 3),
        "pool_to_bare_loops": round(efficiency / machine, 3),
        "hashes_are_equal": len(hashes) == 1,
    }


def cores_efficiency() -> float:
    """Return how much of twice one bare loop's rate two at once have: what the machine allows."""

    def rate(count: int) -> float:
        loops = [
            subprocess.Popen([sys.executable, "-c", BARE_LOOP], stdout=subprocess.PIPE)
            for _ in range(count)
        ]
        return sum(1 / float(loop.communicate()[0]) for loop in loops)

    found = [rate(2) / (2 * rate(1)) for _ in range(BARE_PAIRS)]
    return statistics.median(found)


def peers() -> dict[str, Any]:
    """Measure workload W by us and by others, in a process of its own."""
    threads = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, "-m", "bench.backtest_peers"],
        cwd=ROOT,
        env={
            **os.environ,
            **dict.fromkeys(threads, "1"),
            "PYTHONPATH": os.pathsep.join(("src", "tui", ".")),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def bootstrap(folder: Path) -> Path:
    """Write a parquet of stocks that never were: blocks of real days, in another order."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(UNIVERSE)
    symbols = table["symbol"].combine_chunks().dictionary_decode().to_numpy(zero_copy_only=False)
    columns = {
        name: table[name].to_numpy() for name in ("date", "open", "high", "low", "close", "volume")
    }
    starts = np.flatnonzero(np.r_[True, symbols[1:] != symbols[:-1]])
    spans = list(zip(starts, np.r_[starts[1:], len(symbols)], strict=True))
    random = np.random.default_rng(SEED)
    path = folder / "synthetic.parquet"
    writer: Any = None
    for number in range(BOOTSTRAP_STOCKS):
        begin, end = spans[number % len(spans)]
        picked = _blocks(random, end - begin - 1) + begin + 1
        closes = columns["close"]
        steps = closes[picked] / closes[picked - 1]
        close = closes[begin] * np.cumprod(steps)
        made = {
            "symbol": pa.array([f"SYN{number:05}"] * len(picked)),
            "date": pa.array(columns["date"][begin + 1 : end]),
            **{
                name: pa.array(close * columns[name][picked] / closes[picked])
                for name in ("open", "high", "low")
            },
            "close": pa.array(close),
            "volume": pa.array(columns["volume"][picked]),
        }
        batch = pa.table(made)
        writer = writer or pq.ParquetWriter(path, batch.schema)
        writer.write_table(batch)
    writer.close()
    return path


def _blocks(random: Any, count: int) -> Any:
    import numpy as np

    size = min(BLOCK_DAYS, count)
    firsts = random.integers(0, count - size + 1, -(-count // size))
    return (firsts[:, None] + np.arange(size)).ravel()[:count]


def run() -> dict[str, Any]:
    """Measure everything; see the rules of the file for what a short run leaves out."""
    if not UNIVERSE.exists():
        sys.stderr.write(f"backtest: skipped: there is no {UNIVERSE.name} beside the checkout\n")
        return {"skipped": "the shared universe is not here", "load_during": load_average()}
    is_full = os.environ.get(FULL) == "full"
    data = f"parquet:{UNIVERSE}"
    with tempfile.TemporaryDirectory(prefix="tradebox-bench-") as place:
        home = Path(place) / "home"
        command(home, "--workers", "1")  # the cluster is made, the kernels are compiled
        found: dict[str, Any] = {"universe": whole(home, data)}
        load = load_average()
        found["budgets"] = budgets(home, data, is_full=is_full)
        found["growth"] = growth(home, data, GROWTH_FULL if is_full else GROWTH)
        found["growth"].append({**found["universe"], "is": "the run above"})
        if is_full:
            told = command(home, "--data", f"parquet:{bootstrap(Path(place))}")
            found["growth"].append({**_grown(told), "is": "synthetic: block bootstrap"})
        found["efficiency"] = efficiency(home, data)
        found["peers"] = peers()
    return {**found, "is_full": is_full, "load_during": load}
