"""A supervisor: starts children in order, restarts them by plan, stops them in reverse.

Rules of this file:
1. While a child starts or stops the supervisor does nothing else; a failed restart goes behind
   the mailbox, so it can be asked and stopped inside a restart loop.
2. Each restart, and each failed attempt, counts against the intensity; a group counts once. A
   child with a backoff does not count: its waits bound the rate instead.
3. Giving up ends with `shutdown`, an expected reason: supervisors are permanent children.
4. What is done follows `strategy` and `intensity`; this file only carries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from tradebox.supervision.actor import Actor, Context, ReplyTo, Stop, Timer
from tradebox.supervision.cell import Cell, ChildGone
from tradebox.supervision.errors import SpecInvalid, StartFailed
from tradebox.supervision.events import (
    ActorEvent,
    ChildExited,
    ChildHalted,
    ChildRestarting,
    ChildStarted,
    ChildStartFailed,
    IntensityReached,
)
from tradebox.supervision.gate import EpochGate
from tradebox.supervision.intensity import RestartWindow
from tradebox.supervision.kernel import Kernel, Verdict
from tradebox.supervision.reasons import ExitReason, FailedToStart, Hung, Shutdown
from tradebox.supervision.ref import ActorRef
from tradebox.supervision.requests import (
    AlreadyDone,
    AlreadyPresent,
    AlreadyStarted,
    ChildCounts,
    ChildInfo,
    ChildStatus,
    CountChildren,
    DeleteChild,
    Done,
    GetChildSpec,
    Ignored,
    NotStarted,
    Refused,
    RestartChild,
    RestartResult,
    StartChild,
    Started,
    StartResult,
    SupervisorCalls,
    TerminateChild,
    WhichChildren,
    Why,
)
from tradebox.supervision.spec import (
    ChildSpec,
    ChildType,
    RestartType,
    SupFlags,
    check_significant,
    check_specs,
)
from tradebox.supervision.strategy import (
    AfterExit,
    ChildView,
    after_exit,
    ends_supervisor,
    plan_restart,
)


@dataclass(slots=True, eq=False)
class Child:
    """What a supervisor knows of one child."""

    spec: ChildSpec
    args: tuple[Any, ...] = ()
    cell: Cell | None = None
    status: ChildStatus = ChildStatus.STOPPED
    restarts: int = 0
    attempt: int = 0
    serial: int = 0
    last_reason: ExitReason | None = None
    timer: Timer | None = None

    def view(self) -> ChildView:
        """Return what a plan needs to know."""
        running = self.cell is not None
        return ChildView(self.spec.id, self.spec.restart, running, self.spec.significant)


@dataclass(frozen=True, slots=True)
class Retry:
    """To self: try again to start this child, unless something happened to it since."""

    child_id: str
    serial: int


class Supervisor(Actor[Any], SupervisorCalls):
    """Runs children by their specs.

    `gate` decides about the tokens of restart_child; without one the highest token seen does.

    Holds: stop order is reverse start order; restarts in any period ≤ intensity, the next one
           escalates; a temporary child never restarts.
    """

    is_supervisor: ClassVar[bool] = True
    mailbox_capacity = 4096

    def __init__(
        self,
        flags: SupFlags | None = None,
        specs: Iterable[ChildSpec] = (),
        gate: EpochGate | None = None,
    ) -> None:
        self.flags = SupFlags() if flags is None else flags
        self.children: dict[str, Child] = {
            spec.id: Child(spec) for spec in check_specs(self.flags, specs)
        }
        self._gate = gate
        self._token = 0
        self._window = RestartWindow(self.flags.intensity, self.flags.period)
        self._answers: dict[type, Callable[[Any], Any]] = {
            StartChild: self._on_start_child,
            TerminateChild: self._on_terminate_child,
            RestartChild: self._on_restart_child,
            DeleteChild: self._on_delete_child,
            GetChildSpec: self._on_get_child_spec,
            WhichChildren: self._on_which_children,
            CountChildren: self._on_count_children,
        }

    def _target(self) -> ActorRef[Any]:
        return self.ctx.ref

    def restarts_counted(self, now: float) -> int:
        """Return how many restarts count against the intensity at `now`."""
        return self._window.count(now)

    # --- life -------------------------------------------------------------------------------

    async def init(self, ctx: Context) -> object:
        """Start the children from left to right; if one fails, stop the others and fail."""
        self.ctx = ctx
        assert isinstance(ctx.services, Kernel)
        self.kernel = ctx.services
        for child in list(self.children.values()):
            try:
                await self._start(child)
            except StartFailed as failed:
                self._note_failed(child, failed)
                if child.spec.backoff is not None:
                    self._schedule(child)
                    continue
                await self._stop_all()
                detail = FailedToStart(child.spec.id, failed.reason)
                raise Stop(Shutdown(detail)) from failed
        return None

    async def handle(self, msg: Any) -> None:
        """Answer a child's end, or a retry that has come up."""
        if isinstance(msg, ChildGone):
            await self._on_gone(msg.cell)
        elif isinstance(msg, Retry):
            await self._on_retry(msg)

    async def handle_call(self, req: Any, reply_to: ReplyTo) -> Any:  # noqa: ARG002 - API words
        """Answer one of `requests`."""
        answer = self._answers.get(type(req))
        if answer is None:
            return Refused(Why.UNKNOWN, type(req).__name__)
        return await answer(req)

    async def terminate(self, reason: ExitReason) -> None:  # noqa: ARG002 - API words
        """Stop the children in reverse start order, each within its own time."""
        await self._stop_all()

    # --- starting and stopping --------------------------------------------------------------

    def _emit(self, make: Callable[..., ActorEvent], child: Child, **fields: Any) -> None:
        prefix = "" if self.ctx.cell.parent is None else f"{self.ctx.name}."
        name = f"{prefix}{child.spec.id}"
        self.ctx.events.publish(
            make(at_s=self.ctx.clock.now(), name=name, child_id=child.spec.id, **fields)
        )

    def _set(self, child: Child, status: ChildStatus) -> None:
        child.status = status
        child.serial += 1
        if child.timer is not None:
            child.timer.cancel()
            child.timer = None

    def _forget(self, child: Child) -> None:
        self._set(child, ChildStatus.STOPPED)
        if self.children.get(child.spec.id) is child:
            del self.children[child.spec.id]

    async def _start(self, child: Child) -> None:
        """Start one child; an ignoring one stays as a spec. Raises StartFailed."""
        self._set(child, ChildStatus.STOPPED)
        cell = await self.kernel.start(child.spec, self.ctx.cell, child.args)
        if child.spec.restart is RestartType.TEMPORARY:
            child.args = ()
        if cell is None:
            self._on_ignored(child)
            return
        child.cell = cell
        self._set(child, ChildStatus.RUNNING)
        fields = {"incarnation": cell.incarnation, "restarts": child.restarts}
        self._emit(ChildStarted, child, **fields)

    def _on_ignored(self, child: Child) -> None:
        if child.spec.restart is RestartType.TEMPORARY:
            self._forget(child)

    async def _stop(self, child: Child) -> None:
        cell = child.cell
        self._set(child, ChildStatus.STOPPED)
        if cell is None:
            return
        reason = await self.kernel.stop(cell, child.spec.shutdown_wait)
        self._note_exit(child, cell, reason, asked=True)

    async def _stop_all(self) -> None:
        for child in reversed(list(self.children.values())):
            await self._stop(child)

    def _note_exit(self, child: Child, cell: Cell, reason: ExitReason, *, asked: bool) -> None:
        child.cell = None
        child.last_reason = reason
        self._set(child, ChildStatus.STOPPED)
        self._emit(ChildExited, child, incarnation=cell.incarnation, reason=reason, asked=asked)

    def _note_failed(self, child: Child, failed: StartFailed) -> None:
        child.last_reason = failed.reason
        self._emit(ChildStartFailed, child, reason=failed.reason)

    # --- restarting -------------------------------------------------------------------------

    async def _on_gone(self, cell: Cell) -> None:
        child = self.children.get(cell.id)
        if child is None or child.cell is not cell or cell.reason is None:
            return
        ran_s = self.ctx.clock.now() - cell.started_s
        if child.spec.backoff is not None and ran_s >= child.spec.backoff.reset_s:
            child.attempt = 0
        self._note_exit(child, cell, cell.reason, asked=False)
        await self._after_exit(child, cell.reason)

    async def _after_exit(self, child: Child, reason: ExitReason) -> None:
        ended = child.view()
        what = after_exit(child.spec.restart, reason)
        if what is AfterExit.RESTART:
            await self._restart(child, reason)
            return
        if what is AfterExit.FORGET:
            self._forget(child)
        others = [other.view() for other in self.children.values() if other is not child]
        if ends_supervisor(self.flags.auto_shutdown, ended, others):
            raise Stop(Shutdown("auto_shutdown"))

    async def _restart(self, child: Child, reason: ExitReason) -> None:
        """Follow a failure: count it, clear the group, start again now or later."""
        if self.kernel.rule(reason) is Verdict.HALT:
            self._set(child, ChildStatus.HALTED)
            self._emit(ChildHalted, child, reason=reason)
            return
        if child.spec.backoff is not None:
            await self._clear(child)
            self._schedule(child)
            return
        self._count(child, reason)
        child.attempt += 1
        fields = {"attempt": child.attempt, "delay_s": 0.0, "reason": reason}
        self._emit(ChildRestarting, child, **fields)
        await self._begin(child)

    def _count(self, child: Child, reason: ExitReason) -> None:
        self._window, exceeded = self._window.add(self.ctx.clock.now())
        if exceeded:
            fields = {"intensity": self.flags.intensity, "period_s": self.flags.period}
            self._emit(IntensityReached, child, reason=reason, **fields)
            raise Stop(Shutdown("intensity"))

    def _schedule(self, child: Child) -> None:
        """Have a child with a backoff tried again after its next wait."""
        assert child.spec.backoff is not None
        child.attempt += 1
        delay_s = child.spec.backoff.delay_s(child.attempt, self.kernel.rng)
        self._set(child, ChildStatus.RESTARTING)
        fields = {"attempt": child.attempt, "delay_s": delay_s, "reason": child.last_reason}
        self._emit(ChildRestarting, child, **fields)
        child.timer = self.ctx.send_after(delay_s, Retry(child.spec.id, child.serial))

    async def _on_retry(self, retry: Retry) -> None:
        child = self.children.get(retry.child_id)
        if child is None or child.serial != retry.serial:
            return
        assert child.status is ChildStatus.RESTARTING
        if child.spec.backoff is not None:
            await self._begin(child)
        else:
            assert child.last_reason is not None
            await self._restart(child, child.last_reason)

    async def _clear(self, child: Child) -> tuple[str, ...]:
        """Stop and forget what the restart of `child` covers; return what to start."""
        views = [known.view() for known in self.children.values()]
        plan = plan_restart(self.flags.strategy, views, child.spec.id)
        for child_id in plan.stop:
            await self._stop(self.children[child_id])
        for child_id in plan.forget:
            self._forget(self.children[child_id])
        return plan.start

    async def _begin(self, child: Child) -> None:
        for child_id in await self._clear(child):
            each = self.children[child_id]
            try:
                await self._start_again(each)
            except StartFailed as failed:
                self._note_failed(each, failed)
                self._try_later(each, failed.reason)
                return

    async def _start_again(self, child: Child) -> None:
        child.restarts += 1
        try:
            await self._start(child)
        except StartFailed:
            child.restarts -= 1
            raise
        if child.spec.backoff is None:
            child.attempt = 0

    def _try_later(self, child: Child, reason: ExitReason) -> None:
        if self.kernel.rule(reason) is Verdict.HALT:
            self._set(child, ChildStatus.HALTED)
            self._emit(ChildHalted, child, reason=reason)
        elif child.spec.backoff is not None:
            self._schedule(child)
        else:
            self._set(child, ChildStatus.RESTARTING)
            self.ctx.cell.mailbox.put_beyond(Retry(child.spec.id, child.serial))

    # --- questions --------------------------------------------------------------------------

    async def _on_start_child(self, req: StartChild) -> StartResult:
        spec = req.spec
        if spec is None:
            return Refused(Why.SPEC_INVALID, "needs a spec")
        known = self.children.get(spec.id)
        if known is not None:
            if known.cell is not None:
                return AlreadyStarted(ActorRef(known.cell))
            return AlreadyPresent()
        try:
            check_significant(self.flags, spec)
        except SpecInvalid as error:
            return Refused(Why.SPEC_INVALID, str(error))
        return await self._add(Child(spec, req.args))

    async def _add(self, child: Child) -> StartResult:
        self.children[child.spec.id] = child
        try:
            await self._start(child)
        except StartFailed as failed:
            self._note_failed(child, failed)
            self._forget(child)
            return NotStarted(failed.reason)
        return self._running(child)

    @staticmethod
    def _running(child: Child) -> Started | Ignored:
        if child.cell is None:
            return Ignored()
        return Started(ActorRef(child.cell), child.cell.info)

    def _find(self, child: str | ActorRef[Any]) -> Child | None:
        if isinstance(child, str):
            return self.children.get(child)
        known = self.children.get(child.id)
        if known is None or known.cell is None or ActorRef(known.cell) != child:
            return None
        return known

    async def _on_terminate_child(self, req: TerminateChild) -> Done | Refused:
        child = self._find(req.child)
        if child is None:
            return Refused(Why.NOT_FOUND)
        await self._stop(child)
        if child.spec.restart is RestartType.TEMPORARY:
            self._forget(child)
        return Done()

    def _is_stale(self, token: int) -> bool:
        if self._gate is not None:
            return self._gate.check(token) is not None
        stale = token < self._token
        self._token = max(self._token, token)
        return stale

    async def _on_restart_child(self, req: RestartChild) -> RestartResult:
        if req.token is not None and self._is_stale(req.token):
            return Refused(Why.STALE_TOKEN, str(req.token))
        child = self.children.get(req.id)
        if child is None:
            return Refused(Why.NOT_FOUND)
        if child.cell is not None:
            if req.incarnation is None:
                return Refused(Why.RUNNING)
            if req.incarnation != child.cell.incarnation:
                return AlreadyDone(ActorRef(child.cell))
            return await self._replace(child, child.cell)
        if child.status is ChildStatus.RESTARTING:
            return Refused(Why.RESTARTING) if req.incarnation is None else AlreadyDone(None)
        try:
            await self._start_again(child)
        except StartFailed as failed:
            self._note_failed(child, failed)
            return NotStarted(failed.reason)
        return self._running(child)

    async def _replace(self, child: Child, cell: Cell) -> RestartResult:
        """Kill a running incarnation that somebody found silent; its spec says what follows."""
        self.kernel.kill(cell, Hung("probe"))
        reason = await self.kernel.join(cell)
        self._note_exit(child, cell, reason, asked=False)
        await self._after_exit(child, reason)
        if child.cell is not None:
            return self._running(child)
        if child.spec.id not in self.children:
            return Refused(Why.NOT_FOUND, "temporary")
        return NotStarted(child.last_reason or reason)

    async def _on_delete_child(self, req: DeleteChild) -> Done | Refused:
        child = self.children.get(req.id)
        if child is None:
            return Refused(Why.NOT_FOUND)
        if child.cell is not None:
            return Refused(Why.RUNNING)
        if child.status is ChildStatus.RESTARTING:
            return Refused(Why.RESTARTING)
        self._forget(child)
        return Done()

    async def _on_get_child_spec(self, req: GetChildSpec) -> ChildSpec | Refused:
        child = self.children.get(req.id)
        return Refused(Why.NOT_FOUND) if child is None else child.spec

    async def _on_which_children(self, _: WhichChildren) -> tuple[ChildInfo, ...]:
        return tuple(
            ChildInfo(
                child.spec.id,
                None if child.cell is None else ActorRef(child.cell),
                child.status,
                child.spec.type,
            )
            for child in self.children.values()
        )

    async def _on_count_children(self, _: CountChildren) -> ChildCounts:
        known = list(self.children.values())
        supervisors = sum(child.spec.type is ChildType.SUPERVISOR for child in known)
        active = sum(child.cell is not None for child in known)
        return ChildCounts(len(known), active, supervisors, len(known) - supervisors)


def nested(
    child_id: str,
    flags: SupFlags | None = None,
    specs: Iterable[ChildSpec] = (),
    gate: EpochGate | None = None,
    **fields: Any,
) -> ChildSpec:
    """Return the spec of a supervisor as a child; `fields` are further fields of the spec."""
    kept = tuple(specs)
    return ChildSpec(
        child_id, lambda: Supervisor(flags, kept, gate), type=ChildType.SUPERVISOR, **fields
    )
