"""What keeps prices: which actors the settings and the profile ask for."""

from types import SimpleNamespace

import pytest

from tradebox.app.keepers import Keepers


@pytest.mark.parametrize(
    ("profile", "tape", "expected"),
    [
        ("sim", False, {"bars"}),
        ("sim", True, {"bars", "recorder"}),
        ("paper", False, {"bars", "past_bars"}),
        ("live", False, {"bars", "past_bars"}),
    ],
)
def test_past_bars_are_read_wherever_a_real_broker_can_be_asked(profile, tape, expected):
    settings = SimpleNamespace(
        profile=profile, bars=SimpleNamespace(enabled=True), tape=SimpleNamespace(enabled=tape)
    )
    plant = SimpleNamespace(settings=settings, market_clock=SimpleNamespace(speed=20.0))
    assert set(Keepers(plant).actors()) == expected
