"""The runtime's own record of one actor; everything else holds a reference to it.

Rules of this file:
1. Only the kernel changes the state, and it changes in one direction.
2. An exit gives each watcher exactly one Down, and each open question exactly one answer.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from tradebox.supervision.budget import Budget
from tradebox.supervision.checkin import Slot
from tradebox.supervision.clock import Clock, TimerHandle
from tradebox.supervision.mailbox import Mailbox
from tradebox.supervision.reasons import ExitReason


class CellState(enum.Enum):
    """Where an actor is in its one life."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    EXITED = "exited"
    ABANDONED = "abandoned"


class NoReply:
    """What `handle_call` returns when it will answer later by `reply_to.reply`."""

    def __repr__(self) -> str:
        return "NO_REPLY"


NO_REPLY = NoReply()


@dataclass(frozen=True, slots=True)
class Failed:
    """An answer that raises at the caller."""

    error: BaseException


class ReplyTo:
    """The caller's side of one question; the first answer counts, later ones are dropped."""

    __slots__ = ("_future", "_pending")

    def __init__(self, future: asyncio.Future[Any], pending: set[ReplyTo]) -> None:
        self._future = future
        self._pending = pending
        pending.add(self)

    @property
    def open(self) -> bool:
        """True while the caller still waits."""
        return not self._future.done()

    def reply(self, value: object) -> None:
        """Answer the caller; dropped when the caller has left."""
        self._pending.discard(self)
        if not self._future.done():
            self._future.set_result(value)

    def fail(self, error: BaseException) -> None:
        """Raise `error` at the caller."""
        self.reply(Failed(error))

    def forget(self) -> None:
        """Drop the question: its caller has left."""
        self._pending.discard(self)


@dataclass(slots=True, eq=False)
class Call:
    """A question in a mailbox."""

    request: Any
    reply_to: ReplyTo


@dataclass(frozen=True, slots=True)
class ExitRequest:
    """Control: end with this reason."""

    reason: ExitReason


@dataclass(frozen=True, slots=True, eq=False)
class IoFailed:
    """Control: a coroutine owned by the actor raised."""

    error: BaseException


@dataclass(frozen=True, slots=True, eq=False)
class ChildGone:
    """Control for a supervisor: this child's cell has ended."""

    cell: Cell


@dataclass(slots=True, eq=False)
class Cell:
    """One incarnation of one actor."""

    id: str
    name: str
    incarnation: int
    clock: Clock
    mailbox: Mailbox[Any]
    actor: Any
    parent: Cell | None
    started_s: float
    checkin_s: float
    heard_s: float
    tick_s: float = 1.0
    slot: Slot | None = None
    state: CellState = CellState.STARTING
    reason: ExitReason | None = None
    end: ExitReason | None = None
    kill_reason: ExitReason | None = None
    ignored: bool = False
    acked: bool = False
    reaping: bool = False
    checkin_limit_s: float | None = None
    info: object = None
    task: asyncio.Task[ExitReason] | None = None
    ack: asyncio.Future[None] | None = None
    handled: int = 0
    continues: deque[Any] = field(default_factory=deque)
    io_tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    io_waiters: list[asyncio.Future[None]] = field(default_factory=list)
    watch: TimerHandle | None = None
    ticker: TimerHandle | None = None
    budget: Budget | None = None
    goes_after: Collection[Cell] = ()
    deadline: TimerHandle | None = None
    timers: set[TimerHandle] = field(default_factory=set)
    children: dict[int, Cell] = field(default_factory=dict)
    pending: set[ReplyTo] = field(default_factory=set)
    watchers: dict[int, Cell] = field(default_factory=dict)
    watching: dict[int, Cell] = field(default_factory=dict)
    links: set[Cell] = field(default_factory=set)
    joiners: list[asyncio.Future[ExitReason]] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        """True until the end was reported."""
        return self.reason is None

    def beat(self) -> None:
        """Note that the receive loop came round."""
        now = self.clock.now()
        self.checkin_s = now
        if self.slot is not None:
            self.slot.write(now)

    def heard(self) -> None:
        """Note that the actor did something; it is not idle."""
        self.beat()
        self.heard_s = self.checkin_s
