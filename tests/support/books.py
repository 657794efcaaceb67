"""Whether PostgreSQL, the gateway's ledger and the stops agree, in a run that is under way."""

import json
from collections import Counter
from typing import Any

from support.run_bench import Bench, Run, eventually
from tradebox.sim.control.client import ask

HELD = "SELECT account, symbol, quantity FROM trade.position WHERE quantity <> 0"
BOOKED = "SELECT exec_id, account, symbol, side, quantity FROM trade.fill"


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
