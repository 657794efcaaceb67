"""The plan a setting proposes: one the controller accepts, and the one that was simulated."""

from decimal import Decimal

import pytest

from tradebox.domain.plan_check import check_alone
from tradebox.domain.plan_document import parse_document
from tradebox.strategies.base import Exits
from tradebox.strategies.catalogue import STRATEGIES
from tradebox.strategies.proposal import TRAIL_FROM_R, propose


@pytest.mark.parametrize("strategy", list(STRATEGIES.values()), ids=list(STRATEGIES))
@pytest.mark.parametrize("side", [1, -1])
def test_every_setting_of_every_strategy_is_a_plan(strategy, side):
    for exits in {strategy.plan_exits(setting) for setting in strategy.settings()}:
        plan = propose("AAPL", side, 0.0475, exits, 120)
        check_alone(plan)
        assert plan.side == ("long" if side > 0 else "short")
        assert plan.stop.percent == Decimal("4.75")
        assert plan.size.quantity == 120
        assert len(plan.steps) == (
            exits.trail + (exits.target_r > 0) + (exits.scale_out_r > 0) + (exits.breakeven_r > 0)
        )


def test_steps_stand_in_the_order_the_price_reaches_them():
    exits = Exits(
        target_r=3.0, trail=True, breakeven_r=1.0, scale_out_r=1.5, scale_out_fraction=0.4
    )
    plan = propose("AAPL", 1, 0.02, exits, Decimal("0.01"), "2026-03-02T14:30:00+00:00")
    assert [step.at.r for step in plan.steps] == [
        TRAIL_FROM_R, Decimal("1.0"), Decimal("1.5"), Decimal("3.0"),
    ]  # fmt: skip
    assert plan.steps[2].take.fraction + plan.steps[3].take.fraction == 1
    assert plan.size.risk_share_of_nlv == Decimal("0.01")
    assert plan.time_exit.at == "2026-03-02T14:30:00+00:00"


def test_a_proposal_reads_back_as_the_same_plan():
    plan = propose("BRK.B", -1, 1 / 30, Exits(target_r=2.0), 7)
    import json

    assert parse_document(json.dumps(plan.to_json())) == plan


def test_a_stop_wider_than_half_the_price_is_a_bug():
    with pytest.raises(AssertionError):
        propose("AAPL", 1, 0.6, Exits(), 1)
