"""What the market itself does: halts, gaps, splits and dividends, as consumers see them."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from chaos.vendors.harness import BAITS, Runs, Vendors, played, told
from chaos.vendors.rows import BESIDE_ROWS, BY_NAME, STREAM, Row
from support.run_bench import eventually

BAIT = BAITS[0]
ENTRY = {"entry": {"type": "market", "valid_until": 300}, "size": {"quantity": 5}}

FAST = 120
OPEN_S_MAX = 400.0
"""A session lasts 195 s at that speed, and the night is skipped."""

pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("vendors")]


def halted(run: Vendors, row: Row) -> dict[str, Any]:
    """No print comes: the price is no longer live by its deadline; trading again, it is."""
    del row
    symbol = run.world.symbol()
    run.world.open(symbol, size={"quantity": 5})
    since_ns = time.monotonic_ns()
    run.set("market.halt", symbol=symbol)
    not_live_s = run.until_not_live(symbol)
    run.set("market.resume", symbol=symbol)
    back_s = run.until_served(run.serves, symbol)
    return {"not_live_s": not_live_s, "back_s": back_s, **run.judge(since_ns)}


def moved(run: Vendors, row: Row) -> dict[str, Any]:
    """A genuine gap is taken in bounded time; before that nobody is told a live price."""
    symbol = run.world.symbol()
    run.world.open(symbol, size={"quantity": 5})
    run.until_served(run.serves, symbol)
    level = run.watch.last(symbol)
    assert level is not None
    since_ns = time.monotonic_ns()
    run.set(row.fault, symbol=symbol, **row.arguments)

    def is_taken() -> bool:
        item = run.now(symbol)
        return item is not None and item.is_live and item.price < level.price * 0.97

    eventually(is_taken, f"{symbol} live at the new level")
    taken_s = round((time.monotonic_ns() - since_ns) / 1e9, 2)
    return {"taken_s": taken_s, **run.judge(since_ns)}


def over_an_open(run: Vendors, row: Row, kind: str) -> str:
    """Have a symbol held over the next open, at which a corporate action happens.

    An order that rests would not do: the exchange ends it with a split, and its plan with it.
    """
    symbol = run.world.symbol()
    plan_id = run.world.open(symbol, size={"quantity": 5})
    run.until_served(run.serves, symbol)
    run.set(row.fault, symbol=symbol, **row.arguments)
    eventually(
        lambda: run.world.ledger(kind, symbol=symbol), f"the open with the {kind}", OPEN_S_MAX
    )
    assert run.world.plan(plan_id)
    return symbol


def split(run: Vendors, row: Row) -> dict[str, Any]:
    """The new level is nobody's live price until a person confirms it."""
    before = run.world.price(BAIT)
    symbol = over_an_open(run, row, "split")
    since_ns, since_s = time.monotonic_ns(), time.time()
    found = eventually(
        lambda: [one for one in run.refusals(since_s - 5, symbol) if one["check_name"] == "split"],
        f"{symbol} is held for its split",
    )
    assert run.is_not_live(symbol)
    assert not any(one.is_live for one in run.watch.since(since_ns, [symbol]))
    done = run.world.box.command("ctl", "confirm", symbol)
    assert done.returncode == 0, done.stderr
    back_s = run.until_served(run.serves, symbol)
    assert before > 0
    doubts = ("suspect", "stale")
    judged = run.judge(since_ns, symbol, *BAITS, doubts=doubts)  # the old level, said as such
    return {"held": len(found), "back_s": back_s, **judged}


def dividend(run: Vendors, row: Row) -> dict[str, Any]:
    """Half a dollar less at the open is no jump that would block anything."""
    symbol = over_an_open(run, row, "dividend")
    since_ns = time.monotonic_ns()
    run.until_served(run.serves, symbol)
    run.until_more(5, symbol, run.serves)
    return run.judge(since_ns, symbol, *BAITS)


def halt_told(run: Vendors, row: Row) -> dict[str, Any]:
    """The broker says that a symbol is halted: suspect at once, and no entry, until it trades."""
    symbol, other = run.world.symbol(), BAITS[1]
    run.world.open(symbol, size={"quantity": 5})
    run.until_served(run.serves, symbol)
    since_ns, since_s = time.monotonic_ns(), time.time()
    run.set(row.fault, symbol=symbol)
    run.until_shown(run.serves, "suspect", symbol)
    told_s = round((time.monotonic_ns() - since_ns) / 1e9, 2)
    found = eventually(
        lambda: [one for one in run.refusals(since_s, symbol) if one["check_name"] == "halt"],
        f"{symbol} is told to be halted",
    )
    assert {one["source"] for one in found} == {"ib"}
    plan_id = run.world.add(symbol, "live", **ENTRY)
    run.world.until_state(plan_id, "armed")
    run.pass_market_s(60)
    assert run.world.entries(symbol, "live") == []
    assert not run.is_served(symbol, run.serves)
    run.until_more(1, other, run.serves)
    run.set("market.resume", symbol=symbol)
    back_s = run.until_served(run.serves, symbol)
    return {"told_s": told_s, "back_s": back_s, **run.judge(since_ns, symbol)}


EXPECT = {"market.halt": halted, "market.resume": halted, "market.gap": moved}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("fault", "play"), [("market.split", split), ("market.dividend", dividend)]
)
def test_an_action_at_the_open(fault: str, play: Callable[..., dict[str, Any]]) -> None:
    words = {"world": STREAM, "expect": BY_NAME[fault].expect}
    with told(fault, **words) as result, Vendors.started(STREAM, speed=FAST) as run:
        result["shown"] = play(run, BY_NAME[fault])


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(name, marks=[] if BY_NAME[name].is_quick else [pytest.mark.slow])
        for name in EXPECT
    ],
)
def test_market(runs: Runs, fault: str) -> None:
    played(runs, BY_NAME[fault], EXPECT[fault])


@pytest.mark.slow
@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.name) for row in BESIDE_ROWS if row.expect == "halt_told"]
)
def test_a_halt_by_the_broker_s_word(runs: Runs, row: Row) -> None:
    played(runs, row, halt_told)
