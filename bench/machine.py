"""What a figure needs to be believed: quantiles, memory of a process, and the machine it is from.

Rules of this file:
- no host name, no user and no path ever comes into a result;
- a quantile is a value that was measured, never one in between.
"""

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PACKAGES = ("asyncpg", "ib_async", "orjson", "redis", "uvloop", "websockets")
KIB = 1024


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which that share lies. AssertionError where nothing was measured."""
    assert values, "nothing was measured"
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Return count, p50, p90, p99 and the largest of measured values, in their own unit."""
    return {
        "count": len(values),
        "p50": round(quantile(values, 0.50), digits),
        "p90": round(quantile(values, 0.90), digits),
        "p99": round(quantile(values, 0.99), digits),
        "max": round(max(values), digits),
    }


def ratio(value: float, floor: float) -> float:
    """Return how many times the floor a value is, to two places."""
    return round(value / floor, 2)


def memory_mb(pid: int) -> dict[str, float]:
    """Return what a process holds: resident (RSS) and its share of it (PSS), in MiB."""
    found: dict[str, float] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("Rss", "Pss", "Private_Dirty"):
            found[name.lower() + "_mb"] = round(int(rest.split()[0]) / KIB, 1)
    return found


def switches_forced() -> int:
    """Return how often the kernel has taken the core from this process, so far."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == "nonvoluntary_ctxt_switches":
            return int(rest)
    raise AssertionError("the kernel counts no switches")


def machine() -> dict[str, Any]:
    """Return cores, processor, memory, kernel, and how busy it was."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": os.cpu_count(),
        "processor": model,
        "memory_gb": round(memory_bytes / KIB**3, 1),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
    }


def load_average() -> list[float]:
    """Return how many processes wanted to run, over 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def versions() -> dict[str, str]:
    """Return the interpreter's version and those of the packages on the measured paths."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        found[name] = importlib.metadata.version(name)
    return found
