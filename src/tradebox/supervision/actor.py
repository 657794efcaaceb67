"""What an actor is: callbacks around one receive loop that checks in by itself.

Rules of this file:
1. One message at a time; an exception in a callback is a crash, never swallowed.
2. `handle_continue` runs before any message; control messages before ordinary ones.
3. After each message and each idle tick the loop checks in; nothing else does.
4. After `turn_messages` messages in a row the loop yields, so no mailbox can starve the others;
   a patient actor yields before each message while an urgent one has mail.
5. `terminate` runs on stop, crash and shutdown; never after a kill or a failed init.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Hashable
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from tradebox.supervision.cell import (
    NO_REPLY,
    Call,
    Cell,
    CellState,
    ExitRequest,
    IoFailed,
    NoReply,
    ReplyTo,
)
from tradebox.supervision.clock import Clock, TimerHandle, yield_turn
from tradebox.supervision.events import EventBus
from tradebox.supervision.mailbox import Idle, Overflow
from tradebox.supervision.reasons import Crash, ExitReason, Killed, Normal
from tradebox.supervision.ref import ActorRef, Down, LinkDown, Ping, Pong
from tradebox.supervision.registry import Registry

__all__ = [
    "NO_REPLY",
    "Actor",
    "Context",
    "Down",
    "Ignore",
    "LinkDown",
    "NoReply",
    "ReplyTo",
    "Stop",
    "Timer",
]

M = TypeVar("M")
MonitorId = int


class Ignore(Exception):
    """Raised in `init`: there is nothing to run. The spec stays without a process."""


class Stop(Exception):
    """Raised in any callback: end with this reason."""

    def __init__(self, reason: ExitReason | None = None) -> None:
        super().__init__(reason)
        self.reason: ExitReason = Normal() if reason is None else reason


class Services(Protocol):
    """What the kernel does for a context."""

    @property
    def events(self) -> EventBus:
        """The bus of the tree."""
        ...

    @property
    def registry(self) -> Registry:
        """The names of the tree."""
        ...

    def monitor(self, watcher: Cell, watched: Cell) -> MonitorId:
        """Promise one Down."""
        ...

    def demonitor(self, watcher: Cell, monitor_id: MonitorId) -> None:
        """Take the promise back."""
        ...

    def link(self, one: Cell, other: Cell) -> None:
        """Tie two fates together."""
        ...

    def spawn_io(self, cell: Cell, coro: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine owned by the actor."""
        ...

    async def stop_io(self, cell: Cell) -> None:
        """Cancel the actor's coroutines and wait for them."""
        ...


class Timer:
    """A message that will come, ahead of what waits and even into a full mailbox."""

    __slots__ = ("_cell", "_handle")

    def __init__(self, cell: Cell, seconds: float, message: object) -> None:
        def fire() -> None:
            cell.timers.discard(self)
            cell.mailbox.put_control(message)

        self._cell = cell
        self._handle: TimerHandle = cell.clock.call_at(cell.clock.now() + seconds, fire)
        cell.timers.add(self)

    def cancel(self) -> None:
        """Call the message off; harmless when it has been sent."""
        self._cell.timers.discard(self)
        self._handle.cancel()


class Context:
    """What an actor may do with the runtime; given to `init` and kept by the actor."""

    __slots__ = ("_cell", "_services", "clock", "events", "name", "ref", "registry")

    def __init__(self, cell: Cell, services: Services) -> None:
        self._cell = cell
        self._services = services
        self.ref: ActorRef[Any] = ActorRef(cell)
        self.name = cell.name
        self.clock: Clock = cell.clock
        self.events = services.events
        self.registry = services.registry

    @property
    def services(self) -> Services:
        """The kernel behind this context; supervisors start children by it."""
        return self._services

    @property
    def cell(self) -> Cell:
        """The runtime's record of this actor."""
        return self._cell

    @property
    def parent(self) -> ActorRef[Any] | None:
        """The supervisor's reference; None at the root."""
        parent = self._cell.parent
        return None if parent is None else ActorRef(parent)

    def monitor(self, ref: ActorRef[Any]) -> MonitorId:
        """Ask for one Down message in `handle` when `ref` ends; at once when it has ended."""
        return self._services.monitor(self._cell, ref._cell)  # noqa: SLF001 - same package

    def demonitor(self, monitor_id: MonitorId) -> None:
        """Take a monitor back; a Down that already waits is not delivered."""
        self._services.demonitor(self._cell, monitor_id)

    def link(self, ref: ActorRef[Any]) -> None:
        """Fail together: an unexpected end of one kills the other (or is told, if it traps)."""
        self._services.link(self._cell, ref._cell)  # noqa: SLF001 - same package

    def send_after(self, seconds: float, message: object) -> Timer:
        """Tell this actor `message` after `seconds`; called off when the actor ends.

        It is read ahead of waiting messages and never dropped: a deadline is no load.
        """
        return Timer(self._cell, seconds, message)

    def checkin(self) -> None:
        """Check in between the slices of one long handler."""
        self._cell.beat()

    def continue_with(self, token: object) -> None:
        """Have `handle_continue(token)` run before the next message."""
        self._cell.continues.append(token)

    def spawn_io(self, coro: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine owned by this actor.

        It is cancelled and awaited when the actor ends, before `terminate`; its exception crashes
        the actor. It may feed the mailbox by `ctx.ref.tell`.
        """
        self._services.spawn_io(self._cell, coro)


class Actor(Generic[M]):
    """Subclass it and override what is needed; state lives in the instance, one per start."""

    mailbox_capacity: int = 1024
    overflow: Overflow = Overflow.REFUSE
    idle_s: float = 1.0
    trap_exit: bool = False
    turn_messages: int = 32
    epoch: int | None = None
    is_supervisor: ClassVar[bool] = False

    async def init(self, ctx: Context) -> object:
        """Get ready; the start returns when this returns, with the value as its info.

        Raises: Ignore or Stop end the start; any other exception fails it.
        """

    async def handle(self, msg: M) -> None:
        """Act on one message (or on a Down or LinkDown that the actor asked for)."""

    async def handle_call(self, req: Any, reply_to: ReplyTo) -> Any:  # noqa: ARG002 - API words
        """Return the answer to a question, or NO_REPLY and answer later by `reply_to`."""
        raise AssertionError(f"{type(self).__name__} does not answer {type(req).__name__}")

    async def handle_continue(self, token: object) -> None:
        """Go on with what `init` or a handler put off by `ctx.continue_with`."""

    async def on_idle(self) -> None:
        """Run when nothing came for `idle_s` seconds."""

    async def terminate(self, reason: ExitReason) -> None:
        """Clean up before the end; bounded by the child spec's shutdown time."""

    def conflate_key(self, msg: M) -> Hashable | None:  # noqa: ARG002 - for subclasses
        """Return the key under which messages conflate (overflow CONFLATE); None: never."""
        return None


class _Receiver:
    """The receive loop of one cell."""

    __slots__ = ("_actor", "_cell", "_special")

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._actor: Actor[Any] = cell.actor
        self._special: dict[type, Callable[[Any], Coroutine[Any, Any, None]]] = {
            Call: self._call,
            Idle: self._idle,
            Down: self._down,
            ExitRequest: self._exit,
            IoFailed: self._io_failed,
        }

    async def serve(self) -> ExitReason:
        cell, actor = self._cell, self._actor
        get, special, budget = cell.mailbox.get, self._special, cell.budget
        in_a_row = 0
        while cell.kill_reason is None:
            while cell.continues:
                await actor.handle_continue(cell.continues.popleft())
                cell.heard()
            if len(cell.mailbox) == 0:
                in_a_row = 0
            item = await get()
            run = special.get(type(item))
            if run is None:
                if cell.goes_after:
                    await self._let_others_go(cell.goes_after)
                cell.handled += 1
                if budget is None:
                    await actor.handle(item)
                else:
                    await budget.run(actor.handle(item))
                cell.heard()
            else:
                await run(item)
                cell.beat()
            item = None  # a waiting actor keeps no message alive
            in_a_row += 1
            if in_a_row >= actor.turn_messages:
                in_a_row = 0
                await yield_turn()
        return cell.kill_reason

    @staticmethod
    async def _let_others_go(others: Collection[Cell]) -> None:
        """Give one turn away when somebody more urgent has mail, and no more than one."""
        if any(len(other.mailbox) for other in others):
            await yield_turn()

    async def _call(self, call: Call) -> None:
        cell, reply_to = self._cell, call.reply_to
        if not reply_to.open:
            return
        if type(call.request) is Ping:
            depth = len(cell.mailbox)
            reply_to.reply(Pong(call.request.nonce, cell.incarnation, cell.handled, depth))
            return
        cell.handled += 1
        answer = await self._actor.handle_call(call.request, reply_to)
        if answer is not NO_REPLY:
            reply_to.reply(answer)
        cell.heard()

    async def _idle(self, _: Idle) -> None:
        if self._cell.clock.now() >= self._cell.heard_s + self._actor.idle_s:
            self._cell.heard()
            await self._actor.on_idle()

    async def _down(self, down: Down) -> None:
        if self._cell.watching.pop(down.monitor_id, None) is not None:
            await self._actor.handle(down)

    async def _exit(self, request: ExitRequest) -> None:
        raise Stop(request.reason)

    async def _io_failed(self, failed: IoFailed) -> None:
        raise failed.error


async def run_cell(cell: Cell, ctx: Context, started: Callable[[object], None]) -> ExitReason:
    """Run one actor from init to its end and return why it ended.

    `started` is called with init's value, once, when init has returned one. A cancellation
    passes through; the kernel names it.
    """
    actor: Actor[Any] = cell.actor
    try:
        info = await actor.init(ctx)
    except Ignore:
        cell.ignored = True
        return Normal()
    except Stop as stop:
        return stop.reason
    except Exception as error:  # noqa: BLE001 - rule 1: whatever it is, it is a crash
        return Crash(error)
    started(info)
    reason: ExitReason
    try:
        reason = await _Receiver(cell).serve()
    except Stop as stop:
        reason = stop.reason
    except Exception as error:  # noqa: BLE001 - rule 1
        reason = Crash(error)
    cell.state = CellState.STOPPING
    if cell.kill_reason is not None:
        return cell.kill_reason
    return await _terminate(cell, ctx, reason)


async def _terminate(cell: Cell, ctx: Context, reason: ExitReason) -> ExitReason:
    await ctx.services.stop_io(cell)
    try:
        await cell.actor.terminate(reason)
    except Stop as stop:
        return reason if isinstance(reason, Crash | Killed) else stop.reason
    except Exception as error:  # noqa: BLE001 - rule 1
        return reason if isinstance(reason, Crash) else Crash(error)
    return reason
