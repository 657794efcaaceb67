"""How much memory the embedded PostgreSQL may take by default."""

import os
from pathlib import Path

SHARE = 4
MEMORY_MB_MAX = 2048
MEMORY_MB_MIN = 32
_MB = 1024 * 1024
_LIMIT_FILE = Path("/sys/fs/cgroup/memory.max")


def machine_memory_mb() -> int:
    """Return the memory of the machine or of our control group, whichever is less."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MB
    try:
        limit = _LIMIT_FILE.read_text(encoding="ascii").strip()
    except OSError:
        return whole
    return min(whole, int(limit) // _MB) if limit.isdigit() else whole


def default_memory_mb() -> int:
    """Return a quarter of the machine, at most 2 GB."""
    return max(MEMORY_MB_MIN, min(MEMORY_MB_MAX, machine_memory_mb() // SHARE))
