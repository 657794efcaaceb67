"""What a backtest must not find: chance, the future, and what only the order of the days gave.

Slow: a thousand walks; `python -m bench.honesty` keeps the same as a result.
"""

import numpy as np
import pytest

from support.price_series import shuffled, walk
from tradebox.backtest import pipeline
from tradebox.backtest.cutdata import first_leak
from tradebox.backtest.grade import is_passing
from tradebox.config.backtest import BacktestSettings
from tradebox.strategies.bars import Bars
from tradebox.strategies.base import Exits, Parameter, Signals, Strategy
from tradebox.strategies.catalogue import STRATEGIES

CONFIG = BacktestSettings().model_dump(mode="json")
GRADES = CONFIG["grades"]
PASSING_SHARE_MAX = 0.05


def judged(bars, **changes):
    return pipeline.run_stock(bars, {**CONFIG, **changes})


def passing_share(seeds, bars, drift):
    letters = [judged(walk(seed, bars, drift=drift)).grade for seed in seeds]
    return sum(is_passing(letter, GRADES) for letter in letters) / len(letters)


def with_edge(seed, count=2520):
    """A walk whose days lean against the last days' move: reversion truly earns on it."""
    random = np.random.default_rng(seed)
    base = walk(seed, count, drift=0.0006, volatility=0.008, gaps=0.05)
    lean = np.zeros(count)
    for bar in range(3, count):
        pulled = lean[bar - 1] - lean[bar - 3]
        lean[bar] = 0.72 * lean[bar - 1] - 0.25 * pulled + random.normal(0.0, 0.014)
    factor = np.exp(lean)
    before = np.concatenate([[1.0], factor[:-1]])
    open_ = base.open * before
    close = base.close * factor
    high = np.maximum(base.high * np.maximum(before, factor), np.maximum(open_, close))
    low = np.minimum(base.low * np.minimum(before, factor), np.minimum(open_, close))
    return Bars("EDGE", base.day, open_, high, low, close, base.volume * 50)


def peeking():
    """A strategy that knows the next two opens: where it gets in, and out."""

    def opinion(indicators, _setting):
        opened = indicators.bars.open
        ahead = np.concatenate([opened[2:] / opened[1:-1], [1.0, 1.0]])
        sure = np.abs(np.log(ahead)) > 0.01
        entry = np.where(sure, np.sign(ahead - 1.0), 0.0).astype(np.int8)
        always = np.ones(len(opened), np.bool_)
        return Signals(entry, always, always, indicators.atr(14))

    parameters = (
        Parameter("late", (0.0, 1.0, 2.0), "signal", ""),
        Parameter("stop_atr", (2.0, 3.0, 4.0), "exit", ""),
        Parameter("sides", (1.0, 2.0), "exit", ""),
    )
    return Strategy("peeking", "trend", "", parameters, opinion, lambda _: Exits(), lambda _: 20)


@pytest.mark.parametrize("drift", [0.0, 0.0003])
def test_walks_pass_in_less_than_one_of_twenty(drift):
    assert passing_share(range(40), 1500, drift) < PASSING_SHARE_MAX


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("drift", [0.0, 0.0003])
def test_a_thousand_walks_pass_in_less_than_one_of_twenty(drift):
    assert passing_share(range(1000), 2520, drift) < PASSING_SHARE_MAX


def test_an_edge_that_is_there_passes_and_its_shuffled_days_do_not():
    found = [judged(with_edge(seed)) for seed in range(4)]
    assert sum(is_passing(one.grade, GRADES) for one in found) >= 3
    lost = [judged(shuffled(with_edge(seed), seed)) for seed in range(8)]
    assert not any(is_passing(one.grade, GRADES) for one in lost)
    r = np.concatenate([one.trades["r"] for one in lost])
    assert r.mean() < 2.0 * r.std() / np.sqrt(len(r))


def test_a_planted_look_ahead_is_caught_in_the_run_itself(monkeypatch):
    strategies = {**STRATEGIES, "peeking": peeking()}
    monkeypatch.setattr(pipeline, "STRATEGIES", strategies)
    bars = walk(4, 1500)
    blind = judged(bars, strategies=("peeking",))
    assert (blind.status, blind.grade, blind.verified) == ("mismatch", "F", False)
    (told,) = (one.text for one in blind.reasons if one.layer == "cut-data")
    assert "it knows the future: entry of bar" in told
    monkeypatch.setattr(pipeline, "first_leak", lambda *_: None)
    assert judged(bars, strategies=("peeking",)).grade == "A"  # what it would have been worth


def test_every_result_says_that_it_was_cut():
    found = judged(walk(5, 1200))
    (told,) = (one.text for one in found.reasons if one.layer == "cut-data")
    assert told == "cut bars change nothing that was said before the cut"


@pytest.mark.parametrize("seed", [3, 4])
def test_what_comes_after_a_block_changes_nothing_chosen_before_it(seed):
    """The whole pipeline under the cut-data test: layers, search, fits and trades."""
    bars, other = walk(seed, 1500), walk(seed + 50, 1500)
    first = pipeline.begin(bars, CONFIG)
    for block in (2, 4):
        edge = int(first.blocks.edges[block])
        changed = spliced(bars, other, edge)
        one, two = judged(bars), judged(changed)
        assert one.details["search"]["splits"][:block] == two.details["search"]["splits"][:block]
        known = [
            found.trades[found.days[found.trades["exit_bar"]] < bars.day[edge]]
            for found in (one, two)
        ]
        assert len(known[0])
        np.testing.assert_array_equal(*known)


def spliced(bars, other, at):
    """The first bars of one series, then the moves of another."""
    factor = bars.close[at - 1] / other.close[at - 1]
    columns = [
        np.concatenate([getattr(bars, name)[:at], getattr(other, name)[at:] * factor])
        for name in ("open", "high", "low", "close")
    ]
    volume = np.concatenate([bars.volume[:at], other.volume[at:]])
    return Bars(bars.symbol, bars.day, *columns, volume)


def test_the_leak_test_itself_finds_what_is_planted():
    strategy = peeking()
    leak = first_leak(strategy, strategy.settings()[0], walk(4, 400), 1)
    assert leak is not None
    assert leak.bar >= leak.cut - 2
