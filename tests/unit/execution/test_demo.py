"""The demo on the stand-in market: a whole life is seen in time, and plans are as promised."""

import heapq
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.plan_bench import (
    Broker,
    Hub,
    MarketTime,
    MemoryReference,
    MemoryStore,
    ScriptedPath,
)
from tradebox.domain.market import Session
from tradebox.domain.orders import AccountName
from tradebox.execution.demo import LIVELY, SHOW, Demo, DemoTerms, demo_document
from tradebox.execution.plan_runner import PlanRunner
from tradebox.sim.market import hours
from tradebox.sim.market.data import load
from tradebox.sim.market.replay import Replay
from tradebox.supervision.clock import ManualClock

SPEED = 20
TURN_S = 0.25
SECOND_NS = 10**9


@pytest.fixture(scope="module")
def data():
    return load()


class Stage:
    """The demo, its runner and a market that goes on by quarter seconds of real time."""

    def __init__(self, data, seed: int, number: int, minute: int) -> None:
        session = hours.session(number)
        self.start_ns = session.open_ns + minute * hours.MINUTE_NS
        self.time = MarketTime(self.start_ns)
        self.clock = ManualClock()
        self.broker = Broker(self.time)
        self.store = MemoryStore()
        self.hub = Hub(self.time)
        reference = MemoryReference(LIVELY)
        reference.rows = (Session("XNYS", "", session.open_ns, session.close_ns),)
        path = ScriptedPath(self.broker)
        self.runner = PlanRunner(
            AccountName.PAPER, path, self.store, reference, self.time, self.clock, self.hub,
            lambda _event: None,
        )  # fmt: skip
        self.demo = Demo(self.runner, self.hub, self.time, self.clock)
        replay = Replay(data, seed)
        known = {one.instrument.symbol for one in data.series}
        assert known >= set(LIVELY)
        self.prints = heapq.merge(
            *(self._prints(replay, symbol, session, minute) for symbol in LIVELY)
        )

    @staticmethod
    def _prints(replay, symbol, session, minute):
        for later in range(minute, session.minutes):
            for one in replay.prints(symbol, session.number, later):
                yield one.event_ns, symbol, one.price_micros

    async def show(self, real_s: float) -> float | None:
        """Return when the show was complete, in real seconds from the start, or None."""
        await self.runner.load()
        waiting = next(self.prints)
        for turn in range(int(real_s / TURN_S)):
            self.clock.advance(TURN_S)
            until_ns = self.start_ns + int((turn + 1) * TURN_S * SPEED * SECOND_NS)
            while waiting[0] <= until_ns:
                event_ns, symbol, micros = waiting
                self.time.at_ns = event_ns
                price = Decimal(micros).scaleb(-6)
                self.broker.prices[symbol] = price
                fills = self.broker.trigger_stops(symbol)
                if fills:
                    await self.runner.on_fact(fills)
                await self.runner.on_tick(self.hub.tick(symbol, str(price)))
                waiting = next(self.prints)
            self.time.at_ns = until_ns
            await self.runner.on_timer()
            await self.demo.on_timer()
            if self.demo.had_show:
                return (turn + 1) * TURN_S
        return None


@pytest.mark.asyncio
@pytest.mark.parametrize(("seed", "number", "minute"), [(1, 0, 0), (7, 60, 30), (11, 200, 340)])
async def test_a_newcomer_sees_a_whole_life_in_time(data, seed, number, minute):
    stage = Stage(data, seed, number, minute)
    shown_s = await stage.show(75)
    assert shown_s is not None
    lives = [stage.store.kinds(plan_id) for plan_id in stage.store.rows]
    assert any({kind.value for kind in SHOW} <= set(life) for life in lives)
    rows = list(stage.store.rows.values())
    assert {row.side.value for row in rows} == {"BUY", "SELL"}
    assert len({row.symbol for row in rows[:8]}) == 8
    assert all(row.is_demo for row in rows)


@given(st.decimals("5", "1500", places=2), st.booleans(), st.sampled_from(["0.01", "0.05"]))
def test_a_demo_plan_has_room_for_the_spread_and_something_to_take(price, is_long, increment):
    terms = DemoTerms()
    step = Decimal(increment)
    plan = demo_document("NFLX", is_long=is_long, price=price, terms=terms, increment=step)
    assert plan.stop.percent is not None
    room = price * plan.stop.percent / 100
    assert room >= step * terms.stop_increments_min
    assert plan.stop.percent >= terms.stop_percent
    assert plan.size.quantity is not None
    assert plan.size.quantity >= 2
    assert plan.size.quantity * price <= max(terms.notional_usd, 2 * price)
