"""Choices as the kernel's rows: which opinion counts at which bar, with its stops and sizes.

Rules of this file:
- a row is one choice; a bar follows one row or none; a position keeps the row that opened it;
- the walk-forward account follows the choice of each judged block within that block alone;
- arrays are contiguous: kernel and vectorbt's engine read the same ones.

Public names: Rows, rows_of, walk_forward, whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradebox.backtest import kernel
from tradebox.backtest.costs import Costs
from tradebox.backtest.kernel_books import Books, keep_books
from tradebox.backtest.layers.sizing import sizes_of
from tradebox.backtest.layers.state import Choice, Sizing
from tradebox.backtest.walkforward import Blocks
from tradebox.strategies.bars import Bars, Flags, Floats
from tradebox.strategies.base import STOP_SHARE_MAX
from tradebox.strategies.indicators import Indicators


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What the kernel needs of one or more choices: [rows, n] arrays, and the regime per bar.

    final: (share a long position loses at the end of the series, 1 if the stock was delisted).
    """

    bars: Bars
    regime: NDArray[np.int64]
    entry: NDArray[np.int8]
    exit_long: Flags
    exit_short: Flags
    shares: Floats
    exits: Floats
    sizes: Floats
    costs: Costs
    per_bar: Floats
    account_usd: float
    final: tuple[float, float] = (0.0, 0.0)

    def positions(self, ratchet_r: float = 0.0) -> Floats:
        """Return the positions the kernel takes. ratchet_r: see kernel.leave."""
        bars = self.bars
        found: Floats = kernel.simulate(
            kernel.views(bars), self.regime, self.entry,
            self.exit_long, self.exit_short, self.shares, self.exits, self.sizes, self.per_bar,
            np.array(self.final), ratchet_r,
        )  # fmt: skip
        return found

    def books(self, ratchet_r: float = 0.0) -> Books:
        """Return the orders, trades and equity of those positions."""
        return keep_books(self.positions(ratchet_r), self.bars, self.costs, self.account_usd)


def rows_of(
    choices: Sequence[Choice], regime: NDArray[np.int64], indicators: Indicators, costs: Costs,
    sizing: Sizing, final: tuple[float, float] = (0.0, 0.0),
) -> Rows:  # fmt: skip
    """Return the rows of some choices; sizes is 0 where a plan could not be carried."""
    bars = indicators.bars
    found = [one.strategy.scaled(one.strategy.opine(indicators, one.setting), one.setting)
             for one in choices]  # fmt: skip
    distance = np.stack([one.stop_distance for one in found])
    shares = distance / bars.close
    entry = np.stack([one.entry for one in found])
    entry[~(shares <= STOP_SHARE_MAX)] = 0
    with np.errstate(invalid="ignore", divide="ignore"):
        sizes = sizes_of(sizing, bars, distance)
    return Rows(
        bars=bars,
        regime=regime,
        entry=entry,
        exit_long=np.stack([one.exit_long for one in found]),
        exit_short=np.stack([one.exit_short for one in found]),
        shares=shares,
        exits=np.array([one.exits.as_row() for one in choices]),
        sizes=sizes,
        costs=costs,
        per_bar=costs.per_bar(bars),
        account_usd=sizing.account_usd,
        final=final,
    )


def walk_forward(
    choices: Sequence[Choice | None], blocks: Blocks
) -> tuple[list[Choice], NDArray[np.int64]]:
    """Return the choices that trade and the row of each bar: -1 before and between them."""
    kept = [choice for choice in choices if choice is not None]
    numbers = np.full(blocks.count + 1, -1, np.int64)
    row = 0
    for block, choice in enumerate(choices, start=1):
        if choice is not None:
            numbers[block] = row
            row += 1
    regime = np.where(blocks.of_entry >= 0, numbers[blocks.of_entry], -1)
    return kept, regime.astype(np.int64)
