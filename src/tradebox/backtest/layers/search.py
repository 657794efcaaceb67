"""The parameter search: every setting of every family, by walk-forward, choosing a plateau.

Rules of this file:
- an opinion is computed once for all its exits, and every setting is simulated once: sums by block
  of exit are the past of a split, sums by block of entry its judgement (see walkforward.py);
- families compete on the past alone, as settings do;
- a block is stayed out of when no plateau before it earned anything.

Public names: apply, sweep_strategy, choose.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tradebox.backtest import kernel, walkforward
from tradebox.backtest.layers.state import Choice, State, Sweep
from tradebox.backtest.walkforward import Blocks
from tradebox.strategies.bars import Floats
from tradebox.strategies.base import SIDES, STOP_ATR, Strategy
from tradebox.strategies.indicators import Indicators

TRADES_MIN = 10


def apply(state: State) -> State:
    """Choose a setting for each judged block, and the final one."""
    sweeps = {
        strategy.name: sweep_strategy(strategy, state.indicators, state.per_bar, state.blocks)
        for strategy in state.strategies
    }
    choices, final = choose(sweeps, state.blocks.count)
    trials = state.trials + sum(len(one.by_exit) for one in sweeps.values())
    judged = [choice for choice in choices if choice is not None]
    stayed_out = len(choices) - len(judged)
    text = f"{trials} settings; chose {final.strategy.name} {_shown(final.setting)}"
    text += f", plateau score {final.score:.2f}"
    if stayed_out:
        text += f"; stayed out of {stayed_out} of {len(choices)} blocks"
    details = {"trials": trials, "splits": [_split(choice) for choice in choices]}
    return state.because(
        "search", text, sweeps=sweeps, choices=choices, final=final, trials=trials,
        details={**state.details, "search": details},
    )  # fmt: skip


def sweep_strategy(
    strategy: Strategy, indicators: Indicators, per_bar: Floats, blocks: Blocks
) -> Sweep:
    """Return the sums of every setting of a strategy."""
    bars = indicators.bars
    seen = kernel.views(bars)
    rows, known = exit_rows(strategy)
    settings = _settings(strategy)
    step = strategy.exit_count
    count = len(settings) // step
    entries = np.empty((count, len(bars)), np.int8)
    exits_long, exits_short = (np.empty((count, len(bars)), np.bool_) for _ in range(2))
    distances: list[Floats] = []
    row_of: dict[int, int] = {}
    which = np.empty(count, np.int64)
    for place in range(count):
        opinion = strategy.opine(indicators, settings[place * step])
        entries[place], exits_long[place], exits_short[place], distance = opinion
        which[place] = row = row_of.setdefault(id(distance), len(distances))
        if row == len(distances):
            distances.append(distance)
    by_exit, by_entry = kernel.sweep(
        seen, entries, exits_long, exits_short, np.array(distances), which, rows,
        known, per_bar, blocks.of_exit, blocks.of_entry, blocks.count,
    )  # fmt: skip
    return Sweep(strategy, by_exit, by_entry)


@lru_cache(maxsize=64)
def _settings(strategy: Strategy) -> tuple[dict[str, float], ...]:
    return tuple(strategy.settings())


@lru_cache(maxsize=64)
def exit_rows(strategy: Strategy) -> tuple[Floats, NDArray[np.int64]]:
    """Return what kernel.sweep reads for the exits of a strategy: settings in order, and known."""
    settings = _settings(strategy)[: strategy.exit_count]
    rows = np.array([sweep_row(strategy, setting) for setting in settings])
    return rows, kernel.known_exits(rows)


def sweep_row(strategy: Strategy, setting: Mapping[str, float]) -> tuple[float, ...]:
    """Return one row of kernel.sweep."""
    return (setting[STOP_ATR], setting[SIDES], *strategy.plan_exits(setting).as_row())


def choose(sweeps: Mapping[str, Sweep], blocks: int) -> tuple[tuple[Choice | None, ...], Choice]:
    """Return the choice for each judged block (None: stay out) and the final one.

    Holds:   the choice for block k depends on trades that had ended before block k alone.
    """
    best: list[Choice | None] = [None] * blocks
    for name in sorted(sweeps):
        sweep = sweeps[name]
        past = np.cumsum(sweep.by_exit, axis=1).transpose(1, 0, 2)
        smooth = walkforward.plateau(walkforward.score_of(past, TRADES_MIN), sweep.strategy.shape)
        for block, index in enumerate(np.argmax(smooth, axis=1)):
            score, leader = float(smooth[block, index]), best[block]
            if leader is None or score > leader.score:
                setting = _settings(sweep.strategy)[int(index)]
                best[block] = Choice(sweep.strategy, setting, score, int(index))
    final = best[-1]
    assert final is not None, "there is at least one strategy"
    return tuple(one if one is not None and one.score > 0.0 else None for one in best[:-1]), final


def _shown(setting: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:g}" for name, value in setting.items())


def _split(choice: Choice | None) -> dict[str, object]:
    if choice is None:
        return {"strategy": "", "setting": {}, "score": 0.0}
    return {
        "strategy": choice.strategy.name,
        "setting": dict(choice.setting),
        "score": choice.score,
    }
