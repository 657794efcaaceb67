"""Watches the feed pair from beside it: exits, missed check-ins, planned swaps, the time.

Rules of this file:
- it decides nothing: the pair's state machine does, the slot carries it out in one step;
- the suspicion of a missed check-in reaches the pair before the kernel's kill does;
- a restart is asked of the supervisor by incarnation, after the takeover.
"""

import contextlib
from dataclasses import dataclass
from typing import Any

from tradebox.actors.feed_slot import Control, FeedSlot
from tradebox.domain.feed_pair import Cause
from tradebox.supervision.actor import Actor, Context, Down, ReplyTo
from tradebox.supervision.errors import ActorDown
from tradebox.supervision.events import CheckinMissed, ChildStarted, Sink
from tradebox.supervision.reasons import ExitReason
from tradebox.supervision.requests import SupervisorHandle

TELL_TIME_S = 0.25


@dataclass(frozen=True, slots=True)
class SwapFeeds:
    """Question: have the standby take over. The answer is the active feed's name, or None."""


@dataclass(frozen=True, slots=True)
class SwapDue:
    """To self: the schedule asks for a swap."""


@dataclass(frozen=True, slots=True)
class TimeDue:
    """To self: the feeds are to be told the time."""


@dataclass(frozen=True, slots=True)
class RestartsWanted:
    """To self: the slot has restart wishes."""


MonitorMessage = Down | ChildStarted | SwapDue | TimeDue | RestartsWanted


class FeedMonitor(Actor[MonitorMessage]):
    """The pair's watcher.

    Units: swap_period_s: time between planned swaps, None for never.
    """

    def __init__(
        self, slot: FeedSlot, supervisor: str = "market", swap_period_s: float | None = None
    ) -> None:
        self._slot = slot
        self._supervisor = supervisor
        self._swap_period_s = swap_period_s
        self._watched: set[int] = set()
        self._sinks: tuple[Sink, ...] = ()

    async def init(self, ctx: Context) -> None:
        """Watch who is there and who comes."""
        self._ctx = ctx
        self._sinks = (
            ctx.events.attach(ChildStarted, self._on_started),
            ctx.events.attach(CheckinMissed, self._on_checkin),
        )
        self._slot.on_restart = lambda: ctx.ref.tell(RestartsWanted())
        self._slot.tell = self._tell_feeds
        for name in self._slot.pair.names:
            self._watch(name)
        if self._slot.restart_wishes:
            ctx.ref.tell(RestartsWanted())
        self._arm_swap()
        ctx.ref.tell(TimeDue())

    def _tell_feeds(self, message: Control) -> None:
        """Tell both in one step, so that both have the same order; needs no living monitor."""
        for name in self._slot.order():
            self._ctx.registry.via(name).tell(message)

    def _on_started(self, event: ChildStarted) -> None:
        if event.name in self._slot.pair.names:
            self._ctx.ref.tell(event)

    def _on_checkin(self, event: CheckinMissed) -> None:
        if event.name in self._slot.pair.names:
            self._slot.suspect(event.name, Cause.CHECKIN, late_s=0.0, limit_s=event.limit_s)

    def _watch(self, name: str) -> None:
        ref = self._ctx.registry.whereis(name)
        if ref is not None and ref.incarnation not in self._watched:
            self._watched.add(ref.incarnation)
            self._ctx.monitor(ref)

    def _arm_swap(self) -> None:
        if self._swap_period_s is not None:
            self._ctx.send_after(self._swap_period_s, SwapDue())

    async def handle(self, msg: MonitorMessage) -> None:
        """Tell the slot who ended, the supervisor who should."""
        match msg:
            case Down(ref=ref):
                self._watched.discard(ref.incarnation)
                self._slot.exited(ref.name, ref.incarnation)
            case ChildStarted(name=name):
                self._watch(name)
            case SwapDue():
                self._slot.swap()
                self._arm_swap()
            case TimeDue():
                self._slot.pass_time()
                self._ctx.send_after(TELL_TIME_S, TimeDue())
            case RestartsWanted():
                for wish in self._slot.take_restart_wishes():
                    self._ctx.spawn_io(self._restart(wish.name, wish.incarnation))

    async def _restart(self, name: str, incarnation: int) -> None:
        supervisor = SupervisorHandle(self._ctx.registry.via(self._supervisor))
        with contextlib.suppress(ActorDown):  # a supervisor that ends takes its children along
            await supervisor.restart_child(name.rpartition(".")[2], incarnation)

    async def handle_call(self, req: Any, reply_to: ReplyTo) -> Any:
        """Swap on request."""
        if isinstance(req, SwapFeeds):
            return self._slot.active if self._slot.swap() else None
        return await super().handle_call(req, reply_to)

    async def terminate(self, reason: ExitReason) -> None:
        """Stop listening."""
        del reason
        for sink in self._sinks:
            sink.close()
