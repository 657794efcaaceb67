"""Each layer alone: what it decides, from what, and the reason it leaves."""

import numpy as np
import pytest

from support.price_series import walk
from tradebox.backtest import pipeline
from tradebox.backtest.layers import LAYERS
from tradebox.config.backtest import LAYERS as IN_ORDER
from tradebox.config.backtest import BacktestSettings
from tradebox.strategies.bars import Bars

CONFIG = BacktestSettings().model_dump(mode="json")


def passed(bars, *names, **changes):
    state = pipeline.begin(bars, {**CONFIG, **changes})
    for name in names:
        state = LAYERS[name](state)
    return state


def with_volume(bars, factor):
    return Bars(
        bars.symbol, bars.day, bars.open, bars.high, bars.low, bars.close, bars.volume * factor
    )


def tightest(state):
    return {
        one.name: next(p.values[0] for p in one.parameters if p.name == "stop_atr")
        for one in state.strategies
    }


@pytest.mark.parametrize("count", range(1, len(IN_ORDER) + 1))
def test_each_layer_leaves_a_reason_and_changes_nothing_it_was_given(count):
    bars = walk(8, 1200)
    before = passed(bars, *IN_ORDER[: count - 1])
    known = (before.strategies, before.choices, before.final, before.sizing, before.reasons)
    after = LAYERS[IN_ORDER[count - 1]](before)
    assert [one.layer for one in after.reasons] == list(IN_ORDER[:count])
    assert all(one.text for one in after.reasons)
    again = (before.strategies, before.choices, before.final, before.sizing, before.reasons)
    assert all(one is two for one, two in zip(known, again, strict=True))


@pytest.mark.parametrize("name", ["quality", "character"])
def test_what_is_judged_on_the_learning_block_knows_nothing_later(name):
    bars, other = walk(8, 1200), walk(9, 1200, volatility=0.08)
    edge = int(len(bars) * 0.4)
    parts = [
        np.concatenate([getattr(bars, column)[:edge], getattr(other, column)[edge:]])
        for column in ("open", "high", "low", "close", "volume")
    ]
    changed = Bars(bars.symbol, bars.day, *parts)
    one, two = passed(bars, name), passed(changed, name)
    assert one.reasons == two.reasons
    assert [a.name for a in one.strategies] == [b.name for b in two.strategies]
    assert tightest(one) == tightest(two)


def test_costs_that_eat_a_tight_stop_widen_it():
    calm = walk(8, 1200, volatility=0.006, gaps=0.1)
    rich, poor, thin = (
        passed(with_volume(calm, factor), "character") for factor in (100, 0.3, 0.01)
    )
    assert rich.details["character"]["cost_share"] < poor.details["character"]["cost_share"]
    assert poor.details["character"]["cost_share"] < thin.details["character"]["cost_share"]
    both = tightest(rich).keys() & tightest(thin).keys()
    assert any(tightest(thin)[one] > tightest(rich)[one] for one in both)
    assert "wider stops for" in thin.reasons[-1].text


def test_gaps_widen_stops_and_leave_out_what_they_spoil():
    quiet = passed(walk(8, 1200, gaps=0.1), "character")
    gappy = passed(walk(8, 1200, gaps=1.2), "character")
    assert gappy.details["character"]["gaps"] > quiet.details["character"]["gaps"]
    assert "volatility_squeeze" in gappy.details["character"]["dropped"]
    assert set(gappy.details["character"]["wider"]) == {one.name for one in gappy.strategies}
    assert not quiet.details["character"]["wider"]


def test_a_strategy_asked_for_alone_is_kept():
    for seed in range(4):
        found = passed(walk(seed, 1200, gaps=1.2), "character", strategies=("volatility_squeeze",))
        assert [one.name for one in found.strategies] == ["volatility_squeeze"]


def test_there_are_at_least_two_hundred_settings_after_it():
    for seed in range(6):
        found = passed(walk(seed, 1200, volatility=0.06, gaps=seed / 4), "character")
        assert sum(len(one.settings()) for one in found.strategies) >= 200
