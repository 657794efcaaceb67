"""How many shares a plan takes: by its risk, and no more than the stock can carry.

Rules of this file:
- the risk of a plan is a fixed share of the account at the start: results add up in R;
- a position stays under a share of the account and of the stock's usual dollar volume;
- what is used for the size of a plan is known at the close of its signal.
"""

from typing import Any

import numpy as np

from tradebox.backtest.costs import mean_dollar_volume
from tradebox.backtest.layers.state import Sizing, State
from tradebox.strategies.bars import Bars, Floats


def apply(state: State) -> State:
    """Take the risk and its limits from config, and say what limits this stock."""
    risk: dict[str, Any] = dict(state.config.get("risk", {}))
    sizing = Sizing(**{name: float(value) for name, value in risk.items()})
    volume = float(np.median(mean_dollar_volume(state.bars)))
    carried = sizing.liquidity_share_max * volume
    text = f"{sizing.account_usd * sizing.risk_share:,.0f} USD a plan"
    if 0.0 < carried < sizing.account_usd * sizing.position_share_max:
        text += f", positions up to {carried:,.0f} USD by volume"
    return state.because("sizing", text, sizing=sizing)


def sizes_of(sizing: Sizing, bars: Bars, distance: Floats) -> Floats:
    """Return the whole shares a plan of each bar would take; 0 where it cannot be carried.

    distance: of the stop, in price units.
    Holds:   size * distance ≤ risk; size * close ≤ each limit.
    """
    shares = sizing.account_usd * sizing.risk_share / distance
    shares = np.minimum(shares, sizing.account_usd * sizing.position_share_max / bars.close)
    if sizing.liquidity_share_max > 0.0:
        usual = mean_dollar_volume(bars)
        shares = np.minimum(shares, sizing.liquidity_share_max * usual / bars.close)
    sizes: Floats = np.floor(np.nan_to_num(shares, nan=0.0, posinf=0.0))
    return sizes
