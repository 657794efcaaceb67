"""The limits of the vendors' keys outlive the simulator that counted them."""

from pathlib import Path

import pytest

from tradebox.sim.alphavantage.quota import (
    FREE_PER_DAY,
    PREMIUM_PER_MINUTE,
    FreeQuota,
    PremiumQuota,
)
from tradebox.sim.calls import KeptCalls
from tradebox.sim.finnhub.rest import PER_MINUTE_MAX, RateLimit
from tradebox.sim.market import hours

FIRST_NS, SECOND_NS = hours.session(5).open_ns, hours.session(6).open_ns


def test_a_spent_day_is_spent_after_a_restart_and_new_the_next_day(tmp_path: Path) -> None:
    path = tmp_path / "calls.json"
    quota = FreeQuota(KeptCalls(path))
    now_s = 100.0
    for _ in range(FREE_PER_DAY):
        assert quota.take(now_s, FIRST_NS)
        now_s += 2
    again = FreeQuota(KeptCalls(path, now_s))
    assert not again.take(now_s, FIRST_NS)
    assert again.take(now_s + 2, SECOND_NS)


def test_a_second_call_within_a_second_is_a_burst_after_a_restart_too(tmp_path: Path) -> None:
    path = tmp_path / "calls.json"
    assert FreeQuota(KeptCalls(path)).take(100.0, FIRST_NS)
    assert not FreeQuota(KeptCalls(path, 100.5)).take(100.5, FIRST_NS)


@pytest.mark.parametrize(
    ("most", "step_s", "limit"),
    [
        (PREMIUM_PER_MINUTE, 0.1, lambda kept: lambda now_s: PremiumQuota(kept).take(now_s, 0)),
        (PER_MINUTE_MAX, 0.1, lambda kept: RateLimit(kept).take),
    ],
)
def test_the_calls_of_a_minute_count_over_restarts(
    tmp_path: Path, most: int, step_s: float, limit: object
) -> None:
    path = tmp_path / "calls.json"
    now_s = 100.0
    for _ in range(most):
        assert limit(KeptCalls(path, now_s))(now_s)
        now_s += step_s
    assert not limit(KeptCalls(path, now_s))(now_s)
    assert limit(KeptCalls(path, 161.0))(161.0)


def test_calls_of_another_boot_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "calls.json"
    for _ in range(PER_MINUTE_MAX):
        RateLimit(KeptCalls(path, 5000.0)).take(5000.0)
    limit = RateLimit(KeptCalls(path, 3.0))
    assert limit.take(3.0)
    assert limit.headers(3.0, 0.0)["X-Ratelimit-Remaining"] == str(PER_MINUTE_MAX - 1)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"calls": 1}', '{"calls": {"x": ["y"]}}', "\xff"])
def test_a_damaged_file_is_an_empty_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calls.json"
    path.write_text(text, encoding="latin-1")
    assert KeptCalls(path, 1.0).day("alphavantage free") == ("", 0)
    assert FreeQuota(KeptCalls(path, 100.0)).take(100.0, FIRST_NS)


def test_a_folder_that_takes_no_file_changes_no_answer(tmp_path: Path) -> None:
    quota = FreeQuota(KeptCalls(tmp_path / "missing" / "calls.json"))
    assert quota.take(100.0, FIRST_NS)
    assert not quota.take(100.5, FIRST_NS)
