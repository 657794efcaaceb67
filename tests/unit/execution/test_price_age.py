"""How old a price is: by the exchange's time and by ours since it came, whichever is more."""

from decimal import Decimal
from types import SimpleNamespace

import pytest

from tradebox.domain.market import AdmittedTick, Quality, Source
from tradebox.execution.path_views import Views

SECOND_NS = 10**9
NOW_NS, MONO_NS = 10**18, 500 * SECOND_NS


def age_s(event_ago_s, came_ago_s=None, speed=1.0):
    mono_ns = 0 if came_ago_s is None else MONO_NS - int(came_ago_s * SECOND_NS)
    tick = AdmittedTick(
        "AAPL", 1, 1, NOW_NS - int(event_ago_s * SECOND_NS), NOW_NS, Source.FINNHUB, Quality.LIVE,
        1, 1, 1, mono_ns,
    )  # fmt: skip
    prices = SimpleNamespace(last=lambda _: tick, quality_now=lambda _: tick.quality)
    clock = SimpleNamespace(now_ns=lambda: NOW_NS, speed=speed)
    world = SimpleNamespace(prices=prices, market_clock=clock)
    link = SimpleNamespace(mono_ns=lambda: MONO_NS)
    return Views(None, None, link, world, None, None).price("AAPL").age_s


@pytest.mark.parametrize(
    ("event_ago_s", "came_ago_s", "expected"),
    [
        (3, 2.5, 3),
        (3, 30, 30),  # the clock was set back after it came
        (3, None, 3),
        (-20, 1, -20),  # of the future: it stays so, and the gate refuses it
    ],
)
def test_the_older_of_both_counts(event_ago_s, came_ago_s, expected):
    assert age_s(event_ago_s, came_ago_s) == Decimal(expected)


def test_market_time_passes_faster_in_the_simulator_and_ours_does_not():
    assert age_s(60, 2, speed=20.0) == 3
    assert age_s(60, 5, speed=20.0) == 5
