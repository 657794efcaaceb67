"""Why an actor ended: one frozen value per way of ending.

Rules of this file:
1. An expected reason (Normal, Shutdown) never restarts a transient child; all others do.
2. Reasons are data: they carry fields and render themselves for logs and tables.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Normal:
    """The actor finished its work."""

    @property
    def expected(self) -> bool:
        """An expected end is no failure."""
        return True

    def __str__(self) -> str:
        return "normal"


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The actor was asked to end, or its supervisor gave up and says why in `detail`."""

    detail: object = None

    @property
    def expected(self) -> bool:
        """An expected end is no failure."""
        return True

    def __str__(self) -> str:
        return "shutdown" if self.detail is None else f"shutdown({self.detail})"


@dataclass(frozen=True, slots=True)
class Killed:
    """The actor was cancelled by force; its `terminate` did not run."""

    @property
    def expected(self) -> bool:
        """Force is never expected."""
        return False

    def __str__(self) -> str:
        return "killed"


@dataclass(frozen=True, slots=True)
class Crash:
    """A callback raised; the exception keeps its cause and its group."""

    error: BaseException

    @property
    def expected(self) -> bool:
        """A crash is a failure."""
        return False

    def __str__(self) -> str:
        text = str(self.error)
        kind = type(self.error).__name__
        return f"crash({kind}: {text})" if text else f"crash({kind})"


@dataclass(frozen=True, slots=True)
class Hung:
    """The actor was alive and silent; `kind` names who noticed (checkin, init, probe …)."""

    kind: str

    @property
    def expected(self) -> bool:
        """Silence is a failure."""
        return False

    def __str__(self) -> str:
        return f"hung({self.kind})"


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The actor was deaf to every cancellation and left behind as a counted zombie."""

    @property
    def expected(self) -> bool:
        """A zombie is a failure."""
        return False

    def __str__(self) -> str:
        return "abandoned"


@dataclass(frozen=True, slots=True)
class NoProc:
    """The actor was already gone when it was watched; its own reason is in `was`."""

    was: str = ""

    @property
    def expected(self) -> bool:
        """A missing partner is a failure."""
        return False

    def __str__(self) -> str:
        return f"noproc({self.was})" if self.was else "noproc"


@dataclass(frozen=True, slots=True)
class FailedToStart:
    """Detail of the shutdown of a supervisor whose child `child_id` did not start."""

    child_id: str
    reason: ExitReason

    def __str__(self) -> str:
        return f"failed to start {self.child_id}: {self.reason}"


ExitReason = Normal | Shutdown | Killed | Crash | Hung | Abandoned | NoProc


def root_cause(reason: ExitReason) -> ExitReason:
    """Return the innermost reason behind nested failures to start."""
    while isinstance(reason, Shutdown) and isinstance(reason.detail, FailedToStart):
        reason = reason.detail.reason
    return reason
