"""Is this series good enough to learn from? The first layer, and the only one that refuses.

Rules of this file:
- length is judged on all bars, everything else on the learning block: what came later is not
  known when a stock is picked;
- defects of the data itself were handled when it was loaded (data/vetting.py).
"""

import numpy as np

from tradebox.backtest.layers.state import State

BARS_MIN = 250
"""A year. Below about three years few settings trade often enough for more than an F."""
DOLLAR_VOLUME_MIN = 250_000.0
CLOSE_MIN = 1.0
STILL_SHARE_MAX = 0.2
JUMP_MAX = 0.6
JUMPS_MAX = 3


def apply(state: State) -> State:
    """Refuse a stock that is too short, too thin, too cheap, too still or too torn."""
    bars, learnt = state.bars, state.learning()
    if len(bars) < BARS_MIN:
        return _refuse(state, f"{len(bars)} bars, at least {BARS_MIN} are needed")
    volume = float(np.median(learnt.close * learnt.volume))
    close = float(np.median(learnt.close))
    still = float(np.mean((learnt.high == learnt.low) | (learnt.volume <= 0.0)))
    jumps = int(np.sum(np.abs(np.diff(np.log(learnt.close))) > JUMP_MAX))
    if volume < DOLLAR_VOLUME_MIN:
        return _refuse(state, f"{volume:,.0f} USD a day, at least {DOLLAR_VOLUME_MIN:,.0f} needed")
    if close < CLOSE_MIN:
        return _refuse(state, f"median close {close:.2f}, at least {CLOSE_MIN:.2f} is needed")
    if still > STILL_SHARE_MAX:
        return _refuse(state, f"{still:.0%} of the bars have no range or no volume")
    if jumps > JUMPS_MAX:
        return _refuse(state, f"{jumps} closes jump by more than {JUMP_MAX:.0%}: adjusted wrongly?")
    return state.because("quality", f"{len(bars)} bars, {volume:,.0f} USD a day: accepted")


def _refuse(state: State, text: str) -> State:
    return state.because("quality", text, refused=text)
