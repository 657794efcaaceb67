"""A daily price series as arrays: what every strategy and every test of one reads.

Rules of this file:
- oldest first, days strictly increasing; whoever builds a series has vetted it;
- a cut is a view: nothing is copied, and nothing after the cut can be reached through it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """One stock's daily bars.

    Units: day in days since 1970-01-01; prices per share in `currency`; volume in shares.
    Shape: arrays of one length n, C order. adjusted: prices are adjusted for splits.
    """

    symbol: str
    day: NDArray[np.int32]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    adjusted: bool = True
    currency: str = "USD"

    def __len__(self) -> int:
        return len(self.day)

    def cut(self, stop: int) -> "Bars":
        """Return the first `stop` bars: what was known at the close of bar stop - 1."""
        return self.slice(0, stop)

    def slice(self, start: int, stop: int) -> "Bars":
        """Return the bars from start up to, not including, stop."""
        assert 0 <= start <= stop, (start, stop)
        part = slice(start, stop)
        return Bars(
            self.symbol, self.day[part], self.open[part], self.high[part], self.low[part],
            self.close[part], self.volume[part], self.adjusted, self.currency,
        )  # fmt: skip
