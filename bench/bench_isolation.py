"""Live beside bad neighbours: paper burning CPU, a flooded dashboard, both cores busy.

Rules of this file:
- one whole run in profile sim; plans go in on both accounts all the while; a sample is one entry
  of the live account, from the tick's bytes at the vendor's socket to the order at the gateway;
- each neighbour has ROUNDS windows, each right after a window of peace: pairs, so that a drift of
  the box is in both; the ratio told is the median of the pairs' ratios;
- the backtest is the command itself over the shared universe, in the run's own home, a worker a
  core; without the universe beside the checkout it is left out and the result says so;
- the busy cores are numpy loops, one a core, each in a session of its own at the lowest place of
  the kernel's groups: where those exist, niceness alone is void between sessions.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from bench import plan_flow
from bench.bench_backtest import UNIVERSE
from bench.live_run import LiveRun, environ, live_run
from bench.machine import load_average, quantile, spread
from tradebox.backtest.memory import tree_of
from tradebox.domain.orders import AccountName

ROUNDS = 5
WINDOW_S = 12.0
SETTLE_S = 1.0
WARM_UP_S = 10.0
PLANS_PER_S = 4.0
EVENTS_PER_S = 10_000
FLOOD_S = 4.0
BURN_EVERY_S = 1.0
BACKTEST_START_S = 12.0
PAPER = "trading.paper.controller"
NICE = 19
SPIN = f"""
import os
os.nice({NICE})
os.setsid()
try:
    open("/proc/self/autogroup", "w").write("{NICE}")
except OSError:
    pass
import numpy as np
prices = np.random.default_rng(1).random((500, 500))
while True:
    prices = np.sin(prices @ prices)
"""
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
SHORT: dict[str, object] = {"time_exit": {"after_minutes": 1}}
Neighbour = Callable[[LiveRun, dict[str, Any]], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def _repeating(turn: Callable[[], Any], period_s: float) -> AsyncIterator[None]:
    """Do something again and again, outside this loop's thread, until the block ends."""

    async def repeat() -> None:
        while True:
            await asyncio.to_thread(turn)
            await asyncio.sleep(period_s)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def peace(run: LiveRun, told: dict[str, Any]) -> AsyncIterator[None]:
    """Nothing but the trading itself."""
    del run, told
    yield


@asynccontextmanager
async def paper_burns(run: LiveRun, told: dict[str, Any]) -> AsyncIterator[None]:
    """Paper's handler takes 50 ms of CPU a message, again as soon as its successor runs."""

    def burn() -> None:
        if run.forward("harm", actor=PAPER, how="burn") is not None:
            told.setdefault("burnt_at_s", []).append(time.time())

    async with _repeating(burn, BURN_EVERY_S):
        yield


@asynccontextmanager
async def dashboard_flooded(run: LiveRun, told: dict[str, Any]) -> AsyncIterator[None]:
    """The dashboard folds EVENTS_PER_S events a second."""

    def pour() -> None:
        seen = run.forward("flood", per_s=EVENTS_PER_S, seconds=FLOOD_S)
        if seen is not None:
            rates = told.setdefault("handled_per_s", [])
            rates.append(round(seen["handled"] / seen["took_s"]))

    async with _repeating(pour, 0.0):
        yield


@asynccontextmanager
async def cores_busy(run: LiveRun, told: dict[str, Any]) -> AsyncIterator[None]:
    """One numpy loop a core at the lowest place there is."""
    del run
    told["burners"], told["nice"] = os.cpu_count(), NICE
    burners = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", SPIN, env={**os.environ, **ONE_THREAD}
        )
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            await burner.wait()


@asynccontextmanager
async def backtest(run: LiveRun, told: dict[str, Any]) -> AsyncIterator[None]:
    """`tradebox backtest run` over the universe, a worker a core, past its start."""
    words = ["--home", str(run.home.root), "--data", f"parquet:{UNIVERSE}", "--json"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tradebox", "backtest", "run", *words),
        *("--workers", str(os.cpu_count() or 1), "--memory-budget", "2GiB"),
        env=environ(),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await asyncio.sleep(BACKTEST_START_S)
        before_s = spent_s(process.pid)
        yield
        told.setdefault("cores_used", []).append(
            round((spent_s(process.pid) - before_s) / (SETTLE_S + WINDOW_S), 2)
        )
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        told.setdefault("exits", []).append(await process.wait())


def spent_s(pid: int) -> float:
    """Return the CPU seconds a command and what it started have used."""
    ticks = 0
    for one in tree_of(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


NEIGHBOURS: dict[str, Neighbour] = {
    "paper_burns_50_ms_a_tick": paper_burns,
    "dashboard_folds_10000_a_s": dashboard_flooded,
    "backtest_on_both_cores": backtest,
    "both_cores_busy_in_a_low_group": cores_busy,
}


class Windows:
    """When what went on. Units: monotonic ns."""

    def __init__(self) -> None:
        self.known: list[tuple[str, int, int]] = []

    async def hold(self, name: str, neighbour: AbstractAsyncContextManager[None]) -> None:
        """Let one thing go on for a window."""
        async with neighbour:
            await asyncio.sleep(SETTLE_S)
            began_ns = time.monotonic_ns()
            await asyncio.sleep(WINDOW_S)
            self.known.append((name, began_ns, time.monotonic_ns()))

    def sorted_out(self, found: Sequence[plan_flow.Sample]) -> list[tuple[str, list[float]]]:
        """Return each window's samples: live's entries, tick to order, in microseconds."""
        return [
            (
                name,
                [
                    one.socket_to_mailbox_us + one.mailbox_to_gateway_us
                    for one in found
                    if one.account == AccountName.LIVE.value
                    and began_ns <= one.gateway_mono_ns < ended_ns
                ],
            )
            for name, began_ns, ended_ns in self.known
        ]


def told_of(name: str, windows: list[tuple[str, list[float]]]) -> dict[str, Any]:
    """Return one neighbour's figures: all samples of both kinds, and the median of the ratios."""
    pairs = [
        (before, during)
        for (_, before), (what, during) in itertools.pairwise(windows)
        if what == name and before and during
    ]

    if not pairs:
        return {"pairs": 0}

    def ratio(share: float) -> float:
        ratios = [quantile(two, share) / quantile(one, share) for one, two in pairs]
        return round(statistics.median(ratios), 3)

    return {
        "pairs": len(pairs),
        "peace_us": spread([value for before, _ in pairs for value in before], 1),
        "during_us": spread([value for _, during in pairs for value in during], 1),
        "median_ratio_p50": ratio(0.50),
        "median_ratio_p99": ratio(0.99),
    }


def cut_offs(lines: Sequence[dict[str, Any]], burnt_at_s: Sequence[float]) -> dict[str, Any]:
    """Return how soon paper's controller was ended for its CPU, by the engine's own log.

    Three messages of 50 ms are the least it takes, and the ticks that bring them.
    """
    ended = [
        (datetime.fromisoformat(line["at"]).timestamp(), line["reason"])
        for line in lines
        if line.get("event") == "child_exited"
        and line.get("actor") == PAPER
        and "BudgetSpent" in str(line.get("reason"))
    ]
    after_ms = [
        (next(at_s for at_s, _ in ended if at_s > burnt_s) - burnt_s) * 1000
        for burnt_s in burnt_at_s
        if any(at_s > burnt_s for at_s, _ in ended)
    ]
    return {
        "burnt": len(burnt_at_s),
        "cut_off_by_the_budget": len(ended),
        "cut_off_after_ms": spread(after_ms, 1) if after_ms else None,
        "reason": ended[0][1] if ended else None,
    }


async def _measure(run: LiveRun, dsn: str) -> dict[str, Any]:
    neighbours = {
        name: neighbour
        for name, neighbour in NEIGHBOURS.items()
        if neighbour is not backtest or UNIVERSE.exists()
    }
    windows, told = Windows(), {name: dict[str, Any]() for name in neighbours}
    async with plan_flow.flow_into(run, dsn) as flow:
        flow.more = SHORT
        asking = asyncio.create_task(flow.keep_asking(PLANS_PER_S, float("inf")))
        try:
            await asyncio.sleep(WARM_UP_S)
            for _ in range(ROUNDS):
                for name, neighbour in neighbours.items():
                    await windows.hold("peace", peace(run, {}))
                    await windows.hold(name, neighbour(run, told[name]))
            await windows.hold("peace", peace(run, {}))
            load, engines = load_average(), run.launcher()["generation"]
        finally:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
        await asyncio.sleep(SETTLE_S)
        sorted_out = windows.sorted_out(await plan_flow.samples(flow, run.ledger()))
    after = [
        value
        for (what, _), (_, following) in itertools.pairwise(sorted_out)
        if what == "paper_burns_50_ms_a_tick"
        for value in following
    ]
    burnt = told["paper_burns_50_ms_a_tick"].pop("burnt_at_s", [])
    measured = {name: {**told_of(name, sorted_out), **told[name]} for name in neighbours}
    measured["paper_burns_50_ms_a_tick"] |= {
        "after_us": spread(after, 1) if after else None,
        **cut_offs([line for line in run.log() if "at" in line], burnt),
    }
    return {
        "load_during": load,
        "engines": engines,
        "window_s": WINDOW_S,
        "plans_per_s": PLANS_PER_S,
        "live_tick_to_order": measured,
    }


def run() -> dict[str, Any]:
    """Trade beside bad neighbours and return the figures. Units stand in the names."""
    with live_run(plan_flow.CONFIG) as started, plan_flow.stores_of(started) as dsn:
        return asyncio.run(_measure(started, dsn))
