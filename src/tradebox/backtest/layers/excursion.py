"""Stops and targets from how far trades went against and for their positions.

Rules of this file:
- each choice is fitted on trades that ended before the block it is for;
- the stop goes where all but a tenth of the winners never were, the target where a third of the
  trades came; both within limits, and only where the past would have been better for it;
- each fitted variant that is looked at is one more trial.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradebox.backtest import kernel, walkforward
from tradebox.backtest.layers.search import TRADES_MIN, sweep_row
from tradebox.backtest.layers.state import Choice, State
from tradebox.strategies.base import STOP_ATR, TARGET_R

WINNERS_KEPT = 0.9
TARGET_REACHED = 0.67
STOP_FACTORS = (0.6, 1.25)
TARGETS_R = (1.0, 6.0)
BETTER_BY = 0.1
"""How much more a fitted variant must score: less is noise."""


def apply(state: State) -> State:
    """Fit stop and target of each choice to the excursions of its past trades."""
    if state.final is None:
        return state.because("excursion", "nothing was chosen to fit")
    last = state.blocks.count
    fitted = [_fit(state, choice, block) for block, choice in enumerate(state.choices, start=1)]
    final, tried = _fit(state, state.final, last)
    trials = state.trials + tried + sum(count for _, count in fitted)
    choices = tuple(choice for choice, _ in fitted)
    if final is state.final:
        text = "the grid's stop and target stay"
    else:
        text = f"stop {final.setting[STOP_ATR]:.2f} average true ranges" if final else ""
        target = final.setting.get(TARGET_R) if final else None
        text += f", target {target:.2f} R" if target else ""
    changed = sum(new is not old for new, old in zip(choices, state.choices, strict=True))
    text += f"; {changed} of {len(choices)} earlier choices were fitted"
    return state.because("excursion", text, choices=choices, final=final, trials=trials)


def _fit(state: State, choice: Choice | None, block: int) -> tuple[Choice | None, int]:
    """Return the better of a choice and its fitted variants on the bars before a block."""
    if choice is None or choice.index < 0:
        return choice, 0
    stop = int(state.blocks.edges[block])
    bars, strategy = state.bars.cut(stop), choice.strategy
    opinion = strategy.opine(state.indicators, choice.setting)
    scaled = strategy.scaled(opinion, choice.setting)
    costs = state.per_bar[:, :stop].copy()
    seen = kernel.views(bars)
    found = kernel.simulate(
        seen, np.zeros(stop, np.int64), _row(scaled.entry, stop),
        _row(scaled.exit_long, stop), _row(scaled.exit_short, stop),
        scaled.stop_distance[None, :stop] / bars.close, np.array([choice.exits.as_row()]),
        np.ones((1, stop)), costs, np.zeros(2), 0.0,
    )  # fmt: skip
    found = found[found[:, 2] != kernel.AT_END]
    if len(found) < TRADES_MIN:
        return choice, 0
    variants = _variants(choice, found)
    rows = np.array([sweep_row(strategy, one.setting) for one in (choice, *variants)])
    zeros = np.zeros(stop, np.int64)
    ended = zeros.copy()
    ended[-1] = -1
    sums, _ = kernel.sweep(
        seen, _row(opinion.entry, stop), _row(opinion.exit_long, stop),
        _row(opinion.exit_short, stop), _row(opinion.stop_distance, stop), np.zeros(1, np.int64),
        rows, kernel.known_exits(rows), costs, ended, zeros, 1,
    )  # fmt: skip
    scores = walkforward.score_of(sums[:, 0, :], TRADES_MIN)
    best = int(np.argmax(scores))
    if best == 0 or scores[best] < scores[0] + BETTER_BY:
        return choice, len(variants)
    return replace(variants[best - 1], score=choice.score), len(variants)


def _row(values: NDArray[Any], stop: int) -> NDArray[Any]:
    """Return the first values as the one row of a C-ordered array."""
    return np.ascontiguousarray(values[:stop])[None, :]


def _variants(
    choice: Choice, found: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
) -> list[Choice]:
    side, fill, share = found[:, 3], found[:, 6], found[:, 8]
    against = side * (fill - found[:, 9]) / (fill * share)
    ahead = side * (found[:, 10] - fill) / (fill * share)
    won = side * (found[:, 7] - fill) > 0.0
    variants = []
    setting = dict(choice.setting)
    factor = 1.0
    if won.sum() >= TRADES_MIN // 2:
        factor = float(np.clip(np.quantile(against[won], WINNERS_KEPT) * 1.05, *STOP_FACTORS))
        variants.append({**setting, STOP_ATR: round(setting[STOP_ATR] * factor, 4)})
    target = round(float(np.clip(np.quantile(ahead, TARGET_REACHED), *TARGETS_R)), 4)
    variants.append({**setting, TARGET_R: target})
    return [replace(choice, setting=one) for one in variants]
