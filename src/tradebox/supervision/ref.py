"""References to actors: what others hold, tell and ask.

Rules of this file:
1. `tell` never raises and never waits; False means: not taken, or nobody there.
2. `ask` always ends: by an answer, by the callee's death, or by its deadline.
3. A reference names one incarnation; its successor has another one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from tradebox.supervision.cell import Call, Cell, CellState, Failed, ReplyTo
from tradebox.supervision.errors import ActorDown, AskTimeout, MailboxFull
from tradebox.supervision.mailbox import CONTROL_PINGS_MAX
from tradebox.supervision.reasons import ExitReason, NoProc

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)

INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class Ping:
    """A probe that the receive loop answers by itself, ahead of waiting messages."""

    nonce: int = 0


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a Ping: the nonce, and figures that tell progress from mere life."""

    nonce: int
    incarnation: int
    handled: int
    mailbox_depth: int


class Target(Protocol[M_contra]):
    """What can be told and asked: a reference, or a name that resolves to one."""

    def tell(self, message: M_contra) -> bool:
        """Hand over the message; False: not taken."""
        ...

    async def ask(self, request: Any, timeout: float = 5.0) -> Any:
        """Return the answer."""
        ...


class ActorRef(Generic[M]):
    """A handle on one incarnation of one actor; equal when it means the same one."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    @property
    def id(self) -> str:
        """The child id, unique under its supervisor."""
        return self._cell.id

    @property
    def name(self) -> str:
        """The ids from the root's children down, joined by dots; the registered name too."""
        return self._cell.name

    @property
    def incarnation(self) -> int:
        """A number that grows with every start in the process."""
        return self._cell.incarnation

    @property
    def alive(self) -> bool:
        """True until its end was reported."""
        return self._cell.alive

    @property
    def state(self) -> CellState:
        """Where it is in its life."""
        return self._cell.state

    @property
    def reason(self) -> ExitReason | None:
        """Why it ended; None while it lives."""
        return self._cell.reason

    @property
    def mailbox_depth(self) -> int:
        """How many messages wait."""
        return len(self._cell.mailbox)

    def tell(self, message: M) -> bool:
        """Put the message into the mailbox; never raises, never waits."""
        return self._cell.mailbox.put_nowait(message)

    async def ask(self, request: Any, timeout: float = 5.0) -> Any:
        """Return the actor's answer to the request.

        Units:   timeout in seconds of the injected clock; INFINITY waits for as long as it lives.
        Raises:  ActorDown when it is or gets dead; AskTimeout; MailboxFull.
        """
        cell = self._cell
        if cell.reason is not None:
            raise ActorDown(cell.name, cell.reason)
        assert cell.task is not asyncio.current_task(), f"{cell.name} asks itself"
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        reply_to = ReplyTo(future, cell.pending)
        timer = None
        try:
            if not self._put_call(Call(request, reply_to)):
                raise MailboxFull(cell.name, cell.mailbox.capacity)
            if timeout != INFINITY:
                late = Failed(AskTimeout(cell.name, timeout))
                timer = cell.clock.call_at(cell.clock.now() + timeout, lambda: reply_to.reply(late))
            answer = await future
        finally:
            reply_to.forget()
            if timer is not None:
                timer.cancel()
        if type(answer) is Failed:
            raise answer.error
        return answer

    def _put_call(self, call: Call) -> bool:
        mailbox = self._cell.mailbox
        if type(call.request) is Ping:
            return mailbox.control_depth < CONTROL_PINGS_MAX and mailbox.put_control(call)
        return mailbox.put_unkeyed(call)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorRef) and other._cell is self._cell

    def __hash__(self) -> int:
        return hash((self._cell.id, self._cell.incarnation))

    def __repr__(self) -> str:
        return f"<{self._cell.name}#{self._cell.incarnation} {self._cell.state.value}>"


@dataclass(frozen=True, slots=True)
class Down:
    """The one message a monitor gives: `ref` ended for `reason`."""

    monitor_id: int
    ref: ActorRef[Any]
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class LinkDown:
    """What an actor with `trap_exit` gets in place of a linked actor's failure."""

    ref: ActorRef[Any]
    reason: ExitReason


def no_proc(cell: Cell) -> NoProc:
    """Return the reason told to those who watch what is already gone."""
    return NoProc(str(cell.reason))
