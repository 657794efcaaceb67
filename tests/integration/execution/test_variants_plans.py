"""Whole plans under every switch of the simulator: nothing proven, and after the drill's word.

The gateway's ledger judges, commit by commit. Uncovered time by cause is kept in the file that
TRADEBOX_VARIANT_RESULTS names.
"""

import asyncio
import importlib
import json
import os
import time
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

import pytest
import pytest_asyncio

from support.order_world import ACCOUNT_ID, INSTRUMENTS
from support.plan_world import plan_world
from tradebox.adapters.ibkr.orders import IbOrderPort
from tradebox.adapters.postgres.capabilities import PgCapabilities
from tradebox.adapters.postgres.commands import PgCommands
from tradebox.adapters.postgres.pool import PgPool
from tradebox.domain.capabilities import BY_NAME, UNPROVEN, gateway_build
from tradebox.domain.market import AdmittedTick, Quality, Source
from tradebox.domain.orders import AccountName
from tradebox.domain.plan_state import Phase
from tradebox.execution.coverage import WINDOW_S_MAX
from tradebox.execution.drill import DrillBench, Shown
from tradebox.execution.drill_steps import run_steps
from tradebox.execution.kill_switch import drill_name
from tradebox.ports.capability_store import CapabilityRow
from tradebox.sim.exchange.variants import VARIANTS
from tradebox.supervision.clock import MonotonicClock

ROOT = Path(__file__).resolve().parents[3]
RESULTS = "TRADEBOX_VARIANT_RESULTS"
DRILLED = "MSFT"
STEPS = ("partial", "trigger", "resize")
"""What the order path builds on."""
QUICK = {("child_on_parent_cancel", "arms"), ("stop_resize", "cancels")}
CASES = [(one.name, alternative) for one in VARIANTS for alternative in one.alternatives]
LOOKS_MAX = 50
KINDS = ["entry", "break_even", "scale_out", "trail"]


def marked(case):
    return pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow)


@pytest_asyncio.fixture
async def pool(pg_dsn):
    made = PgPool(pg_dsn, MonotonicClock())
    yield made
    await made.close()


@pytest.fixture
def ledger_fold(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("bench.ledger_fold")


def watched(plans, ledger_fold):
    """Fold each commit of the exchange's ledger as it is made, the drill's orders left out."""
    fold, ledger = ledger_fold.LedgerFold(may_arm_early=True), plans.bench.bench.ledger
    ledger._monotonic_ns = time.monotonic_ns
    commit = ledger.commit

    def commit_and_judge():
        known = len(ledger._rows_kept)
        commit()
        for row in ledger._rows_kept[known:]:
            if DRILLED not in (row.get("symbol"), row.get("ticket", {}).get("symbol")):
                fold.take(row)
        fold.settle()

    ledger.commit = commit_and_judge
    return fold


class Quotes:
    """What the scripted market shows the drill."""

    def __init__(self, market, answer):
        self._market, self._answer = market, answer

    async def shown(self, symbol):
        quote = self._market.quote(symbol)
        prices = (quote.bid_micros, quote.ask_micros, quote.last_micros)
        return Shown(*(Decimal(one) / 1_000_000 for one in prices), quote.ask_size)

    async def type_of_delayed(self, symbol):
        return self._answer


async def drill(plans, pool):
    """Run the drill beside the trading path and store what it saw, as the command does."""
    market = plans.bench.market

    async def tick():
        while True:
            market.show(99.99, 100.01, 100, symbol=DRILLED, last=100.0)
            await asyncio.sleep(0.1)

    clock = MonotonicClock()
    port = IbOrderPort(*plans.bench.address, 30, clock)
    switch = drill_name(AccountName.PAPER)
    await PgCommands(pool).switch(switch, DRILLED, "a drill")
    ticking = asyncio.ensure_future(tick())
    try:
        await plans.until(lambda: plans.kill.drilled(AccountName.PAPER) == DRILLED, "the switch")
        bench = DrillBench(
            port,
            Quotes(market, "live"),
            INSTRUMENTS[DRILLED],
            ACCOUNT_ID,
            clock,
            "t",
            client_id=30,
            calm_s=0.15,
        )
        info = await port.connect(bench.took)
        bench.connected(info)
        findings = await run_steps(bench, STEPS)
    finally:
        port.close()
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
        await PgCommands(pool).switch(switch, "", "the drill is over")
    await PgCapabilities(pool).put(
        tuple(
            CapabilityRow(
                ACCOUNT_ID, gateway_build(info.server_version), one.name, one.found,
                one.found in BY_NAME[one.name].good, one.evidence,
            )
            for one in findings
            if one.found
        )
    )  # fmt: skip
    found = {one.name: one.found for one in findings if one.found}
    await plans.until(lambda: dict(plans.path._proven.found) == found, "what was found is known")
    return found


async def quote(plans, price, size=1_000):
    """Show a price and let it trade, then let the plans see it."""
    market, value = plans.bench.market, float(price)
    market.tick(1_000)
    market.show(value - 0.01, value + 0.01, size, last=value)
    market.print_trade(value, size=1)
    now_ns = market.clock.now_ns()
    micros = int(Decimal(price) * 1_000_000)
    tick = AdmittedTick("AAPL", micros, 100, now_ns, now_ns, Source.FINNHUB, Quality.LIVE, 1, 1, 1)
    async with plans.turn:
        await plans.runner.on_tick(tick)


async def opened(plans, *, shown, **changes):
    """Add a plan and see it open and covered, whatever the gateway did to its stop."""
    plans.link.want_look("a refusal blocks the symbol until the books were compared")
    await plans.until(lambda: not plans.path._intake.unproven("AAPL"), "a free symbol")
    plan_id = await plans.add(**changes)
    await plans.until_state(plan_id, "armed")
    await entered(plans, plan_id, shown)
    await settled(plans, plan_id)
    held = plans.path.holding(plan_id).position
    assert held == plans.bench.bench.position("AAPL") != 0
    return plan_id


async def entered(plans, plan_id, shown):
    """Show the price until the plan has entered: a late refusal may block the symbol for a look."""
    running = plans.runner.plans[plan_id]
    for _ in range(LOOKS_MAX):
        if running.state.phase is not Phase.ARMED:
            break
        await quote(plans, "100", shown)
        await asyncio.sleep(0.1)
    await plans.until_state(plan_id, "open")


async def settled(plans, plan_id):
    def is_settled():
        return plans.path.holding(plan_id).covered and not plans.path.is_busy(plan_id)

    await plans.until(is_settled, f"{plan_id} is covered")


async def whole_life(plans, *, shown):
    """Entry, break-even, half out, trail, stopped out."""
    plan_id = await opened(plans, shown=shown)
    for number, price in enumerate(("100.6", "101.2", "102"), start=2):
        await quote(plans, price)
        await plans.until(
            lambda n=number: taken(plans, plan_id)[:n] == KINDS[:n], KINDS[number - 1]
        )
        await settled(plans, plan_id)
    await quote(plans, "101")
    await plans.until_state(plan_id, "closed")


async def left_early(plans, side):
    """Entry, and a person who has seen enough."""
    stop = {"long": "99", "short": "101"}[side]
    plan_id = await opened(plans, shown=1_000, side=side, stop={"price": stop}, steps=[])
    await plans.plan_store.cancel_request(plan_id, "enough")
    await plans.until_state(plan_id, "closed")


def taken(plans, plan_id):
    return [step.kind for step in plans.steps if step.plan_id == plan_id]


def by_cause(spans):
    causes = {}
    for span in spans:
        told = causes.setdefault(span.cause, {"count": 0, "total_ms": 0.0, "longest_ms": 0.0})
        told["count"] += 1
        told["total_ms"] = round(told["total_ms"] + span.lasted_s * 1000, 1)
        told["longest_ms"] = round(max(told["longest_ms"], span.lasted_s * 1000), 1)
    return causes


def keep(case, told):
    if os.environ.get(RESULTS):
        path = Path(os.environ[RESULTS])
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**known, case: told}, indent=2) + "\n")


def judged(plans, fold, since):
    """Return uncovered time by cause of the spans from a number on; no fault was seen."""
    fold.settle()
    assert fold.faults == []
    assert fold.held() == {}
    assert plans.bench.bench.exchange.open_orders("paper") == []
    causes = by_cause(fold.spans[since:])
    for cause, told in causes.items():
        limit = WINDOW_S_MAX.get(cause, WINDOW_S_MAX["stop_replacement"])
        assert told["longest_ms"] < limit * 1000, cause
    return causes


@pytest.mark.asyncio
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("name", "alternative"), [marked(case) for case in CASES])
async def test_plans_are_covered_before_and_after_the_drill(
    tmp_path, pool, ledger_fold, name, alternative
):
    value = {"yes": True, "no": False}.get(alternative, alternative)
    side = "long" if (name, alternative) == ("oversell", "refused") else "short"
    async with plan_world(tmp_path, pool, **{name: value}) as plans:
        fold = watched(plans, ledger_fold)
        told = {}
        for stage in ("unproven", "proven"):
            since = len(fold.spans)
            if stage == "proven":
                told["found"] = await drill(plans, pool)
            else:
                assert plans.path._proven == UNPROVEN
            await whole_life(plans, shown=30)
            await whole_life(plans, shown=1_000)
            await left_early(plans, side)
            told[stage] = judged(plans, fold, since)
        if name in told["found"]:
            assert told["found"][name] == alternative
        keep(f"{name}={alternative}", told)
