"""The feed pair inside a whole run: harm to the active feed until the standby has taken over.

Rules of this file:
- `tradebox run` in profile sim, everything real; the harm is a control message to the feed, the
  end is the slot's own clock at the takeover; both are CLOCK_MONOTONIC of the engine;
- takeovers by suspicion are damped, so hangs are far enough apart not to be held down;
- a hang begins with the harm and is seen when the standby gets ahead: the wait for the vendor's
  next tick is in it.
"""

import time
from typing import Any

from bench.bench_restart import fresh_start_ms
from bench.live_run import LiveRun, live_run, wait_for
from bench.machine import load_average, spread

CRASHES = 60
HANGS = 12
BETWEEN_CRASHES_S = 0.15
BETWEEN_HANGS_S = 9.5
FRESH_STARTS = 3
BACK_S_MAX = 20.0
SPEED = 60
CONFIG: dict[str, dict[str, Any]] = {"sim": {"demo_plans": True, "speed": SPEED}}


def _takeover_us(run: LiveRun, how: str) -> float:
    """Harm the active feed and return how long nobody held its role."""
    header = run.blob()["header"]
    before, active = header["takeovers"]["count"], header["active_feed"]
    harmed = wait_for(lambda: run.forward("harm", actor=active, how=how), how, BACK_S_MAX)

    def look() -> int | None:
        now = run.blob()["header"]["takeovers"]
        return int(now["last_mono_ns"]) if now["count"] > before else None

    return (wait_for(look, "a takeover", BACK_S_MAX) - int(harmed["mono_ns"])) / 1000


def _pair_is_whole(run: LiveRun) -> bool:
    rows = {row["name"]: row for row in run.blob()["actors"]}
    return all(rows[f"market.feed_{each}"]["state"] == "running" for each in "ab")


def _takeovers(run: LiveRun, how: str, count: int, between_s: float) -> list[float]:
    found = []
    for _ in range(count):
        wait_for(lambda: _pair_is_whole(run), "both feeds run", BACK_S_MAX)
        time.sleep(between_s)
        found.append(_takeover_us(run, how))
    return found


def run() -> dict[str, Any]:
    """Harm feeds of a trading engine and return the figures. Units stand in the names."""
    with live_run(CONFIG) as started:
        before, began_s = started.blob()["header"]["ticks"], time.monotonic()
        hangs = _takeovers(started, "hang", HANGS, BETWEEN_HANGS_S)
        crashes = _takeovers(started, "crash", CRASHES, BETWEEN_CRASHES_S)
        after, passed_s = started.blob()["header"]["ticks"], time.monotonic() - began_s
        load, launcher = load_average(), started.launcher()
        gate = [line for line in started.log() if line.get("event") == "metrics"][-1]
    return {
        "load_during": load,
        "ticks_per_s": round((after["received"] - before["received"]) / passed_s),
        "crash_to_takeover_us": spread(crashes, 1),
        "hang_to_takeover_us": spread(hangs, 1),
        "gaps_in_the_admitted_log": gate["gate.gaps"],
        "engines": launcher["generation"],
        "fresh_start_ms": spread([fresh_start_ms() for _ in range(FRESH_STARTS)], 1),
    }
