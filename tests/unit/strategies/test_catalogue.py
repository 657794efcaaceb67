"""Every strategy of the catalogue: its grid, its silence, its sides, and what it may know."""

import numpy as np
import pytest

from support.price_series import walk
from tradebox.backtest.cutdata import first_leak
from tradebox.strategies.base import Parameter, Signals, Strategy
from tradebox.strategies.catalogue import STRATEGIES

ALL = pytest.mark.parametrize("strategy", list(STRATEGIES.values()), ids=list(STRATEGIES))


def middle(strategy):
    return {one.name: one.values[len(one.values) // 2] for one in strategy.parameters}


def test_all_together_are_at_least_two_hundred_settings_and_no_family_has_few():
    assert all(len(strategy.settings()) >= 60 for strategy in STRATEGIES.values())
    assert sum(len(strategy.settings()) for strategy in STRATEGIES.values()) >= 200
    assert len({strategy.family for strategy in STRATEGIES.values()}) == 5


@ALL
def test_settings_share_an_opinion_in_runs_of_exit_count(strategy):
    settings = strategy.settings()
    signal = [p.name for p in strategy.parameters if p.kind == "signal"]
    for start in range(0, len(settings), strategy.exit_count):
        chunk = settings[start : start + strategy.exit_count]
        assert len({tuple(one[name] for name in signal) for one in chunk}) == 1
    assert np.prod(strategy.shape) == len(settings)


@ALL
def test_it_says_something_long_and_short_and_nothing_before_its_warm_up(strategy):
    setting = {**middle(strategy), "sides": 2.0}
    seen = set()
    for seed in range(6):
        signals = strategy.signals(walk(seed, 900), setting)
        assert not signals.entry[: strategy.warm_up(setting)].any()
        where = np.flatnonzero(signals.entry)
        assert (signals.stop_distance[where] > 0).all()
        seen |= set(signals.entry[where].tolist())
    assert seen == {1, -1}


@ALL
def test_long_only_takes_no_short(strategy):
    signals = strategy.signals(walk(3, 900), {**middle(strategy), "sides": 1.0})
    assert (signals.entry >= 0).all()


@ALL
def test_a_series_shorter_than_its_warm_up_says_nothing(strategy):
    for count in (1, 2, 30):
        assert not strategy.signals(walk(1, count), middle(strategy)).entry.any()


@ALL
def test_it_uses_nothing_of_the_future(strategy):
    for seed in (1, 2):
        bars = walk(seed, 500)
        for setting in (strategy.settings()[0], middle(strategy), strategy.settings()[-1]):
            assert first_leak(strategy, setting, bars) is None


def peeking(ahead):
    """A strategy that looks some bars ahead, well hidden in an average."""

    def opinion(indicators, _setting):
        close = indicators.bars.close
        centred = np.convolve(close, np.ones(2 * ahead + 1) / (2 * ahead + 1), mode="same")
        entry = (close > centred).astype(np.int8)
        nothing = np.zeros(len(close), np.bool_)
        return Signals(entry, nothing, nothing, indicators.atr(14))

    one = (Parameter("stop_atr", (1.0,), "exit", ""), Parameter("sides", (2.0,), "exit", ""))
    return Strategy("peeking", "trend", "", one, opinion, lambda _: None, lambda _: 20)


@pytest.mark.parametrize("ahead", [1, 5])
def test_a_planted_look_ahead_is_caught(ahead):
    strategy = peeking(ahead)
    leak = first_leak(strategy, strategy.settings()[0], walk(4, 400))
    assert leak is not None
    assert leak.bar >= leak.cut - ahead
    assert leak.name == "entry"


def test_a_look_ahead_in_the_stop_distance_is_caught():
    def opinion(indicators, _setting):
        bars = indicators.bars
        tomorrow = np.roll(bars.high - bars.low, -1)
        entry = np.ones(len(bars), np.int8)
        nothing = np.zeros(len(bars), np.bool_)
        return Signals(entry, nothing, nothing, tomorrow)

    base = peeking(1)
    strategy = Strategy("w", "trend", "", base.parameters, opinion, base.exits, base.warm_up)
    leak = first_leak(strategy, strategy.settings()[0], walk(4, 400))
    assert leak is not None
    assert leak.name == "stop_distance"
