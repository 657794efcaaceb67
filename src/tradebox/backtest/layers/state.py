"""What the layers of one stock know so far: a frozen value that each layer hands on changed.

Rules of this file:
- a layer returns a new state and leaves at least one reason, also when it changes nothing;
- choices[k - 1] is for judged block k and was made on the blocks before it; None: stay out;
- `final` is chosen on everything and is what trading would use.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tradebox.backtest.costs import Costs
from tradebox.backtest.records import Reason
from tradebox.backtest.walkforward import Blocks
from tradebox.strategies.bars import Bars, Floats
from tradebox.strategies.base import Exits, Strategy
from tradebox.strategies.indicators import Indicators


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A strategy with a setting, why it won, and its place in the searched grid (-1: not of it)."""

    strategy: Strategy
    setting: Mapping[str, float]
    score: float
    index: int

    @property
    def exits(self) -> Exits:
        """How its positions are left."""
        return self.strategy.plan_exits(self.setting)


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """All settings of one strategy: sums of R (count, sum, squares) by block of exit and entry."""

    strategy: Strategy
    by_exit: Floats
    by_entry: Floats


@dataclass(frozen=True, slots=True)
class Sizing:
    """How many shares: the risk of a plan, and what limits it. liquidity 0 = no limit."""

    account_usd: float = 100_000.0
    risk_share: float = 0.01
    position_share_max: float = 1.0
    liquidity_share_max: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """One stock on its way through the layers."""

    bars: Bars
    config: Mapping[str, Any]
    costs: Costs
    per_bar: Floats
    indicators: Indicators
    blocks: Blocks
    strategies: tuple[Strategy, ...]
    sizing: Sizing = field(default_factory=Sizing)
    sweeps: Mapping[str, Sweep] = field(default_factory=dict)
    choices: tuple[Choice | None, ...] = ()
    final: Choice | None = None
    trials: int = 0
    refused: str = ""
    reasons: tuple[Reason, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def because(self, layer: str, text: str, **changes: Any) -> "State":
        """Return the state with one more reason, and with changed fields."""
        return replace(self, reasons=(*self.reasons, Reason(layer, text)), **changes)

    def learning(self) -> Bars:
        """Return the bars of block 0: what may be looked at before any block is judged."""
        return self.bars.cut(int(self.blocks.edges[1]))
