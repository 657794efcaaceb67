"""Child specs and supervisor flags: what to start, when to restart it, how long to wait.

Rules of this file:
1. A spec is checked when it is made; each wrong field has an error class of its own.
2. OTP's fields keep OTP's meaning and defaults; `checkin`, `init_timeout`, `backoff`, `budget`
   and `rank` are ours.
3. An id holds no dot: an actor's name is the ids from the root's children down, joined by dots.
"""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from tradebox.supervision.actor import Actor
from tradebox.supervision.errors import SpecInvalid
from tradebox.supervision.ref import INFINITY

__all__ = [
    "BRUTAL_KILL",
    "INFINITY",
    "AutoShutdown",
    "Backoff",
    "ChildSpec",
    "ChildType",
    "Rank",
    "RestartScope",
    "RestartType",
    "SupFlags",
    "check_specs",
]

WORKER_SHUTDOWN_S: Final = 5.0
WORKER_INIT_S: Final = 5.0


class RestartType(enum.Enum):
    """After which ends a child is started again."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class RestartScope(enum.Enum):
    """Which children share one child's restart (OTP's strategy)."""

    ONE_FOR_ONE = "one_for_one"
    REST_FOR_ONE = "rest_for_one"
    ONE_FOR_ALL = "one_for_all"


class ChildType(enum.Enum):
    """What a child is; supervisors get time without limit to stop their own children."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"


class AutoShutdown(enum.Enum):
    """Whether the end of significant children ends the supervisor."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class Rank(enum.Enum):
    """Who waits for whom when both have mail: a PATIENT actor lets every URGENT one go first."""

    URGENT = "urgent"
    NORMAL = "normal"
    PATIENT = "patient"


class BrutalKill:
    """Type of BRUTAL_KILL."""

    def __repr__(self) -> str:
        return "BRUTAL_KILL"


BRUTAL_KILL: Final = BrutalKill()
ShutdownWait = float | BrutalKill


class IdInvalid(SpecInvalid):
    """The id is no name. Answer: fix the code that wrote it."""

    field = "id"


class IdTaken(SpecInvalid):
    """Two children carry one id. Answer: fix the code that wrote it."""

    field = "id"


class StartInvalid(SpecInvalid):
    """`start` cannot be called. Answer: fix the code that wrote it."""

    field = "start"


class RestartInvalid(SpecInvalid):
    """`restart` is no RestartType. Answer: fix the code that wrote it."""

    field = "restart"


class ShutdownInvalid(SpecInvalid):
    """`shutdown` is no wait. Answer: fix the code that wrote it."""

    field = "shutdown"


class TypeInvalid(SpecInvalid):
    """`type` is no ChildType, or not the type of what starts. Answer: fix the spec."""

    field = "type"


class SignificantInvalid(SpecInvalid):
    """`significant` does not fit the restart type or the flags. Answer: fix the spec."""

    field = "significant"


class CheckinInvalid(SpecInvalid):
    """`checkin` is no limit. Answer: fix the code that wrote it."""

    field = "checkin"


class InitTimeoutInvalid(SpecInvalid):
    """`init_timeout` is no limit. Answer: fix the code that wrote it."""

    field = "init_timeout"


class BudgetInvalid(SpecInvalid):
    """`budget` is no limit. Answer: fix the code that wrote it."""

    field = "budget"


class RankInvalid(SpecInvalid):
    """`rank` is no Rank. Answer: fix the code that wrote it."""

    field = "rank"


class BackoffInvalid(SpecInvalid):
    """A backoff field is out of range. Answer: fix the code that wrote it."""

    field = "backoff"


class StrategyInvalid(SpecInvalid):
    """`strategy` is no RestartScope, or not possible here. Answer: fix the flags."""

    field = "strategy"


class IntensityInvalid(SpecInvalid):
    """`intensity` is no count. Answer: fix the flags."""

    field = "intensity"


class PeriodInvalid(SpecInvalid):
    """`period` is no time. Answer: fix the flags."""

    field = "period"


class AutoShutdownInvalid(SpecInvalid):
    """`auto_shutdown` is no AutoShutdown. Answer: fix the flags."""

    field = "auto_shutdown"


def _is_seconds(value: object, *, zero: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return False
    return value > 0 or (zero and value == 0)


@dataclass(frozen=True, slots=True)
class Backoff:
    """A child that waits longer before each restart and so never escalates.

    Units: seconds; `jitter` is the share of a delay that is drawn, 0 to 1.
    Holds: initial_s·(1 - jitter) ≤ delay ≤ max_s; delays without jitter never shrink.
    """

    initial_s: float = 0.1
    max_s: float = 30.0
    jitter: float = 0.2
    reset_s: float = 60.0

    def __post_init__(self) -> None:
        if not _is_seconds(self.initial_s, zero=False) or math.isinf(self.initial_s):
            raise BackoffInvalid("initial_s", self.initial_s, "needs seconds above 0")
        if not _is_seconds(self.max_s, zero=False) or self.max_s < self.initial_s:
            raise BackoffInvalid("max_s", self.max_s, "needs seconds not below initial_s")
        if math.isinf(self.max_s):
            raise BackoffInvalid("max_s", self.max_s, "needs an end")
        if not _is_seconds(self.jitter, zero=True) or self.jitter > 1:
            raise BackoffInvalid("jitter", self.jitter, "needs a share from 0 to 1")
        if not _is_seconds(self.reset_s, zero=True):
            raise BackoffInvalid("reset_s", self.reset_s, "needs seconds")

    def delay_s(self, attempt: int, rng: random.Random) -> float:
        """Return the wait before restart number `attempt`, counted from 1."""
        assert attempt >= 1
        full = min(self.max_s, self.initial_s * 2.0 ** min(attempt - 1, 60))
        return full * (1.0 - self.jitter * rng.random())


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child: its id, how to make it, and the rules of its life.

    budget is how much CPU one message may take; see budget.py. rank says who goes first.

    Units:  shutdown, checkin, init_timeout, budget in seconds. None takes the default: shutdown 5 s
            (INFINITY for a supervisor), init_timeout 5 s (INFINITY for a supervisor), no check-in
            limit.
    Raises: SpecInvalid, one subclass per field.
    """

    id: str
    start: Callable[..., Actor[Any]]
    restart: RestartType = RestartType.PERMANENT
    shutdown: ShutdownWait | None = None
    type: ChildType = ChildType.WORKER
    significant: bool = False
    checkin: float | None = None
    init_timeout: float | None = None
    backoff: Backoff | None = None
    budget: float | None = None
    rank: Rank = Rank.NORMAL

    def __post_init__(self) -> None:
        self._check_identity()
        if not isinstance(self.restart, RestartType):
            raise RestartInvalid(self.id, self.restart, "needs a RestartType")
        if (
            self.shutdown is not None
            and not isinstance(self.shutdown, BrutalKill)
            and not _is_seconds(self.shutdown, zero=True)
        ):
            raise ShutdownInvalid(self.id, self.shutdown, "needs seconds, INFINITY, BRUTAL_KILL")
        if not isinstance(self.type, ChildType):
            raise TypeInvalid(self.id, self.type, "needs a ChildType")
        if not isinstance(self.significant, bool):
            raise SignificantInvalid(self.id, self.significant, "needs a bool")
        if self.significant and self.restart is RestartType.PERMANENT:
            raise SignificantInvalid(self.id, self.significant, "a permanent child never ends")
        if self.checkin is not None and not _is_seconds(self.checkin, zero=False):
            raise CheckinInvalid(self.id, self.checkin, "needs seconds above 0")
        if self.init_timeout is not None and not _is_seconds(self.init_timeout, zero=False):
            raise InitTimeoutInvalid(self.id, self.init_timeout, "needs seconds above 0")
        if self.budget is not None and not _is_seconds(self.budget, zero=False):
            raise BudgetInvalid(self.id, self.budget, "needs seconds above 0")
        if not isinstance(self.rank, Rank):
            raise RankInvalid(self.id, self.rank, "needs a Rank")
        if self.backoff is not None and not isinstance(self.backoff, Backoff):
            raise BackoffInvalid(self.id, self.backoff, "needs a Backoff")

    def _check_identity(self) -> None:
        if not isinstance(self.id, str) or not self.id or "." in self.id:
            raise IdInvalid("child spec", self.id, "needs a text without dot")
        if not callable(self.start):
            raise StartInvalid(self.id, self.start, "needs a callable")

    @property
    def shutdown_wait(self) -> ShutdownWait:
        """The wait in force, with the default of the type."""
        if self.shutdown is not None:
            return self.shutdown
        return INFINITY if self.type is ChildType.SUPERVISOR else WORKER_SHUTDOWN_S

    @property
    def init_wait_s(self) -> float:
        """The limit of init in force, with the default of the type."""
        if self.init_timeout is not None:
            return self.init_timeout
        return INFINITY if self.type is ChildType.SUPERVISOR else WORKER_INIT_S


@dataclass(frozen=True, slots=True)
class SupFlags:
    """How a supervisor restarts: whom, and at most `intensity` times in `period` seconds.

    `strategy` is OTP's word for the restart scope.
    Raises: SpecInvalid, one subclass per field.
    """

    strategy: RestartScope = RestartScope.ONE_FOR_ONE
    intensity: int = 1
    period: float = 5.0
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER

    def __post_init__(self) -> None:
        if not isinstance(self.strategy, RestartScope):
            raise StrategyInvalid("flags", self.strategy, "needs a RestartScope")
        if isinstance(self.intensity, bool) or not isinstance(self.intensity, int):
            raise IntensityInvalid("flags", self.intensity, "needs a whole number")
        if self.intensity < 0:
            raise IntensityInvalid("flags", self.intensity, "needs 0 or more")
        if not _is_seconds(self.period, zero=False) or math.isinf(self.period):
            raise PeriodInvalid("flags", self.period, "needs seconds above 0")
        if not isinstance(self.auto_shutdown, AutoShutdown):
            raise AutoShutdownInvalid("flags", self.auto_shutdown, "needs an AutoShutdown")


def check_specs(flags: SupFlags, specs: Iterable[ChildSpec]) -> tuple[ChildSpec, ...]:
    """Return the specs when they can live under one supervisor.

    Raises: SpecInvalid: a duplicate id, a significant child that nothing would follow.
    """
    seen: set[str] = set()
    checked = tuple(specs)
    for spec in checked:
        if spec.id in seen:
            raise IdTaken(spec.id, spec.id, "is used twice")
        seen.add(spec.id)
        check_significant(flags, spec)
    return checked


def check_significant(flags: SupFlags, spec: ChildSpec) -> None:
    """Refuse a significant child under auto_shutdown NEVER."""
    if spec.significant and flags.auto_shutdown is AutoShutdown.NEVER:
        raise SignificantInvalid(spec.id, True, "auto_shutdown is never")
