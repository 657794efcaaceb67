"""The order path of one account: from a plan's request to booked fills, and back as events.

Rules of this file:
- used from one actor's handler only, one call at a time;
- the journal first: an intent is committed before its bytes leave, a fact before it counts;
- between the commit and the write nothing is awaited but the commit itself, and the link is
  looked at again: a link that broke meanwhile sends nothing;
- only what the order gate approved is sent; cancels add nothing and are asked only for the pace.
"""

from collections.abc import Iterable
from decimal import Decimal
from functools import partial
from typing import Final

from tradebox.domain.capabilities import UNPROVEN, Proven
from tradebox.domain.events import PositionChanged
from tradebox.domain.gate_values import dollars_fault
from tradebox.domain.orders import AccountName, Denied, OrderRole, OrderState, Side
from tradebox.domain.path import (
    AccountState,
    CancelEntryRequest,
    EnterRequest,
    EntryClosed,
    ExitRequest,
    Holding,
    LinkState,
    MoveStopRequest,
    PathEvent,
    PathRequest,
    ProcedureDone,
    RecoveredState,
    RequestRejected,
    ScaleOutRequest,
    StopWorking,
)
from tradebox.errors import StoreUnavailable
from tradebox.execution.account_day import AccountDay
from tradebox.execution.alarms import Alarms
from tradebox.execution.by_hand import ByHand
from tradebox.execution.codes import HALTED, LOCATING, row_of
from tradebox.execution.coverage import CoverWatch
from tradebox.execution.daily import Calendar
from tradebox.execution.desk_round import DeskRound
from tradebox.execution.intake import Intake
from tradebox.execution.kill_switch import KillSwitch
from tradebox.execution.margins import Margins
from tradebox.execution.order_book import OrderBook, OrderRecord
from tradebox.execution.order_link import OrderLink
from tradebox.execution.order_sender import OrderSender
from tradebox.execution.pace import KEPT_FOR_REDUCTIONS
from tradebox.execution.path_booking import Booking
from tradebox.execution.path_recovery import desk_of, recovered_state
from tradebox.execution.path_views import Views
from tradebox.execution.path_world import PathRules, PathWorld
from tradebox.execution.procedures import (
    Action,
    Alarm,
    CancelOrder,
    ChangeStop,
    Enter,
    Exit,
    Finish,
    FireStop,
    Look,
    MoveStop,
    PlaceReducer,
    PlaceStop,
    PlanDesk,
    ScaleOut,
)
from tradebox.execution.record_keeper import RecordKeeper
from tradebox.ports.order_store import Change, OrderStore
from tradebox.ports.orders import (
    AccountValueFact,
    BrokerFact,
    CodeFact,
    CompletedOrderFact,
    ExecutionFact,
    FactSink,
    MarginFact,
    PositionFact,
    SnapshotTaken,
)

_TURNS_MAX: Final = 32
_SWITCH_PERIOD_S: Final = 1.0
_DENIED_KEPT_MAX: Final = 1000


class OrderPath:
    """One per account. See the rules of the file.

    Holds:   live sell quantity of a plan never exceeds its long position, nor buy its short one;
             never two stops of ours sent for the same shares; every execution booked once.
    """

    def __init__(
        self,
        link: OrderLink,
        store: OrderStore,
        keeper: RecordKeeper,
        kill: KillSwitch,
        world: PathWorld,
        rules: PathRules,
    ) -> None:
        self._account: AccountName = link.identity.name
        self._link = link
        self._store = store
        self._keeper = keeper
        self._kill = kill
        self._world = world
        self._rules = rules
        self._events: list[PathEvent] = []
        self._proven = UNPROVEN
        self._said: dict[str, tuple[int, Decimal | None]] = {}
        self._closed_entries: set[str] = set()
        self._alarms = Alarms(self._account, world.clock, world.market_clock, world.publish)
        self._denied: dict[str, tuple[str, str, str]] = {}
        self._switches_s = float("-inf")
        self._sides = tuple(Side) if rules.short_is_allowed else (Side.BUY,)
        self._calendar = Calendar(rules.look_period_s, world.clock.now())
        self.cover = CoverWatch()
        self._start_anew()

    def _start_anew(self) -> None:
        self._book = OrderBook()
        drilled = partial(self._kill.drilled, self._account)
        self._intake = Intake(
            self._book, self._link, self._world.clock, self._rules.absence_gap_s, drilled
        )
        world = self._world
        self.money = AccountDay(self._account, self._store, world.clock, world.market_clock)
        self._views = Views(self._book, self._intake, self._link, world, self._rules, self.money)
        self._desks = self._views.desks
        self._round = DeskRound()
        self.by_hand = ByHand(self._book, self._intake, self._keeper, self._link)
        self._booking = Booking(
            self._account, self._book, self._keeper, self._views, self._alarms, world,
            self._events.append,
        )  # fmt: skip
        self._sender = OrderSender(
            self._book, self._link, self._keeper, self._views, self._kill, self._rules, self._world
        )

        self._margins = Margins(self._link, world, self._sender.take_order_id)
        self._views.margin_share = self._margins.share

    # what others read

    @property
    def account_state(self) -> AccountState:
        """Money and link of the account."""
        return self._views.account_state()

    @property
    def book(self) -> OrderBook:
        """Orders and fills of the account, to be read."""
        return self._book

    @property
    def orders_sent(self) -> int:
        """Orders handed to the broker by this path, modifies and cancels not counted."""
        return self._sender.orders_sent

    @property
    def fills_booked(self) -> int:
        """Executions in the books of this account."""
        return self._book.fills_booked

    def holding(self, plan_id: str) -> Holding:
        """Return what a plan holds."""
        return self._views.holding(plan_id)

    def holdings(self) -> list[PositionChanged]:
        """Return cover per symbol."""
        return self._views.holdings(self._account)

    def is_busy(self, plan_id: str) -> bool:
        """Return whether a procedure of this plan is under way."""
        desk = self._desks.get(plan_id)
        return desk is not None and desk.procedure is not None

    def take_events(self) -> list[PathEvent]:
        """Return, once, the events that requests produced."""
        events = list(self._events)
        self._events.clear()
        return events

    # life

    async def recover(self) -> RecoveredState:
        """Load the books of the account. Raises StoreUnavailable: without books nothing moves."""
        self._start_anew()
        if not await self._keeper.replay():
            raise StoreUnavailable("the spool cannot be replayed: PostgreSQL does not answer")
        books = await self._store.load(self._account, self._link.client_id)
        self._book.load(books)
        self._intake.load(books.with_commission)
        self._kill.read_row(books.switches)
        for record in self._book.open_orders():
            if record.state in (OrderState.SENDING, OrderState.RECORDED):
                await self._booking.learn(
                    self._intake.lost(record, "the program ended after the send")
                )
        for plan_id in self._book.plan_ids():
            entry = self._desk(plan_id).entry
            if entry is not None and entry.is_over and entry.is_settled:
                self._closed_entries.add(entry.ref)
        await self.money.start()
        self._events.clear()
        return recovered_state(self._desks.values(), self._book, self._views)

    def attach(self, deliver: FactSink) -> None:
        """Have the link's facts delivered; what was missed is read again."""
        self._link.attach(deliver, self._intake.knows)

    # requests

    def note_turn(self) -> None:
        """Note that a price is taken up now: the first station of what it may bring about."""
        self._sender.times.turn()

    async def request(self, req: PathRequest) -> None:
        """Begin a procedure, or refuse it. The answers come by take_events and later facts."""
        if isinstance(req, EnterRequest):
            await self._request_entry(req)
        else:
            desk = self._desks.get(req.plan_id)
            if desk is None:
                self._done(req.plan_id, type(req).__name__, 0, 0, "nothing is held")
            else:
                await self._request_on(desk, req)

    async def _request_entry(self, req: EnterRequest) -> None:
        if self.is_busy(req.plan_id):
            self._refused(req, Denied("busy", "no procedure", "one", "the plan is busy"))
            return
        denied = await self._sender.enter(req)
        if denied is not None:
            await self._deny(req, req.symbol, OrderRole.ENTRY, denied)
            return
        self._denied.pop(req.plan_id, None)
        desk = self._desks.get(req.plan_id)
        if desk is None:
            desk = self._take_up(PlanDesk(req.plan_id, req.symbol, req.side, self._book))
        desk.stop_level, desk.procedure = req.protective_stop, Enter()

    async def _request_on(
        self,
        desk: PlanDesk,
        req: MoveStopRequest | ScaleOutRequest | ExitRequest | CancelEntryRequest,
    ) -> None:
        procedure = desk.procedure
        if isinstance(req, CancelEntryRequest):
            if not isinstance(procedure, Enter):
                self._done(desk.plan_id, "CancelEntryRequest", 0, desk.position, "nothing works")
                return
            procedure.cancel_wanted = req.reason
            await self._run(desk)
            return
        can_interrupt = isinstance(req, ExitRequest) and isinstance(procedure, Enter)
        if procedure is not None and not can_interrupt:
            denied: Denied | None = Denied("busy", "no procedure", "one", "the plan is busy")
        else:
            denied = self._sender.reduction_fault(desk, req)
        if denied is not None:
            role = OrderRole.STOP if isinstance(req, MoveStopRequest) else OrderRole.EXIT
            await self._deny(req, desk.symbol, role, denied)
            return
        self._denied.pop(desk.plan_id, None)
        if isinstance(req, MoveStopRequest):
            desk.procedure = MoveStop(req.stop_price, req.reason)
        elif isinstance(req, ScaleOutRequest):
            desk.procedure = ScaleOut(req.quantity, req.reason)
        else:
            desk.procedure = Exit(req.reason)
        await self._run(desk)

    async def _deny(self, req: PathRequest, symbol: str, role: OrderRole, denied: Denied) -> None:
        """Answer a refusal; keep and show it once, until the plan is refused for something else."""
        self._refused(req, denied)
        said = (type(req).__name__, denied.check, denied.reason)
        if self._denied.get(req.plan_id) == said:
            return
        if len(self._denied) >= _DENIED_KEPT_MAX:
            self._denied.clear()
        self._denied[req.plan_id] = said
        await self._sender.record_denial(req.plan_id, symbol, role, denied)

    def _refused(self, req: PathRequest, denied: Denied) -> None:
        self._events.append(self._sender.denied_event(req, denied))

    def _done(self, plan_id: str, kind: str, filled: int, left: int, reason: str) -> None:
        now_ns = self._world.market_clock.now_ns()
        self._events.append(ProcedureDone(plan_id, kind, filled, abs(left), reason, now_ns))

    # facts

    async def on_fact(self, fact: BrokerFact) -> list[PathEvent]:
        """Book a fact, journal first, and go on with what waited for it."""
        if isinstance(fact, AccountValueFact):
            await self._account_value(fact)
            return self.take_events()
        if isinstance(fact, MarginFact):
            self._margins.learn(fact)
            return self.take_events()
        if isinstance(fact, PositionFact):
            self._intake.see_position(fact)
            return self.take_events()
        learnt = self._intake.learn(fact)
        if isinstance(fact, CodeFact) and "THROTTLE" in row_of(fact.code).actions:
            self._sender.slow_down()
        if isinstance(fact, CodeFact) and fact.code == HALTED:
            now_ns = self._world.market_clock.now_ns()
            self._views.halts.update((record.row.symbol, now_ns) for record in learnt.records)
        await self._booking.learn(learnt)
        if isinstance(fact, CodeFact) and fact.code == LOCATING:
            for record in learnt.records:
                self._give_up_entry(record, "no shares to borrow")
        if isinstance(fact, SnapshotTaken):
            if not learnt.is_news:
                self._reconciled(fact)
            assert learnt.findings is not None
            if fact.snapshot.is_whole:
                self.by_hand.see(fact, learnt.findings)
            for record in learnt.records:
                self._desk(record.row.plan_id)
            await self._run_all()
        elif learnt.changes or not isinstance(fact, ExecutionFact | CompletedOrderFact):
            for plan_id in dict.fromkeys(record.row.plan_id for record in learnt.records):
                if learnt.changes or plan_id in self._desks:
                    await self._run(self._desk(plan_id))
        return self.take_events()

    def _give_up_entry(self, record: OrderRecord, reason: str) -> None:
        """Have an entry withdrawn that the broker holds back: it could fill at any later time."""
        procedure = self._desk(record.row.plan_id).procedure
        if record.row.role is OrderRole.ENTRY and isinstance(procedure, Enter):
            procedure.cancel_wanted = procedure.cancel_wanted or reason

    def _desk(self, plan_id: str) -> PlanDesk:
        """Return the desk of a plan that has orders; a late fact may call back a forgotten one."""
        desk = self._desks.get(plan_id)
        if desk is None:
            desk = self._take_up(desk_of(plan_id, self._book))
        return desk

    def _take_up(self, desk: PlanDesk) -> PlanDesk:
        desk.patience, desk.proven = self._rules.patience, self._proven
        desk.is_halted = partial(self._views.is_halted, desk.symbol)
        desk.is_killed = partial(self._kill.withdraws, desk.symbol)
        self._desks[desk.plan_id] = desk
        self._round.began(desk.plan_id)
        return desk

    def learn_capabilities(self, proven: Proven) -> None:
        """Take over what a drill has shown of this gateway."""
        if proven != self._proven:
            self._proven = proven
            for desk in self._desks.values():
                desk.proven = proven

    def _reconciled(self, fact: SnapshotTaken) -> None:
        for desk in self._desks.values():
            if self._intake.has_all_of(fact) and not self._intake.has_gap(desk.symbol):
                desk.read_done_ns = fact.started_mono_ns
        if not fact.snapshot.is_whole:
            return
        self._intake.reconciled(fact)
        self._calendar.looked(self._world.clock.now())
        self._link.mark_clean(fact.session)

    # procedures

    async def _run_all(self) -> None:
        for desk in list(self._desks.values()):
            await self._run(desk)

    async def _run(self, desk: PlanDesk) -> None:
        """Let a plan's procedure act until it waits."""
        self._tell(desk)
        for _ in range(_TURNS_MAX):
            if not self._link.can_reduce:
                break
            before = desk.procedure
            actions = desk.advance(self._world.clock.now(), self._link.mono_ns())
            for action in actions:
                await self._act(desk, action)
            if not actions and desk.procedure is before:
                break
        self._tell(desk)
        self._watch(desk)

    async def _act(self, desk: PlanDesk, action: Action) -> None:
        if isinstance(action, Look):
            reason = f"{desk.plan_id}: {action.reason}"
            presses = action.is_pressing
            self._link.want_look(reason, is_pressing=presses, is_whole=not presses)
        elif isinstance(action, Alarm):
            self._alarms.say(action)
        elif isinstance(action, Finish):
            self._finished(desk, action)
        elif isinstance(action, CancelOrder):
            if self._has_room(action):
                await self._sender.cancel(action)
            else:
                desk.denied(action, self._world.clock.now())
        elif isinstance(action, FireStop):
            await self._after(desk, action, await self._sender.fire(desk, action))
        elif isinstance(action, ChangeStop):
            await self._after(desk, action, await self._sender.change(desk, action))
        elif isinstance(action, PlaceStop | PlaceReducer):
            sent = await self._sender.reduce(desk, action)
            if isinstance(sent, OrderRecord):
                self._took_off(desk, action, sent)
            else:
                await self._after(desk, action, sent)

    def _has_room(self, action: CancelOrder) -> bool:
        """Say whether a cancel fits into the gateway's pace: many entries may go at once."""
        record = action.record
        is_idle = record.row.role is OrderRole.ENTRY and not record.booked
        return self._link.room() > (KEPT_FOR_REDUCTIONS if is_idle else 0)

    def _took_off(
        self, desk: PlanDesk, action: PlaceStop | PlaceReducer, record: OrderRecord
    ) -> None:
        self._booking.show(record)
        procedure = desk.procedure
        if isinstance(action, PlaceReducer) and isinstance(procedure, ScaleOut):
            procedure.slice_ref = record.ref
        if isinstance(action, PlaceReducer) and isinstance(procedure, Exit):
            procedure.refs.append(record.ref)

    async def _after(self, desk: PlanDesk, action: Action, denied: Denied | None) -> None:
        if denied is None:
            return
        desk.denied(action, self._world.clock.now())
        role = action.role if isinstance(action, PlaceReducer) else OrderRole.STOP
        key = (f"denied {denied.check}", desk.plan_id)
        if self._alarms.is_due(key):
            await self._sender.record_denial(desk.plan_id, desk.symbol, role, denied)

    def _finished(self, desk: PlanDesk, finish: Finish) -> None:
        now_ns = self._world.market_clock.now_ns()
        entry = desk.entry
        is_rejected = entry is not None and entry.state is OrderState.REJECTED
        if finish.kind == "EnterRequest" and entry is not None and is_rejected:
            self._events.append(
                RequestRejected(
                    desk.plan_id, finish.kind, entry.code, entry.code_text or "refused", now_ns
                )
            )
        self._tell(desk)
        self._done(desk.plan_id, finish.kind, finish.filled, desk.position, finish.reason)

    def _tell(self, desk: PlanDesk) -> None:
        """Say what is new of a plan: its stop, and its entry's end."""
        now_ns = self._world.market_clock.now_ns()
        armed = [record for record in desk.working(OrderRole.STOP) if record.is_armed]
        if len(armed) == 1:
            price = armed[0].row.stop_price
            stop = (armed[0].remaining, price)
            if self._said.get(desk.plan_id) != stop and price is not None:
                self._said[desk.plan_id] = stop
                self._events.append(StopWorking(desk.plan_id, stop[0], price, now_ns))
        entry = desk.entry
        if entry is None or not (entry.is_over and entry.is_settled):
            return
        if entry.ref in self._closed_entries:
            return
        self._closed_entries.add(entry.ref)
        reason = desk.why_closed(entry)
        self._events.append(EntryClosed(desk.plan_id, entry.booked, reason, now_ns))

    def _watch(self, desk: PlanDesk) -> None:
        cause = self.cover.see(
            desk.plan_id,
            is_covered=desk.is_covered,
            cause=desk.cause,
            now_s=self._world.clock.now(),
        )
        if cause is not None:
            text = f"{desk.plan_id} {desk.symbol}: {desk.position} shares not covered ({cause})"
            self._alarms.say(Alarm("critical", "uncovered", text))

    # time

    async def on_timer(self) -> list[PathEvent]:
        """Let deadlines pass, at most every 250 ms of real time."""
        now_s = self._world.clock.now()
        if now_s - self._switches_s >= _SWITCH_PERIOD_S:
            self._switches_s = now_s
            self._kill.read_row(await self._keeper.switches())
        for record in self._book.open_orders():
            late = now_s - record.sent_s > self._rules.ack_deadline_s
            if record.state is OrderState.SENDING and late:
                await self._booking.learn(self._intake.lost(record, "no answer to a send"))
        look_at_s = self._intake.look_at_s
        if look_at_s is not None and now_s >= look_at_s:
            self._intake.look_at_s = None
            self._link.want_look("to prove an absence")
        now_ns = self._world.market_clock.now_ns()
        reason = self._calendar.look_due(now_s, is_open=self._world.session_is_open(now_ns))
        reason = self._intake.unconfirmed() or reason
        if reason:
            self._link.want_look(reason)
        self._calendar.mark_renewals(now_ns, self._book.open_orders())
        self._margins.ask_next(self._world.facts.symbols, self._sides)
        await self._run_due()
        await self._sender.keep_denials()
        self._forget_plans()
        return self.take_events()

    async def _run_due(self) -> None:
        for desk in self._round.due(self._desks):
            desk.is_halted()  # what is heard of a halt now is known when an exit is wanted
            await self._run(desk)
            self._forget(desk)

    def _forget(self, desk: PlanDesk) -> None:
        """Let go of a desk that is flat and quiet; a later request makes it anew."""
        if desk.procedure is None and not desk.position and not self._has_open(desk.records):
            self._views.forget(desk.plan_id)
            self._said.pop(desk.plan_id, None)
            self.cover.forget(desk.plan_id)
            self._round.finished(desk.plan_id, self._world.market_clock.now_ns())

    def _forget_plans(self) -> None:
        for plan_id in self._round.forgettable(self._world.market_clock.now_ns()):
            self._closed_entries -= {record.ref for record in self._book.of_plan(plan_id)}
            self._intake.forget(self._book.forget_plan(plan_id))

    @staticmethod
    def _has_open(records: Iterable[OrderRecord]) -> bool:
        return any(not record.is_over or not record.is_settled for record in records)

    # the account

    async def _account_value(self, fact: AccountValueFact) -> None:
        if fact.account != self._link.account_id:
            return
        known = self.money.currency
        self.money.take(fact)
        fault = dollars_fault(self.money.currency)
        if fault and self.money.currency != known:
            text = f"{self._link.account_id} takes no entry, exits and stops go on: {fault}"
            self._alarms.say(Alarm("critical", "account_currency", text))
        if fact.tag == "NetLiquidation":
            self.money.open_risk = self._views.open_risk()
            seen = await self.money.seen()
            if seen is not None:
                await self._commit([seen])

    async def _commit(self, changes: list[Change]) -> None:
        await self._keeper.commit(changes, may_spool=True)

    # what people ask

    def mark(self, symbol: str) -> Decimal | None:
        """Return the last price of a symbol."""
        return self._views.mark(symbol)

    async def adopt(
        self, plan_id: str, symbol: str, side: Side, quantity: int, stop: Decimal, *, whole: bool
    ) -> None:
        """Book shares that are nobody's for a plan, and cover them. Raises StoreUnavailable."""
        await self.by_hand.book_adopted(plan_id, symbol, side, quantity, whole=whole)
        self.hold(plan_id, symbol, side, stop)
        await self._run(self._desks[plan_id])

    def hold(self, plan_id: str, symbol: str, side: Side, stop_level: Decimal | None) -> None:
        """Take up a plan whose shares no order of ours opened."""
        desk = self._desks.get(plan_id)
        if desk is None:
            desk = self._take_up(PlanDesk(plan_id, symbol, side, self._book))
        if desk.stop_level is None:
            desk.stop_level = stop_level

    async def resume_limits(self) -> None:
        """Forget refusals and losses in a row: a person has looked."""
        self.money.resume()
        self._views.rejects_by_symbol.clear()
        row = self.money.row()
        await self._commit([] if row is None else [row])

    async def read_switches(self) -> dict[str, str] | None:
        """Return the switches as PostgreSQL has them now."""
        return await self._keeper.switches()

    @property
    def link_state(self) -> LinkState:
        """The link's state."""
        return self._link.state
