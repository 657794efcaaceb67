"""kill -9 of engine, launcher, everything: the next start adopts, reconciles and goes on."""

import os
import signal
from collections.abc import Iterator

import pytest

from support.books import account, is_clean, ledger, settled
from support.run_bench import Bench, bench, eventually, is_alive

pytestmark = [pytest.mark.xdist_group("kills"), pytest.mark.timeout(400)]


@pytest.fixture
def box() -> Iterator[Bench]:
    with bench() as made:
        yield made


def kept_plan_rests(box: Bench, plan_id: str) -> None:
    """The plan of a person is open, its position and its stop as they were."""
    story = box.json("plan", "show", plan_id)
    assert story["plan"]["state"] == "open"
    live = account(box, "live")
    assert [(row["symbol"], row["quantity"]) for row in live["positions"]] == [("SPY", 40)]
    assert [(row["type"], row["quantity"]) for row in live["open_orders"]] == [("STP", 40)]


def test_every_kill_is_survived(box: Bench) -> None:
    run = box.run("--speed", "60").ready()
    plan_id = box.keep_a_plan(run, "live")
    run.wait_event("PlanStepTaken", kind="entry", count=4)
    first = run.status()

    os.kill(first["pid"], signal.SIGKILL)
    run.ready(2)
    is_clean(run)
    settled(box, "the engine's death")
    kept_plan_rests(box, plan_id)
    second = run.status()
    assert second["launcher_pid"] == first["launcher_pid"]
    assert second["pid"] != first["pid"]

    run.send(signal.SIGKILL)
    run.wait()
    eventually(lambda: not is_alive(second["pid"]), "the leash ends the engine")
    again = box.run("--speed", "60").ready()
    is_clean(again)
    settled(box, "the launcher's death")
    kept_plan_rests(box, plan_id)
    taken = len(again.events("PlanStepTaken"))
    eventually(lambda: len(again.events("PlanStepTaken")) > taken, "the demo goes on")

    killed = box.kill_all()
    assert len(killed) > 8
    third = box.run("--speed", "60").ready()
    is_clean(third)
    settled(box, "the death of everything")
    kept_plan_rests(box, plan_id)
    third.wait_event("PlanStepTaken", kind="entry")
    summary = third.stop()
    assert summary["fills_booked"] >= 1
    assert {row["symbol"]: row["covered"] for row in summary["positions"]}["SPY"] is True
    assert (box.processes(), list(box.tmp.iterdir())) == ([], [])
    assert (again.err, third.err) == ("", "")


def test_a_stop_leaves_plans_and_stops_resting(box: Bench) -> None:
    run = box.run("--speed", "60", TRADEBOX_SIM_DEMO_PLANS="false").ready()
    plan_id = box.keep_a_plan(run, "live")
    settled(box, "the entry")
    summary = run.stop(signal.SIGINT)
    assert summary["orders_sent"] == 2
    assert summary["positions"] == [
        {
            "account": "live",
            "symbol": "SPY",
            "quantity": 40,
            "stop_quantity": 40,
            "in_flight_quantity": 0,
            "covered": True,
        }
    ]
    assert box.json("plan", "show", plan_id)["plan"]["state"] == "open"
    stopped_at = len(ledger(box))
    again = box.run("--speed", "60", TRADEBOX_SIM_DEMO_PLANS="false").ready()
    is_clean(again)
    settled(box, "an ordered stop")
    kept_plan_rests(box, plan_id)
    assert again.stop()["orders_sent"] == 0
    placed = [row["kind"] for row in ledger(box)[stopped_at:]]
    assert "order_placed" not in placed


def test_a_killed_launcher_leaves_no_server_and_no_socket_behind(box: Bench) -> None:
    run = box.run(TRADEBOX_SIM_DEMO_PLANS="false").ready()
    assert {server["name"] for server in run.status()["servers"]} >= {"postgres", "redis"}
    run.send(signal.SIGKILL)
    run.wait()
    eventually(lambda: box.processes() == [], "the end of everything")
    assert list(box.tmp.iterdir()) == []
    *_, last = (box.home / "logs" / "postgres.log").read_text().splitlines()
    assert last.endswith("database system is shut down"), "PostgreSQL ended in order"


def test_a_launcher_killed_while_its_servers_start_leaves_none_of_them(box: Bench) -> None:
    run = box.run(TRADEBOX_SIM_DEMO_PLANS="false")
    flag = box.home / "data" / "postgres.initialising"
    eventually(flag.exists, "the cluster is being made")
    run.send(signal.SIGKILL)
    run.wait()
    eventually(lambda: box.processes() == [], "the end of everything")
    assert list(box.tmp.iterdir()) == []
