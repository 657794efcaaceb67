"""What a strategy is: named parameters, an opinion per bar, and the exits of the plan it proposes.

Rules of this file:
- an opinion at bar i uses bars up to i only, and acts at the open of bar i + 1;
- the initial stop stands at a share of the entry price: distance[i] / close[i] below (above) it;
- parameters of kind "signal" change the opinion, those of kind "exit" what follows an entry:
  a search computes an opinion once for all exits.

Public names: Parameter, Setting, Signals, Exits, Strategy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tradebox.strategies.bars import Bars, Flags, Floats
from tradebox.strategies.indicators import Indicators

Setting = Mapping[str, float]
Family = Literal["trend", "breakout", "reversion", "volatility", "momentum"]

STOP_ATR: Final = "stop_atr"
"""The parameter every strategy has: the initial stop's distance in average true ranges."""
SIDES: Final = "sides"
"""The parameter that allows sides: 1 long only, 2 both."""
TARGET_R: Final = "target_r"
"""The parameter that puts a target at a multiple of R; any setting may carry it."""
STOP_SHARE_MAX: Final = 0.5
"""A stop further away than this share of the price is no entry; plans allow no wider one."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A named choice with its range, in ascending order."""

    name: str
    values: tuple[float, ...]
    kind: Literal["signal", "exit"]
    meaning: str

    def __post_init__(self) -> None:
        assert self.values == tuple(sorted(set(self.values))), self


class Signals(NamedTuple):
    """An opinion per bar; a tuple, because a search makes thousands a second.

    entry: +1 long, -1 short, 0 none. exit_long, exit_short: leave at the next open.
    stop_distance: price units, > 0 wherever entry != 0.
    """

    entry: NDArray[np.int8]
    exit_long: Flags
    exit_short: Flags
    stop_distance: Floats


@dataclass(frozen=True, slots=True)
class Exits:
    """How a position is left beside its initial stop and its exit signals. 0 means off.

    target_r: all out at this multiple of R. trail: the stop follows the best price at its share.
    breakeven_r: the stop goes to the entry once the price has been this many R ahead.
    bars_max: out at the open after so many bars. scale_out_r, scale_out_fraction: sell that
    fraction at that multiple of R.
    """

    target_r: float = 0.0
    trail: bool = False
    breakeven_r: float = 0.0
    bars_max: int = 0
    scale_out_r: float = 0.0
    scale_out_fraction: float = 0.0

    def as_row(self) -> tuple[float, float, float, float, float, float]:
        """The numbers in the order the kernel reads them."""
        return (
            self.target_r,
            float(self.trail),
            self.breakeven_r,
            float(self.bars_max),
            self.scale_out_r,
            self.scale_out_fraction,
        )


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way to have an opinion.

    opinion: (indicators, setting) -> Signals whose stop_distance is one average true range.
    Holds:   signals of cut bars equal the cut signals: nothing later is used.
    """

    name: str
    family: Family
    summary: str
    parameters: tuple[Parameter, ...]
    opinion: Callable[[Indicators, Setting], Signals]
    exits: Callable[[Setting], Exits]
    warm_up: Callable[[Setting], int]

    def __post_init__(self) -> None:
        names = [parameter.name for parameter in self.parameters]
        assert len(names) == len(set(names)), names
        assert {STOP_ATR, SIDES} <= set(names), names
        kinds = [parameter.kind for parameter in self.parameters]
        assert kinds == sorted(kinds, reverse=True), "signal parameters come first"

    @property
    def shape(self) -> tuple[int, ...]:
        """How many values each parameter has."""
        return tuple(len(parameter.values) for parameter in self.parameters)

    @property
    def count(self) -> int:
        """How many settings the grid has."""
        return prod(self.shape)

    @property
    def exit_count(self) -> int:
        """How many settings share one opinion: they stand together in settings()."""
        return prod(len(p.values) for p in self.parameters if p.kind == "exit")

    def plan_exits(self, setting: Setting) -> Exits:
        """Return the exits of a setting, with a target that was fitted to it where it has one."""
        exits = self.exits(setting)
        fitted = setting.get(TARGET_R)
        if fitted is None or fitted == exits.target_r:
            return exits
        # What is sold on the way stays on the way.
        way = exits.scale_out_r / exits.target_r if exits.target_r > 0.0 else 0.0
        return replace(exits, target_r=fitted, scale_out_r=way * fitted)

    def settings(self) -> list[dict[str, float]]:
        """Every setting of the grid, the last parameter changing fastest."""
        names = [parameter.name for parameter in self.parameters]
        grid = product(*(parameter.values for parameter in self.parameters))
        return [dict(zip(names, values, strict=True)) for values in grid]

    def signals(self, bars: Bars, setting: Setting) -> Signals:
        """Return the opinion of one setting with its stop and its sides."""
        return self.scaled(self.opine(Indicators(bars), setting), setting)

    def opine(self, indicators: Indicators, setting: Setting) -> Signals:
        """Return the opinion for a stop of one average true range, silent during the warm-up.

        Where there is no distance yet, an entry is none: see scaled.
        """
        found = self.opinion(indicators, setting)
        found.entry[: self.warm_up(setting)] = 0
        return found

    def scaled(self, opinion: Signals, setting: Setting) -> Signals:
        """Return an opinion with the stop distance and the sides of a setting."""
        distance = opinion.stop_distance * setting[STOP_ATR]
        entry = np.where(distance > 0.0, opinion.entry, 0).astype(np.int8)
        if setting[SIDES] < 2:
            entry = np.maximum(entry, 0)
        return Signals(entry, opinion.exit_long, opinion.exit_short, distance)


def opinion_of(long: Flags, short: Flags, leave: tuple[Flags, Flags], atr: Floats) -> Signals:
    """Return the signals of four conditions; a bar that says long and short says nothing.

    leave: (exit_long, exit_short).
    """
    entry = long.view(np.int8) - short.view(np.int8)
    return Signals(entry, leave[0], leave[1], atr)


def fresh(condition: Flags) -> Flags:
    """Return the bars where a condition becomes true, the first bar never."""
    out = np.empty_like(condition)
    out[0] = False
    np.greater(condition[1:], condition[:-1], out=out[1:])
    return out
