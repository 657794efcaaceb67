"""kill -9 of engine, launcher, everything: the next start adopts, reconciles and goes on."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from support.run_bench import Bench, Run, bench, eventually, is_alive
from tradebox.sim.control.client import ask

pytestmark = [pytest.mark.xdist_group("kills"), pytest.mark.timeout(400)]

HELD = "SELECT account, symbol, quantity FROM trade.position WHERE quantity <> 0"
BOOKED = "SELECT exec_id, account, symbol, side, quantity FROM trade.fill"


@pytest.fixture
def box() -> Iterator[Bench]:
    with bench() as made:
        yield made


def account(box: Bench, name: str) -> dict[str, Any]:
    return ask(box.home / "sim", "/accounts")[name]


def ledger(box: Bench) -> list[dict[str, Any]]:
    text = (box.home / "sim" / "ledger.jsonl").read_text()
    return [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]


def books_agree(box: Bench) -> bool:
    """Whether PostgreSQL and the exchange hold the same positions and executions."""
    broker = {
        (name, row["symbol"]): row["quantity"]
        for name in ("paper", "live")
        for row in account(box, name)["positions"]
    }
    ours = {(row["account"], row["symbol"]): row["quantity"] for row in box.rows(HELD)}
    done = Counter(
        (row["exec_id"], row["account"], row["symbol"], row["side"], row["shares"])
        for row in ledger(box)
        if row["kind"] == "execution"
    )
    booked = Counter(tuple(row.values()) for row in box.rows(BOOKED))
    return broker == ours and done == booked


def uncovered(box: Bench) -> list[tuple[str, str]]:
    """Return positions of the exchange that not exactly one stop of their size covers."""
    found = []
    for name in ("paper", "live"):
        seen = account(box, name)
        for held in seen["positions"]:
            stops = [
                order["quantity"] - order["filled"]
                for order in seen["open_orders"]
                if order["symbol"] == held["symbol"] and order["type"] == "STP"
            ]
            if stops != [abs(held["quantity"])]:
                found.append((name, held["symbol"]))
    return found


def settled(box: Bench, what: str) -> None:
    """Wait until books agree and every position has its stop; then no order was ever doubled."""
    eventually(lambda: books_agree(box) and not uncovered(box), f"books agree after {what}")
    rows = ledger(box)
    refs = Counter(row["ticket"]["order_ref"] for row in rows if row["kind"] == "order_placed")
    assert [ref for ref, count in refs.items() if count > 1] == []
    assert all(ref.startswith("tb") for ref in refs)


def is_clean(run: Run) -> None:
    run.when(
        lambda shown: [row["link"] for row in shown["accounts"]] == ["CLEAN", "CLEAN"],
        "both links are CLEAN",
    )


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
