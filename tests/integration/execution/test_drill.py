"""The broker drill finds what the simulator plays, for each switch, and leaves nothing behind."""

import asyncio
from contextlib import asynccontextmanager, suppress
from decimal import Decimal

import pytest

from support.order_world import ACCOUNT_ID, INSTRUMENTS
from support.tws_bench import TwsBench
from tradebox.adapters.ibkr.orders import IbOrderPort
from tradebox.domain.capabilities import BY_NAME, CAPABILITIES
from tradebox.execution.drill import DrillBench, Shown
from tradebox.execution.drill_steps import STEPS, run_steps
from tradebox.sim.exchange.variants import VARIANTS
from tradebox.supervision.clock import MonotonicClock

pytestmark = pytest.mark.asyncio


class ScriptedQuotes:
    def __init__(self, market, answer) -> None:
        self._market, self._answer = market, answer

    async def shown(self, symbol):
        quote = self._market.quote(symbol)
        bid, ask, last = (
            Decimal(one) / 1_000_000
            for one in (quote.bid_micros, quote.ask_micros, quote.last_micros)
        )
        return Shown(bid, ask, last, quote.ask_size)

    async def type_of_delayed(self, symbol):
        return self._answer


@asynccontextmanager
async def drill_bench(answer="delayed", **variants):
    """A gateway whose market shows the same quote again and again, and a drill on it."""
    tws = await TwsBench(None, **variants).start()
    clock = MonotonicClock()

    async def tick():
        while True:
            tws.market.show(99.99, 100.01, last=100.0, size=100)
            await asyncio.sleep(0.1)

    ticking = asyncio.ensure_future(tick())
    port = IbOrderPort(*tws.address, 30, clock)
    bench = DrillBench(
        port, ScriptedQuotes(tws.market, answer), INSTRUMENTS["AAPL"], ACCOUNT_ID, clock, "t",
        client_id=30, calm_s=0.15,
    )  # fmt: skip
    bench.connected(await port.connect(bench.took))
    try:
        yield bench, tws
    finally:
        port.close()
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
        await tws.stop()


STEP_OF = {
    "child_on_partial_parent": "partial",
    "child_on_parent_cancel": "partial",
    "stop_through_market": "trigger",
    "stop_resize": "resize",
    "restate_filled_parent": "single_child",
    "oca_for_single_child": "single_child",
    "gateway_oca_groups": "two_children",
    "oversell": "oversell",
    "market_depth": "depth",
    "instant_fill_status": "depth",
    "delayed_request": "delayed",
    "buy_stop_through_market": "short",
    "stop_to_market": "to_market",
    "exit_pair": "exit_pair",
    "slice": "slice",
    "order_ref": "order_ref",
}
CASES = [
    (variant.name, alternative) for variant in VARIANTS for alternative in variant.alternatives
]


async def test_every_switch_of_the_simulator_is_a_question_of_the_drill():
    switches = {variant.name: set(variant.alternatives) for variant in VARIANTS}
    assert {one.name: set(one.answers) for one in CAPABILITIES if one.is_played} == switches
    assert set(STEP_OF) == set(BY_NAME)
    assert set(STEP_OF.values()) == set(STEPS)


@pytest.mark.parametrize(("name", "alternative"), CASES)
async def test_the_drill_finds_what_the_simulator_plays(name, alternative):
    value = {"yes": True, "no": False}.get(alternative, alternative)
    async with drill_bench(answer=alternative, **{name: value}) as (bench, tws):
        findings = await run_steps(bench, (STEP_OF[name],))
        found = {finding.name: finding for finding in findings}
        assert found[name].found == alternative, found[name].evidence
        assert tws.bench.position("AAPL") == 0
        assert tws.bench.exchange.open_orders("paper") == []


@pytest.mark.parametrize(
    ("step", "variants", "answer"),
    [
        ("short", {}, "fires"),
        ("short", {"stop_through_market": "refused"}, "refused"),
        ("short", {"stop_through_market": "held"}, "held"),
        ("short", {"oversell": "refused"}, "no_short"),
        ("to_market", {}, "refused"),
        ("exit_pair", {}, "sold"),
        ("slice", {}, "sold"),
        ("slice", {"stop_resize": "refused"}, "refused"),
        ("order_ref", {}, "whole"),
    ],
)
async def test_the_ways_of_our_orders_are_walked_and_leave_nothing_behind(step, variants, answer):
    async with drill_bench(**variants) as (bench, tws):
        (finding,) = await run_steps(bench, (step,))
        assert finding.found == answer, finding.evidence
        assert tws.bench.position("AAPL") == 0
        assert tws.bench.exchange.open_orders("paper") == []


async def test_another_client_s_orders_are_none_of_the_drill_s():
    """The engine trades beside it, under the same order ids: only our own facts are evidence."""
    async with drill_bench(stop_through_market="refused") as (bench, tws):
        for order_id in range(1, 12):
            tws.bench.submit(
                order_id, client=11, quantity=10, side="BUY" if order_id % 2 else "SELL"
            )
        (finding,) = await run_steps(bench, ("trigger",))
        assert finding.found == "refused", finding.evidence
        assert {fact.client_id for _, fact in bench.facts if hasattr(fact, "client_id")} == {30}
