"""Stand-ins at the ports of the plan runner: a scripted order path, a store, prices, clocks.

Rules of this file:
- the broker and the store survive a crash; the path and the runner do not;
- a procedure goes on one stage per timer or fact, so that a crash can fall between any two.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tradebox.domain.events import PositionChanged
from tradebox.domain.market import AdmittedTick, Bar, Instrument, Quality, Session, Source
from tradebox.domain.orders import AccountName, Denied, OrderRole
from tradebox.domain.path import (
    AccountState,
    CancelEntryRequest,
    EnterRequest,
    EntryClosed,
    EntryFilled,
    ExitRequest,
    Holding,
    LinkState,
    MoveStopRequest,
    PathEvent,
    PathRequest,
    ProcedureDone,
    RecoveredPlan,
    RecoveredState,
    ReduceFilled,
    RequestDenied,
    ScaleOutRequest,
    StopWorking,
)
from tradebox.domain.plan_document import PlanDocument
from tradebox.domain.plan_state import Phase, PlanState, state_to_json
from tradebox.domain.plan_turn import StepTaken
from tradebox.errors import StoreUnavailable
from tradebox.ports.plan_store import CancelCommand, StoredPlan

JAN_4_OPEN = 1_451_917_800_000_000_000  # 2016-01-04 09:30 in New York
SESSION = Session(
    "XNYS", "2016-01-04", JAN_4_OPEN, JAN_4_OPEN + 390 * 60 * 10**9, is_early_close=False
)


class Crashed(Exception):
    """The process died here."""


class CrashPoint:
    """Raises Crashed at its n-th visit; counts the visits."""

    def __init__(self, at: int = -1) -> None:
        self.at = at
        self.visits = 0

    def visit(self) -> None:
        self.visits += 1
        if self.visits == self.at:
            raise Crashed


class MarketTime:
    """A market clock that a test moves."""

    speed = 1.0

    def __init__(self, now_ns: int = JAN_4_OPEN) -> None:
        self.at_ns = now_ns

    def now_ns(self) -> int:
        return self.at_ns


@dataclass
class Account:
    """One plan's shares at the broker, and the history the books hold of it."""

    request: EnterRequest
    entry_is_working: bool = True
    position: int = 0
    stop_price: Decimal | None = None
    stop_quantity: int = 0
    history: list[PathEvent] = field(default_factory=list)


class Broker:
    """What survives: orders and fills. Fills at the last price told to it."""

    def __init__(self, clock: MarketTime) -> None:
        self.clock = clock
        self.accounts: dict[str, Account] = {}
        self.entries: list[str] = []
        self.prices: dict[str, Decimal] = {}
        self.stops: dict[str, list[Decimal]] = {}

    def price_of(self, account: Account) -> Decimal:
        return self.prices[account.request.symbol]

    def fill_entry(self, plan_id: str, quantity: int) -> list[PathEvent]:
        account = self.accounts[plan_id]
        filled = quantity + account.position
        left = account.request.quantity - filled
        account.position, account.stop_quantity = filled, filled
        account.stop_price = account.request.protective_stop
        self.stops.setdefault(plan_id, []).append(account.stop_price)
        price = self.price_of(account)
        fill = EntryFilled(plan_id, quantity, price, filled, left, self.clock.now_ns())
        account.history.append(fill)
        return [fill]

    def close_entry(self, plan_id: str, reason: str = "filled") -> list[PathEvent]:
        account = self.accounts[plan_id]
        account.entry_is_working = False
        closed = EntryClosed(plan_id, account.position, reason, self.clock.now_ns())
        account.history.append(closed)
        return [closed]

    def move_stop(self, plan_id: str, price: Decimal) -> list[PathEvent]:
        account = self.accounts[plan_id]
        account.stop_price = price
        self.stops[plan_id].append(price)
        return [StopWorking(plan_id, account.stop_quantity, price, self.clock.now_ns())]

    def reduce(self, plan_id: str, role: OrderRole, quantity: int) -> list[PathEvent]:
        account = self.accounts[plan_id]
        quantity = min(quantity, account.position)
        if quantity == 0:
            return []
        account.position -= quantity
        account.stop_quantity = account.position
        price = self.price_of(account)
        if role is OrderRole.STOP and account.stop_price is not None:
            price = account.stop_price
        now_ns = self.clock.now_ns()
        fill = ReduceFilled(plan_id, role, quantity, price, account.position, now_ns)
        account.history.append(fill)
        return [fill]

    def trigger_stops(self, symbol: str) -> list[PathEvent]:
        events: list[PathEvent] = []
        for plan_id, account in self.accounts.items():
            sign = account.request.side.sign
            is_through = (
                account.request.symbol == symbol
                and account.position > 0
                and account.stop_price is not None
                and sign * (self.prices[symbol] - account.stop_price) <= 0
            )
            if is_through:
                events += self.reduce(plan_id, OrderRole.STOP, account.position)
        return events


Stage = Callable[[], list[PathEvent]]


class ScriptedPath:
    """PlanPath over a Broker. deny: a refusal for the next request of a kind."""

    def __init__(self, broker: Broker, crash: CrashPoint | None = None) -> None:
        self.broker = broker
        self.crash = crash or CrashPoint()
        self.account_state = AccountState(
            LinkState.CLEAN, "SIM1", Decimal(100_000), Decimal(50_000)
        )
        self.asked: list[PathRequest] = []
        self.deny: dict[str, Denied] = {}
        self._stages: dict[str, deque[Stage]] = {}
        self._events: list[PathEvent] = []

    @property
    def link_state(self) -> LinkState:
        return self.account_state.link

    def hold(self, plan_id, symbol, side, stop_level) -> None:
        """Nothing to take up: shares of these plans came by entries."""

    async def request(self, req: PathRequest) -> None:
        self.crash.visit()
        self.asked.append(req)
        now_ns = self.broker.clock.now_ns()
        denied = self.deny.pop(type(req).__name__, None)
        if denied is not None:
            self._events.append(RequestDenied(req.plan_id, type(req).__name__, denied, now_ns))
            return
        if isinstance(req, CancelEntryRequest):
            self._stages[req.plan_id] = deque([lambda: self.broker.close_entry(req.plan_id)])
        else:
            assert not self.is_busy(req.plan_id), req
            if isinstance(req, EnterRequest):
                self.broker.entries.append(req.plan_id)
                self.broker.accounts[req.plan_id] = Account(req)
            self._stages[req.plan_id] = deque(self._stages_of(req))
        self.crash.visit()

    def _stages_of(self, req: PathRequest) -> list[Stage]:
        broker, plan_id = self.broker, req.plan_id
        account = broker.accounts[plan_id]
        if isinstance(req, EnterRequest):
            half = req.quantity // 2
            return [
                lambda: broker.fill_entry(plan_id, half),
                lambda: broker.fill_entry(plan_id, req.quantity - half),
                lambda: broker.close_entry(plan_id),
                lambda: self._echo(plan_id),
                lambda: self._done(req),
            ]
        if isinstance(req, MoveStopRequest):
            price = req.stop_price
            return [lambda: broker.move_stop(plan_id, price), lambda: self._done(req)]
        if isinstance(req, ScaleOutRequest):
            part = req.quantity
            return [
                lambda: broker.reduce(plan_id, OrderRole.SLICE, part // 2),
                lambda: broker.reduce(plan_id, OrderRole.SLICE, part - part // 2),
                lambda: self._echo(plan_id),
                lambda: self._done(req),
            ]
        assert isinstance(req, ExitRequest)
        return [
            lambda: broker.reduce(plan_id, OrderRole.EXIT, account.position),
            lambda: self._done(req),
        ]

    def _echo(self, plan_id: str) -> list[PathEvent]:
        account = self.broker.accounts[plan_id]
        if account.stop_price is None or account.position == 0:
            return []
        now_ns = self.broker.clock.now_ns()
        return [StopWorking(plan_id, account.position, account.stop_price, now_ns)]

    def _done(self, req: PathRequest) -> list[PathEvent]:
        left = self.broker.accounts[req.plan_id].position
        now_ns = self.broker.clock.now_ns()
        return [ProcedureDone(req.plan_id, type(req).__name__, 0, left, "", now_ns)]

    def _advance(self) -> list[PathEvent]:
        events: list[PathEvent] = []
        for plan_id, stages in list(self._stages.items()):
            if stages:
                events += stages.popleft()()
            if not stages:
                del self._stages[plan_id]
        return events

    async def on_fact(self, fact: object) -> list[PathEvent]:
        if isinstance(fact, list):
            return fact
        self.crash.visit()
        return self._advance()

    async def on_timer(self) -> list[PathEvent]:
        return self._advance()

    async def recover(self) -> RecoveredState:
        plans = {}
        for plan_id, account in self.broker.accounts.items():
            plans[plan_id] = RecoveredPlan(
                self.holding(plan_id), account.entry_is_working, 0, None, tuple(account.history)
            )
            if account.entry_is_working:
                left = account.request.quantity - account.position
                rest: list[Stage] = [lambda p=plan_id: self.broker.close_entry(p)]
                if left:
                    rest.insert(0, lambda p=plan_id, n=left: self.broker.fill_entry(p, n))
                self._stages[plan_id] = deque(rest)
        return RecoveredState(plans)

    def holding(self, plan_id: str) -> Holding:
        account = self.broker.accounts.get(plan_id)
        if account is None:
            return Holding(plan_id, "")
        return Holding(
            plan_id,
            account.request.symbol,
            account.request.side.sign * account.position,
            None,
            account.stop_quantity,
            account.stop_price,
        )

    def holdings(self) -> list[PositionChanged]:
        return [
            PositionChanged(
                AccountName.PAPER, h.symbol, h.position, h.stop_quantity, 0, True, None, 0
            )
            for h in map(self.holding, self.broker.accounts)
            if h.position
        ]

    def is_busy(self, plan_id: str) -> bool:
        return plan_id in self._stages

    def take_events(self) -> list[PathEvent]:
        events, self._events = self._events, []
        return events


class MemoryStore:
    """PlanStore in memory; is_down makes every call fail."""

    def __init__(self, crash: CrashPoint | None = None) -> None:
        self.crash = crash or CrashPoint()
        self.rows: dict[str, StoredPlan] = {}
        self.steps: dict[str, dict[int, StepTaken]] = {}
        self.commands: dict[int, CancelCommand] = {}
        self.answers: dict[int, dict[str, Any]] = {}
        self.saves = 0
        self.is_down = False

    def _check(self) -> None:
        if self.is_down:
            raise StoreUnavailable("down")

    async def request_plan(
        self,
        document: PlanDocument,
        account: AccountName,
        *,
        now_ns: int,
        author: str,
        is_demo: bool = False,
        opened: Callable[[str], PlanState] | None = None,
        proposal: Mapping[str, Any] | None = None,
        waits: bool = False,
    ) -> str:
        del opened, proposal
        assert not waits, "proposals wait in PostgreSQL alone"
        self._check()
        plan_id = f"20160104-{len(self.rows) + 1:04d}-{document.symbol}"
        self.rows[plan_id] = StoredPlan(
            plan_id, account, document.symbol, document.order_side, "requested", 1, is_demo,
            document.to_json(), None, datetime(2016, 1, 4, tzinfo=UTC), None, "",
        )  # fmt: skip
        return plan_id

    async def cancel_request(
        self, plan_id: str, reason: str, account: AccountName | None = None, *, from_ns: int = 0
    ) -> int:
        number = len(self.commands) + 1
        self.commands[number] = CancelCommand(number, plan_id, reason, from_ns)
        return number

    async def active_plans(
        self, account: AccountName, known: Collection[str] = ()
    ) -> tuple[StoredPlan, ...]:
        self._check()
        return tuple(
            row
            for row in self.rows.values()
            if not Phase(row.state).is_final and row.plan_id not in known
        )

    async def cancels(self, account: AccountName) -> tuple[CancelCommand, ...]:
        self._check()
        return tuple(c for n, c in self.commands.items() if n not in self.answers)

    async def answer(self, command_id: int, answer: Mapping[str, Any]) -> None:
        self._check()
        self.answers.setdefault(command_id, dict(answer))

    async def save(self, state: PlanState, steps: tuple[StepTaken, ...], now_ns: int) -> None:
        self._check()
        self.crash.visit()
        self.saves += 1
        row = self.rows[state.plan_id]
        self.rows[state.plan_id] = replace(
            row, state=state.phase.value, machine=state_to_json(state),
            close_reason=state.close_reason,
        )  # fmt: skip
        for step in steps:
            self.steps.setdefault(state.plan_id, {}).setdefault(step.step_no, step)
        self.crash.visit()

    async def list_plans(self, *_: object, **__: object) -> tuple[StoredPlan, ...]:
        return tuple(self.rows.values())

    async def show_plan(self, plan_id: str) -> Any:
        raise AssertionError(plan_id)

    def kinds(self, plan_id: str) -> list[str]:
        rows = self.steps.get(plan_id, {})
        return [rows[number].kind.value for number in sorted(rows)]


class MemoryReference:
    """ReferencePort with a few instruments and one session."""

    def __init__(self, symbols: Iterable[str] = ("AAPL", "MSFT")) -> None:
        self.known = {
            name: Instrument(name, 1, "NASDAQ", "USD", Decimal("0.01"), name) for name in symbols
        }
        self.rows: tuple[Session, ...] = (SESSION,)
        self.bar_rows: tuple[Bar, ...] = ()

    async def instrument(self, symbol: str) -> Instrument | None:
        return self.known.get(symbol)

    async def bars(
        self, symbol: str, interval_s: int, count_max: int, until_ns: int | None = None
    ) -> tuple[Bar, ...]:
        return self.bar_rows[-count_max:]

    async def actions(self, symbol: str, from_day: str, until_day: str) -> tuple[str, ...]:
        return ()

    async def sessions(self, venue: str, from_ns: int, until_ns: int) -> tuple[Session, ...]:
        return self.rows

    async def put_instruments(self, rows: Iterable[Instrument], source: str) -> None:
        self.known.update({row.symbol: row for row in rows})


class Hub:
    """Prices and the meeting place in one."""

    def __init__(self, clock: MarketTime) -> None:
        self.clock = clock
        self.lasts: dict[str, AdmittedTick] = {}
        self.quality = Quality.LIVE
        self.readers: dict[str, Callable[[AdmittedTick], object]] = {}
        self.wanted: dict[str, frozenset[str]] = {}
        self.needs: dict[str, object] = {}

    def last(self, symbol: str) -> AdmittedTick | None:
        return self.lasts.get(symbol)

    def quality_now(self, symbol: str) -> Quality:
        return self.quality if symbol in self.lasts else Quality.STALE

    def subscribe(
        self, name: str, deliver: Callable[[AdmittedTick], object], symbols: object
    ) -> None:
        self.readers[name] = deliver

    def unsubscribe(self, name: str) -> None:
        self.readers.pop(name, None)

    def need(self, owner: str, needs: object) -> None:
        self.needs[owner] = needs

    def want(self, owner: str, symbols: frozenset[str]) -> None:
        self.wanted[owner] = symbols

    def tick(self, symbol: str, price: str, quality: Quality = Quality.LIVE) -> AdmittedTick:
        now_ns = self.clock.now_ns()
        tick = AdmittedTick(
            symbol, int(Decimal(price) * 1_000_000), 100, now_ns, now_ns, Source.FINNHUB, quality,
            1, 1, 1,
        )  # fmt: skip
        self.lasts[symbol] = tick
        for deliver in list(self.readers.values()):
            deliver(tick)
        return tick


def long_plan(symbol: str = "AAPL", **changes: object) -> dict[str, object]:
    """Long 100 with the stop a dollar below: break-even at 0.5 R, half at 1 R, then a trail."""
    return {
        "symbol": symbol,
        "side": "long",
        "size": {"quantity": 100},
        "entry": {"type": "market"},
        "stop": {"percent": "1"},
        "steps": [
            {"at": {"r": "0.5"}, "move_stop": {"to": "break_even"}},
            {"at": {"r": "1"}, "take": {"fraction": "0.5"}},
            {"at": {"r": "1"}, "trail": {"percent": "0.5"}},
        ],
    } | changes
