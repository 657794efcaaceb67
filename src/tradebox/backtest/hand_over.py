"""From a graded setting and the latest bars to a plan proposal: what was simulated, now.

Rules of this file:
- the same rows the kernel trades say what the last bar says: signal, stop, size, exits;
- nothing here knows an account's plans, hours or grades: see cli/scan.py.

Public names: Caps, opinion_of_last_bar.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tradebox.backtest.layers import LAYERS
from tradebox.backtest.layers.state import Choice
from tradebox.backtest.opinion import Opinion, opinion_at
from tradebox.backtest.pipeline import begin
from tradebox.backtest.rows import rows_of
from tradebox.strategies.bars import Bars
from tradebox.strategies.base import Setting
from tradebox.strategies.catalogue import STRATEGIES


@dataclass(frozen=True, slots=True)
class Caps:
    """What an account allows one plan. None: not limited here."""

    account_usd: float | None = None
    quantity: int | None = None
    notional_usd: float | None = None


def opinion_of_last_bar(
    bars: Bars, strategy: str, setting: Setting, config: Mapping[str, Any], caps: Caps
) -> Opinion:
    """Return what a setting says of the last bar.

    config: section [backtest] of the run that graded it, as it was stored.
    Raises:  KeyError for a strategy that is not there any more.
    """
    risk = dict(config.get("risk", {}))
    if caps.account_usd is not None:
        risk["account_usd"] = caps.account_usd
    state = begin(bars, {**config, "risk": risk, "strategies": (strategy,)})
    if "sizing" in config.get("layers", tuple(LAYERS)):
        state = LAYERS["sizing"](state)
    sizing, reasons = state.sizing, [f"{one.layer}: {one.text}" for one in state.reasons]
    if caps.account_usd is not None:
        sizing = replace(sizing, account_usd=caps.account_usd)
        reasons.append(f"sizing: the account holds {caps.account_usd:,.0f} USD")
    choice = Choice(STRATEGIES[strategy], dict(setting), 0.0, -1)
    regime = np.zeros(len(bars), np.int64)
    rows = rows_of([choice], regime, state.indicators, state.costs, sizing)
    found = opinion_at(rows, 0, len(bars) - 1)
    size = found.size
    if caps.quantity is not None:
        size = min(size, caps.quantity)
    if caps.notional_usd is not None:
        size = min(size, int(caps.notional_usd / found.close))
    if size < found.size:
        reasons.append(f"sizing: the account's limits allow {size} of {found.size} shares")
    return replace(found, size=size, reasons=tuple(reasons))
