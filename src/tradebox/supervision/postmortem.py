"""What is known about an engine's death, and the file that keeps it.

Rules of this file:
1. The file is written after the next engine was forked: writing costs no outage.
2. A full or missing folder loses the file, never the launcher.
3. The newest files are kept, the older ones removed.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tradebox.supervision.shm import LOOP_SLOT, SlotReading
from tradebox.supervision.spawn import Exit

FILES_MAX: Final = 20
STACK_BYTES_MAX: Final = 1 << 18
_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Death:
    """The end of one engine. Units: seconds and milliseconds as named; died_ns monotonic."""

    generation: int
    pid: int
    cause: str
    how: Exit
    process_state: str
    died_ns: int
    lived_s: float
    slots: tuple[SlotReading, ...]
    stacks: str
    last_lines: tuple[str, ...]

    @property
    def beat_age_ms(self) -> float | None:
        """The age of the loop's last check-in at death, None when it never checked in."""
        for slot in self.slots:
            if slot.name == LOOP_SLOT and slot.last_ns:
                return (self.died_ns - slot.last_ns) / _MS
        return None


def process_state(pid: int) -> str:
    """Return the kernel's word for what a process does (R, S, D, T, Z), "?" when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 - no Path on a hot path
            return stat.read().rpartition(b")")[2].split()[0].decode()
    except (OSError, IndexError):
        return "?"


def read_stacks(fd: int) -> str:
    """Return what faulthandler wrote into the memory file."""
    with contextlib.suppress(OSError):
        return os.pread(fd, STACK_BYTES_MAX, 0).decode("utf-8", "replace")
    return ""


def describe(death: Death, counters: Mapping[str, int]) -> str:
    """Return the report of one death as text."""
    age_ms = death.beat_age_ms
    parts = [
        f"cause           {death.cause}",
        f"ended by        {death.how}",
        f"pid             {death.pid}",
        f"generation      {death.generation}",
        f"lived           {death.lived_s:.3f} s",
        f"process state   {death.process_state}",
        f"last heartbeat  {'never' if age_ms is None else f'{age_ms:.1f} ms before'}",
        "",
        "check-ins (age ms / limit ms / incarnation)",
    ]
    parts += [
        f"  {slot.name}  {(death.died_ns - slot.last_ns) / _MS:.1f}"
        f" / {slot.limit_ns / _MS:.1f} / {slot.incarnation}"
        for slot in death.slots
    ]
    parts += ["", "counters", *(f"  {name}  {value}" for name, value in sorted(counters.items()))]
    parts += ["", "stacks", death.stacks or "  none were written"]
    parts += ["", "last lines of output", *(f"  {line}" for line in death.last_lines), ""]
    return "\n".join(parts)


def write_post_mortem(folder: Path, name: str, death: Death, text: str) -> Path | None:
    """Write the report into `folder`, newest files kept; None when that is impossible."""
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    path = folder / f"{name}-{at}-{death.generation:06d}.txt"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        for old in sorted(folder.glob(f"{name}-*.txt"))[:-FILES_MAX]:
            old.unlink(missing_ok=True)
    except OSError:
        return None
    return path
