"""`python -m bench.soak [MINUTES]`: a long run under load, and whether anything grows.

Rules of this file:
- profile sim at speed 60 with demo plans and a steady flow of plans into both accounts;
- every figure is the engine's own, read from its status each SAMPLE_S; slopes are least squares
  over what follows the warm-up;
- told to end early (SIGTERM) it ends what it started, and keeps no result.
"""

import asyncio
import contextlib
import json
import signal
import sys
import time
from datetime import UTC, datetime
from typing import Any

from bench import plan_flow
from bench.live_run import LiveRun, live_run
from bench.machine import load_average, machine, memory_mb, versions
from bench.report import RESULTS

MINUTES = 30.0
SAMPLE_S = 5.0
WARM_UP_SHARE = 0.2
PLANS_PER_S = 1.0
SPEED = 60
GROWING = ("tasks", "threads", "descriptors", "resident_mb")


def slope_an_hour(points: list[tuple[float, float]]) -> float | None:
    """Return the least-squares slope, per hour, of (seconds, value); None without two times."""
    count = len(points)
    if count < 2:
        return None
    mean_t = sum(at for at, _ in points) / count
    mean_v = sum(value for _, value in points) / count
    spread = sum((at - mean_t) ** 2 for at, _ in points)
    if not spread:
        return None
    return sum((at - mean_t) * (value - mean_v) for at, value in points) / spread * 3600


def _sample(run: LiveRun, began_s: float) -> dict[str, Any]:
    shown, launcher = run.blob(), run.launcher()
    header = shown["header"]
    return {
        "at_s": time.monotonic() - began_s,
        "generation": launcher["generation"],
        "engine": memory_mb(launcher["engine_pid"]),
        "ticks": header["ticks"]["received"],
        **header["vitals"],
    }


def summary(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the figures of a soak. Units stand in the names."""
    first, last = samples[0], samples[-1]
    lasting_s = last["at_s"] - first["at_s"]
    settled = [one for one in samples if one["at_s"] >= WARM_UP_SHARE * last["at_s"]]
    growth = {
        name: {
            "first": settled[0][name],
            "last": last[name],
            "max": max(one[name] for one in settled),
            "slope_an_hour": slope_an_hour([(one["at_s"], one[name]) for one in settled]),
        }
        for name in GROWING
    }
    return {
        "lasted_s": round(lasting_s),
        "samples": len(samples),
        "ticks_per_s": round((last["ticks"] - first["ticks"]) / max(lasting_s, 1), 1),
        "engines": last["generation"],
        "lag_p99_ms": last["lag_p99_ms"],
        "lag_max_ms": max(one["lag_max_ms"] for one in samples),
        "sweep_max_ms": max(one.get("sweep_max_ms", 0.0) for one in samples),
        "imports_after_ready": last["imports_after_ready"],
        "engine_memory_last": last["engine"],
        "growth": growth,
    }


async def _soak(run: LiveRun, dsn: str, minutes: float) -> dict[str, Any]:
    samples: list[dict[str, Any]] = []
    began_s = time.monotonic()
    async with plan_flow.flow_into(run, dsn) as flow:
        flow.more = {"time_exit": {"after_minutes": 5}}
        asking = asyncio.create_task(flow.keep_asking(PLANS_PER_S, float("inf")))
        try:
            while time.monotonic() - began_s < minutes * 60:
                samples.append(_sample(run, began_s))
                await asyncio.sleep(SAMPLE_S)
        finally:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
        return {**summary(samples), "plans_asked": flow.asked, "load_during": load_average()}


def main() -> int:
    """Soak and keep the result."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    config = {**plan_flow.CONFIG, "sim": {"demo_plans": True, "speed": SPEED}}
    with live_run(config) as run, plan_flow.stores_of(run) as dsn:
        measured = asyncio.run(_soak(run, dsn, minutes))
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    result = {
        "name": "soak",
        "date": date,
        "machine": machine(),
        "versions": versions(),
        "measured": measured,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{date}-soak.json"
    path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    print(json.dumps(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
