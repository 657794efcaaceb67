"""What kind of stock is this? Picks the families that may fit it, and narrows their ranges.

Rules of this file:
- judged on the learning block alone;
- families are dropped worst fit first, and never below SETTINGS_MIN settings in all;
- a family that was asked for alone is kept.
"""

from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np

from tradebox.backtest.layers.state import State
from tradebox.strategies.bars import Bars
from tradebox.strategies.base import STOP_ATR, Strategy

SETTINGS_MIN = 200
LAG = 5
GAPPY_SHARE = 0.45
WILD_SHARE = 0.04


@dataclass(frozen=True, slots=True)
class Character:
    """What a stock was like.

    volatility: median daily range as a share of the close. persistence: variance of 5-day moves
    over 5 times that of daily ones; above 1 trends go on. gaps: the overnight part of the daily
    movement. dollar_volume: median a day, in USD.
    """

    volatility: float
    persistence: float
    gaps: float
    dollar_volume: float


def apply(state: State) -> State:
    """Keep the families that fit the stock, and stops wide enough for it."""
    seen = character_of(state.learning())
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
    if sum(strategy.count for strategy in narrowed) < SETTINGS_MIN:
        narrowed = tuple(kept)
    text = (
        f"range {seen.volatility:.1%}, persistence {seen.persistence:.2f}, gaps {seen.gaps:.0%}, "
        f"{seen.dollar_volume:,.0f} USD a day: "
        + (f"without {', '.join(dropped)}" if dropped else "every family may fit")
        + (", wider stops" if seen.volatility > WILD_SHARE else "")
    )
    details = {
        "volatility": seen.volatility,
        "persistence": seen.persistence,
        "gaps": seen.gaps,
        "dollar_volume": seen.dollar_volume,
        "dropped": dropped,
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


def _narrow(strategy: Strategy, seen: Character) -> Strategy:
    """Return the strategy without its tightest stop where a day's range would reach it."""
    if seen.volatility <= WILD_SHARE:
        return strategy
    parameters = tuple(
        replace(one, values=one.values[1:]) if one.name == STOP_ATR else one
        for one in strategy.parameters
    )
    return replace(strategy, parameters=parameters)
