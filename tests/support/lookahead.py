"""The cut-data test: what is said on a shortened series must be what was said on the whole one."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Leak:
    """Where a strategy knew too much: the bar, the cut that changed it, and which array."""

    bar: int
    cut: int
    name: str


def first_leak(strategy, setting, bars, cuts=24):
    """Return the first difference between signals of cut bars and cut signals; None if none.

    Cuts fall where the strategy speaks and at even distances, so that a leak of one bar is seen.
    """
    whole = strategy.signals(bars, setting)
    spoken = np.flatnonzero(whole.entry)[:: max(1, len(np.flatnonzero(whole.entry)) // cuts)] + 1
    even = np.linspace(strategy.warm_up(setting) + 2, len(bars) - 1, cuts).astype(int)
    for cut in sorted({*spoken.tolist(), *even.tolist()}):
        if not 0 < cut < len(bars):
            continue
        part = strategy.signals(bars.cut(cut), setting)
        for name in ("entry", "exit_long", "exit_short", "stop_distance"):
            known, said = getattr(part, name), getattr(whole, name)[:cut]
            if name == "stop_distance":
                known, said = known[whole.entry[:cut] != 0], said[whole.entry[:cut] != 0]
            same = (known == said) | (np.isnan(known) & np.isnan(said)) if known.dtype == float \
                else known == said  # fmt: skip
            if not same.all():
                return Leak(int(np.flatnonzero(~same)[0]), cut, name)
    return None
