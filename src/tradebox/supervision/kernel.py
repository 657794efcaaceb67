"""The one place where tasks are made, watched, killed and, if deaf, left behind.

Rules of this file:
1. No other file of the project's actors creates a task; each task here has exactly one owner.
2. A kill cancels at 0, 10 and 50 ms and abandons at 70 ms: a cancellation is a request, and
   waiting for a deaf task would hold its supervisor hostage. Cancel scopes are not used, because a
   child deaf to them makes the scope spin.
3. An end is reported once, when the actor's loop, its coroutines and its children are all gone or
   abandoned; its name is free before anybody hears of it.
"""

from __future__ import annotations

import asyncio
import enum
import random
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

from tradebox.supervision.actor import Actor, Context, run_cell
from tradebox.supervision.budget import Budget
from tradebox.supervision.cell import Call, Cell, CellState, ChildGone, ExitRequest, IoFailed
from tradebox.supervision.checkin import CheckinWatch, SlotBoard
from tradebox.supervision.clock import Clock
from tradebox.supervision.errors import ActorDown, LinkedExit, MailboxFull, StartFailed
from tradebox.supervision.events import CheckinMissed, ChildAbandoned, EventBus
from tradebox.supervision.mailbox import Mailbox
from tradebox.supervision.reasons import Abandoned, Crash, ExitReason, Hung, Killed, Shutdown
from tradebox.supervision.ref import INFINITY, ActorRef, Down, LinkDown, no_proc
from tradebox.supervision.registry import Registry
from tradebox.supervision.spec import (
    BrutalKill,
    ChildSpec,
    ChildType,
    Rank,
    ShutdownWait,
    StartInvalid,
    TypeInvalid,
)

KILL_RUNGS_S: Final = (0.0, 0.010, 0.050)
ABANDON_S: Final = 0.070


class Verdict(enum.Enum):
    """What a failure asks for: a restart by the child's spec, or none until somebody orders it."""

    RESTART = "restart"
    HALT = "halt"


def always_restart(_: ExitReason) -> Verdict:
    """Leave every failure to the child's spec."""
    return Verdict.RESTART


def _refuse_dropped(name: str, capacity: int) -> Callable[[Any], None]:
    """Return what tells the caller of a question that fell out of a full mailbox."""

    def tell(message: Any) -> None:
        if isinstance(message, Call):
            message.reply_to.fail(MailboxFull(name, capacity))

    return tell


class Kernel:
    """Runs the actors of one tree on one loop.

    Holds: no orphan: every live task belongs to one live cell or is a counted zombie; every exit
           gives exactly one Down per monitor; names are unique and free after exit.
    """

    def __init__(
        self,
        clock: Clock,
        events: EventBus,
        registry: Registry,
        *,
        slots: SlotBoard | None = None,
        seed: int | None = None,
        rule: Callable[[ExitReason], Verdict] = always_restart,
    ) -> None:
        self.clock = clock
        self.rule = rule
        self.rng = random.Random(seed)  # noqa: S311 - jitter, not secrets
        self.on_zombie: Callable[[int], None] | None = None
        self._events = events
        self._registry = registry
        self._slots = slots
        self._incarnations = 0
        self._monitors = 0
        self._zombies: set[asyncio.Task[Any]] = set()
        self._cells: dict[int, Cell] = {}
        self._urgent: list[Cell] = []

    @property
    def events(self) -> EventBus:
        """The bus of the tree."""
        return self._events

    @property
    def registry(self) -> Registry:
        """The names of the tree."""
        return self._registry

    @property
    def zombies(self) -> int:
        """How many abandoned tasks still live."""
        return len(self._zombies)

    def live_cells(self) -> list[Cell]:
        """Return the cells whose end has not been reported, oldest first."""
        return list(self._cells.values())

    # --- start ------------------------------------------------------------------------------

    async def start(
        self, spec: ChildSpec, parent: Cell | None, args: Sequence[Any] = ()
    ) -> Cell | None:
        """Make the child and return its cell once its init has returned; None when it ignores.

        Raises: StartFailed, when nothing of the child is left and its name is free.
        """
        name = spec.id if parent is None or parent.parent is None else f"{parent.name}.{spec.id}"
        if parent is not None and (parent.reason is not None or parent.kill_reason is not None):
            raise StartFailed(name, Killed())
        try:
            actor = spec.start(*args)
            self._check_actor(spec, actor)
        except Exception as error:
            raise StartFailed(name, Crash(error)) from error
        cell = self._open(spec, name, actor, parent)
        try:
            self._registry.register(name, ActorRef(cell))
        except Exception as error:
            raise StartFailed(name, Crash(error)) from error
        ack = self._launch(cell, spec_is_urgent=spec.rank is Rank.URGENT)
        if spec.init_wait_s != INFINITY:
            cell.deadline = self.clock.call_at(
                self.clock.now() + spec.init_wait_s, lambda: self.kill(cell, Hung("init"))
            )
        try:
            await ack
        except asyncio.CancelledError:
            self.kill(cell)
            raise
        if cell.deadline is not None:
            cell.deadline.cancel()
        if cell.acked:
            return cell
        assert cell.reason is not None, "an ack follows a started or an ended actor"
        if cell.ignored and cell.kill_reason is None:
            return None
        raise StartFailed(name, cell.reason)

    @staticmethod
    def _check_actor(spec: ChildSpec, actor: object) -> None:
        if not isinstance(actor, Actor):
            raise StartInvalid(spec.id, actor, "made no Actor")
        if actor.is_supervisor != (spec.type is ChildType.SUPERVISOR):
            raise TypeInvalid(spec.id, spec.type, f"does not fit {type(actor).__name__}")

    def _open(self, spec: ChildSpec, name: str, actor: Actor[Any], parent: Cell | None) -> Cell:
        self._incarnations += 1
        mailbox: Mailbox[Any] = Mailbox(
            actor.mailbox_capacity, actor.overflow, actor.conflate_key, name
        )
        mailbox.on_drop = _refuse_dropped(name, actor.mailbox_capacity)
        now = self.clock.now()
        tick_s = actor.idle_s if spec.checkin is None else min(actor.idle_s, spec.checkin / 3)
        return Cell(
            id=spec.id,
            name=name,
            incarnation=self._incarnations,
            clock=self.clock,
            mailbox=mailbox,
            actor=actor,
            parent=parent,
            started_s=now,
            checkin_s=now,
            heard_s=now,
            tick_s=tick_s,
            checkin_limit_s=spec.checkin,
            budget=None if spec.budget is None else Budget(name, spec.budget),
            goes_after=self._urgent if spec.rank is Rank.PATIENT else (),
        )

    def _launch(self, cell: Cell, *, spec_is_urgent: bool) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        cell.ack = loop.create_future()
        self._cells[cell.incarnation] = cell
        if spec_is_urgent:
            self._urgent.append(cell)
        if cell.parent is not None:
            cell.parent.children[cell.incarnation] = cell
        context = Context(cell, self)
        coro = run_cell(cell, context, lambda info: self._started(cell, info))
        cell.task = loop.create_task(coro, name=cell.name)
        cell.task.add_done_callback(lambda task: self._main_done(cell, task))
        return cell.ack

    def _started(self, cell: Cell, info: object) -> None:
        if cell.kill_reason is not None:
            return
        cell.acked = True
        cell.info = info
        cell.state = CellState.RUNNING
        limit_s = cell.checkin_limit_s
        if limit_s is not None:
            if self._slots is not None:
                cell.slot = self._slots.open(cell.name, cell.incarnation, limit_s)
            cell.heard()
            cell.watch = CheckinWatch(
                self.clock, limit_s, lambda: cell.checkin_s, lambda age: self._late(cell, age)
            )
        cell.heard()
        self._arm_tick(cell)
        if cell.ack is not None and not cell.ack.done():
            cell.ack.set_result(None)

    def _arm_tick(self, cell: Cell) -> None:
        now = self.clock.now()
        idle_at = cell.heard_s + cell.actor.idle_s
        due = now + cell.tick_s
        if now < idle_at < due:
            due = idle_at
        cell.ticker = self.clock.call_at(due, lambda: self._tick(cell))

    def _tick(self, cell: Cell) -> None:
        if cell.state is CellState.RUNNING:
            cell.mailbox.poke()
            self._arm_tick(cell)

    def _late(self, cell: Cell, age_s: float) -> None:
        if cell.state is not CellState.RUNNING:
            return
        self._events.publish(
            CheckinMissed(
                at_s=self.clock.now(),
                name=cell.name,
                child_id=cell.id,
                incarnation=cell.incarnation,
                age_s=age_s,
                limit_s=cell.checkin_limit_s or 0.0,
            )
        )
        self.kill(cell, Hung("checkin"))

    # --- stop -------------------------------------------------------------------------------

    def request_stop(self, cell: Cell, reason: ExitReason | None = None) -> None:
        """Ask the actor to end; it does so when it reads its mailbox next."""
        cell.mailbox.put_control(ExitRequest(Shutdown() if reason is None else reason))

    async def stop(self, cell: Cell, wait: ShutdownWait) -> ExitReason:
        """Ask the actor to end, wait, kill it after `wait` seconds, return its reason."""
        return (await self.stop_together([cell], wait))[0]

    async def stop_together(self, cells: Iterable[Cell], wait: ShutdownWait) -> list[ExitReason]:
        """Stop these actors at the same time under one deadline; return their reasons."""
        going = list(cells)
        timer = None

        def kill_all() -> None:
            for cell in going:
                self.kill(cell)

        if isinstance(wait, BrutalKill):
            kill_all()
        else:
            for cell in going:
                self.request_stop(cell)
            if wait != INFINITY:
                timer = self.clock.call_at(self.clock.now() + wait, kill_all)
        try:
            return [await self.join(cell) for cell in going]
        finally:
            if timer is not None:
                timer.cancel()

    async def join(self, cell: Cell) -> ExitReason:
        """Wait for the actor's end and return its reason."""
        if cell.reason is not None:
            return cell.reason
        joiner: asyncio.Future[ExitReason] = asyncio.get_running_loop().create_future()
        cell.joiners.append(joiner)
        return await joiner

    def kill(self, cell: Cell, reason: ExitReason | None = None) -> None:
        """End the actor by force, with this reason; returns at once, harmless twice."""
        if cell.end is not None or cell.kill_reason is not None:
            return
        cell.kill_reason = Killed() if reason is None else reason
        cell.state = CellState.STOPPING
        self._climb(cell, 0, self.clock.now(), main_too=True)

    def _climb(self, cell: Cell, rung: int, began: float, *, main_too: bool) -> None:
        live: list[asyncio.Task[Any]] = list(cell.io_tasks)
        if main_too and cell.task is not None and not cell.task.done() and cell.end is None:
            live.append(cell.task)
        if not live:
            return
        if rung == len(KILL_RUNGS_S):
            self._abandon(cell, live)
            return
        for task in live:
            task.cancel()
        rung += 1
        after_s = KILL_RUNGS_S[rung] if rung < len(KILL_RUNGS_S) else ABANDON_S
        self.clock.call_at(
            began + after_s, lambda: self._climb(cell, rung, began, main_too=main_too)
        )

    def _abandon(self, cell: Cell, tasks: list[asyncio.Task[Any]]) -> None:
        self._zombies.update(tasks)
        cell.io_tasks.difference_update(tasks)
        self._events.publish(
            ChildAbandoned(
                at_s=self.clock.now(),
                name=cell.name,
                child_id=cell.id,
                incarnation=cell.incarnation,
                zombies=len(self._zombies),
            )
        )
        if cell.task in tasks:
            cell.end = Abandoned()
        self._io_gone(cell)
        self._settle_end(cell)
        if self.on_zombie is not None:
            self.on_zombie(len(self._zombies))

    # --- end --------------------------------------------------------------------------------

    def _main_done(self, cell: Cell, task: asyncio.Task[ExitReason]) -> None:
        error: BaseException | None = None
        if not task.cancelled():
            error = task.exception()
        if task in self._zombies:
            self._zombies.discard(task)
            return
        if cell.kill_reason is not None:
            cell.end = cell.kill_reason
        elif task.cancelled():
            by_force = task.cancelling() > 0
            cell.end = Killed() if by_force else Crash(asyncio.CancelledError("from inside"))
        elif error is not None:
            cell.end = Crash(error)
        else:
            cell.end = task.result()
        self._settle_end(cell)

    def _settle_end(self, cell: Cell) -> None:
        """Report the end when nothing of the actor is left; until then make the rest go."""
        if cell.end is None or cell.reason is not None:
            return
        cell.state = CellState.STOPPING
        if cell.io_tasks:
            if not cell.reaping:
                cell.reaping = True
                self._climb(cell, 0, self.clock.now(), main_too=False)
            return
        if cell.children:
            for child in reversed(list(cell.children.values())):
                self.kill(child)
            if cell.children:
                return
        self._report(cell, cell.end)

    def _report(self, cell: Cell, reason: ExitReason) -> None:
        if cell.reason is not None:
            return
        cell.reason = reason
        cell.state = CellState.ABANDONED if isinstance(reason, Abandoned) else CellState.EXITED
        self._cells.pop(cell.incarnation, None)
        if cell in self._urgent:
            self._urgent.remove(cell)
        ref: ActorRef[Any] = ActorRef(cell)
        self._registry.release(ref)
        cell.mailbox.close()
        for reply_to in list(cell.pending):
            reply_to.fail(ActorDown(cell.name, reason))
        for timer in [*cell.timers, cell.watch, cell.ticker, cell.deadline]:
            if timer is not None:
                timer.cancel()
        if cell.slot is not None:
            cell.slot.close()
        self._tell_partners(cell, ref, reason)
        for joiner in cell.joiners:
            if not joiner.done():
                joiner.set_result(reason)
        if cell.ack is not None and not cell.ack.done():
            cell.ack.set_result(None)
        parent = cell.parent
        if parent is not None:
            parent.children.pop(cell.incarnation, None)
            parent.mailbox.put_control(ChildGone(cell))
            self._settle_end(parent)

    def _tell_partners(self, cell: Cell, ref: ActorRef[Any], reason: ExitReason) -> None:
        for monitor_id, watcher in cell.watchers.items():
            watcher.mailbox.put_control(Down(monitor_id, ref, reason))
        cell.watchers.clear()
        for monitor_id, watched in cell.watching.items():
            watched.watchers.pop(monitor_id, None)
        links, cell.links = cell.links, set()
        for other in links:
            other.links.discard(cell)
            self._link_down(other, ref, reason)

    def _link_down(self, other: Cell, ref: ActorRef[Any], reason: ExitReason) -> None:
        if other.actor.trap_exit:
            other.mailbox.put_control(LinkDown(ref, reason))
        elif not reason.expected:
            self.kill(other, Crash(LinkedExit(ref.name, reason)))

    # --- services of a context --------------------------------------------------------------

    def monitor(self, watcher: Cell, watched: Cell) -> int:
        """Promise `watcher` one Down; at once, with NoProc, when `watched` has ended."""
        self._monitors += 1
        watcher.watching[self._monitors] = watched
        if watched.reason is not None:
            down = Down(self._monitors, ActorRef(watched), no_proc(watched))
            watcher.mailbox.put_control(down)
        else:
            watched.watchers[self._monitors] = watcher
        return self._monitors

    def demonitor(self, watcher: Cell, monitor_id: int) -> None:
        """Take the promise back, and with it a Down that was not read yet."""
        watched = watcher.watching.pop(monitor_id, None)
        if watched is not None:
            watched.watchers.pop(monitor_id, None)

    def link(self, one: Cell, other: Cell) -> None:
        """Let an unexpected end of either kill the other, or tell it if it traps exits."""
        assert one is not other, "an actor is not linked to itself"
        if other.reason is not None:
            self._link_down(one, ActorRef(other), no_proc(other))
            return
        one.links.add(other)
        other.links.add(one)

    def spawn_io(self, cell: Cell, coro: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine that lives and dies with the actor.

        Raises: ActorDown when the actor has ended; a zombie starts nothing.
        """
        if cell.end is not None or cell.kill_reason is not None:
            coro.close()
            raise ActorDown(cell.name, cell.end or cell.kill_reason or Killed())
        task = asyncio.get_running_loop().create_task(coro, name=f"{cell.name}:io")
        cell.io_tasks.add(task)
        task.add_done_callback(lambda done: self._io_done(cell, done))

    def _io_done(self, cell: Cell, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if task in self._zombies:
            self._zombies.discard(task)
            return
        cell.io_tasks.discard(task)
        if error is not None and cell.state in (CellState.STARTING, CellState.RUNNING):
            cell.mailbox.put_control(IoFailed(error))
        self._io_gone(cell)
        self._settle_end(cell)

    def _io_gone(self, cell: Cell) -> None:
        if not cell.io_tasks:
            waiters, cell.io_waiters = cell.io_waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def stop_io(self, cell: Cell) -> None:
        """Cancel the actor's coroutines and wait until they are gone or abandoned."""
        if not cell.io_tasks:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        cell.io_waiters.append(waiter)
        self._climb(cell, 0, self.clock.now(), main_too=False)
        await waiter
