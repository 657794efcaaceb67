"""What trading costs, bar by bar: commission, half the spread, slippage, borrowed shares.

Rules of this file:
- the spread of a bar depends on the dollar volume of the bars before it, never of its own;
- commission is per share, at least so much, at most a share of the order's value;
- multiplied costs scale every part: the cost test of a grade doubles them all.

Public names: Costs, the rows HALF_SPREAD, SLIPPAGE, FEE_PER_SHARE, BORROW.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np

from tradebox.strategies.bars import Bars, Floats

HALF_SPREAD, SLIPPAGE, FEE_PER_SHARE, BORROW = range(4)
"""Rows of what per_bar returns: shares of the price; USD per share; share of the price per bar."""
BPS: Final = 1e-4
SESSIONS_PER_YEAR: Final = 252
CALENDAR_DAYS_PER_YEAR: Final = 365
VOLUME_BARS: Final = 60


@dataclass(frozen=True, slots=True)
class Costs:
    """The costs of one run. spread_*_bps: the whole spread; the other words as in config."""

    commission_per_share_usd: float = 0.005
    commission_min_usd: float = 1.0
    commission_share_max: float = 0.01
    liquid_usd_per_day: float = 50_000_000.0
    thin_usd_per_day: float = 2_000_000.0
    spread_liquid_bps: float = 2.0
    spread_middle_bps: float = 6.0
    spread_thin_bps: float = 20.0
    slippage_stop_bps: float = 5.0
    borrow_bps_per_year: float = 50.0

    @classmethod
    def from_config(cls, values: Mapping[str, Any]) -> Self:
        """Return the costs of section [backtest.costs]; TypeError for an unknown name."""
        return cls(**{name: float(value) for name, value in values.items()})

    @classmethod
    def none(cls) -> Self:
        """Return a world in which trading is free: for comparisons with other engines."""
        return cls(
            commission_per_share_usd=0.0, commission_min_usd=0.0, spread_liquid_bps=0.0,
            spread_middle_bps=0.0, spread_thin_bps=0.0, slippage_stop_bps=0.0,
            borrow_bps_per_year=0.0,
        )  # fmt: skip

    def times(self, factor: float) -> Self:
        """Return the costs multiplied by a factor."""
        return replace(
            self,
            commission_per_share_usd=self.commission_per_share_usd * factor,
            commission_min_usd=self.commission_min_usd * factor,
            commission_share_max=self.commission_share_max * factor,
            spread_liquid_bps=self.spread_liquid_bps * factor,
            spread_middle_bps=self.spread_middle_bps * factor,
            spread_thin_bps=self.spread_thin_bps * factor,
            slippage_stop_bps=self.slippage_stop_bps * factor,
            borrow_bps_per_year=self.borrow_bps_per_year * factor,
        )

    def per_bar(self, bars: Bars) -> Floats:
        """Return float64[4, n]: half spread, slippage, fee per share, borrowing.

        Holds:   column i uses bars before i only; a thinner stock never has a smaller spread.
        """
        volume = mean_dollar_volume(bars)
        spread = np.full(len(bars), self.spread_middle_bps)
        spread[volume >= self.liquid_usd_per_day] = self.spread_liquid_bps
        spread[volume < self.thin_usd_per_day] = self.spread_thin_bps
        out = np.empty((4, len(bars)))
        out[HALF_SPREAD] = spread * (BPS / 2.0)
        out[SLIPPAGE] = self.slippage_stop_bps * BPS
        out[FEE_PER_SHARE] = self.commission_per_share_usd
        out[BORROW] = self.borrow_bps_per_year * BPS / SESSIONS_PER_YEAR
        return out

    def commission(self, size: Floats, price: Floats) -> Floats:
        """Return the commission of orders of that many shares at that price, in USD."""
        least = np.maximum(self.commission_min_usd, self.commission_per_share_usd * size)
        return np.minimum(least, self.commission_share_max * size * price)

    def borrowing(self, days: Floats, value: Floats) -> Floats:
        """Return what borrowed shares of that value cost for that many calendar days, in USD."""
        return self.borrow_bps_per_year * BPS / CALENDAR_DAYS_PER_YEAR * days * value


def mean_dollar_volume(bars: Bars) -> Floats:
    """Return the mean dollar volume of up to VOLUME_BARS bars before each bar; the first has 0."""
    count = len(bars)
    total = np.zeros(count + 1)
    np.cumsum(bars.close * bars.volume, out=total[1:])
    ends = np.arange(count)
    starts = np.maximum(ends - VOLUME_BARS, 0)
    means: Floats = (total[ends] - total[starts]) / np.maximum(ends - starts, 1)
    return means
