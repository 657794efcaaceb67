"""Walk-forward: choose on the past, judge on what follows, and prefer a plateau to a peak.

Rules of this file:
- block 0 is only learnt from; block k > 0 is judged by a choice made on the blocks before it;
- purged: a trade counts as past only if it had ended before the judged block began, and the first
  bars of a judged block are left out;
- a setting is scored by itself and its neighbours on the grid: a peak without a plateau loses;
- every setting looked at is a trial, and is counted.

Public names: Blocks, cut_blocks, score_of, plateau, neighbours.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tradebox.strategies.bars import Floats

FIRST_SHARE: Final = 0.4
"""Share of the bars that block 0 takes."""
EMBARGO_BARS: Final = 5
"""Bars left out at the start of each judged block."""
DEVIATION_MIN: Final = 0.5
"""Least standard deviation of R that a score believes in."""
SCORE_MAX: Final = 5.0
"""Scores are cut here, so that one lucky setting cannot lift its neighbours."""
UNKNOWN_SCORE: Final = -1.0
"""The score of a setting with too few trades to be judged."""


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """How a series is cut. edges: int64[count + 1]; count: blocks, the learning one among them."""

    edges: NDArray[np.int64]
    of_exit: NDArray[np.int64]
    of_entry: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Blocks in all: one more than splits."""
        return len(self.edges) - 1


def cut_blocks(bars: int, splits: int, embargo: int = EMBARGO_BARS) -> Blocks:
    """Cut a series into one learning block and as many judged blocks as there are splits.

    Holds:   every bar is in one block by exit; by entry a judged block begins `embargo` bars late,
             and block 0 judges nothing.
    """
    first = int(bars * FIRST_SHARE)
    inner = first + (np.arange(splits + 1) * (bars - first)) // splits
    edges = np.concatenate([[0], inner]).astype(np.int64)
    of_exit = np.searchsorted(edges, np.arange(bars), side="right") - 1
    of_entry = of_exit.copy()
    of_entry[of_entry == 0] = -1
    for edge in edges[1:-1]:
        of_entry[edge : edge + embargo] = -1
    return Blocks(edges, of_exit.astype(np.int64), of_entry.astype(np.int64))


def score_of(sums: Floats, trades_min: int) -> Floats:
    """Return the scores of [..., 3] sums (count, sum, squares of R): mean over its error.

    Holds:   within ±SCORE_MAX; UNKNOWN_SCORE where there are fewer trades than trades_min.
    """
    count = np.maximum(sums[..., 0], 2.0)
    mean = sums[..., 1] / count
    variance = np.maximum((sums[..., 2] - mean * sums[..., 1]) / (count - 1.0), 0.0)
    deviation = np.maximum(np.sqrt(variance), DEVIATION_MIN)
    score = np.clip(mean / deviation * np.sqrt(count), -SCORE_MAX, SCORE_MAX)
    result: Floats = np.where(sums[..., 0] >= trades_min, score, UNKNOWN_SCORE)
    return result


def plateau(scores: Floats, shape: tuple[int, ...]) -> Floats:
    """Return each setting's score averaged with its neighbours one step along each parameter.

    scores: [..., settings] in the order of Strategy.settings; the same shape comes back.
    Holds:   a constant stays itself; a lone peak of height h gives less than h.
    """
    grid = scores.reshape(*scores.shape[:-1], *shape)
    total, seen = grid.copy(), np.ones(shape)
    lead = len(grid.shape) - len(shape)
    for axis, length in enumerate(shape):
        if length == 1:
            continue
        low = (slice(None),) * axis + (slice(None, -1),)
        high = (slice(None),) * axis + (slice(1, None),)
        front = (slice(None),) * lead
        total[front + low] += grid[front + high]
        total[front + high] += grid[front + low]
        seen[low] += 1.0
        seen[high] += 1.0
    flat: Floats = (total / seen).reshape(scores.shape)
    return flat


def neighbours(index: int, shape: tuple[int, ...]) -> list[int]:
    """Return the settings one step away from one setting, along each parameter."""
    place = tuple(int(one) for one in np.unravel_index(index, shape))
    found = []
    for axis, length in enumerate(shape):
        for step in (-1, 1):
            moved = place[axis] + step
            if 0 <= moved < length:
                there = (*place[:axis], moved, *place[axis + 1 :])
                found.append(int(np.ravel_multi_index(there, shape)))
    return found
