"""The cut-data test: what is said on a shortened series must be what was said on the whole one.

Rules of this file:
- a strategy that knows a later bar says something else where that bar is cut off;
- cuts fall right behind bars where the strategy speaks, and at even distances: a leak of one bar
  shows at the last bar before the cut.

Public names: Leak, first_leak.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tradebox.strategies.bars import Bars
from tradebox.strategies.base import Setting, Strategy

NAMES: Final = ("entry", "exit_long", "exit_short", "stop_distance")


@dataclass(frozen=True, slots=True)
class Leak:
    """Where a strategy knew too much: the bar, the cut that changed it, and which array."""

    bar: int
    cut: int
    name: str

    @property
    def text(self) -> str:
        """Words for people."""
        return f"{self.name} of bar {self.bar} changes when the bars from {self.cut} on are cut off"


def first_leak(strategy: Strategy, setting: Setting, bars: Bars, cuts: int = 24) -> Leak | None:
    """Return the first difference between signals of cut bars and cut signals; None if none.

    cuts: how many behind spoken bars, and as many at even distances.
    """
    whole = strategy.signals(bars, setting)
    for cut in _cuts(whole.entry, strategy.warm_up(setting), cuts):
        part = strategy.signals(bars.cut(cut), setting)
        entered = whole.entry[:cut] != 0
        for name in NAMES:
            known, said = getattr(part, name), getattr(whole, name)[:cut]
            differs = known != said
            if name == "stop_distance":  # it counts where there is an entry alone
                differs &= entered & ~(np.isnan(known) & np.isnan(said))
            if differs.any():
                return Leak(int(differs.argmax()), cut, name)
    return None


def _cuts(entry: NDArray[np.int8], warm_up: int, count: int) -> list[int]:
    """Return where to cut: ascending, each once, within the series."""
    spoken: NDArray[Any] = np.flatnonzero(entry) + 1
    if len(spoken) > count:
        spoken = spoken[np.linspace(0, len(spoken) - 1, count).astype(int)]
    even = np.linspace(warm_up + 2, len(entry) - 1, count).astype(int)
    return sorted(cut for cut in {*spoken.tolist(), *even.tolist()} if 0 < cut < len(entry))
