"""What a resumed run may take of the machine: as begun, unless it is said anew."""

import pytest

from support.stock_results import run_spec
from tradebox.backtest.scheduler_wish import Wish, limits_of
from tradebox.config import BacktestSettings

BEGUN = BacktestSettings(memory_budget="512MiB", workers=3, cores_share=0.25)
NOW = BacktestSettings(memory_budget="8GiB", seed=9)
SPEC = run_spec(config=BEGUN.model_dump(mode="json"))


def test_a_resumed_run_keeps_its_limits():
    settings = limits_of(NOW, Wish(resume="last"), SPEC)
    assert (settings.memory_budget, settings.workers, settings.cores_share) == (512 << 20, 3, 0.25)
    assert settings.seed == 9


@pytest.mark.parametrize("name", ["memory_budget", "workers", "cores_share"])
def test_a_limit_that_is_given_anew_holds(name):
    settings = limits_of(NOW, Wish(resume="last", limits=frozenset({name})), SPEC)
    assert getattr(settings, name) == getattr(NOW, name)
    others = {"memory_budget", "workers", "cores_share"} - {name}
    assert all(getattr(settings, other) == getattr(BEGUN, other) for other in others)


def test_a_new_run_has_the_limits_of_now():
    assert limits_of(NOW, Wish(), SPEC) == NOW
