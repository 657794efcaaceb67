"""The whole run under plans: its engine is killed, and trades again.

Rules of this file:
- SIGKILL at a random moment of real trading in profile sim; the stores and the gateway live on;
- loop, ready and CLEAN are the engine's own log lines; "trading" is the next order, modify or
  cancel that the gateway's ledger shows;
- plans flow all the while, so that there is something to trade.
"""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bench import plan_flow
from bench.bench_restart import fresh_start_ms
from bench.live_run import LiveRun, live_run
from bench.machine import load_average, memory_mb, ratio, spread

KILLS = 10
PLANS_PER_S = 2.5
WARM_UP_S = 4.0
BETWEEN_S = (1.5, 2.5)
BACK_S_MAX = 30.0
FRESH_STARTS = 5
MS_NS = 1e6
HELD: dict[str, object] = {"time_exit": {"after_minutes": 1}}
ORDER_ROWS = frozenset({"order_placed", "order_modified"})


@dataclass(frozen=True)
class Kill:
    """One SIGKILL. generation: of the engine that follows. Units: ns, wall and monotonic."""

    generation: int
    wall_ns: int
    mono_ns: int


async def _kill(run: LiveRun) -> Kill:
    """Kill the engine and wait until its successor has sent something."""
    now = run.launcher()
    killed = Kill(now["generation"] + 1, time.time_ns(), time.monotonic_ns())
    os.kill(now["engine_pid"], signal.SIGKILL)
    async with asyncio.timeout(BACK_S_MAX):
        while not run.is_clean() or _first_order_ns(run.ledger(), killed) is None:  # noqa: ASYNC110 - benches poll
            await asyncio.sleep(0.1)
    return killed


def _first_order_ns(ledger: Iterable[Mapping[str, Any]], kill: Kill) -> int | None:
    for row in ledger:
        if row["kind"] in ORDER_ROWS and row["mono_ns"] > kill.mono_ns:
            return int(row["mono_ns"])
    return None


def _at_ns(line: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(line["at"]).timestamp() * 1e9


def _steps_ms(lines: list[dict[str, Any]], kill: Kill, next_ns: float) -> dict[str, float]:
    """Return when the next engine's loop ran, was ready, and was CLEAN on both accounts."""
    found: dict[str, float] = {}
    clean: set[str] = set()
    for line in lines:
        at_ns = _at_ns(line)
        if not kill.wall_ns < at_ns < next_ns:
            continue
        event, after_ms = line["event"], (at_ns - kill.wall_ns) / MS_NS
        if event == "engine_start":
            found.setdefault("loop", after_ms)
        elif event == "engine_ready":
            found.setdefault("ready", after_ms)
        elif event == "link_changed" and line.get("state") == "CLEAN":
            clean.add(line["account"])
            if len(clean) == 2:
                found.setdefault("clean", after_ms)
    return found


async def _trade(run: LiveRun, dsn: str) -> dict[str, Any]:
    kills: list[Kill] = []
    rng = random.Random(1)
    async with plan_flow.flow_into(run, dsn) as flow:
        flow.more = HELD
        asking = asyncio.create_task(flow.keep_asking(PLANS_PER_S, float("inf")))
        await asyncio.sleep(WARM_UP_S)
        try:
            for _ in range(KILLS):
                kills.append(await _kill(run))
                await asyncio.sleep(rng.uniform(*BETWEEN_S))
            launcher, load = run.launcher(), load_average()
            memory = {
                "engine": memory_mb(launcher["engine_pid"]),
                "launcher": memory_mb(launcher["pid"]),
            }
        finally:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
    lines = [line for line in run.log() if "at" in line]
    steps: dict[str, list[float]] = {"loop": [], "ready": [], "clean": [], "trading": []}
    ends = [float(one.wall_ns) for one in kills[1:]] + [float("inf")]
    for kill, end_ns in zip(kills, ends, strict=True):
        for name, after_ms in _steps_ms(lines, kill, end_ns).items():
            steps[name].append(after_ms)
        first_ns = _first_order_ns(run.ledger(), kill)
        assert first_ns is not None, "it was seen before"
        steps["trading"].append((first_ns - kill.mono_ns) / MS_NS)
    fresh = spread([fresh_start_ms() for _ in range(FRESH_STARTS)], 1)
    told = {f"kill_to_{name}_ms": spread(found, 1) for name, found in steps.items()}
    return {
        "load_during": load,
        **told,
        "fresh_start_ms": fresh,
        "memory_after": memory,
        "ratio_loop_to_fresh_start": round(told["kill_to_loop_ms"]["p50"] / fresh["p50"], 4),
        "ratio_trading_to_fresh_start": ratio(told["kill_to_trading_ms"]["p50"], fresh["p50"]),
    }


def run() -> dict[str, Any]:
    """Kill a trading engine and return the figures. Units stand in the names."""
    with live_run(plan_flow.CONFIG) as started, plan_flow.stores_of(started) as dsn:
        return asyncio.run(_trade(started, dsn))
