"""Memory of a tree of processes: what it holds, what a task will need, and who may begin.

Rules of this file:
- what counts is the proportional set size (PSS) of the whole tree: shared pages count once;
- a prediction is a size model times a learned margin, doubled while nothing has been measured;
- a budget never promises the machine's last memory: a neighbour that eats it shrinks what we may
  use, never the other way round.
"""

import math
import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20
KIB: Final = 1 << 10

SAFE_SHARE: Final = 0.93
"""How much of the budget tasks may fill: the rest is for the moment between two looks."""

KEEP_FREE_BYTES: Final = 256 * MIB
"""What a machine must have left beside us."""

LOOK_S: Final = 0.25
LOOK_S_NEAR: Final = 0.05
NEAR_SHARE: Final = 0.8
LOOK_COST: Final = 0.03
"""At most this share of one core goes into looking; ten times as much near the limit."""

COLD_MARGIN: Final = 2.0
SAMPLES_MIN: Final = 8
DEVIATIONS: Final = 3.0

BAR_BYTES: Final = 400
"""Prediction of one stock's working set: bytes for each of its bars."""

RESULT_BAR_BYTES: Final = 40
"""Prediction of what a result keeps until its batch is handed over: bytes a bar."""

TASK_BYTES: Final = 8 * MIB
"""Prediction of what any task needs besides."""

_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class Held:
    """Memory of one process: its share of all it sees, and what it alone holds. Units: bytes."""

    pss: int = 0
    private: int = 0


def held_by(pid: int, proc: Path = _PROC) -> Held:
    """Return what a process holds; nothing where it has gone."""
    try:
        text = (proc / str(pid) / "smaps_rollup").read_bytes()
    except OSError:
        return Held()
    pss = private = 0
    for line in text.splitlines():
        if line.startswith(b"Pss:"):
            pss = int(line.split()[1])
        elif line.startswith(b"Private_"):
            private += int(line.split()[1])
    return Held(pss * KIB, private * KIB)


def tree_of(pid: int, proc: Path = _PROC) -> list[int]:
    """Return a process and all below it, by what the kernel says now."""
    found = [pid]
    for parent in found:
        for children in (proc / str(parent) / "task").glob("*/children"):
            try:
                found += [int(word) for word in children.read_text().split()]
            except OSError:
                continue
    return found


def available_bytes(proc: Path = _PROC, control: Path = Path("/sys/fs/cgroup")) -> int:
    """Return what the machine, or the control group we live in, can still give."""
    found = re.search(rb"^MemAvailable:\s+(\d+) kB", (proc / "meminfo").read_bytes(), re.MULTILINE)
    free = int(found[1]) * KIB if found else 1 << 60
    return min(free, _group_free_bytes(control))


def _group_free_bytes(control: Path) -> int:
    """Return what a version 2 control group leaves: file cache can be taken back."""
    try:
        limit = (control / "memory.max").read_text().strip()
        if limit == "max":
            return 1 << 60
        used = int((control / "memory.current").read_text())
        cached = re.search(
            r"^inactive_file (\d+)", (control / "memory.stat").read_text(), re.MULTILINE
        )
    except (OSError, ValueError):
        return 1 << 60
    return max(0, int(limit) - used + (int(cached[1]) if cached else 0))


def machine_bytes() -> int:
    """Return how much memory the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def default_budget_bytes() -> int:
    """Return a quarter of the machine, at most 4 GiB."""
    return min(4 << 30, machine_bytes() // 4)


def shown_size(size: float) -> str:
    """Return a size for people: MiB below 10 GiB, else GiB."""
    return f"{size / (MIB << 10):,.1f} GiB" if size >= 10 << 30 else f"{size / MIB:,.0f} MiB"


class SizeModel:
    """Predicts a task's peak private memory from the bars of its stocks, and learns.

    Holds: never below the model itself; grows with the bars; the margin is the mean of
           measured ÷ predicted plus three standard deviations, once enough was measured.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean = 0.0
        self._squares = 0.0
        self._largest = 0.0

    @property
    def margin(self) -> float:
        """How many times the bare model a task is given."""
        if self._count < SAMPLES_MIN:
            return max(COLD_MARGIN, self._largest)
        deviation = math.sqrt(self._squares / (self._count - 1))
        return max(1.0, self._mean + DEVIATIONS * deviation, self._largest)

    @staticmethod
    def bare_bytes(bars: Sequence[int]) -> int:
        """Return the bare model: the longest stock's working set and every stock's result."""
        return TASK_BYTES + BAR_BYTES * max(bars, default=0) + RESULT_BAR_BYTES * sum(bars)

    def predicted_bytes(self, bars: Sequence[int]) -> int:
        """Return what a task of stocks of these lengths is expected to need at most."""
        return int(self.bare_bytes(bars) * self.margin)

    def learn(self, bars: Sequence[int], peak_bytes: int) -> None:
        """Take in what a task really needed."""
        ratio = peak_bytes / self.bare_bytes(bars)
        self._count += 1
        before = self._mean
        self._mean += (ratio - before) / self._count
        self._squares += (ratio - before) * (ratio - self._mean)
        self._largest = max(self._largest, ratio)


@dataclass(slots=True)
class Grant:
    """A promise to one running task. before: its worker's PSS when it began."""

    pid: int | None
    bytes: int
    before: int = 0


class Budget:
    """Knows what the tree holds and what has been promised, and says whether more fits.

    A look costs the kernel a walk over every page table, so it is rationed: by its own cost, and
    less strictly near the limit.
    Holds: what is held plus what is promised and not yet taken stays within the safe share.
    """

    def __init__(self, limit_bytes: int, parent_pid: int | None = None) -> None:
        self.limit_bytes = limit_bytes
        self._next_s = 0.0
        self._parent_pid = parent_pid or os.getpid()
        self.peak_bytes = 0
        self.tree_bytes = 0
        self._by_pid: dict[int, Held] = {}

    def glance(self) -> int:
        """Return the tree's PSS, measured again if a look is due."""
        return self.look() if time.monotonic() >= self._next_s else self.tree_bytes

    def look(self) -> int:
        """Measure the tree and return its PSS."""
        began_s = time.monotonic()
        self._by_pid = {pid: held_by(pid) for pid in tree_of(self._parent_pid)}
        self.tree_bytes = sum(each.pss for each in self._by_pid.values())
        self.peak_bytes = max(self.peak_bytes, self.tree_bytes)
        now_s = time.monotonic()
        is_near = self.tree_bytes > NEAR_SHARE * self.limit_bytes
        pause_s = LOOK_S_NEAR if is_near else LOOK_S
        self._next_s = now_s + max(
            pause_s, (now_s - began_s) / (10 * LOOK_COST if is_near else LOOK_COST)
        )
        return self.tree_bytes

    def held(self, pid: int | None) -> Held:
        """Return what a process of the tree held at the last look."""
        return self._by_pid.get(pid or -1, Held())

    @property
    def safe_bytes(self) -> int:
        """What the tree may hold now: of the budget, or less where a neighbour took the rest."""
        machine = self.tree_bytes + available_bytes() - KEEP_FREE_BYTES
        return int(min(self.limit_bytes * SAFE_SHARE, machine))

    def promised_bytes(self, grants: Iterable[Grant]) -> int:
        """Return what running tasks may still take beyond what they hold."""
        return sum(
            max(0, grant.bytes - max(0, self.held(grant.pid).pss - grant.before))
            for grant in grants
        )

    def room_bytes(self, grants: Iterable[Grant]) -> int:
        """Return what a new task could be given now; negative = none."""
        return self.safe_bytes - self.tree_bytes - self.promised_bytes(grants)
