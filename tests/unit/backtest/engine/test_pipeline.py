"""One stock through the whole pipeline: what it may know, what it says, what it repeats."""

import numpy as np
import pytest

from support.price_series import shuffled, walk
from tradebox.backtest import kernel, pipeline
from tradebox.backtest.layers import LAYERS
from tradebox.backtest.records import result_hash
from tradebox.config.backtest import BacktestSettings
from tradebox.strategies.bars import Bars

CONFIG = BacktestSettings().model_dump(mode="json")


def through_layers(bars, config=CONFIG):
    state = pipeline.begin(bars, config)
    for name in config["layers"]:
        state = LAYERS[name](state)
    return state


def changed_after(bars, bar):
    """The same bars up to one, and another world from there on."""
    other = walk(999, len(bars), drift=-0.003, volatility=0.05)
    factor = bars.close[bar - 1] / other.close[bar - 1]
    mixed = [
        np.concatenate([getattr(bars, name)[:bar], getattr(other, name)[bar:] * factor])
        for name in ("open", "high", "low", "close")
    ]
    volume = np.concatenate([bars.volume[:bar], other.volume[bar:]])
    return Bars(bars.symbol, bars.day, *mixed, volume)


def key(choice):
    return None if choice is None else (choice.strategy.name, tuple(choice.setting.items()))


@pytest.mark.parametrize("block", [1, 3, 5])
def test_the_choice_for_a_block_knows_nothing_of_it(block):
    bars = walk(8, 1500, drift=0.001)
    state = through_layers(bars)
    edge = int(state.blocks.edges[block])
    other = through_layers(changed_after(bars, edge))
    assert [key(one) for one in state.choices[:block]] == [
        key(one) for one in other.choices[:block]
    ]
    if block < 5:
        assert key(state.final) != key(other.final) or state.final.score != other.final.score


def test_trades_before_a_change_stay_as_they_were():
    bars = walk(8, 1500, drift=0.001)
    state = through_layers(bars)
    edge = int(state.blocks.edges[3])
    tables = [
        pipeline.rows_out(through_layers(one)).books().trades
        for one in (bars, changed_after(bars, edge))
    ]
    kept = [table[table["exit_bar"] < edge] for table in tables]
    assert len(kept[0]) > 3
    np.testing.assert_array_equal(kept[0], kept[1])


def test_a_purged_trade_is_no_past_of_the_block_it_reaches_into():
    state = through_layers(walk(8, 1500, drift=0.001))
    for sweep in state.sweeps.values():
        by_exit, by_entry = sweep.by_exit[..., 0], sweep.by_entry[..., 0]
        assert (by_entry[:, 1:].sum(axis=1) <= by_exit.sum(axis=1)).all()
        assert (by_entry[:, 0] == 0).all()


def test_a_result_has_all_its_parts_and_repeats_bit_for_bit():
    bars = walk(8, 1500, drift=0.001)
    stages = {}
    first, again = pipeline.run_stock(bars, CONFIG, 1, stages), pipeline.run_stock(bars, CONFIG, 7)
    assert first.status == "ok"
    assert first.verified is True
    assert first.trials >= 200
    assert result_hash(first) == result_hash(again)
    assert set(stages) == {"layers", "search", "walkforward", "verify", "grade"}
    assert {reason.layer for reason in first.reasons} >= {
        "quality", "character", "search", "excursion", "sizing", "verify", "grade",
    }  # fmt: skip
    assert len(first.days) == len(first.equity)
    assert first.grade in "ABCDF"
    assert first.metrics["out"]["trades"] == len(first.trades)
    assert (first.days[first.trades["exit_bar"]] >= bars.day[int(len(bars) * 0.4)]).all()


def test_stored_arrays_that_cannot_be_written_need_no_second_compilation():
    pipeline.warm_up()
    known = [len(one.signatures) for one in (kernel.sweep, kernel.simulate)]
    bars = walk(8, 900)
    for name in ("day", "open", "high", "low", "close", "volume"):
        getattr(bars, name).setflags(write=False)
    assert pipeline.run_stock(bars, CONFIG).status == "ok"
    assert [len(one.signatures) for one in (kernel.sweep, kernel.simulate)] == known


def test_a_stock_too_short_is_refused_with_its_reason():
    found = pipeline.run_stock(walk(1, 200), CONFIG)
    assert found.status == "refused"
    assert found.reasons[-1].text == "200 bars, at least 250 are needed"


@pytest.mark.parametrize("bars", [1, 2, 20, 210])
def test_a_series_too_short_for_anything_is_a_result_all_the_same(bars):
    config = {**CONFIG, "layers": ("search", "excursion", "sizing")}
    found = pipeline.run_stock(walk(1, bars), config)
    assert found.status == "ok"
    assert found.grade == "F"


def test_layers_are_switched_and_ordered_by_config():
    bars = walk(8, 1200)
    alone = pipeline.run_stock(bars, {**CONFIG, "layers": ()})
    assert [reason.layer for reason in alone.reasons][:2] == ["search", "verify"]
    assert alone.trials == 1
    few = pipeline.run_stock(bars, {**CONFIG, "layers": ("sizing", "search")})
    assert [reason.layer for reason in few.reasons][:3] == ["sizing", "search", "verify"]


def test_one_strategy_may_be_asked_for():
    found = pipeline.run_stock(walk(8, 1200), {**CONFIG, "strategies": ("trend_cross",)})
    assert found.strategy == "trend_cross"
    with pytest.raises(KeyError):
        pipeline.run_stock(walk(8, 1200), {**CONFIG, "strategies": ("astrology",)})


def test_a_replay_on_request_says_that_the_plans_agree():
    found = pipeline.run_stock(walk(8, 900), {**CONFIG, "replay": True})
    assert "the plan machine makes the same" in next(
        reason.text for reason in found.reasons if reason.layer == "replay"
    )


def test_a_delisted_stock_is_told_to_the_engine():
    bars = walk(8, 1500, drift=0.001)
    state = through_layers(bars, {**CONFIG, "delisted": True, "delisting_loss_share": 0.3})
    assert pipeline.rows_in(state).final == (0.3, 1.0)
    assert pipeline.rows_in(through_layers(bars)).final == (0.3, 0.0)


def test_doubled_costs_cost():
    bars = walk(8, 1500, drift=0.001)
    found = pipeline.run_stock(bars, CONFIG)
    out = found.metrics["out"]
    assert out["costs_doubled_expectancy_r"] < out["expectancy_r"]


def test_shuffled_days_lose_what_a_trend_gave():
    random = np.random.default_rng(3)
    steps = np.repeat(random.choice([-0.004, 0.004], 40), 40)
    base = walk(5, 1600, volatility=0.006)
    factor = np.exp(np.cumsum(steps))
    bars = Bars(
        "TREND", base.day, base.open * factor, base.high * factor, base.low * factor,
        base.close * factor, base.volume,
    )  # fmt: skip
    kept = pipeline.run_stock(bars, CONFIG).metrics["out"]["total_r"]
    lost = np.median(
        [pipeline.run_stock(shuffled(bars, s), CONFIG).metrics["out"]["total_r"] for s in range(5)]
    )
    assert kept > 10
    assert lost < kept / 3
