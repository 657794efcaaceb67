"""What a plan is told, what it answers, and one turn of the plan machine in the making.

Rules of this file:
- a PathEvent tells facts, a PriceSeen or ClockReached asks for decisions; both are values;
- a Turn is used inside one call of the machine and never outlives it: step() stays pure;
- each StepTaken is one row, one event and one log line, in the order it is listed.
"""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from tradebox.domain.market import Quality
from tradebox.domain.path import Evidence, PathEvent, PathRequest
from tradebox.domain.plan_document import PlanDocument
from tradebox.domain.plan_state import ExitWish, Phase, PlanState, StepKind, Tally, Terms
from tradebox.domain.session import SECOND_NS

BROKER = "broker"
RETRY_FIRST_S = 5
RETRY_S_MAX = 60


@dataclass(frozen=True, slots=True)
class PriceSeen:
    """An admitted price of the plan's symbol.

    is_ready: the order path takes entries now. is_busy: a procedure of this plan is under way.
    session_close_ns: end of the session that is open now, None if none is.
    """

    evidence: Evidence
    now_ns: int
    is_ready: bool = True
    is_busy: bool = False
    session_close_ns: int | None = None


@dataclass(frozen=True, slots=True)
class ClockReached:
    """Time has passed, or facts have been told: decide again, without a new price."""

    now_ns: int
    is_busy: bool = False
    session_close_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Armed:
    """The plan was checked against the market and starts to watch."""

    terms: Terms


@dataclass(frozen=True, slots=True)
class ArmingRefused:
    """The plan cannot be followed; reason names field, value and fix."""

    reason: str
    now_ns: int


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """A person wants the plan to end: no entry if there is none yet, else out in full."""

    reason: str
    now_ns: int


@dataclass(frozen=True, slots=True)
class Book:
    """What PostgreSQL and the broker's echoes say of a plan, in totals."""

    entry_is_known: bool = False
    entry_is_closed: bool = False
    entry: Tally = field(default_factory=Tally)
    sliced: Tally = field(default_factory=Tally)
    closing: Tally = field(default_factory=Tally)
    stopped: int = 0
    stop_price: Decimal | None = None
    stop_quantity: int = 0
    at_ns: int = 0


@dataclass(frozen=True, slots=True)
class Recovered:
    """The controller started again: these are the books; no answer to an old request will come."""

    book: Book
    now_ns: int


@dataclass(frozen=True, slots=True)
class Adjusted:
    """The books hold fewer shares than the facts told: a reconcile took some off."""

    position_left: int
    now_ns: int


PlanEvent = (
    PriceSeen
    | ClockReached
    | Armed
    | ArmingRefused
    | CancelAsked
    | Recovered
    | Adjusted
    | PathEvent
)


@dataclass(frozen=True, slots=True)
class StepTaken:
    """A step that happened: a row of trade.plan_step.

    price: average fill price of entry, scale_out and exit; else the new stop price.
    source: who said the price that caused it, or "broker".
    """

    step_no: int
    kind: StepKind
    price: Decimal
    quantity: int
    source: str
    reason: str
    at_ns: int
    evidence: Evidence | None


PlanAction = PathRequest | StepTaken


class Turn:
    """The state as it changes within one call of the machine, and the actions so far."""

    __slots__ = ("actions", "plan", "state")

    def __init__(self, plan: PlanDocument, state: PlanState) -> None:
        self.plan = plan
        self.state = state
        self.actions: list[PlanAction] = []

    @property
    def sign(self) -> int:
        """+1 for a long plan, -1 for a short one."""
        return self.plan.order_side.sign

    def is_better(self, price: Decimal, than: Decimal | None) -> bool:
        """Say whether a stop at that price protects more than another one."""
        return than is None or self.sign * (price - than) > 0

    def set(self, **changes: Any) -> None:
        """Change fields of the state; a price that changes none makes no new state."""
        state = self.state
        if any(getattr(state, name) != value for name, value in changes.items()):
            self.state = replace(state, **changes)

    def ask(self, request: PathRequest) -> None:
        """Send a request to the order path and wait for its end."""
        assert self.state.pending is None, self.state.pending
        self.actions.append(request)
        self.set(pending=type(request).__name__)

    def take(
        self, kind: StepKind, tally: Tally, evidence: Evidence | None, reason: str, at_ns: int
    ) -> None:
        """Note a step that happened at the average price of a tally."""
        number = self.state.steps_taken + 1
        # Executions carry whole seconds: a step is never dated before the one it followed.
        at_ns = max(at_ns, self.state.last_step_ns)
        source = BROKER if evidence is None else evidence.source.value
        self.actions.append(
            StepTaken(number, kind, tally.average, tally.quantity, source, reason, at_ns, evidence)
        )
        self.set(steps_taken=number, last_step_ns=at_ns)

    def fail(self, now_ns: int) -> None:
        """Wait longer before the next request: 5 s of market time, doubling up to a minute."""
        failures = self.state.failures + 1
        wait_s = min(RETRY_S_MAX, RETRY_FIRST_S * 2 ** min(failures - 1, 10))
        self.set(failures=failures, retry_ns=now_ns + wait_s * SECOND_NS)

    def succeed(self) -> None:
        """Forget earlier failures."""
        self.set(failures=0, retry_ns=0)

    def leave(self, reason: str, evidence: Evidence | None) -> None:
        """Decide to leave; the first reason stands, and earlier failures delay nothing."""
        if self.state.leaving is None:
            self.set(leaving=ExitWish(reason, evidence))
            self.succeed()

    def end(self, phase: Phase, reason: str, at_ns: int) -> None:
        """End the plan; nothing is wanted any more.

        A bust may open it again: its trail stays as far as it came, and steps that were reached
        and not carried out wait for their price once more.
        """
        assert phase.is_final, phase
        crossed = self.state.crossed
        self.set(
            phase=phase, closed_ns=at_ns, close_reason=reason, pending=None, is_cancelling=False,
            next_step=crossed[0].index if crossed else self.state.next_step,
            crossed=(), wish=None, slice=None, held_by="",
        )  # fmt: skip


def is_live(evidence: Evidence) -> bool:
    """Say whether a price may open, move or close anything (a price must be live for that)."""
    return evidence.quality is Quality.LIVE
