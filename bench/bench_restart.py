"""How soon an engine is back: killed, hung in Python, hung in C; beside a fresh `python -m` start.

Rules of this file:
- "new loop" is the first turn of the next engine's event loop, by that engine's own clock;
- a hang is timed from the hang; the leash of 1000 ms is a setting, and told apart from the rest;
- the fresh start is taken in between, on the same box at the same load.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.hang_engine import HANGS
from bench.live_run import environ, wait_for
from bench.machine import load_average, memory_mb, ratio, spread
from tradebox.supervision.control import ask_control
from tradebox.supervision.launch_errors import ControlUnreachable

KILLS = 40
KILLS_A_FRESH_START = 8
HANGS_EACH = 5
LEASH_MS = 1000
BACK_S_MAX = 15.0
MS_NS = 1e6


class Hangable:
    """A launcher with an engine that can be hung."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "c.sock"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.hang_engine", str(folder)],
            env=environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def ask(self, request: dict[str, object]) -> dict[str, Any]:
        return dict(ask_control(self._path, request, 5.0))

    def seen(self, generation: int) -> dict[str, Any] | None:
        """Return pid, generation and first turn of the engine once it is that generation's."""
        try:
            answer = self.ask({"ask": "status"})
        except ControlUnreachable:
            return None
        blob = answer["engine"]["blob"] or {}
        if blob.get("generation", 0) < generation:
            return None
        return {**blob, "pid": answer["launcher"]["engine_pid"]}

    def wait(self, generation: int) -> dict[str, Any]:
        return wait_for(lambda: self.seen(generation), f"generation {generation}", BACK_S_MAX)

    def kill_to_loop_ms(self) -> float:
        """Kill the engine and return how long there was no loop."""
        now = self.wait(1)
        began_ns = time.monotonic_ns()
        os.kill(now["pid"], signal.SIGKILL)
        first_ns = int(self.wait(now["generation"] + 1)["first_ns"])
        return (first_ns - began_ns) / MS_NS

    def hang_to_loop_ms(self, how: str) -> float:
        """Hang the engine and return how long there was no loop."""
        now = self.wait(1)
        answer = self.ask({"ask": "forward", "to": how, "data": {}})["answer"]
        first_ns = int(self.wait(now["generation"] + 1)["first_ns"])
        return float(first_ns - answer["hung_mono_ns"]) / MS_NS


@contextmanager
def hangable() -> Iterator[Hangable]:
    """Start one in a temporary folder and end it."""
    folder = Path(tempfile.mkdtemp(prefix="tradebox-bench-"))
    run = Hangable(folder)
    try:
        yield run
    finally:
        run.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.process.wait(10.0)
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def fresh_start_ms() -> float:
    """Return how long a new interpreter takes to the first turn of its loop."""
    began_ns = time.monotonic_ns()
    out = subprocess.run(
        [sys.executable, "-m", "bench.fresh_start"], env=environ(), check=True, capture_output=True
    ).stdout
    return (int(out) - began_ns) / MS_NS


def run() -> dict[str, Any]:
    """Kill and hang engines and return the figures. Units stand in the names."""
    kills: list[float] = []
    fresh = [fresh_start_ms()]
    hangs: dict[str, list[float]] = {how: [] for how in HANGS}
    with hangable() as engine:
        for number in range(KILLS):
            kills.append(engine.kill_to_loop_ms())
            if number % KILLS_A_FRESH_START == 0:
                fresh.append(fresh_start_ms())
        for _ in range(HANGS_EACH):
            for how, found in hangs.items():
                found.append(engine.hang_to_loop_ms(how))
        memory = memory_mb(engine.process.pid)
        load = load_average()
    kill, floor = spread(kills, 2), spread(fresh, 2)
    return {
        "load_during": load,
        "kill_to_loop_ms": kill,
        "fresh_start_ms": floor,
        "kill_to_fresh_start": round(kill["p50"] / floor["p50"], 4),
        "fresh_starts_saved": ratio(floor["p50"], kill["p50"]),
        "leash_ms": LEASH_MS,
        "hang_to_loop_ms": {how: spread(found, 2) for how, found in hangs.items()},
        "launcher_without_stores": memory,
    }
