"""Requests of people to a controller: durable rows with a deadline, taken once, answered.

Rules of this file:
- a row is taken before it is carried out, so that nobody else carries it out;
- what was taken and not answered when a program ended is taken up again: every command can be
  carried out twice with the same end;
- a row past its deadline is answered "late" and never carried out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from tradebox.domain.orders import AccountName


class CommandKind(StrEnum):
    """What a person may ask of a controller."""

    PAUSE = "pause"
    RESUME = "resume"
    KILL = "kill"
    EXIT = "exit"
    FLATTEN = "flatten"
    RECONCILE = "reconcile"
    ADOPT = "adopt"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Command:
    """One request. args: what it names, as plain values."""

    command_id: int
    account: AccountName
    kind: CommandKind
    args: Mapping[str, Any] = field(default_factory=dict)


class CommandStore(Protocol):
    """Requests in PostgreSQL. Every call raises StoreUnavailable while it is away."""

    async def take(self, account: AccountName, *, again: bool) -> tuple[Command, ...]:
        """Return the requests that wait, oldest first, and mark them taken.

        again: those too that an earlier program took and did not answer.
        """
        ...

    async def answer(self, command: Command, answer: Mapping[str, Any], now_ns: int) -> None:
        """Note what became of a request, once, and tell the journal."""
        ...
