"""The faults of the runtime; each class says what its catcher then does.

    SupervisionFault
    ├── ActorDown      the callee is gone
    ├── AskTimeout     the callee did not answer in time
    ├── MailboxFull    the callee took no more
    ├── StartFailed    a child's start ended in a reason instead of a running actor
    ├── NameTaken      a registered name is in use
    ├── EpochSpent     the counter of an epoch gate is used up
    ├── LinkedExit     a linked actor failed
    └── SpecInvalid    one class per wrong field of a child spec or of the flags (spec.py)

Each error carries fields, never only prose.
"""

from __future__ import annotations

from tradebox.supervision.reasons import ExitReason


class SupervisionFault(Exception):
    """Root of the runtime's faults. Answer: let the caller crash; its supervisor decides."""


class ActorDown(SupervisionFault):
    """The actor ended before it answered. Answer: the caller fails or asks its successor."""

    def __init__(self, name: str, reason: ExitReason) -> None:
        super().__init__(f"actor {name} is down: {reason}")
        self.name = name
        self.reason = reason


class AskTimeout(SupervisionFault):
    """No answer within the deadline; a late one is dropped. Answer: the caller fails."""

    def __init__(self, name: str, timeout_s: float) -> None:
        super().__init__(f"actor {name} did not answer within {timeout_s} s")
        self.name = name
        self.timeout_s = timeout_s


class MailboxFull(SupervisionFault):
    """The mailbox took no more. Answer: shed the load, or restart the actor that fell behind."""

    def __init__(self, name: str, capacity: int) -> None:
        super().__init__(f"mailbox of {name} is full at {capacity}")
        self.name = name
        self.capacity = capacity


class StartFailed(SupervisionFault):
    """A child did not start; it is gone and its name is free. Answer: report the cause."""

    def __init__(self, name: str, reason: ExitReason) -> None:
        super().__init__(f"child {name} did not start: {reason}")
        self.name = name
        self.reason = reason


class NameTaken(SupervisionFault):
    """A live actor holds the name. Answer: crash the second holder; its start fails."""

    def __init__(self, name: str, holder: str) -> None:
        super().__init__(f"name {name} is held by {holder}")
        self.name = name
        self.holder = holder


class EpochSpent(SupervisionFault):
    """A gate minted its last epoch. Answer: restart the process for a new generation."""

    def __init__(self, gate: str, counter: int) -> None:
        super().__init__(f"gate {gate} has spent its {counter} epochs")
        self.gate = gate
        self.counter = counter


class LinkedExit(SupervisionFault):
    """A linked actor failed. Answer: fail with it, and restart together."""

    def __init__(self, name: str, reason: ExitReason) -> None:
        super().__init__(f"linked actor {name} ended: {reason}")
        self.name = name
        self.reason = reason


class BudgetSpent(SupervisionFault):
    """A handler held the loop too long too often. Answer: crash the actor; others go on."""

    def __init__(self, name: str, limit_s: float, spent_s: float) -> None:
        super().__init__(f"{name} took {spent_s * 1000:.0f} ms of {limit_s * 1000:.0f} ms")
        self.name = name
        self.limit_s = limit_s
        self.spent_s = spent_s


class SpecInvalid(SupervisionFault):
    """A field of a child spec or of the flags is wrong. Answer: fix the code that wrote it."""

    field = "?"

    def __init__(self, owner: str, value: object, why: str) -> None:
        super().__init__(f"{owner}: {self.field}={value!r}: {why}")
        self.owner = owner
        self.value = value
        self.why = why
