"""What we need of the store of plans: requests, saved machines, steps, and what people may see.

Rules of this file:
- a save is one commit and states totals: committing it twice changes nothing more;
- a plan is asked for by a row and cancelled by a row; the controller polls, nothing wakes it;
- every call raises StoreUnavailable while PostgreSQL is away.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from tradebox.domain.orders import AccountName, Side
from tradebox.domain.plan_document import PlanDocument
from tradebox.domain.plan_state import PlanState
from tradebox.domain.plan_turn import StepTaken


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A row of trade.plan with its present document; machine is None before arming."""

    plan_id: str
    account: AccountName
    symbol: str
    side: Side
    state: str
    version: int
    is_demo: bool
    document: Mapping[str, Any]
    machine: Mapping[str, Any] | None
    created_at: datetime
    closed_at: datetime | None
    close_reason: str
    origin: str = "manual"
    """manual: a person wrote it, no grade is asked; strategy: proposed from a graded setting."""
    proposal: Mapping[str, Any] | None = None
    approved_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StepRow:
    """A row of trade.plan_step."""

    step_no: int
    kind: str
    price: Decimal
    quantity: int
    source: str
    at_ns: int
    reason: str
    run_id: str


@dataclass(frozen=True, slots=True)
class PlanOrderRow:
    """An order of a plan, as the books keep it."""

    order_ref: str
    role: str
    side: Side
    quantity: int
    filled: int
    order_type: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    tif: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlanFillRow:
    """An execution of a plan."""

    exec_id: str
    order_ref: str
    side: Side
    quantity: int
    price: Decimal
    at_ns: int
    commission_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class PlanStory:
    """Everything about one plan, oldest first."""

    plan: StoredPlan
    steps: tuple[StepRow, ...]
    orders: tuple[PlanOrderRow, ...]
    fills: tuple[PlanFillRow, ...]


@dataclass(frozen=True, slots=True)
class CancelCommand:
    """A request to end a plan, to be obeyed from an instant of market time on."""

    command_id: int
    plan_id: str
    reason: str
    from_ns: int = 0


class PlanStore(Protocol):
    """Plans in PostgreSQL, for one run."""

    async def request_plan(
        self,
        document: PlanDocument,
        account: AccountName,
        *,
        now_ns: int,
        author: str,
        is_demo: bool = False,
        opened: Callable[[str], PlanState] | None = None,
        proposal: Mapping[str, Any] | None = None,
        waits: bool = False,
    ) -> str:
        """Store a checked document as a plan to be armed, or as open; return its id.

        proposal: what a strategy's plan was proposed on; None: a person wrote it. waits: it is
        not armed before it is approved.
        opened: makes the state of a plan whose shares are there already, from its id.
        """
        ...

    async def cancel_request(
        self, plan_id: str, reason: str, account: AccountName | None = None, *, from_ns: int = 0
    ) -> int:
        """Store a request to end a plan, from an instant on; return the command's id.

        Raises:  NotRunning where there is no such plan; PlanInvalid where it has ended.
        """
        ...

    async def active_plans(
        self, account: AccountName, known: Collection[str] = ()
    ) -> tuple[StoredPlan, ...]:
        """Return the plans of an account that have not ended, but for the known ones."""
        ...

    async def cancels(self, account: AccountName) -> tuple[CancelCommand, ...]:
        """Return the cancel requests that wait, oldest first; late ones are answered so."""
        ...

    async def answer(self, command_id: int, answer: Mapping[str, Any]) -> None:
        """Note what became of a request; only the first answer counts."""
        ...

    async def save(self, state: PlanState, steps: tuple[StepTaken, ...], now_ns: int) -> None:
        """Commit a machine and the steps it took, and tell the journal, all or nothing."""
        ...

    async def list_plans(
        self, account: AccountName | None = None, *, with_ended: bool = False, rows_max: int = 200
    ) -> tuple[StoredPlan, ...]:
        """Return plans, newest first."""
        ...

    async def show_plan(self, plan_id: str) -> PlanStory:
        """Return a plan with steps, orders and fills. Raises NotRunning where there is none."""
        ...
