"""The engine's own health in figures: lag, sweeps, tasks, threads, descriptors, memory, imports.

Rules of this file:
- it reads; nothing here changes what is measured but the lag meter's own timer.
"""

import asyncio
import gc
import os
import threading
from pathlib import Path

from tradebox.supervision.checkin import LagMeter
from tradebox.supervision.clock import Clock
from tradebox.supervision.events import EventBus
from tradebox.supervision.import_watch import ImportWatch

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MB = 1 << 20


class Vitals:
    """Measures one engine. Units stand in the names of the figures."""

    def __init__(self, clock: Clock, events: EventBus) -> None:
        self._clock = clock
        self._meter = LagMeter(clock, events)
        self._sweep_began_s = 0.0
        self._sweep_max_s = 0.0
        self.imports = ImportWatch()

    def ready(self) -> None:
        """Begin: the tree has started, so nothing is to be imported from now on."""
        self._meter.start(frames=True)
        self.imports.start()
        gc.callbacks.append(self._on_sweep)

    def stop(self) -> None:
        """End the meter and its thread."""
        self._meter.stop()
        self.imports.stop()
        gc.callbacks.remove(self._on_sweep)

    def _on_sweep(self, phase: str, info: dict[str, int]) -> None:
        """Measure each collection of garbage; nothing else runs meanwhile."""
        del info
        if phase == "start":
            self._sweep_began_s = self._clock.now()
        else:
            took_s = self._clock.now() - self._sweep_began_s
            self._sweep_max_s = max(self._sweep_max_s, took_s)

    def recent_lags_ms(self) -> list[float]:
        """Return the loop's last lags, oldest first."""
        return [round(lag_s * 1000, 3) for lag_s in self._meter.figures.recent]

    def figures(self) -> dict[str, float]:
        """Return the figures now."""
        lag = self._meter.figures
        resident_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return {
            "lag_p99_ms": round(lag.quantile(0.99) * 1000, 3),
            "lag_max_ms": round(lag.max_s * 1000, 3),
            "sweep_max_ms": round(self._sweep_max_s * 1000, 3),
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "descriptors": sum(1 for _ in Path("/proc/self/fd").iterdir()),
            "resident_mb": round(resident_pages * PAGE_BYTES / _MB, 2),
            "imports_after_ready": self.imports.count,
        }
