"""What the kernel simulates is what the plan machine does: the same orders, long and short."""

import numpy as np
import pytest

from support.price_series import bars_of, rows_for, scripted, walk
from tradebox.backtest import plan_replay
from tradebox.backtest.costs import Costs
from tradebox.backtest.plan_replay import compare, replay_orders
from tradebox.strategies.base import Exits

FLAT = (100.0, 101.0, 99.0, 100.0)
COSTS = Costs(slippage_stop_bps=10.0)

EVERY = {
    "stop alone": Exits(),
    "target": Exits(target_r=2.0),
    "trail": Exits(trail=True),
    "trail and target": Exits(trail=True, target_r=4.0),
    "time": Exits(bars_max=6),
    "break-even": Exits(breakeven_r=1.0, target_r=3.0),
    "scale-out and runner": Exits(trail=True, scale_out_r=1.0, scale_out_fraction=0.5),
    "scale-out, target and time": Exits(
        target_r=3.0, scale_out_r=1.5, scale_out_fraction=0.29, bars_max=12
    ),
}


@pytest.mark.parametrize("exits", EVERY.values(), ids=EVERY)
def test_the_plan_machine_makes_the_kernels_orders(exits):
    random = np.random.default_rng(11)
    for seed in range(3):
        bars = walk(seed, 250)
        entries = {int(bar): int(random.choice([1, -1])) for bar in random.choice(249, 80)}
        leaves = [int(bar) for bar in random.choice(249, 8)]
        given = rows_for(bars, scripted(entries, bars.close * 0.03, exits, leaves), COSTS)
        found = compare(given)
        assert found.agrees, (seed, found.difference)
        assert found.orders > 8


def test_a_delisting_ends_the_plan_at_its_share():
    given = rows_for(bars_of([FLAT] * 4), scripted({0: 1}, 20.0), Costs.none(), final=(0.3, 1.0))
    assert compare(given).agrees
    assert replay_orders(given)["price"][-1] == pytest.approx(70.0)


def test_a_gap_through_all_steps_on_the_day_of_a_time_exit_is_the_steps():
    rows = [FLAT, FLAT, (130, 131, 129, 130), FLAT]
    exits = Exits(target_r=2.0, scale_out_r=1.0, scale_out_fraction=0.25, bars_max=1)
    given = rows_for(bars_of(rows), scripted({0: 1}, 5.0, exits), COSTS)
    found = compare(given)
    assert found.agrees, found.difference
    assert found.orders == 3


def test_an_order_that_differs_is_told(monkeypatch):
    bars = walk(2, 250)
    entries = dict.fromkeys(range(5, 240, 9), 1)
    given = rows_for(bars, scripted(entries, bars.close * 0.03, Exits(trail=True)), COSTS)
    assert compare(given).agrees
    monkeypatch.setattr(plan_replay, "_RATCHET_R", 0.0)  # a kernel that trails without steps
    found = compare(given)
    assert not found.agrees
    assert "the plan machine says" in found.difference
