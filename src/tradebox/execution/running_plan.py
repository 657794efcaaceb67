"""A plan in memory, as the runner keeps it."""

from dataclasses import dataclass, field

from tradebox.domain.plan_document import PlanDocument
from tradebox.domain.plan_state import PlanState, StepKind
from tradebox.domain.plan_turn import StepTaken


@dataclass(slots=True, eq=False)
class RunningPlan:
    """A plan of this run. kinds: the steps it took in this run.

    unsaved: steps that PostgreSQL does not have yet; is_dirty: a save is owed.
    """

    document: PlanDocument
    state: PlanState
    is_demo: bool
    unsaved: tuple[StepTaken, ...] = ()
    is_dirty: bool = False
    row_at_s: float = -1e9
    row_is_due: bool = True
    kinds: set[StepKind] = field(default_factory=set)
