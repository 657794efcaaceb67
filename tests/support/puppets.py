"""Actors for tests that do what they are told: crash, stop, hang, turn deaf, fail to start.

Rules of this file:
1. A stage keeps one trace of starts and ends for all its puppets, in order.
2. Deaf puppets end when the stage is cleared, so that a test leaves no task behind.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from tradebox.supervision.actor import Actor, Context, Ignore, ReplyTo, Stop
from tradebox.supervision.reasons import ExitReason
from tradebox.supervision.spec import ChildSpec, RestartType


class Boom(Exception):
    """What a puppet raises when told to crash; equal by what it says."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Boom) and other.args == self.args

    def __hash__(self) -> int:
        return hash(self.args)


@dataclass(frozen=True, slots=True)
class Do:
    """Tell a puppet: "crash", "stop", "hang" (awaits for ever) or "deaf" (ignores cancellation)."""

    what: str
    reason: ExitReason | None = None


@dataclass
class Stage:
    """What the puppets of one test share.

    `inits[id]` holds outcomes of the next starts: an exception to raise, "hang", "deaf", or any
    other value to return as info. `ends[id]` likewise for `terminate`; a float there is a wait.
    """

    trace: list[str] = field(default_factory=list)
    inits: dict[str, deque[Any]] = field(default_factory=dict)
    ends: dict[str, Any] = field(default_factory=dict)
    made: list[Puppet] = field(default_factory=list)
    clear: asyncio.Event = field(default_factory=asyncio.Event)

    def next_inits(self, child_id: str, *outcomes: Any) -> None:
        """Say how the next starts of this child go."""
        self.inits.setdefault(child_id, deque()).extend(outcomes)

    def child(
        self, child_id: str, restart: RestartType = RestartType.PERMANENT, **fields: Any
    ) -> ChildSpec:
        """Return the spec of a puppet."""
        return ChildSpec(child_id, lambda *args: Puppet(self, child_id, args), restart, **fields)

    def took(self) -> list[str]:
        """Return the trace since the last call."""
        taken, self.trace[:] = list(self.trace), []
        return taken

    async def hang(self) -> None:
        """Wait until the stage is cleared."""
        await self.clear.wait()

    async def deaf(self) -> None:
        """Wait until the stage is cleared, whatever cancels."""
        while not self.clear.is_set():
            try:
                await self.clear.wait()
            except asyncio.CancelledError:
                self.trace.append("cancelled")


class Puppet(Actor[Any]):
    """Does what `Do` says, keeps what else it is told, answers with what it was asked."""

    def __init__(self, stage: Stage, label: str, args: tuple[Any, ...] = ()) -> None:
        self.stage = stage
        self.label = label if not args else f"{label}{''.join(str(arg) for arg in args)}"
        self.heard: list[Any] = []
        stage.made.append(self)

    async def init(self, ctx: Context) -> object:
        """Start as the stage says."""
        self.ctx = ctx
        queue = self.stage.inits.get(self.label)
        outcome = queue.popleft() if queue else None
        if isinstance(outcome, Exception):
            self.stage.trace.append(f"fail {self.label}")
            raise outcome
        if outcome == "hang":
            await self.stage.hang()
        elif outcome == "deaf":
            await self.stage.deaf()
        self.stage.trace.append(f"start {self.label}")
        return outcome

    async def handle(self, msg: Any) -> None:
        """Obey, or keep the message."""
        match msg:
            case Do("crash"):
                raise Boom(self.label)
            case Do("stop", reason):
                raise Stop(reason)
            case Do("hang"):
                await self.stage.hang()
            case Do("deaf"):
                await self.stage.deaf()
            case _:
                self.heard.append(msg)

    async def handle_call(self, req: Any, reply_to: ReplyTo) -> Any:
        """Obey, or answer with the request."""
        await self.handle(req)
        return req

    async def terminate(self, reason: ExitReason) -> None:
        """End as the stage says."""
        outcome = self.stage.ends.get(self.label)
        if isinstance(outcome, Exception):
            self.stage.trace.append(f"fail to stop {self.label}")
            raise outcome
        if isinstance(outcome, float):
            await self.ctx.clock.sleep(outcome)
        self.stage.trace.append(f"stop {self.label} {reason}")


IGNORE = Ignore()
