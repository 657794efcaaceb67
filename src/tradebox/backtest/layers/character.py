"""What kind of stock is this? Picks the families that may fit it, and narrows their ranges.

Rules of this file:
- judged on the learning block alone;
- families are dropped worst fit first, and never below SETTINGS_MIN settings in all;
- a family that was asked for alone is kept;
- its tightest stop goes where the stock would hit it for nothing: a wild one, one that moves
  overnight, or one whose costs eat too much of so small a risk.
"""

from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np

from tradebox.backtest.costs import HALF_SPREAD, SLIPPAGE
from tradebox.backtest.layers.state import State
from tradebox.strategies.bars import Bars
from tradebox.strategies.base import STOP_ATR, Strategy

SETTINGS_MIN = 200
LAG = 5
GAPPY_SHARE = 0.45
WILD_SHARE = 0.04
COSTLY_R = 0.05
"""Costs of getting in and out by a stop, in R of the tightest stop."""


@dataclass(frozen=True, slots=True)
class Character:
    """What a stock was like.

    volatility: median daily range as a share of the close. persistence: variance of 5-day moves
    over 5 times that of daily ones; above 1 trends go on. gaps: the overnight part of the daily
    movement. dollar_volume: median a day, in USD. cost_share: of the price, to get in and out by
    a stop.
    """

    volatility: float
    persistence: float
    gaps: float
    dollar_volume: float
    cost_share: float = 0.0


def apply(state: State) -> State:
    """Keep the families that fit the stock, and stops wide enough for it."""
    learnt = state.learning()
    seen = replace(character_of(learnt), cost_share=_cost_share(state, len(learnt)))
    fits = {strategy.name: _fit(strategy, seen) for strategy in state.strategies}
    kept = list(state.strategies)
    dropped: list[str] = []
    for strategy in sorted(state.strategies, key=lambda one: (fits[one.name], one.name)):
        left = sum(one.count for one in kept if one is not strategy)
        if fits[strategy.name] >= 0.0 or left < SETTINGS_MIN:
            continue
        kept.remove(strategy)
        dropped.append(strategy.name)
    narrowed = tuple(_narrow(strategy, seen) for strategy in kept)
    wider = [one.name for one, old in zip(narrowed, kept, strict=True) if one is not old]
    if sum(strategy.count for strategy in narrowed) < SETTINGS_MIN:
        narrowed, wider = tuple(kept), []
    text = (
        f"range {seen.volatility:.1%}, persistence {seen.persistence:.2f}, gaps {seen.gaps:.0%}, "
        f"{seen.dollar_volume:,.0f} USD a day: "
        + (f"without {', '.join(dropped)}" if dropped else "every family may fit")
        + (f", wider stops for {', '.join(wider)}" if wider else "")
    )
    details = {
        "volatility": seen.volatility,
        "persistence": seen.persistence,
        "gaps": seen.gaps,
        "dollar_volume": seen.dollar_volume,
        "cost_share": seen.cost_share,
        "dropped": dropped,
        "wider": wider,
    }
    return state.because(
        "character", text, strategies=narrowed, details={**state.details, "character": details}
    )


def character_of(bars: Bars) -> Character:
    """Return the character of a series."""
    moves = np.diff(np.log(bars.close))
    daily = float(np.var(moves))
    blocks = np.log(bars.close[LAG:] / bars.close[:-LAG])
    persistence = float(np.var(blocks)) / (LAG * daily) if daily > 0.0 else 1.0
    night = np.abs(np.log(bars.open[1:] / bars.close[:-1]))
    day = np.abs(np.log(bars.close[1:] / bars.open[1:]))
    moved = float(np.sum(night) + np.sum(day))
    return Character(
        volatility=float(np.median((bars.high - bars.low) / bars.close)),
        persistence=persistence,
        gaps=float(np.sum(night)) / moved if moved > 0.0 else 0.0,
        dollar_volume=float(np.median(bars.close * bars.volume)),
    )


def _fit(strategy: Strategy, seen: Character) -> float:
    """Say how a family fits, below 0 badly."""
    trending = seen.persistence - 1.0
    match strategy.family:
        case "trend" | "breakout":
            return trending + 0.1
        case "momentum":
            return trending + 0.2
        case "reversion":
            return 0.1 - trending
        case "volatility":
            return GAPPY_SHARE - seen.gaps
        case _:
            assert_never(strategy.family)


def _cost_share(state: State, bars: int) -> float:
    """Return what it costs to get in at the market and out by a stop, as a share of the price."""
    costs = state.per_bar[:, :bars]
    return float(np.median(2.0 * costs[HALF_SPREAD] + costs[SLIPPAGE]))


def _narrow(strategy: Strategy, seen: Character) -> Strategy:
    """Return the strategy without its tightest stop where that would be hit for nothing."""
    tightest = next(one.values[0] for one in strategy.parameters if one.name == STOP_ATR)
    risk = tightest * seen.volatility
    is_costly = risk > 0.0 and seen.cost_share / risk > COSTLY_R
    if seen.volatility <= WILD_SHARE and seen.gaps <= GAPPY_SHARE and not is_costly:
        return strategy
    parameters = tuple(
        replace(one, values=one.values[1:] or one.values) if one.name == STOP_ATR else one
        for one in strategy.parameters
    )
    return replace(strategy, parameters=parameters)
