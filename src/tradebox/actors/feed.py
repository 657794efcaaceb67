"""A feed: judges every tick; as ACTIVE it admits them, as standby it keeps what is not settled.

Rules of this file:
- it holds no client and no copy of the gate's power: without the current epoch it can do nothing;
- filter and tier machine are pure, so both feeds, given the same messages, hold the same state;
- every source's ticks are judged, those of the one that serves the symbol are let through;
- a new standby takes its partner's memory by one question that stands behind every message its
  own mailbox may have missed, and becomes warm when it has read what came meanwhile;
- a partner that is behind is waited for while it gets on; only where there is none, or it is hung,
  a standby goes on from what the slot holds, and learns what was told since;
- a batch is judged in slices: between two ticks the pair may change, within one it cannot.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tradebox.actors.admission import Admission, Outcome
from tradebox.actors.feed_slot import (
    Confirmed,
    Control,
    FeedMemory,
    FeedSlot,
    PreviousClose,
    ProviderNews,
    SplitTold,
    Subscribed,
    TierClock,
    default_tiers,
)
from tradebox.actors.market_hub import TickCounters
from tradebox.domain.events import TickRefused
from tradebox.domain.feed_pair import Role
from tradebox.domain.filter_sources import moved
from tradebox.domain.filter_values import Check, FilterLimits, Judged, SymbolState, Verdict
from tradebox.domain.market import Source, Tick
from tradebox.domain.tick_filter import (
    is_halted,
    judge,
    with_level_confirmed,
    with_previous_close,
    with_split,
)
from tradebox.domain.tier_values import STREAMS, TierLimits, TierNote, rebased
from tradebox.domain.tiers import TierMachine
from tradebox.ports.ticks import TickBatch
from tradebox.supervision.actor import Actor, Context, ReplyTo, Stop
from tradebox.supervision.clock import TimerHandle, yield_turn
from tradebox.supervision.errors import ActorDown, MailboxFull
from tradebox.supervision.mailbox import Overflow
from tradebox.supervision.reasons import Shutdown
from tradebox.supervision.ref import INFINITY

RING_TICKS = 65_536
LOOK_S = 0.5
LOOKS_MAX = 2
"""A partner that got no further between so many looks in a row is not waited for any longer."""
CHECKPOINT_BITS = 9
WARM_RETRY_S = 0.05
SLICE_S = 0.0005
"""So much work of a batch at once: an order must not wait for a frame of a hundred ticks."""
NO_PRICE = frozenset({Check.FUTURE, Check.LATE, Check.PRICE, Check.SENTINEL, Check.SIZE})
"""What is dropped by these says nothing of now: no price, or one of another time."""
ASKED_AGAIN = frozenset({Check.DUPLICATE, Check.SUBSCRIBED})
"""A vendor that is asked again says the same again, and its probe is a symbol nobody may want."""


@dataclass(frozen=True, slots=True)
class TakeSnapshot:
    """The partner's question: everything you know, as of this place in your mailbox."""


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """To self, behind everything that came during the warm-up."""


FeedMessage = TickBatch | Control | CaughtUp


class Feed(Actor[FeedMessage]):
    """One of the pair. Its name in the registry is its name in the pair.

    Holds: while ACTIVE each tick is settled in the same step that judged it; as standby the ring
           holds exactly what it judged and the gate has not settled.
    """

    mailbox_capacity = 16_384
    overflow = Overflow.DROP_OLDEST
    idle_s = 0.25

    def __init__(
        self,
        slot: FeedSlot,
        limits: FilterLimits,
        counters: TickCounters,
        is_open: Callable[[int], bool | None] = lambda _: None,
        tiers: TierLimits | None = None,
        *,
        slice_s: float = SLICE_S,
    ) -> None:
        self.name = ""
        self.incarnation = 0
        self.epoch: int | None = None
        self._tiers = default_tiers() if tiers is None else TierMachine(tiers)
        self.memory = FeedMemory(tiers=self._tiers)
        self._slot = slot
        self._limits = limits
        self._counters = counters
        self._is_open = is_open
        self._slice_s = slice_s
        self._ring: deque[Outcome] = deque()
        self._told_before = slot.control_seq
        """The last control message that cannot be in our mailbox."""

    # --- life -------------------------------------------------------------------------------

    async def init(self, ctx: Context) -> None:
        """Join the pair; the warm-up runs before the first message."""
        self._ctx = ctx
        self.name, self.incarnation = ctx.name, ctx.ref.incarnation
        self._slot.join(self)
        ctx.continue_with("warm up")

    async def handle_continue(self, token: object) -> None:
        """Take the partner's memory, or what is left of it, and catch up."""
        del token
        self.memory = await self._partner_memory()
        self._slot.memories[self.name] = self.memory
        self._catch_up()

    async def _partner_memory(self) -> FeedMemory:
        """Ask the partner; where it cannot answer, go on from what the slot still holds."""
        partner = self._slot.pair.partner(self.name)
        if self._slot.role(partner) in (Role.ACTIVE, Role.WARM):
            try:
                snapshot = await self._asked(partner)
            except (ActorDown, MailboxFull, TimeoutError):
                snapshot = None
            if isinstance(snapshot, FeedMemory):
                return snapshot
        return self._memory_left()

    async def _asked(self, partner: str) -> object:
        """Return the partner's answer.

        One question, however long it takes: a second one would stand further behind.
        Raises: ActorDown, MailboxFull; TimeoutError once it gets on no longer.
        """
        clock, looks, reached = self._ctx.clock, 0, self._reached_by(partner)
        timers: list[TimerHandle] = []

        def again() -> None:
            timers[:] = [clock.call_at(clock.now() + LOOK_S, look)]

        def look() -> None:
            nonlocal looks, reached
            self._ctx.checkin()
            before, reached = reached, self._reached_by(partner)
            looks = looks + 1 if reached == before else 0
            if looks < LOOKS_MAX:
                again()
            else:
                limit.reschedule(asyncio.get_running_loop().time())

        async with asyncio.timeout(None) as limit:
            again()
            try:
                return await self._ctx.registry.via(partner).ask(TakeSnapshot(), INFINITY)
            finally:
                timers[0].cancel()

    def _reached_by(self, name: str) -> tuple[int, int] | None:
        memory = self._slot.memories.get(name)
        return None if memory is None else memory.reached

    def _memory_left(self) -> FeedMemory:
        """Return a copy of the newest memory there is, and teach it what it was not told.

        What our own mailbox holds comes in its place among the ticks.
        """
        slot, before = self._slot, self._told_before
        latest = max(slot.memories.values(), key=lambda one: one.reached, default=None)
        memory = FeedMemory(tiers=self._tiers) if latest is None else latest.copy()
        since = memory.seq
        for message in (slot.subscribed, *slot.closes.values(), *slot.told):
            if since < message.seq <= before:
                memory.seq = message.seq - 1
                _learn(memory, message)
        memory.seq = max(since, before)
        return memory

    def _catch_up(self) -> None:
        if not self._ctx.ref.tell(CaughtUp()):
            self._ctx.send_after(WARM_RETRY_S, CaughtUp())

    async def handle(self, msg: FeedMessage) -> None:
        """Judge a batch, or learn what the next ones are judged by."""
        match msg:
            case TickBatch():
                await self._batch(msg)
            case CaughtUp():
                self._slot.warmed(self)
            case _:
                self._told(msg)

    async def handle_call(self, req: Any, reply_to: ReplyTo) -> Any:
        """Give the partner a copy of what is known here and now."""
        if isinstance(req, TakeSnapshot):
            return self.memory.copy()
        return await super().handle_call(req, reply_to)

    # --- ticks ------------------------------------------------------------------------------

    async def _batch(self, batch: TickBatch) -> None:
        """Judge tick by tick; a long batch gives turns away, first of all to the controllers."""
        memory, slot, first, last = self.memory, self._slot, 0, 0
        until_s = time.perf_counter() + self._slice_s
        for tick in batch.ticks:
            if time.perf_counter() > until_s:
                await yield_turn()
                until_s = time.perf_counter() + self._slice_s
            if tick.key <= memory.keys.get(tick.source, 0):
                continue
            first, last = first or tick.key, tick.key
            outcome, judged = self._ruled(tick, batch.mono_ns)
            memory.keys[tick.source] = tick.key
            if self.epoch is None:
                self._keep(outcome)
            else:
                self._settle(outcome, tick, judged)
        if not last:
            return
        source = batch.ticks[-1].source
        if self.epoch is not None:
            slot.active_settled(source, last)
        elif self._ring:
            slot.standby_reached(source, last)
        if first >> CHECKPOINT_BITS != last >> CHECKPOINT_BITS or not last % (1 << CHECKPOINT_BITS):
            slot.checkpoint(self, (source, last), memory.fingerprint())

    def _ruled(self, tick: Tick, mono_ns: int) -> tuple[Outcome, Judged]:
        """Judge a tick, ask who serves its symbol, and say what is to be let through."""
        memory, symbol, tiers = self.memory, tick.symbol, self.memory.tiers
        before = memory.states.get(symbol)
        if before is not None and tiers.is_vacant(symbol, tick.source):
            before = self._rebased(before, tick)
        state, judged = judge(
            before,
            tick,
            self._limits,
            is_open=self._is_open(tick.event_ns),
            around=memory.around,
        )
        passes = judged.passes or (judged.check is Check.DUPLICATE and tiers.is_said_again(tick))
        ruling = tiers.tick(tick, passes=passes, is_price=judged.check not in NO_PRICE)
        if before is not None:
            if not ruling.serves:
                # A witness is heard, but it makes the serving source's next tick no later.
                state = state._replace(last_event_ns=before.last_event_ns)
            elif judged.passes:
                memory.rebased.discard(symbol)
                memory.around = moved(memory.around, before, state, symbol)
            memory.states[symbol] = state
            if is_halted(state) is not (symbol in tiers.halts):
                tiers.halt(symbol, is_halted=is_halted(state))
        admit: Tick | None = None
        if not ruling.serves:
            pass
        elif passes:
            admit = tick
        elif (
            judged.verdict is Verdict.HOLD
            and before is not None
            and before.last_price_micros
            and not before.held
        ):
            admit = replace(
                tick, price_micros=before.last_price_micros, event_ns=before.last_event_ns, size=0
            )
        quality = tiers.quality(tick, judged) if admit is tick else judged.quality
        return Outcome(tick.source, tick.key, admit, quality, mono_ns, ruling.notes), judged

    def _rebased(self, before: SymbolState, tick: Tick) -> SymbolState:
        """Let who may take over be judged from the old level as from a close, once a vacancy."""
        if tick.symbol in self.memory.rebased:
            return before
        self.memory.rebased.add(tick.symbol)
        return rebased(before)

    def _settle(self, outcome: Outcome, tick: Tick, judged: Judged) -> None:
        assert self.epoch is not None
        slot = self._slot
        if slot.gate.push(self.epoch, outcome) is Admission.FENCED:
            self._fenced(outcome)
            return
        for note in outcome.notes:
            slot.note(note)
        if judged.verdict is Verdict.ACCEPT:
            return
        if judged.check in ASKED_AGAIN and tick.source not in STREAMS:
            return
        slot.on_verdict(tick, judged)
        if not judged.passes:
            self._counters.refused += 1
            self._ctx.events.publish(
                TickRefused(
                    tick.symbol,
                    tick.source,
                    judged.check,
                    judged.verdict,
                    tick.price_micros,
                    tick.event_ns,
                )
            )

    # --- what both are told -------------------------------------------------------------------

    def _told(self, message: Control) -> None:
        """Learn a control message; as ACTIVE, tell what it changed."""
        notes = _learn(self.memory, message)
        if self.epoch is None:
            return
        for note in notes:
            self._slot.note(note)
        if isinstance(message, TierClock):
            tiers = self.memory.tiers
            unwell = frozenset(one for one in Source if not tiers.is_up(one))
            self._slot.on_polled(tiers.polled(), unwell)

    def _keep(self, outcome: Outcome) -> None:
        ring, gate = self._ring, self._slot.gate
        while ring and ring[0].key <= gate.settled(ring[0].source):
            ring.popleft()
        if outcome.key <= gate.settled(outcome.source):
            return
        if len(ring) >= RING_TICKS:
            ring.popleft()
        ring.append(outcome)

    # --- roles ------------------------------------------------------------------------------

    def promote(self, epoch: int) -> int:
        """Take the epoch and settle what the old active left; return how many were admitted."""
        self.epoch = epoch
        slot, replayed = self._slot, 0
        for outcome in self._ring:
            admission = slot.gate.push(epoch, outcome)
            replayed += admission is Admission.ADMITTED
            if admission is not Admission.DUPLICATE:
                for note in outcome.notes:
                    slot.note(note)
        self._ring.clear()
        return replayed

    def demote(self) -> None:
        """Go on as standby; what is known is as good as the partner's."""
        self.epoch = None
        self._slot.refused(self)

    def _fenced(self, outcome: Outcome) -> None:
        """Another feed holds the epoch: a zombie ends here, a living member is standby."""
        self.epoch = None
        if not self._slot.is_current(self):
            raise Stop(Shutdown("deposed"))
        self._keep(outcome)
        self._slot.refused(self)


def _learn(memory: FeedMemory, message: Control) -> tuple[TierNote, ...]:
    """Take a control message in; one from before the memory's own time changes nothing."""
    if message.seq <= memory.seq:
        return ()
    memory.seq = message.seq
    states = memory.states
    match message:
        case Subscribed(symbols=symbols, near=near):
            for symbol in states.keys() - symbols:
                del states[symbol]
                memory.rebased.discard(symbol)
            for symbol in symbols - states.keys():
                states[symbol] = SymbolState()
            memory.tiers.subscribed(symbols, near)
        case PreviousClose(symbol=symbol, price_micros=price):
            if symbol in states:
                states[symbol] = with_previous_close(states[symbol], price)
        case Confirmed(symbol=symbol):
            if symbol in states:
                states[symbol] = with_level_confirmed(states[symbol])
        case SplitTold(symbol=symbol, split=split):
            if symbol in states:
                states[symbol] = with_split(states[symbol], split)
        case ProviderNews(told=told):
            return memory.tiers.provider(told)
        case TierClock(now_ns=now_ns, hours=hours, open_ns=open_ns, close_ns=close_ns):
            if (open_ns, close_ns) != memory.around[:2]:
                memory.around = memory.around._replace(open_ns=open_ns, close_ns=close_ns)
            return memory.tiers.clock(now_ns, hours)
    return ()
