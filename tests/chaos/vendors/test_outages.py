"""Vendors away one by one: who serves then, what is said, and that all comes back by itself."""

import time
from typing import Any

import pytest

from chaos.vendors.harness import BAITS, Runs, Vendors, told
from chaos.vendors.rows import PREMIUM, STREAM
from support.run_bench import eventually

BAIT = BAITS[0]
ENTRY = {"entry": {"type": "market", "valid_until": 300}, "size": {"quantity": 5}}
VENDORS = ("finnhub", "alphavantage", "yahoo")

pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("vendors"), pytest.mark.slow]


def down(run: Vendors, *vendors: str) -> None:
    """Take vendors away altogether."""
    for vendor in vendors:
        if vendor == "finnhub":
            run.finnhub_down()
        else:
            run.set(f"{vendor}.server_error")


def up(run: Vendors, *vendors: str) -> None:
    """Let vendors come back."""
    for vendor in vendors:
        if vendor == "finnhub":
            run.finnhub_up()
        else:
            run.clear(f"{vendor}.server_error")


def nothing_enters(run: Vendors) -> tuple[str, str]:
    """Have a plan that would enter at the next live price; return its symbol and id."""
    symbol = run.world.symbol()
    plan_id = run.world.add(symbol, **ENTRY)
    run.world.until_state(plan_id, "armed")
    run.pass_market_s(60)
    assert run.world.placed(symbol) == []
    return symbol, plan_id


def all_down(run: Vendors, since_ns: int) -> dict[str, Any]:
    """No vendor is left: stale by its deadline, said, no entry; then all comes back."""
    down(run, *VENDORS)
    since_s = time.time()
    not_live_s = run.until_not_live()
    symbol, plan_id = nothing_enters(run)
    eventually(lambda: set(BAITS) <= set(run.aged(since_s - 60)), "it is said that they are stale")
    up(run, *VENDORS)
    back_s = run.until_served("finnhub")
    run.world.until_state(plan_id, "open")
    return {"not_live_s": not_live_s, "back_s": back_s, **run.judge(since_ns, symbol)}


def test_free_keys_go_from_finnhub_to_yahoo_to_nothing_and_back(runs: Runs) -> None:
    words = {"world": STREAM, "expect": "one down, all down, all back"}
    with told("outage.free_keys", **words) as result, runs.lent(STREAM) as run:
        since_ns = time.monotonic_ns()
        down(run, "finnhub")
        result["to_yahoo_s"] = run.until_served("yahoo")
        assert not any(one.source == "alphavantage" and one.is_live for one in run.watch.items)
        result["shown"] = all_down(run, since_ns)


def test_a_premium_key_goes_to_alphavantage_then_yahoo_then_nothing_and_back(runs: Runs) -> None:
    words = {"world": PREMIUM, "expect": "two down, one back, all down, all back"}
    with told("outage.premium_key", **words) as result, runs.lent(PREMIUM) as run:
        result["finnhub_down_to_alphavantage_s"] = run.taken_over_s
        since_ns = time.monotonic_ns()
        down(run, "alphavantage")
        result["to_yahoo_s"] = run.until_served("yahoo")
        up(run, "alphavantage")
        result["back_to_alphavantage_s"] = run.until_served("alphavantage")
        result["shown"] = all_down(run, since_ns)
        run.finnhub_down()
