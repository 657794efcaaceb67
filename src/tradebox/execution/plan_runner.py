"""Runs the plan machines of one account: prices and facts in, saved states and requests out.

Rules of this file:
- a state is committed before the requests it causes leave, or with the intent that stands
  before their bytes; PostgreSQL away holds entries back,
  never an exit, a slice or a stop move: what was not saved is saved as soon as it can be;
- after facts the machine is asked again at once, with what the path is busy with now;
- one call handles a bounded number of events; what is left waits for the next call.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tradebox.domain.gate_values import dollars_fault
from tradebox.domain.market import AdmittedTick, Quality, Session
from tradebox.domain.money import shortest, to_decimal
from tradebox.domain.orders import AccountName
from tradebox.domain.path import (
    EnterRequest,
    Evidence,
    LinkState,
    PathEvent,
    PathRequest,
    RecoveredPlan,
    RecoveredState,
    ReductionCorrected,
    RequestDenied,
    RequestRejected,
)
from tradebox.domain.plan_document import PlanDocument, document_from
from tradebox.domain.plan_machine import step
from tradebox.domain.plan_state import Phase, PlanState, is_same_essence, state_from_json
from tradebox.domain.plan_turn import (
    Adjusted,
    Armed,
    ArmingRefused,
    CancelAsked,
    ClockReached,
    PlanEvent,
    PriceSeen,
    Recovered,
    StepTaken,
)
from tradebox.domain.session import session_at
from tradebox.errors import BrokerUnavailable, PlanInvalid, StoreUnavailable
from tradebox.execution.plan_arming import FindInstrument, arm
from tradebox.execution.plan_display import PlanDisplay
from tradebox.execution.plan_needs import Carrier, PlanPath, Prices
from tradebox.execution.plan_recovery import book_of
from tradebox.execution.running_plan import RunningPlan
from tradebox.execution.symbol_facts import SymbolFacts
from tradebox.ports.clock import MarketClock
from tradebox.ports.order_store import PlanMoved
from tradebox.ports.orders import BrokerFact
from tradebox.ports.plan_store import CancelCommand, PlanStore, StoredPlan
from tradebox.ports.reference import ReferencePort
from tradebox.supervision.clock import Clock

EVENTS_PER_TURN_MAX: Final = 256
ENDED_KEPT_MAX: Final = 200
POLL_PERIOD_S: Final = 0.5
DUE_AT_ONCE: Final = 100
"""After so many plans that time reaches, prices and facts may come between."""
STORE_RETRY_S: Final = 0.5
SESSIONS_PERIOD_S: Final = 5.0
SESSIONS_AHEAD_NS: Final = 400 * 86_400 * 1_000_000_000
VENUE: Final = "XNYS"
SAVE_S_MAX: Final = 2.0
WATCHED_MAX: Final = 10
SLICES: Final = 4
"""A quiet plan is told the time in every so many timers: each second, a part at a time."""
SLICE_MIN: Final = 16


Spawn = Callable[[Coroutine[Any, Any, None]], object]


@dataclass(frozen=True, slots=True)
class ArmingRead:
    """What was read for a requested plan: how it is armed, or why it is refused."""

    plan_id: str
    event: Armed | ArmingRefused


class PlanRunner:
    """The plans of one account. Used from one actor's handlers only.

    Holds:   no request leaves for an entry whose state is not in PostgreSQL; each StepTaken is
             published once; a plan that is busy is asked nothing.
    """

    def __init__(
        self,
        account: AccountName,
        path: PlanPath,
        store: PlanStore,
        reference: ReferencePort,
        market_clock: MarketClock,
        clock: Clock,
        prices: Prices,
        publish: Callable[[object], object],
        *,
        find_instrument: FindInstrument | None = None,
        carrier: Carrier | None = None,
        facts: SymbolFacts | None = None,
        on_turn: Callable[[], object] = lambda: None,
    ) -> None:
        self.account = account
        self.path = path
        self.store = store
        self.reference = reference
        self._market_clock = market_clock
        self._clock = clock
        self._prices = prices
        self._display = PlanDisplay(account, market_clock, clock, prices, publish)
        self._find = find_instrument
        self.plans: dict[str, RunningPlan] = {}
        self._carrier = carrier
        self._facts = facts or SymbolFacts()
        self._on_turn = on_turn
        self._spawn: Spawn | None = None
        self._hand_in: Callable[[ArmingRead], object] = lambda _: None
        self._reading: set[str] = set()
        self._one_reader = asyncio.Lock()
        self._active: dict[str, RunningPlan] = {}
        self._by_symbol: dict[str, dict[str, RunningPlan]] = {}
        self._turn: list[str] = []
        self._watched: dict[str, None] = {}
        self.is_loaded = False
        self._sessions: tuple[Session, ...] = ()
        self._session: Session | None = None
        self._sessions_due_s = 0.0
        self._poll_due_s = 0.0
        self._queue: deque[PathEvent] = deque()
        self._store_retry_s = 0.0
        self._is_store_down = False
        self.is_draining = False
        """Set before an ordered stop: prices and time move no plan any more, facts still do."""

    # --- life -------------------------------------------------------------------------------

    async def load(self) -> None:
        """Take up what PostgreSQL holds: the books, then the plans. Raises StoreUnavailable."""
        recovered = await self.path.recover()
        stored = await self.store.active_plans(self.account)
        for row in stored:
            running = await self._adopt(row)
            if running is None or running.state.phase is Phase.REQUESTED:
                continue
            now_ns = self._market_clock.now_ns()
            found = recovered.plans.get(row.plan_id)
            book = book_of(found, now_ns)
            if self._is_adopted(running, found):
                self.path.hold(
                    row.plan_id,
                    running.document.symbol,
                    running.document.order_side,
                    running.state.best_stop,
                )
                entry = running.state.entry
                book = replace(book, entry=entry, entry_is_known=True, entry_is_closed=True)
            await self._tell(running, Recovered(book, now_ns))
        self._note_strays(recovered)
        self.is_loaded = True
        await self._drain()

    @staticmethod
    def _is_adopted(running: RunningPlan, found: RecoveredPlan | None) -> bool:
        """Say whether a plan's shares came by adoption: no order of ours opened them."""
        state = running.state
        has_entry = found is not None and bool(found.events) and found.entry_filled > 0
        return state.is_entered and state.position > 0 and not has_entry

    def _note_strays(self, recovered: RecoveredState) -> None:
        """Tell of positions whose plan has ended: their stop rests, a person must look."""
        for plan_id, found in recovered.plans.items():
            if found.holding.position != 0 and plan_id not in self.plans:
                self._note_stray(plan_id, found.holding.position, found.holding.symbol)

    def _note_stray(self, plan_id: str, position: int, symbol: str | None) -> None:
        text = f"{plan_id} holds {position} but has ended; its stop rests"
        self._display.alert("critical", "stray_position", text, symbol)

    @property
    def symbols(self) -> frozenset[str]:
        """The symbols whose prices are needed."""
        return frozenset(self._by_symbol)

    @property
    def watched(self) -> frozenset[str]:
        """The symbols without a plan whose prices a person needs."""
        return frozenset(self._watched)

    def watch(self, symbol: str) -> None:
        """Have the prices of a symbol without a plan; of the last WATCHED_MAX so asked for."""
        self._watched.pop(symbol, None)
        self._watched[symbol] = None
        while len(self._watched) > WATCHED_MAX:
            del self._watched[next(iter(self._watched))]

    def bars_are_read(self, symbol: str) -> bool:
        """Say whether a symbol's past bars are there as far as they come."""
        return self._facts.bars_are_read(symbol, self._market_clock.now_ns())

    def active(self) -> list[RunningPlan]:
        """Return the plans that have not ended."""
        return list(self._active.values())

    def _file(self, running: RunningPlan) -> None:
        """Keep the plans that have not ended at hand, all and by symbol."""
        plan_id, symbol = running.state.plan_id, running.document.symbol
        if not running.state.phase.is_final:
            self._active[plan_id] = running
            self._by_symbol.setdefault(symbol, {})[plan_id] = running
        elif self._active.pop(plan_id, None) is not None:
            del self._by_symbol[symbol][plan_id]
            if not self._by_symbol[symbol]:
                del self._by_symbol[symbol]

    def _due(self) -> list[RunningPlan]:
        """Return the plans that wait for something, and the next part of the quiet ones."""
        if not self._turn:
            self._turn = list(self._active)
        count = max(SLICE_MIN, -(-len(self._active) // SLICES))
        due, self._turn = self._turn[:count], self._turn[count:]
        waiting = [
            key
            for key, running in self._active.items()
            if running.state.is_waiting or running.state.phase is Phase.REQUESTED
        ]
        found = (self._active.get(key) for key in dict.fromkeys((*waiting, *due)))
        return [running for running in found if running is not None]

    @property
    def is_quiet(self) -> bool:
        """Say whether no procedure is under way: what rests at the broker rests whole."""
        return not any(self.path.is_busy(p.state.plan_id) for p in self.active())

    # --- what comes in ------------------------------------------------------------------------

    def plans_of(self, symbol: str) -> list[str]:
        """Return the plans that follow a symbol's price."""
        return list(self._by_symbol.get(symbol, {}))

    async def on_tick(self, tick: AdmittedTick, plan_ids: Sequence[str] | None = None) -> None:
        """Show an admitted price to these plans, or to all of its symbol."""
        if self.is_draining:
            return
        self._on_turn()
        quality = tick.quality
        if quality is Quality.LIVE:
            quality = self._prices.quality_now(tick.symbol)
        price = shortest(to_decimal(tick.price_micros))
        evidence = Evidence(
            price, tick.source, quality, tick.event_ns, tick.mono_ns, tick.mailbox_mono_ns
        )
        for plan_id in self.plans_of(tick.symbol) if plan_ids is None else plan_ids:
            running = self._by_symbol.get(tick.symbol, {}).get(plan_id)
            if running is not None:
                await self._tell(running, self._price_seen(running, evidence))
        await self._drain()

    async def on_fact(self, fact: BrokerFact) -> None:
        """Book a broker's fact and let the plans know."""
        self._queue.extend(await self.path.on_fact(fact))
        await self._drain()

    async def on_timer(self) -> None:
        """Let time pass, all of it at once."""
        async for _ in self.timer_parts():
            pass

    async def timer_parts(self) -> AsyncGenerator[None, None]:
        """Let time pass: deadlines, new plans and cancels, saves that were owed, rows.

        It rests after each part that may wait for PostgreSQL: prices and facts may come between.
        """
        self._queue.extend(await self.path.on_timer())
        await self._drain()
        await self._save_owed()
        if self.is_draining:
            return
        if self._clock.now() >= self._poll_due_s:
            self._poll_due_s = self._clock.now() + POLL_PERIOD_S
            yield
            await self._poll()
            yield
        for number, running in enumerate(self._due(), start=1):
            if number % DUE_AT_ONCE == 0:
                yield
            if running.state.phase.is_final:
                continue
            if running.state.phase is Phase.REQUESTED:
                await self._arm(running)
            elif not self.is_draining:
                await self._compare(running)
                await self._tell(running, self._clock_reached(running))
        await self._drain()
        self._display.show(self.plans.values(), self.path)
        self._forget_ended()

    async def _compare(self, running: RunningPlan) -> None:
        """Let a plan know of shares that a reconcile took off without an execution."""
        plan_id, position = running.state.plan_id, running.state.position
        if position == 0 or self._queue or self._is_busy(running):
            return
        held = abs(self.path.holding(plan_id).position)
        if held < position:
            await self._tell(running, Adjusted(held, self._market_clock.now_ns()))

    async def cancel(self, plan_id: str, reason: str) -> bool:
        """End a plan on a person's word; False where it is not running here."""
        running = self.plans.get(plan_id)
        if running is None or running.state.phase.is_final:
            return False
        await self._tell(running, CancelAsked(reason, self._market_clock.now_ns()))
        if running.is_dirty:
            return False
        await self._tell(running, self._clock_reached(running))
        await self._drain()
        return True

    # --- the machine ------------------------------------------------------------------------

    def _price_seen(self, running: RunningPlan, evidence: Evidence) -> PriceSeen:
        return PriceSeen(
            evidence=evidence,
            now_ns=self._market_clock.now_ns(),
            is_ready=self.path.link_state is LinkState.CLEAN,
            is_busy=self._is_busy(running),
            session_close_ns=self._close_ns(),
        )

    def _clock_reached(self, running: RunningPlan) -> ClockReached:
        return ClockReached(
            now_ns=self._market_clock.now_ns(),
            is_busy=self._is_busy(running),
            session_close_ns=self._close_ns(),
        )

    def _is_busy(self, running: RunningPlan) -> bool:
        """Say whether a request would wait: a procedure is under way, or nothing can be sent."""
        can_reduce = self.path.link_state in (LinkState.CLEAN, LinkState.WINDOW)
        return not can_reduce or self.path.is_busy(running.state.plan_id)

    def _close_ns(self) -> int | None:
        now_ns, session = self._market_clock.now_ns(), self._session
        if session is None or not session.open_ns <= now_ns < session.close_ns:
            session = self._session = session_at(self._sessions, now_ns)
        return None if session is None else session.close_ns

    async def _drain(self) -> None:
        """Tell the plans what the path has to say, and ask them what to do now."""
        for _ in range(EVENTS_PER_TURN_MAX):
            self._queue.extend(self.path.take_events())
            if not self._queue:
                return
            fact = self._queue.popleft()
            running = self.plans.get(fact.plan_id)
            if running is None:
                if isinstance(fact, ReductionCorrected) and fact.position_left:
                    self._note_stray(fact.plan_id, fact.position_left, None)
                continue
            self._alert_refusal(running, fact)
            await self._tell(running, fact)
            await self._tell(running, self._clock_reached(running))

    async def _tell(self, running: RunningPlan, event: PlanEvent) -> None:
        before = running.state
        state, actions = step(running.document, before, event)
        if state is before or state == before:
            return
        steps = tuple(action for action in actions if isinstance(action, StepTaken))
        requests = [action for action in actions if not isinstance(action, StepTaken)]
        if len(requests) == 1 and not (steps or running.unsaved) and self._carrier is not None:
            await self._request_with_state(self._carrier, running, state, requests[0])
            return
        if actions or running.is_dirty or not is_same_essence(state, before):
            is_saved = await self._save(running, state, steps)
            if not is_saved and any(isinstance(r, EnterRequest) for r in requests):
                return
            running.row_is_due = True
        running.state = state
        self._note(running, before.phase, state.phase, steps)
        for request in requests:
            await self.path.request(request)

    async def _request_with_state(
        self, carrier: Carrier, running: RunningPlan, state: PlanState, request: PathRequest
    ) -> None:
        """Let the state travel in the commit that stands before the request's first byte."""
        before = running.state
        carrier.carry(PlanMoved(state.plan_id, running.document.symbol, before.phase, state))
        running.row_is_due, running.is_dirty = True, True
        running.state = state
        await self.path.request(request)
        if carrier.has_landed() and running.state is state:
            running.is_dirty = False
        self._note(running, before.phase, state.phase, ())
        if running.is_dirty:
            await self._save(running, running.state, ())

    def _note(
        self, running: RunningPlan, before: Phase, phase: Phase, steps: tuple[StepTaken, ...]
    ) -> None:
        """Show what is new in a plan."""
        if phase is not before:
            self._file(running)
        for taken in steps:
            running.kinds.add(taken.kind)
            self._display.step(running, taken)
        if phase is not before:
            self._display.phase(running, before)

    async def _save(
        self, running: RunningPlan, state: PlanState, steps: tuple[StepTaken, ...]
    ) -> bool:
        owed = running.unsaved + steps
        if self._clock.now() < self._store_retry_s:
            running.unsaved, running.is_dirty = owed, True
            return False
        try:
            async with asyncio.timeout(SAVE_S_MAX):
                await self.store.save(state, owed, self._market_clock.now_ns())
        except (StoreUnavailable, TimeoutError) as error:
            running.unsaved, running.is_dirty = owed, True
            self._note_store(is_down=True, why=str(error) or "slow")
            return False
        running.unsaved, running.is_dirty = (), False
        self._note_store(is_down=False)
        return True

    async def _save_owed(self) -> None:
        for running in self.plans.values():
            if running.is_dirty and not await self._save(running, running.state, ()):
                return

    # --- requests of people -----------------------------------------------------------------

    async def _poll(self) -> None:
        try:
            await self._read_sessions()
            now_ns = self._market_clock.now_ns()
            await self._facts.refresh(self.symbols, self.reference, now_ns)
            for row in await self.store.active_plans(self.account, self.plans.keys()):
                await self._adopt(row)
            for command in await self.store.cancels(self.account):
                await self._obey(command)
        except StoreUnavailable as error:
            self._note_store(is_down=True, why=str(error))
        else:
            self._note_store(is_down=False)

    async def _obey(self, command: CancelCommand) -> None:
        if command.from_ns > self._market_clock.now_ns():
            return
        running = self.plans.get(command.plan_id)
        if running is not None and not running.state.phase.is_final:
            reason = command.reason or "cancelled by a person"
            if not await self.cancel(command.plan_id, reason):
                return
        state = "unknown" if running is None else running.state.phase.value
        await self.store.answer(command.command_id, {"done": running is not None, "state": state})

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The trading hours that are known."""
        return self._sessions

    async def take_up(self, plan_id: str, document: PlanDocument, state: PlanState) -> None:
        """Run a plan whose position is there already."""
        running = RunningPlan(document, state, is_demo=False)
        self.plans[plan_id] = running
        self._file(running)

    async def _adopt(self, row: StoredPlan) -> RunningPlan | None:
        known = self.plans.get(row.plan_id)
        if known is not None and not known.state.phase.is_final:
            return known
        try:
            document = document_from(row.document)
            state = PlanState(row.plan_id)
            if row.machine is not None:
                state = state_from_json(dict(row.machine))
        except (PlanInvalid, ValueError) as error:
            self._display.alert(
                "critical", "plan_unreadable", f"{row.plan_id}: {error}", row.symbol
            )
            return None
        running = RunningPlan(document, state, row.is_demo)
        self.plans[row.plan_id] = running
        self._file(running)
        return running

    async def arm(self, document: PlanDocument) -> Armed | ArmingRefused | None:
        """Return how a document is armed now; None: ask again later.

        Raises:  StoreUnavailable; BrokerUnavailable where it does not tell the contract.
        """
        return await arm(
            document,
            self.reference,
            now_ns=self._market_clock.now_ns(),
            sessions=self._sessions,
            net_liquidation_usd=self.path.account_state.net_liquidation_usd,
            find=self._find,
        )

    def arm_aside(self, spawn: Spawn, hand_in: Callable[[ArmingRead], object]) -> None:
        """Read what plans are armed by beside the actor's messages; `on_arming` takes it."""
        self._spawn, self._hand_in = spawn, hand_in

    async def _arm(self, running: RunningPlan) -> None:
        plan_id = running.state.plan_id
        if self._spawn is None:
            event = await self._read_arming(running.document)
            if event is not None:
                await self.on_arming(ArmingRead(plan_id, event))
        elif plan_id not in self._reading:
            self._reading.add(plan_id)
            self._spawn(self._read_aside(plan_id, running.document))

    async def _read_aside(self, plan_id: str, document: PlanDocument) -> None:
        """Read for one plan at a time; what is not known yet is asked for with a later timer."""
        try:
            async with self._one_reader:
                event = await self._read_arming(document)
        finally:
            self._reading.discard(plan_id)
        if event is not None:
            self._hand_in(ArmingRead(plan_id, event))

    async def on_arming(self, read: ArmingRead) -> None:
        """Arm or refuse a plan by what was read, if it still waits for that."""
        running = self.plans.get(read.plan_id)
        if running is None or running.state.phase is not Phase.REQUESTED or self.is_draining:
            return
        await self._tell(running, read.event)

    async def _read_arming(self, document: PlanDocument) -> Armed | ArmingRefused | None:
        now_ns = self._market_clock.now_ns()
        fault = dollars_fault(self.path.account_state.currency)
        if fault:
            return ArmingRefused(f"the {self.account} account takes no entry: {fault}", now_ns)
        if not self._facts.bars_are_read(document.symbol, now_ns):
            return None
        try:
            await self._facts.refresh((document.symbol,), self.reference, now_ns)
            return await self.arm(document)
        except StoreUnavailable as error:
            self._note_store(is_down=True, why=str(error))
        except BrokerUnavailable:
            pass
        return None

    async def _read_sessions(self) -> None:
        if self._clock.now() < self._sessions_due_s:
            return
        self._sessions_due_s = self._clock.now() + SESSIONS_PERIOD_S
        now_ns = self._market_clock.now_ns()
        if self._sessions and self._sessions[-1].close_ns > now_ns + SESSIONS_AHEAD_NS // 2:
            return
        self._sessions = await self.reference.sessions(VENUE, now_ns, now_ns + SESSIONS_AHEAD_NS)

    # --- what people are told ---------------------------------------------------------------

    def _alert_refusal(self, running: RunningPlan, fact: PathEvent) -> None:
        """Tell a person of a refused reduction: the first, then ever more rarely."""
        if not isinstance(fact, RequestDenied | RequestRejected):
            return
        failures = running.state.failures
        if fact.kind == EnterRequest.__name__ or failures & (failures + 1):
            return
        if isinstance(fact, RequestDenied):
            why = f"denied by {fact.denied.check}: {fact.denied.reason or fact.denied.observed}"
        else:
            why = f"rejected by the broker: {fact.code} {fact.text}"
        severity = "critical" if failures > 3 else "warning"
        text = f"{fact.plan_id}: {fact.kind} {why}; it is asked again"
        self._display.alert(severity, "reduction_refused", text, running.document.symbol)

    def _note_store(self, *, is_down: bool, why: str = "") -> None:
        if is_down and not self._is_store_down:
            text = f"plans cannot be saved ({why}): no entries; exits and stops go on"
            self._display.alert("critical", "plan_store_down", text)
        if is_down:
            self._store_retry_s = self._clock.now() + STORE_RETRY_S
        self._is_store_down = is_down

    def _forget_ended(self) -> None:
        """Keep the last ended plans for late facts; drop the oldest beyond that."""
        ended = [i for i, p in self.plans.items() if p.state.phase.is_final and not p.is_dirty]
        for plan_id in ended[: max(0, len(ended) - ENDED_KEPT_MAX)]:
            del self.plans[plan_id]
