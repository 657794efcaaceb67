"""The plan runner over scripted stand-ins: order of saves and requests, outages, crashes."""

from dataclasses import replace
from decimal import Decimal

import pytest

from support.plan_bench import (
    Broker,
    Crashed,
    CrashPoint,
    Hub,
    MarketTime,
    MemoryReference,
    MemoryStore,
    ScriptedPath,
    long_plan,
)
from tradebox.domain.events import (
    AccountChanged,
    AlertRaised,
    PlanChanged,
    PlanStepTaken,
    PositionChanged,
)
from tradebox.domain.market import Instrument, Quality
from tradebox.domain.orders import AccountName, Denied, OrderRole
from tradebox.domain.path import EnterRequest, ExitRequest
from tradebox.domain.plan_document import document_from
from tradebox.execution.order_path import OrderPath
from tradebox.execution.plan_needs import PlanPath
from tradebox.execution.plan_runner import WATCHED_MAX, PlanRunner
from tradebox.execution.symbol_facts import SymbolFacts
from tradebox.supervision.clock import ManualClock

pytestmark = pytest.mark.asyncio
SECOND_NS = 10**9


class Desk:
    """A runner with everything around it; restart() is a new process on the same world."""

    def __init__(self, crash: CrashPoint | None = None) -> None:
        self.crash = crash or CrashPoint()
        self.time = MarketTime()
        self.clock = ManualClock()
        self.broker = Broker(self.time)
        self.store = MemoryStore(self.crash)
        self.reference = MemoryReference()
        self.hub = Hub(self.time)
        self.events: list[object] = []
        self.restart()

    def restart(self) -> None:
        self.path = ScriptedPath(self.broker, self.crash)
        self.runner = PlanRunner(
            AccountName.PAPER, self.path, self.store, self.reference, self.time, self.clock,
            self.hub, self.events.append,
        )  # fmt: skip

    async def add(self, **changes: object) -> str:
        document = document_from(long_plan(**changes))
        return await self.store.request_plan(
            document, AccountName.PAPER, now_ns=self.time.now_ns(), author="test"
        )

    async def price(self, price: str, symbol: str = "AAPL", quality=Quality.LIVE) -> None:
        """One price, then a second of timers; the broker sees it first."""
        self.broker.prices[symbol] = Decimal(price)
        fills = self.broker.trigger_stops(symbol)
        if fills:
            await self.runner.on_fact(fills)
        tick = self.hub.tick(symbol, price, quality)
        await self.runner.on_tick(tick)
        await self.pass_time(1)

    async def pass_time(self, seconds: int) -> None:
        for _ in range(seconds * 4):
            self.time.at_ns += SECOND_NS // 4
            self.clock.advance(0.25)
            await self.runner.on_timer()

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    def alerts(self) -> list[str]:
        return [event.kind for event in self.of(AlertRaised)]

    def state(self, plan_id: str) -> str:
        return self.store.rows[plan_id].state


def a_path(path: OrderPath) -> PlanPath:
    """The type checker's word that the real path is what the runner needs."""
    return path


TAPE = ["100", "100.2", "100.6", "101.1", "101.4", "101.8", "101.2"]
LIFE = ["entry", "break_even", "scale_out", *["trail"] * 3, "exit"]


async def test_a_life_from_request_to_exit():
    desk = Desk()
    await desk.runner.load()
    plan_id = await desk.add()
    await desk.pass_time(1)
    assert desk.state(plan_id) == "armed"
    for price in TAPE:
        await desk.price(price)
    assert desk.store.kinds(plan_id) == LIFE
    assert desk.state(plan_id) == "closed"
    assert [step.kind for step in desk.of(PlanStepTaken)] == LIFE
    assert [step.source for step in desk.of(PlanStepTaken)] == ["finnhub"] * 6 + ["broker"]
    rows = [event.row for event in desk.of(PlanChanged)]
    assert rows[-1].state == "closed"
    assert rows[-1].r_multiple == pytest.approx(1.2, abs=0.3)
    assert {row.quantity for row in rows} >= {0, 100, 50}
    assert ("T1", Decimal(101), "done") in rows[-1].levels
    flat = desk.of(PositionChanged)[-1]
    assert (flat.symbol, flat.quantity) == ("AAPL", 0)
    assert desk.of(AccountChanged)[0].net_liquidation_usd == Decimal(100_000)
    assert desk.runner.symbols == frozenset()


async def test_a_plan_of_an_account_in_euros_is_refused_at_once_and_says_why():
    desk = Desk()
    desk.path.account_state = replace(desk.path.account_state, currency="EUR")
    await desk.runner.load()
    plan_id = await desk.add()
    await desk.pass_time(1)
    assert desk.state(plan_id) == "refused"
    (told,) = [event for event in desk.of(AlertRaised) if event.kind == "plan_refused"]
    assert "kept in EUR" in told.text
    assert "base currency to USD" in told.text


async def test_the_state_is_saved_before_its_request_leaves():
    desk = Desk()
    seen: list[str] = []
    ask = desk.path.request

    async def watched(req):
        seen.append(desk.store.rows[req.plan_id].machine["pending"])
        await ask(req)

    desk.path.request = watched
    await desk.runner.load()
    await desk.add()
    await desk.pass_time(1)
    for price in TAPE:
        await desk.price(price)
    assert seen == ["EnterRequest", "MoveStopRequest", "ScaleOutRequest"] + ["MoveStopRequest"] * 3


async def test_rows_come_at_most_twice_a_second_between_changes():
    desk = Desk()
    await desk.runner.load()
    await desk.add()
    await desk.pass_time(1)
    await desk.price("100")
    await desk.pass_time(2)
    before = len(desk.of(PlanChanged))
    for _ in range(40):
        await desk.runner.on_tick(desk.hub.tick("AAPL", "100.1"))
        await desk.runner.on_timer()
        desk.clock.advance(0.05)
    assert 3 <= len(desk.of(PlanChanged)) - before <= 5


async def test_a_quiet_price_costs_no_save():
    desk = Desk()
    await desk.runner.load()
    await desk.add()
    await desk.pass_time(1)
    await desk.price("100")
    await desk.pass_time(2)
    saves = desk.store.saves
    for cents in range(10, 40):
        await desk.price(f"100.{cents}")
    assert desk.store.saves == saves


async def test_without_postgres_no_entry_leaves_and_it_leaves_later():
    desk = Desk()
    await desk.runner.load()
    plan_id = await desk.add()
    await desk.pass_time(1)
    desk.store.is_down = True
    for _ in range(3):
        await desk.price("100")
    assert desk.path.asked == []
    assert desk.alerts() == ["plan_store_down"]
    desk.store.is_down = False
    await desk.pass_time(1)
    await desk.price("100.1")
    assert desk.broker.entries == [plan_id]


async def test_without_postgres_reductions_go_on_and_their_steps_are_saved_later():
    desk = Desk()
    await desk.runner.load()
    plan_id = await desk.add()
    await desk.pass_time(1)
    await desk.price("100")
    desk.store.is_down = True
    for price in TAPE[1:]:
        await desk.price(price)
    assert desk.broker.accounts[plan_id].position == 0
    assert desk.store.kinds(plan_id) == ["entry"]
    desk.store.is_down = False
    await desk.pass_time(1)
    assert desk.store.kinds(plan_id) == LIFE
    assert desk.state(plan_id) == "closed"


async def test_an_unknown_symbol_is_refused_and_told():
    desk = Desk()
    await desk.runner.load()
    plan_id = await desk.add(symbol="NOPE")
    await desk.pass_time(1)
    assert desk.state(plan_id) == "refused"
    assert "symbol = NOPE" in desk.store.rows[plan_id].close_reason
    assert desk.alerts() == ["plan_refused"]


async def test_an_instrument_may_come_from_the_broker():
    desk = Desk()

    async def find(symbol: str) -> Instrument:
        return Instrument(symbol, 7, "NYSE", "USD", Decimal("0.01"), symbol)

    desk.runner = PlanRunner(
        AccountName.PAPER, desk.path, desk.store, desk.reference, desk.time, desk.clock, desk.hub,
        desk.events.append, find_instrument=find,
    )  # fmt: skip
    await desk.runner.load()
    plan_id = await desk.add(symbol="IBM")
    await desk.pass_time(1)
    assert desk.state(plan_id) == "armed"
    assert desk.reference.known["IBM"].con_id == 7


async def test_symbols_that_a_person_needs_are_watched_and_bounded():
    desk = Desk()
    for number in range(WATCHED_MAX + 2):
        desk.runner.watch(f"S{number}")
    desk.runner.watch("S2")
    desk.runner.watch("NEW")
    kept = {f"S{number}" for number in range(4, WATCHED_MAX + 2)} | {"S2", "NEW"}
    assert desk.runner.watched == kept
    assert len(kept) == WATCHED_MAX


async def test_a_plan_is_not_armed_before_its_past_bars_were_asked_for():
    desk, came = Desk(), set()
    desk.runner = PlanRunner(
        AccountName.PAPER, desk.path, desk.store, desk.reference, desk.time, desk.clock, desk.hub,
        desk.events.append, facts=SymbolFacts(lambda symbol, _now_ns: symbol in came),
    )  # fmt: skip
    await desk.runner.load()
    plan_id = await desk.add()
    await desk.pass_time(3)
    assert (desk.state(plan_id), desk.runner.symbols) == ("requested", {"AAPL"})
    came.add("AAPL")
    await desk.pass_time(3)
    assert desk.state(plan_id) == "armed"


async def test_a_plan_waits_for_sessions_and_for_the_account_value():
    desk = Desk()
    desk.reference.rows = ()
    await desk.runner.load()
    plan_id = await desk.add()
    await desk.pass_time(2)
    assert desk.state(plan_id) == "requested"
    desk.reference.rows = MemoryReference().rows
    await desk.pass_time(6)
    assert desk.state(plan_id) == "armed"


async def test_a_denied_entry_is_refused_and_told():
    desk = Desk()
    await desk.runner.load()
    plan_id = await desk.add()
    await desk.pass_time(1)
    desk.path.deny["EnterRequest"] = Denied("size", "10", "100", "too many")
    await desk.price("100")
    assert desk.state(plan_id) == "refused"
    assert desk.alerts() == ["plan_refused"]


async def test_a_denied_stop_move_is_told_and_asked_again():
    desk = Desk()
    await desk.runner.load()
    plan_id = await desk.add()
    await desk.pass_time(1)
    await desk.price("100")
    await desk.pass_time(2)
    desk.path.deny["MoveStopRequest"] = Denied("rate", "10", "11", "")
    await desk.price("100.6")
    assert desk.alerts() == ["reduction_refused"]
    await desk.pass_time(6)
    assert desk.store.kinds(plan_id) == ["entry", "break_even"]


async def test_cancel_by_row_is_obeyed_and_answered():
    desk = Desk()
    await desk.runner.load()
    plan_id, second = await desk.add(), await desk.add(symbol="MSFT")
    await desk.pass_time(1)
    await desk.price("100")
    await desk.pass_time(2)
    for one in (plan_id, second, "nothing"):
        await desk.store.cancel_request(one, "enough")
    await desk.pass_time(2)
    assert [a["done"] for a in desk.store.answers.values()] == [True, True, False]
    assert isinstance(desk.path.asked[-1], ExitRequest)
    assert desk.state(plan_id) == "closed"
    assert desk.store.rows[plan_id].close_reason == "enough"
    assert desk.state(second) == "cancelled"


async def test_a_cancel_waits_for_its_instant():
    desk = Desk()
    await desk.runner.load()
    plan_id = await desk.add()
    await desk.pass_time(1)
    await desk.price("100")
    due_ns = desk.time.now_ns() + 6_000_000_000
    await desk.store.cancel_request(plan_id, "exit signal", from_ns=due_ns)
    await desk.pass_time(3)
    assert desk.time.now_ns() < due_ns
    assert (desk.state(plan_id), desk.store.answers) == ("open", {})
    await desk.pass_time(6)
    assert desk.state(plan_id) == "closed"
    assert desk.store.rows[plan_id].close_reason == "exit signal"


async def test_shares_that_a_reconcile_took_off_end_the_plan():
    desk = Desk()
    await desk.runner.load()
    plan_id = await desk.add()
    await desk.pass_time(1)
    await desk.price("100")
    await desk.pass_time(2)
    desk.broker.accounts[plan_id].position = 0
    await desk.pass_time(1)
    assert desk.state(plan_id) == "closed"
    assert "is assumed" in desk.store.rows[plan_id].close_reason


async def test_a_position_whose_plan_has_ended_is_told():
    desk = Desk()
    await desk.runner.load()
    plan_id = await desk.add()
    await desk.pass_time(1)
    await desk.price("100")
    await desk.pass_time(2)
    del desk.store.rows[plan_id]
    desk.restart()
    await desk.runner.load()
    assert desk.alerts() == ["stray_position"]


async def test_a_document_that_cannot_be_read_stops_no_other():
    desk = Desk()
    bad = await desk.add()
    row = desk.store.rows[bad]
    object.__setattr__(row, "document", {"symbol": "AAPL"})
    good = await desk.add(symbol="MSFT")
    await desk.runner.load()
    await desk.pass_time(1)
    assert desk.state(good) == "armed"
    assert desk.alerts()[0] == "plan_unreadable"


async def run_with_crash(at: int) -> tuple[Desk, str, int]:
    """Play the tape; the process dies at the n-th crash point and starts again at once."""
    crash = CrashPoint(at)
    desk = Desk(crash)
    await desk.runner.load()
    plan_id = await desk.add()
    crashes = 0
    for price in ["100", *TAPE, "101.2", "101.2", "100.9", "100.4", "99.5"]:
        try:
            await desk.pass_time(2)
            await desk.price(price)
        except Crashed:
            crashes += 1
            desk.restart()
            await desk.runner.load()
            await desk.pass_time(2)
    await desk.pass_time(2)
    return desk, plan_id, crashes


async def test_a_crash_at_any_point_duplicates_and_loses_nothing():
    calm, _, _ = await run_with_crash(-1)
    points = calm.crash.visits
    assert points > 20
    for at in range(1, points + 1):
        desk, plan_id, crashes = await run_with_crash(at)
        assert crashes == 1, at
        where = f"crash point {at}"
        assert desk.broker.entries == [plan_id], where
        account = desk.broker.accounts[plan_id]
        assert account.position == 0, where
        assert desk.state(plan_id) == "closed", where
        kinds = desk.store.kinds(plan_id)
        assert kinds[0] == "entry", where
        assert kinds[-1] == "exit", where
        assert kinds.count("entry") == kinds.count("exit") == 1, where
        assert kinds.count("break_even") == 1, where
        assert kinds.count("scale_out") == 1, where
        stops = desk.broker.stops[plan_id]
        assert stops == sorted(stops), where
        sold = [e.quantity for e in account.history if getattr(e, "role", 0) is OrderRole.SLICE]
        assert sum(sold) == 50, where
        numbers = sorted(desk.store.steps[plan_id])
        assert numbers == list(range(1, len(numbers) + 1)), where


async def test_an_entry_is_never_asked_twice_while_its_fate_is_open():
    desk = Desk()
    await desk.runner.load()
    plan_id = await desk.add()
    await desk.pass_time(1)
    await desk.runner.on_tick(desk.hub.tick("AAPL", "100"))
    assert [type(r) for r in desk.path.asked] == [EnterRequest]
    desk.broker.prices["AAPL"] = Decimal(100)
    for _ in range(3):
        desk.restart()
        await desk.runner.load()
        await desk.runner.on_tick(desk.hub.tick("AAPL", "100"))
        assert desk.path.asked == []
    await desk.pass_time(2)
    assert desk.store.kinds(plan_id) == ["entry"]
