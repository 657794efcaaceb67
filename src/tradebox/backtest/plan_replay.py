"""The chosen setting through the plan machine: the controller's own code makes the same orders.

Rules of this file:
- every entry signal becomes its plan proposal, and domain/plan_machine.py follows it tick by tick;
- a day is told as open, worst price, each level the plan waits for, best price: the order in which
  the kernel assumes them; the close moves nothing;
- the broker here fills at once: entries and exits pay what the kernel's costs say, the resting stop
  fills before the plan hears of the price;
- the machine moves a trailing stop by TRAIL_STEP_R at least, so the kernel it is compared with does
  too; prices are compared at a grid of a millionth.

Public names: replay_orders, compare, Comparison.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, assert_never

import numpy as np
from numpy.typing import NDArray

from tradebox.backtest.costs import HALF_SPREAD, SLIPPAGE
from tradebox.backtest.opinion import opinion_at
from tradebox.backtest.records import ORDER_DTYPE
from tradebox.backtest.rows import Rows
from tradebox.domain.market import Quality, Source
from tradebox.domain.money import to_decimal
from tradebox.domain.orders import OrderRole
from tradebox.domain.path import (
    CancelEntryRequest,
    EnterRequest,
    EntryClosed,
    EntryFilled,
    Evidence,
    ExitRequest,
    MoveStopRequest,
    PathEvent,
    PathRequest,
    ProcedureDone,
    ReduceFilled,
    ScaleOutRequest,
    StopWorking,
)
from tradebox.domain.plan_check import check_alone
from tradebox.domain.plan_levels import step_price
from tradebox.domain.plan_machine import TRAIL_STEP_R, step
from tradebox.domain.plan_state import PlanState, Terms
from tradebox.domain.plan_turn import (
    Armed,
    CancelAsked,
    ClockReached,
    PlanEvent,
    PriceSeen,
    StepTaken,
)
from tradebox.domain.session import SECOND_NS

INCREMENT: Final = Decimal("0.000001")
TOLERANCE: Final = 5e-6
"""Greatest difference of a price, relative above 1: plans round stops, averages and fills."""
DAY_NS: Final = 86_400 * SECOND_NS
OPEN_NS: Final = 52_200 * SECOND_NS
"""14:30 UTC: any instant of the day would do, the same for every day."""
_RATCHET_R: Final = float(TRAIL_STEP_R)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether plan machine and kernel made the same orders; where not, the first difference."""

    agrees: bool
    orders: int
    difference: str = ""


def compare(rows: Rows) -> Comparison:
    """Replay rows through the plan machine and compare every order with the kernel's."""
    ours, theirs = rows.books(_RATCHET_R).orders, replay_orders(rows)
    for place, (own, other) in enumerate(zip(ours, theirs, strict=False)):
        for name in ("bar", "side", "size", "price"):
            mine, yours = float(own[name]), float(other[name])
            if not abs(mine - yours) <= TOLERANCE * max(1.0, abs(yours)):
                text = f"order {place}: {name} is {mine!r}, the plan machine says {yours!r}"
                return Comparison(False, len(ours), text)
    if len(ours) != len(theirs):
        return Comparison(False, len(ours), f"{len(ours)} orders, the plans make {len(theirs)}")
    return Comparison(True, len(ours))


def replay_orders(rows: Rows) -> NDArray[np.void]:
    """Return the orders the plans of those rows make; fees and reason are not filled in."""
    orders: list[tuple[int, int, float, float]] = []
    last, free = len(rows.bars) - 1, 0
    for signal in range(last):
        row, first = int(rows.regime[signal]), signal + 1
        if row < 0 or rows.entry[row, signal] == 0 or first < free:
            continue
        if not rows.sizes[row, signal] > 0.0:
            continue
        plan = _Plan(rows, row, signal)
        plan.run()
        orders += plan.orders
        free = plan.left_at + 1 if plan.left_in_day else plan.left_at
    table = np.zeros(len(orders), ORDER_DTYPE)
    for number, name in enumerate(("bar", "side", "size", "price")):
        table[name] = [order[number] for order in orders]
    return table


class _Plan:
    """One plan from its signal to its end, and the broker it talks to."""

    def __init__(self, rows: Rows, row: int, signal: int) -> None:
        self.rows, self.row, self.signal = rows, row, signal
        found = opinion_at(rows, row, signal)
        self.side = 1 if found.side > 0 else -1
        bars_max = found.exits.bars_max
        self.exit_bar = signal + 1 + bars_max if bars_max else len(rows.bars)
        exit_at_ns = (
            self.at_ns(self.exit_bar) + SECOND_NS if self.exit_bar < len(rows.bars) else None
        )
        exit_at = None if exit_at_ns is None else _iso(exit_at_ns)
        self.plan = replace(found, symbol="TEST").document(exit_at)
        check_alone(self.plan)
        self.state = PlanState("plan")
        self.orders: list[tuple[int, int, float, float]] = []
        self.bar, self.price, self.now_ns = signal, Decimal(0), 0
        self.is_in_day = self.is_forced = False
        self.left_at, self.left_in_day = signal + 1, False
        terms = Terms(INCREMENT, 0, None, is_day_entry=True, exit_at_ns=exit_at_ns)
        self._send(Armed(terms))

    def at_ns(self, bar: int) -> int:
        """Return the instant of a bar's open."""
        return int(self.rows.bars.day[bar]) * DAY_NS + OPEN_NS

    def run(self) -> None:
        """Tell the plan its days until it has ended."""
        rows = self.rows
        bars = rows.bars
        flags = (rows.exit_long if self.side > 0 else rows.exit_short)[self.row]
        for bar in range(self.signal + 1, len(bars)):
            self.bar, self.now_ns, self.is_in_day = bar, self.at_ns(bar), False
            if bar == self.signal + 1:
                paid = bars.open[bar] * (1.0 + self.side * rows.per_bar[HALF_SPREAD, bar])
                self._see(_price(paid))  # a market entry is decided on the price it pays
            else:
                self._see(_price(bars.open[bar]))
                if flags[bar - 1]:
                    self._at_open(CancelAsked("exit signal", self.now_ns))
                self.now_ns += SECOND_NS
                self._at_open(ClockReached(self.now_ns))
            self.is_in_day = True
            worst, best = bars.low[bar], bars.high[bar]
            if self.side < 0:
                worst, best = best, worst
            self._see(_price(worst))
            for level in self._levels(_price(best)):
                self._see(level)
            self._see(_price(best))
            if self.state.phase.is_final:
                return
        self._close_out()

    def _levels(self, best: Decimal) -> list[Decimal]:
        """Return the prices of the steps between here and the day's best price."""
        risk = self.state.risk_per_share
        if risk is None or self.state.phase.is_final:
            return []
        average = self.state.entry.average
        steps = range(self.state.next_step, len(self.plan.steps))
        found = (step_price(self.plan, index, average, risk) for index in steps)
        return [level for level in found if self.side * (best - level) >= 0]

    def _see(self, price: Decimal) -> None:
        """Let the broker's stop see a price, then the plan."""
        if self.state.phase.is_final:
            return
        self.price = price
        stop = self.state.stop_price
        if stop is not None and self.state.position > 0 and self.side * (price - stop) <= 0:
            at = stop if self.is_in_day and self.side * (self._open() - stop) > 0 else self._open()
            held = self.state.position
            self._tell(self._fill(OrderRole.STOP, held, with_slippage=True, at=at))
            return
        evidence = Evidence(price, Source.IB, Quality.LIVE, self.now_ns)
        self._send(PriceSeen(evidence, self.now_ns))

    def _open(self) -> Decimal:
        return _price(float(self.rows.bars.open[self.bar]))

    def _at_open(self, event: PlanEvent) -> None:
        """Tell the plan to leave at the market, if it still holds anything."""
        if self.state.phase.is_final:
            return
        self.is_forced = True
        self._send(event)
        if isinstance(event, CancelAsked):
            self._send(ClockReached(self.now_ns))
        self.is_forced = False

    def _close_out(self) -> None:
        """End with the series: at the last close, less what a delisting costs a long position."""
        close = float(self.rows.bars.close[-1])
        lost, is_delisted = self.rows.final
        if is_delisted > 0.0 and self.side > 0:
            close *= 1.0 - lost
        held = self.state.position
        self._tell(self._fill(OrderRole.EXIT, held, with_slippage=False, at=_price(close)))

    def _tell(self, facts: list[PathEvent]) -> None:
        for fact in facts:
            self._send(fact)

    def _send(self, event: PlanEvent) -> None:
        """Take one event into the plan and do what it asks, until no reached step waits.

        A trail is not asked again: how often it moves within a day depends on the prices in it.
        """
        waiting: list[PlanEvent] = [event]
        has_acted = False
        while waiting:
            self.state, actions = step(self.plan, self.state, waiting.pop(0))
            has_acted = has_acted or bool(actions)
            for action in actions:
                if not isinstance(action, StepTaken):
                    waiting += self._answer(action)
            if not waiting and has_acted and self.state.crossed:
                waiting.append(ClockReached(self.now_ns))
                has_acted = False

    def _answer(self, request: PathRequest) -> list[PathEvent]:
        """Do what a request asks, at once."""
        name, plan_id = type(request).__name__, request.plan_id
        match request:
            case EnterRequest():
                price, count = self.price, request.quantity
                self.orders.append((self.bar, self.side, float(count), float(price)))
                facts: list[PathEvent] = [
                    EntryFilled(plan_id, count, price, count, 0, self.now_ns),
                    StopWorking(plan_id, count, request.protective_stop, self.now_ns),
                ]
            case MoveStopRequest():
                facts = [StopWorking(plan_id, self.state.position, request.stop_price, self.now_ns)]
            case ScaleOutRequest():
                facts = self._fill(OrderRole.SLICE, request.quantity, with_slippage=True)
            case ExitRequest():
                facts = self._fill(
                    OrderRole.EXIT, self.state.position, with_slippage=not self.is_forced
                )
            case CancelEntryRequest():
                facts = [EntryClosed(plan_id, self.state.position, "cancelled", self.now_ns)]
            case _:
                assert_never(request)
        left = self.state.position
        return [*facts, ProcedureDone(plan_id, name, 0, left, "", self.now_ns)]

    def _fill(
        self, role: OrderRole, quantity: int, *, with_slippage: bool, at: Decimal | None = None
    ) -> list[PathEvent]:
        """Fill an order that reduces the position, at the present price if at no other."""
        costs, price = self.rows.per_bar, self.price if at is None else at
        cost = costs[HALF_SPREAD, self.bar] + (costs[SLIPPAGE, self.bar] if with_slippage else 0.0)
        got = float(price) * (1.0 - self.side * float(cost))
        self.orders.append((self.bar, -self.side, float(quantity), got))
        left = self.state.position - quantity
        self.left_at, self.left_in_day = self.bar, self.is_in_day
        return [ReduceFilled("plan", role, quantity, _price(got), left, self.now_ns)]


def _price(value: float) -> Decimal:
    return to_decimal(round(value * 1_000_000))


def _iso(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // SECOND_NS, UTC).isoformat()
