"""The engine's own health in figures: loop lag, tasks, threads, descriptors, memory, imports.

Rules of this file:
- it reads; nothing here changes what is measured but the lag meter's own timer.
"""

import asyncio
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
        self._meter = LagMeter(clock, events)
        self.imports = ImportWatch()

    def ready(self) -> None:
        """Begin: the tree has started, so nothing is to be imported from now on."""
        self._meter.start(frames=True)
        self.imports.start()

    def stop(self) -> None:
        """End the meter and its thread."""
        self._meter.stop()
        self.imports.stop()

    def figures(self) -> dict[str, float]:
        """Return the figures now."""
        lag = self._meter.figures
        resident_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return {
            "lag_p99_ms": round(lag.quantile(0.99) * 1000, 3),
            "lag_max_ms": round(lag.max_s * 1000, 3),
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "descriptors": sum(1 for _ in Path("/proc/self/fd").iterdir()),
            "resident_mb": round(resident_pages * PAGE_BYTES / _MB, 2),
            "imports_after_ready": self.imports.count,
        }
