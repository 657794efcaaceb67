"""What a supervisor can be asked, and what it answers.

Rules of this file:
1. A refusal is a value with its cause; only a dead or silent supervisor raises.
2. `restart_child` with an incarnation replaces exactly that incarnation, so two callers who saw
   the same one restart it once; a token older than one seen is refused.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tradebox.supervision.reasons import ExitReason
from tradebox.supervision.ref import INFINITY, ActorRef, Target
from tradebox.supervision.spec import ChildSpec, ChildType


class ChildStatus(enum.Enum):
    """Where a child is in the eyes of its supervisor."""

    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPED = "stopped"
    HALTED = "halted"


@dataclass(frozen=True, slots=True)
class StartChild:
    """Start a child by spec, or a dynamic one by arguments."""

    spec: ChildSpec | None
    args: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class TerminateChild:
    """Stop a child and keep its spec (dynamic and temporary ones are forgotten)."""

    child: str | ActorRef[Any]


@dataclass(frozen=True, slots=True)
class RestartChild:
    """Start a stopped child, or replace the given incarnation of a running one."""

    id: str
    incarnation: int | None = None
    token: int | None = None


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """Forget the spec of a stopped child."""

    id: str


@dataclass(frozen=True, slots=True)
class GetChildSpec:
    """Show the spec of a child."""

    id: str


@dataclass(frozen=True, slots=True)
class WhichChildren:
    """List the children."""


@dataclass(frozen=True, slots=True)
class CountChildren:
    """Count the children."""


@dataclass(frozen=True, slots=True)
class Started:
    """The child runs; `info` is what its init returned."""

    ref: ActorRef[Any]
    info: object = None


@dataclass(frozen=True, slots=True)
class Ignored:
    """The child's init said there is nothing to run."""


@dataclass(frozen=True, slots=True)
class AlreadyStarted:
    """A child of this id runs already."""

    ref: ActorRef[Any]


@dataclass(frozen=True, slots=True)
class AlreadyPresent:
    """A child of this id is known and not running."""


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The start ended in a reason."""

    reason: ExitReason


@dataclass(frozen=True, slots=True)
class AlreadyDone:
    """The incarnation named is gone already; `ref` is its successor, if one runs."""

    ref: ActorRef[Any] | None


@dataclass(frozen=True, slots=True)
class Done:
    """It is so."""


class Why(enum.Enum):
    """Why a supervisor refuses."""

    RUNNING = "running"
    RESTARTING = "restarting"
    NOT_FOUND = "not_found"
    STALE_TOKEN = "stale_token"  # noqa: S105 - no secret
    SIMPLE_ONE_FOR_ONE = "simple_one_for_one"
    SPEC_INVALID = "spec_invalid"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Refused:
    """It is not done, and why."""

    why: Why
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """One row of which_children; `ref` is None unless it runs."""

    id: str
    ref: ActorRef[Any] | None
    status: ChildStatus
    type: ChildType


@dataclass(frozen=True, slots=True)
class ChildCounts:
    """What count_children answers; `active` excludes restarting children."""

    specs: int
    active: int
    supervisors: int
    workers: int


StartResult = Started | Ignored | AlreadyStarted | AlreadyPresent | NotStarted | Refused
RestartResult = Started | Ignored | NotStarted | AlreadyDone | Refused


class SupervisorCalls:
    """The questions a supervisor answers, as methods; each raises ActorDown when it is gone."""

    def _target(self) -> Target[Any]:
        raise AssertionError("a subclass knows whom to ask")

    async def _ask(self, request: object) -> Any:
        return await self._target().ask(request, INFINITY)

    async def start_child(self, spec: ChildSpec) -> StartResult:
        """Add a child and start it."""
        answer: StartResult = await self._ask(StartChild(spec))
        return answer

    async def terminate_child(self, child: str | ActorRef[Any]) -> Done | Refused:
        """Stop a child, by id or reference."""
        answer: Done | Refused = await self._ask(TerminateChild(child))
        return answer

    async def restart_child(
        self, child_id: str, incarnation: int | None = None, token: int | None = None
    ) -> RestartResult:
        """Start a stopped child; with `incarnation`, replace that one even if it runs."""
        answer: RestartResult = await self._ask(RestartChild(child_id, incarnation, token))
        return answer

    async def delete_child(self, child_id: str) -> Done | Refused:
        """Forget a stopped child."""
        answer: Done | Refused = await self._ask(DeleteChild(child_id))
        return answer

    async def get_child_spec(self, child_id: str) -> ChildSpec | Refused:
        """Return a child's spec."""
        answer: ChildSpec | Refused = await self._ask(GetChildSpec(child_id))
        return answer

    async def which_children(self) -> Sequence[ChildInfo]:
        """Return the children in start order."""
        answer: Sequence[ChildInfo] = await self._ask(WhichChildren())
        return answer

    async def count_children(self) -> ChildCounts:
        """Return how many there are of what."""
        answer: ChildCounts = await self._ask(CountChildren())
        return answer


class SupervisorHandle(SupervisorCalls):
    """A supervisor seen from outside, by reference or by name."""

    def __init__(self, target: Target[Any]) -> None:
        self._whom = target

    def _target(self) -> Target[Any]:
        return self._whom

    async def start_with(self, *args: Any) -> StartResult:
        """Start a child of a dynamic supervisor with these arguments."""
        answer: StartResult = await self._ask(StartChild(None, args))
        return answer
