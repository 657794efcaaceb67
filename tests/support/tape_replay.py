"""A plan on a tape by the plan machine alone: no path, no store, a broker that fills at once.

Rules of this file:
- the broker pays what the quote around each print says, half a spread of one increment;
- a stop fires on the print that reaches it, before the plan hears of the price;
- one event after the other, until the plan asks for nothing more: then the next print.
"""

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal

from tradebox.domain.market import Quality, Source
from tradebox.domain.orders import OrderRole
from tradebox.domain.path import (
    CancelEntryRequest,
    EnterRequest,
    EntryClosed,
    EntryFilled,
    Evidence,
    MoveStopRequest,
    PathEvent,
    PathRequest,
    ProcedureDone,
    ReduceFilled,
    ScaleOutRequest,
    StopWorking,
)
from tradebox.domain.plan_document import PlanDocument
from tradebox.domain.plan_machine import step
from tradebox.domain.plan_state import PlanState, Terms
from tradebox.domain.plan_turn import Armed, ClockReached, PlanEvent, PriceSeen, StepTaken

HALF_SPREAD = Decimal("0.01")


@dataclass(frozen=True)
class Decision:
    """A step, and the print that it was decided on; the broker's own steps name none."""

    kind: str
    quantity: int
    price: Decimal
    tick: tuple[int, Decimal] | None


@dataclass
class TapeReplay:
    """One plan and the broker it talks to."""

    plan: PlanDocument
    terms: Terms
    state: PlanState = field(default_factory=lambda: PlanState("replayed"))
    decisions: list[Decision] = field(default_factory=list)
    stop: Decimal | None = None

    def run(self, tape: list[tuple[int, Decimal]]) -> list[Decision]:
        """Return what the plan decides on a tape of (event time, price)."""
        self._tell(Armed(self.terms))
        for at_ns, price in tape:
            self.now_ns, self.price = at_ns, price
            if self._stop_is_hit():
                self._tell(self._fill(OrderRole.STOP, self.state.position))
            evidence = Evidence(price, Source.FINNHUB, Quality.LIVE, at_ns)
            self._tell(PriceSeen(evidence, at_ns))
            self._tell(ClockReached(at_ns))
        return self.decisions

    @property
    def sign(self) -> int:
        return self.plan.order_side.sign

    def _stop_is_hit(self) -> bool:
        if self.stop is None or not self.state.position or self.state.phase.is_final:
            return False
        return self.sign * (self.price - self.stop) <= 0

    def _tell(self, event: PlanEvent) -> None:
        waiting: deque[PlanEvent] = deque([event])
        while waiting:
            self.state, actions = step(self.plan, self.state, waiting.popleft())
            for action in actions:
                if isinstance(action, StepTaken):
                    seen = action.evidence
                    tick = None if seen is None else (seen.event_ns, seen.price)
                    self.decisions.append(
                        Decision(action.kind.value, action.quantity, action.price, tick)
                    )
                else:
                    waiting += [*self._answer(action), ClockReached(self.now_ns)]

    def _answer(self, request: PathRequest) -> list[PathEvent]:
        plan_id, held = request.plan_id, self.state.position
        if isinstance(request, EnterRequest):
            paid, self.stop = self.price + self.sign * HALF_SPREAD, request.protective_stop
            count = request.quantity
            facts: list[PathEvent] = [
                EntryFilled(plan_id, count, paid, count, 0, self.now_ns),
                EntryClosed(plan_id, count, "filled", self.now_ns),
                StopWorking(plan_id, count, self.stop, self.now_ns),
            ]
        elif isinstance(request, MoveStopRequest):
            self.stop = request.stop_price
            facts = [StopWorking(plan_id, held, self.stop, self.now_ns)]
        elif isinstance(request, ScaleOutRequest):
            facts = [self._fill(OrderRole.SLICE, request.quantity)]
            assert self.stop is not None
            left = held - request.quantity
            facts.append(StopWorking(plan_id, left, self.stop, self.now_ns))
        elif isinstance(request, CancelEntryRequest):
            facts = [EntryClosed(plan_id, held, "cancelled", self.now_ns)]
        else:
            facts = [self._fill(OrderRole.EXIT, held)]
        done = ProcedureDone(plan_id, type(request).__name__, 0, held, "", self.now_ns)
        return [*facts, done]

    def _fill(self, role: OrderRole, quantity: int) -> ReduceFilled:
        got, left = self.price - self.sign * HALF_SPREAD, self.state.position - quantity
        return ReduceFilled(self.state.plan_id, role, quantity, got, left, self.now_ns)
