"""The engine's own figures."""

import asyncio
import gc

import pytest

from tradebox.app.vitals import Vitals
from tradebox.supervision.clock import MonotonicClock
from tradebox.supervision.events import EventBus


@pytest.mark.asyncio
async def test_sweeps_are_measured_between_ready_and_stop():
    vitals = Vitals(MonotonicClock(), EventBus())
    gc.collect()
    assert vitals.figures()["sweep_max_ms"] == 0
    before = len(gc.callbacks)
    vitals.ready()
    try:
        gc.collect()
        await asyncio.sleep(0)
        seen = vitals.figures()
        assert seen["sweep_max_ms"] > 0
        assert seen["tasks"] >= 1
        assert seen["imports_after_ready"] == 0
    finally:
        vitals.stop()
    assert len(gc.callbacks) == before
    last = vitals.figures()["sweep_max_ms"]
    gc.collect()
    assert vitals.figures()["sweep_max_ms"] == last
