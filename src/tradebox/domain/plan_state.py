"""What is known of a plan in progress: a frozen value, saved before its requests leave.

Rules of this file:
- quantities are totals since the start, so that a fact told twice changes nothing;
- prices are Decimal; position is unsigned, the plan's side gives the sign;
- the value goes to PostgreSQL as JSON and comes back equal.
"""

from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import StrEnum
from operator import attrgetter
from typing import Any

from pydantic import TypeAdapter

from tradebox.domain.money import shortest
from tradebox.domain.path import Evidence


class Phase(StrEnum):
    """Where a plan is in its life; the words of column trade.plan.state."""

    REQUESTED = "requested"
    ARMED = "armed"
    ENTERING = "entering"
    OPEN = "open"
    EXITING = "exiting"
    CLOSED = "closed"
    CANCELLED = "cancelled"
    REFUSED = "refused"

    @property
    def is_final(self) -> bool:
        """True when nothing more is expected of the plan."""
        return self in (Phase.CLOSED, Phase.CANCELLED, Phase.REFUSED)


class StepKind(StrEnum):
    """What a step was; the words of column trade.plan_step.kind."""

    ENTRY = "entry"
    BREAK_EVEN = "break_even"
    MOVE_STOP = "move_stop"
    SCALE_OUT = "scale_out"
    TRAIL = "trail"
    EXIT = "exit"


@dataclass(frozen=True, slots=True)
class Terms:
    """What was fixed when the plan was armed.

    Units: increment and distances in USD; times in ns UTC; atr rows (period, interval_s, value).
    """

    increment: Decimal
    armed_ns: int
    valid_until_ns: int | None
    is_day_entry: bool
    exit_at_ns: int | None = None
    net_liquidation_usd: Decimal | None = None
    atr: tuple[tuple[int, int, Decimal], ...] = ()


@dataclass(frozen=True, slots=True)
class Tally:
    """Shares and what they cost in all."""

    quantity: int = 0
    cost: Decimal = Decimal(0)

    def plus(self, quantity: int, price: Decimal) -> "Tally":
        """Return the tally with one more fill."""
        return Tally(self.quantity + quantity, self.cost + quantity * price)

    def minus(self, other: "Tally") -> "Tally":
        """Return what came after an earlier tally."""
        return Tally(self.quantity - other.quantity, self.cost - other.cost)

    @property
    def average(self) -> Decimal:
        """Average price per share, to a millionth. AssertionError if there are none."""
        assert self.quantity > 0, self
        return shortest((self.cost / self.quantity).quantize(Decimal("0.000001")))


@dataclass(frozen=True, slots=True)
class Crossing:
    """A step whose level the price has reached, not yet carried out."""

    index: int
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class StopWish:
    """A stop move that was decided and is not echoed yet; was_asked: a request left for it."""

    price: Decimal
    kind: StepKind
    evidence: Evidence | None
    reason: str
    was_asked: bool = False


@dataclass(frozen=True, slots=True)
class SliceWork:
    """A fraction being taken; before: the slices' tally when it began."""

    quantity: int
    before: Tally
    evidence: Evidence
    reason: str


@dataclass(frozen=True, slots=True)
class Trail:
    """A trailing stop: distance is a share of the best price, or an amount of it."""

    best: Decimal
    is_share: bool
    distance: Decimal


@dataclass(frozen=True, slots=True)
class ExitWish:
    """A decision to leave, with the price it was taken on where a price caused it."""

    reason: str
    evidence: Evidence | None


@dataclass(frozen=True, slots=True)
class PlanState:
    """One plan in progress. position = entry.quantity - sliced.quantity - closing.quantity."""

    plan_id: str
    phase: Phase = Phase.REQUESTED
    terms: Terms | None = None
    quantity: int = 0
    initial_stop: Decimal | None = None
    entry_evidence: Evidence | None = None
    entry: Tally = field(default_factory=Tally)
    entry_is_closed: bool = False
    is_entered: bool = False
    sliced: Tally = field(default_factory=Tally)
    closing: Tally = field(default_factory=Tally)
    stopped: int = 0
    risk_per_share: Decimal | None = None
    stop_price: Decimal | None = None
    stop_quantity: int = 0
    best_stop: Decimal | None = None
    next_step: int = 0
    crossed: tuple[Crossing, ...] = ()
    wish: StopWish | None = None
    slice: SliceWork | None = None
    trail: Trail | None = None
    leaving: ExitWish | None = None
    pending: str | None = None
    is_cancelling: bool = False
    reject_reason: str | None = None
    held_by: str = ""
    """What keeps the plan from acting on its position: "halt", "split"; "" = nothing."""
    failures: int = 0
    retry_ns: int = 0
    through_since_ns: int | None = None
    best_price: Decimal | None = None
    """The best live price since the entry: what a chandelier hangs from."""
    last: Evidence | None = None
    steps_taken: int = 0
    last_step_ns: int = 0
    opened_ns: int | None = None
    exit_at_ns: int | None = None
    closed_ns: int | None = None
    close_reason: str = ""

    @property
    def position(self) -> int:
        """Shares held now, unsigned."""
        return self.entry.quantity - self.sliced.quantity - self.closing.quantity

    @property
    def is_waiting(self) -> bool:
        """True while an answer of the order path is awaited."""
        return self.pending is not None


_PASSING = frozenset({"last", "through_since_ns", "trail", "best_price"})
"""What every tick may change."""
_lasting = attrgetter(*(each.name for each in fields(PlanState) if each.name not in _PASSING))


def is_same_essence(one: PlanState, other: PlanState) -> bool:
    """Say whether two states differ in nothing but what every tick changes: no new save is due."""
    trails = [trail and (trail.is_share, trail.distance) for trail in (one.trail, other.trail)]
    if trails[0] != trails[1]:
        return False
    return bool(_lasting(one) == _lasting(other))


_ADAPTER = TypeAdapter(PlanState)


def state_to_json(state: PlanState) -> dict[str, Any]:
    """Return plain JSON values. Holds: state_from_json gives an equal state back."""
    values = _ADAPTER.dump_python(state, mode="json")
    assert isinstance(values, dict)
    return values


def state_from_json(values: dict[str, Any]) -> PlanState:
    """Return the state of state_to_json. Raises ValueError on anything else."""
    return _ADAPTER.validate_python(values)
