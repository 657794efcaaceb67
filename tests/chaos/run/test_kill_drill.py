"""A short kill drill: the engine dies in the midst of plans, and nothing is doubled or lost."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
KILLS = 4

pytestmark = [pytest.mark.xdist_group("kills"), pytest.mark.timeout(400)]


def test_kills_in_mid_trade_double_and_lose_nothing(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    drill = importlib.import_module("bench.kill_drill")
    config = {
        **drill.CONFIG,
        "sim": {"demo_plans": False, "speed": 60},
        "postgres": {"memory_mb": 32},
    }
    told = drill.measure(KILLS, 7, config)
    lasting = "I3 "  # how long cover took is a figure of the bench, not of a busy machine
    assert [fault for fault in told["faults"] if not fault.startswith(lasting)] == []
    assert told["kills"] >= KILLS
    assert told["executions"] == told["fills_booked"] > KILLS
    assert set(told["steps"]) >= {"entry", "exit"}
