"""Every vendor fault of the simulator on a trading run, judged by what consumers saw."""

import time
from typing import Any

import pytest

from chaos.vendors.harness import BAITS, NEXT, ROWS_MAX, Runs, Vendors, keep, played
from chaos.vendors.page import PAGE, text
from chaos.vendors.rows import BESIDE_ROWS, BROKER_ROWS, ROWS, Row
from support.run_bench import eventually
from tradebox.sim.alphavantage.faults import CATALOGUE as ALPHAVANTAGE
from tradebox.sim.finnhub.faults import CATALOGUE as FINNHUB
from tradebox.sim.yahoo.faults import CATALOGUE as YAHOO

BOARDS = {"finnhub": FINNHUB, "alphavantage": ALPHAVANTAGE, "yahoo": YAHOO}
REST = (
    "zero_quote", "partial_quote", "rate_limit", "plain_429", "server_error", "bad_key",
    "no_access", "reset", "slow", "truncated",
)  # fmt: skip
"""Faults of Finnhub's single quotes: only a symbol that is new makes one be asked."""

BAIT = BAITS[0]
ENTRY = {"entry": {"type": "market", "valid_until": 300}, "size": {"quantity": 5}}

pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("vendors")]


def test_every_vendor_fault_of_the_simulator_has_its_row() -> None:
    listed = {f"{board}.{spec.name}" for board, specs in BOARDS.items() for spec in specs}
    rows = [row.fault for row in ROWS if not row.fault.startswith("market.")]
    assert sorted(rows) == sorted(listed)
    assert len(rows) == len(set(rows)) == 72
    names = [row.name for row in (*ROWS, *BROKER_ROWS, *BESIDE_ROWS)]
    assert len(names) == len(set(names))


def test_the_page_says_what_the_table_says() -> None:
    assert PAGE.read_text() == text(), "PYTHONPATH=tests python -m chaos.vendors.page"


def unnoticed(run: Vendors, row: Row) -> dict[str, Any]:
    """Prices go on, live and of the same source; a new symbol enters on a live price."""
    since_ns = time.monotonic_ns()
    run.set(row.fault, **row.arguments)
    name = row.fault.partition(".")[2]
    fresh = run.world.symbol() if row.fault.startswith("finnhub.") and name in REST else ""
    if fresh:
        plan_id = run.world.add(fresh, **ENTRY)
        run.until_met(row.fault)
        run.world.until_state(plan_id, "open")
    for symbol in BAITS:
        run.until_more(5, symbol, run.serves)
    run.clear(row.fault)
    sources = {one.source for one in run.watch.since(since_ns, BAITS)}
    assert sources == {run.serves}
    return run.judge(since_ns, fresh)


def reconnected(run: Vendors, row: Row) -> dict[str, Any]:
    """The connection goes and comes; prices go on, from the next source where it took long."""
    since_ns = time.monotonic_ns()
    run.set(row.fault, **row.arguments)
    run.until_more(5, BAIT, "finnhub")
    sources = {one.source for one in run.watch.since(since_ns, BAITS)}
    assert "finnhub" in sources
    assert sources <= {"finnhub", "yahoo"}, "the next source that this key has"
    return {"gap_s": run.longest_gap_s(BAIT, since_ns), **run.judge(since_ns)}


def handed_on(run: Vendors, row: Row) -> dict[str, Any]:
    """The next source serves until the fault ends; then the first one does again."""
    since_ns = time.monotonic_ns()
    run.set(row.fault, **row.arguments)
    if row.and_fault:
        run.set(row.and_fault)
    switched_s = run.until_served(NEXT[run.kind])
    run.until_more(3, BAIT, NEXT[run.kind])
    run.clear(row.fault)
    back_s = run.until_served(run.serves)
    return {"switched_s": switched_s, "back_s": back_s, **run.judge(since_ns)}


def given_up(run: Vendors, row: Row) -> dict[str, Any]:
    """A refused key is not tried again soon: the next source serves, and a person is told."""
    since_ns, since_s = time.monotonic_ns(), time.time()
    run.set(row.fault, **row.arguments)
    switched_s = run.until_served(NEXT[run.kind])
    run.until_more(3, BAIT, NEXT[run.kind])
    told = run.world.clerk.rows(
        "SELECT DISTINCT kind FROM trade.alert WHERE recorded_at >= to_timestamp($1)", since_s
    )
    run.clear(row.fault)
    run.until_more(3, BAIT, NEXT[run.kind])
    run.failures = ROWS_MAX
    kinds = sorted(each["kind"] for each in told)
    return {"switched_s": switched_s, "told": kinds, **run.judge(since_ns)}


def refused(run: Vendors, row: Row) -> dict[str, Any]:
    """The price is refused, PostgreSQL says by which check, and no consumer saw it."""
    since_ns, since_s = time.monotonic_ns(), time.time()
    run.set(row.fault, symbol=BAIT, **row.arguments)
    run.until_met(row.fault)

    def verdicts() -> list[dict[str, Any]]:
        rows = run.refusals(since_s, BAIT)
        return [each for each in rows if each["check_name"] in row.checks]

    found = eventually(verdicts, f"a refusal by {row.checks}: {run.refusals(since_s)[-5:]}")
    run.clear(row.fault)
    run.until_served(run.serves)
    run.until_more(5, BAIT, run.serves)
    return {"refused_by": sorted({each["check_name"] for each in found}), **run.judge(since_ns)}


def late(run: Vendors, row: Row) -> dict[str, Any]:
    """What comes is late; nobody is told that it is live, by this source at least."""
    since_ns = time.monotonic_ns()
    run.set(row.fault, symbol=BAIT, **row.arguments)
    run.until_met(row.fault)
    eventually(lambda: not run.is_served(BAIT, run.serves), f"{BAIT} not live by {run.serves}")
    not_live_s = round((time.monotonic_ns() - since_ns) / 1e9, 2)
    run.clear(row.fault)
    back_s = run.until_served(run.serves)
    return {"not_live_s": not_live_s, "back_s": back_s, **run.judge(since_ns)}


def held(run: Vendors, row: Row) -> dict[str, Any]:
    """Prints are kept back and come in one burst: none of the old ones is live."""
    since_ns = time.monotonic_ns()
    run.set(row.fault, symbol=BAIT)
    eventually(lambda: not run.is_served(BAIT, run.serves), f"{BAIT} not live by {run.serves}")
    run.clear(row.fault)
    back_s = run.until_served(run.serves)
    return {"back_s": back_s, **run.judge(since_ns)}


def unnoticed_elsewhere(run: Vendors, row: Row) -> dict[str, Any]:
    """One symbol is silent: it goes on by whoever has it, the others notice nothing."""
    since_ns = time.monotonic_ns()
    run.set(row.fault, symbol=BAIT)
    run.until_met(row.fault)
    eventually(
        lambda: (item := run.now(BAIT)) is not None and item.is_live and item.mono_ns > since_ns,
        f"{BAIT} is live by somebody",
    )
    run.until_more(5, BAITS[1], run.serves)
    others = {one.source for one in run.watch.since(since_ns, BAITS[1:])}
    run.clear(row.fault)
    run.until_served(run.serves)
    assert others == {run.serves}
    return run.judge(since_ns)


def over_budget(run: Vendors, row: Row) -> dict[str, Any]:
    """The vendor gives fewer subscriptions: the rest is served by somebody, and it is said."""
    since_ns, since_s = time.monotonic_ns(), time.time()
    fresh = run.world.symbol()
    plan_id = run.world.add(fresh, **ENTRY)
    run.world.until_state(plan_id, "open")
    run.set(row.fault, **row.arguments)
    run.set(row.and_fault)
    eventually(
        lambda: run.world.clerk.rows(
            "SELECT 1 FROM trade.alert WHERE kind = 'symbol_budget'"
            " AND recorded_at >= to_timestamp($1)", since_s
        ),
        "the budget is told",
    )  # fmt: skip
    for symbol in (*BAITS, fresh):
        eventually(
            lambda at=symbol: (item := run.now(at)) is not None and item.is_live,
            f"{symbol} is live by somebody",
        )
    run.clear(row.fault)
    run.set(row.and_fault)
    run.until_served(run.serves)
    return run.judge(since_ns, fresh)


def not_live(run: Vendors, row: Row) -> dict[str, Any]:
    """No source is left: stale by its deadline, and no entry until a price is live again."""
    since_ns = time.monotonic_ns()
    run.set(row.fault, **row.arguments)
    if row.and_fault:
        run.set(row.and_fault, **row.and_arguments)
    run.until_met(row.fault)
    run.until_not_live()
    gone_s = round((time.monotonic_ns() - since_ns) / 1e9, 2)
    fresh = run.world.symbol()
    plan_id = run.world.add(fresh, **ENTRY)
    run.world.until_state(plan_id, "armed")
    run.pass_market_s(60)
    assert run.world.placed(fresh) == [], run.watch.since(since_ns, [fresh])
    run.clear(row.fault)
    back_s = run.until_served(run.serves)
    run.world.until_state(plan_id, "open")
    return {"not_live_s": gone_s, "back_s": back_s, **run.judge(since_ns, fresh)}


def never_wrong(run: Vendors, row: Row) -> dict[str, Any]:
    """What comes is delayed at best: no live price, no wrong one, and nothing enters."""
    since_ns = time.monotonic_ns()
    run.set(row.fault, **row.arguments)
    run.until_met(row.fault)
    fresh = run.world.symbol()
    run.world.until_state(run.world.add(fresh, **ENTRY), "armed")
    run.pass_market_s(120)
    assert run.world.placed(fresh) == []
    assert not any(one.is_live for one in run.watch.since(since_ns))
    run.clear(row.fault)
    return run.judge(since_ns)


def doubted(run: Vendors, row: Row) -> dict[str, Any]:
    """Every answer is wrong by the same: held, then a level that nobody else has shown."""
    since_ns, since_s = time.monotonic_ns(), time.time()
    run.set(row.fault, symbol=BAIT, **row.arguments)
    found = eventually(
        lambda: [one for one in run.refusals(since_s, BAIT) if one["verdict"] == "hold"],
        f"{BAIT} is held",
    )
    run.until_shown(run.serves, "unconfirmed", BAIT)
    plan_id = run.world.add(BAIT, "live", **ENTRY)
    run.world.until_state(plan_id, "armed")
    run.pass_market_s(60)
    assert run.world.entries(BAIT, "live") == []
    assert not any(one.is_live for one in run.watch.since(since_ns))
    run.clear(row.fault)
    kinds = sorted({each["check_name"] for each in found})
    return {"refused_by": kinds, **run.judge(since_ns, doubts=("unconfirmed", "suspect", "stale"))}


EXPECT = {
    "doubted": doubted,
    "never_wrong": never_wrong,
    "unnoticed": unnoticed,
    "unnoticed_elsewhere": unnoticed_elsewhere,
    "reconnected": reconnected,
    "handed_on": handed_on,
    "given_up": given_up,
    "refused": refused,
    "late": late,
    "held": held,
    "over_budget": over_budget,
    "not_live": not_live,
}


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row.name, marks=[] if row.is_quick else [pytest.mark.slow])
        for row in (*ROWS, *BROKER_ROWS, *BESIDE_ROWS)
        if row.expect in EXPECT
    ],
)
def test_fault(runs: Runs, row: Row) -> None:
    if row.why_not:
        keep(row.name, {"why_not": row.why_not})
        return
    played(runs, row, EXPECT[row.expect])
