"""Alerts and metrics: leaves that watch, log, and never get in the way."""

import pytest
from loguru import logger

from support.manual_tree import manual_tree
from support.ticks import T0, Market
from tradebox.actors.alerts import REPEAT_S, Alerts
from tradebox.actors.metrics import Metrics
from tradebox.domain.events import AlertRaised
from tradebox.supervision.events import ChildAbandoned, ChildHalted, IntensityReached
from tradebox.supervision.reasons import Killed
from tradebox.supervision.spec import ChildSpec, ChildType
from tradebox.supervision.supervisor import Supervisor


@pytest.fixture
def lines():
    got = []
    sink = logger.add(lambda message: got.append(message.record), level="DEBUG")
    yield got
    logger.remove(sink)


def root_of(make):
    leaf = ChildSpec(id="leaf", start=make)
    return ChildSpec(id="root", start=lambda: Supervisor(None, [leaf]), type=ChildType.SUPERVISOR)


@pytest.mark.asyncio
async def test_an_alert_is_logged_once_and_its_repeats_are_counted(lines):
    async with manual_tree(root_of(lambda: Alerts(Market()))) as harness:
        publish = harness.runtime.events.publish
        for text in ("a", "a", "b", "a"):
            publish(AlertRaised("warning", "kind", text, symbol="SPY"))
        await harness.run(REPEAT_S)
        publish(AlertRaised("critical", "kind", "a", symbol="SPY"))
        await harness.run()
    told = [(line["level"].name, line["message"], line["extra"]["repeats"]) for line in lines]
    assert told == [
        ("WARNING", "alert: a", 0),
        ("WARNING", "alert: b", 0),
        ("ERROR", "alert: a", 2),
    ]


@pytest.mark.asyncio
async def test_grave_events_become_alerts(lines):
    grave = {"at_s": 0.0, "name": "trading.live", "child_id": "live"}
    alerts = []
    async with manual_tree(root_of(lambda: Alerts(Market()))) as harness:
        events = harness.runtime.events
        events.attach(AlertRaised, alerts.append)
        events.publish(ChildAbandoned(**grave, incarnation=3, zombies=2))
        events.publish(ChildHalted(**grave, reason=Killed()))
        events.publish(IntensityReached(**grave, intensity=3, period_s=5.0, reason=Killed()))
        await harness.run()
    kinds = ["actor_abandoned", "actor_halted", "restart_intensity"]
    assert [one.kind for one in alerts] == kinds
    assert all(one.severity == "critical" and one.at_ns == T0 for one in alerts)
    assert len(lines) == 3


@pytest.mark.asyncio
async def test_figures_are_logged_each_period(lines):
    figures = {"received": 1}
    made = Metrics({"ticks": lambda: figures}, period_s=10.0)
    async with manual_tree(root_of(lambda: made)) as harness:
        await harness.run(9.9)
        assert lines == []
        figures["received"] = 7
        await harness.run(10.1)
    assert [line["extra"]["ticks.received"] for line in lines] == [7, 7]
