"""Folds events into what the console shows: pure, bounded, order of arrival.

Rules of this file:
- one method per event, no I/O, no clock: the caller stamps the rows;
- a day is the exchange's: its figures begin anew with it, and what an earlier engine of the same
  day did comes from the books, once;
- what an order cost beside its reference is kept with the order: the console counts nothing;
- every collection has a stated limit; closed plans leave first.
"""

from collections import OrderedDict, deque
from dataclasses import asdict
from decimal import Decimal
from typing import Any

from tradebox.actors.dashboard_lines import Lines
from tradebox.domain.events import (
    AccountChanged,
    AlertRaised,
    FeedFailover,
    FillBooked,
    IntentDenied,
    LinkChanged,
    OrderChanged,
    PlanChanged,
    PlanStepTaken,
    PositionChanged,
    StoreChanged,
    StreamChanged,
    TickRefused,
)
from tradebox.domain.market_day import market_day
from tradebox.domain.orders import OrderState
from tradebox.ports.day_books import DayBooks
from tradebox.supervision.events import ChildExited, IntensityReached

PLANS_MAX, ORDERS_MAX, ALERTS_MAX, STEPS_MAX, PATH_MAX = 400, 200, 100, 100, 12
POSITIONS_MAX, TEXT_CHARS_MAX = 500, 300
RESTARTS_MAX, CHILDREN_MAX, RESTARTS_NS = 32, 256, 3_600_000_000_000
REFUSED_MAX = 2_000
DONE = frozenset(
    {
        OrderState.FILLED,
        OrderState.CANCELLED,
        OrderState.REJECTED,
        OrderState.EXPIRED,
        OrderState.NEVER_SENT,
    }
)
CLOSED_PLANS = frozenset({"closed", "cancelled", "refused"})

DAY_COUNTS = ("fills", "denied", "rejected")

WATCHED = (
    AccountChanged,
    AlertRaised,
    ChildExited,
    FeedFailover,
    FillBooked,
    IntensityReached,
    IntentDenied,
    LinkChanged,
    OrderChanged,
    PlanChanged,
    PlanStepTaken,
    PositionChanged,
    StoreChanged,
    StreamChanged,
    TickRefused,
)


class DashboardState:
    """What has been seen so far, ready to be written as rows."""

    def __init__(self) -> None:
        self.accounts: dict[str, dict[str, Any]] = {}
        self.positions: dict[tuple[str, str], dict[str, Any]] = {}
        self.plans: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self.steps: dict[str, list[dict[str, Any]]] = {}
        self.orders: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._alert_number = 0
        self._now_ns = 0
        self.alerts: deque[dict[str, Any]] = deque(maxlen=ALERTS_MAX)
        self.lines = Lines()
        self.refused: dict[str, int] = {}
        self._restarts: dict[str, deque[int]] = {}
        self.counts = {"fills": 0, "denied": 0, "rejected": 0, "refused_ticks": 0, "restarts": 0}
        self._day = ""
        self._before = dict.fromkeys(DAY_COUNTS, 0)
        """Per count: what to add to `counts` for the figure of the day."""
        self.knows_day = False

    def fold(self, event: object, now_ns: int = 0) -> None:
        """Take one event in; one of a kind not listed is ignored.

        Units: now_ns market time, for events that carry none.
        """
        self._now_ns = now_ns
        self.turn_day(now_ns)
        self.lines.take(event, now_ns)
        match event:
            case PlanChanged(row=row):
                self._plan(asdict(row))
            case PlanStepTaken():
                self._step(event)
            case PositionChanged():
                self._position(event)
            case OrderChanged():
                self._order(event)
            case FillBooked():
                self._fill(event)
            case LinkChanged():
                self._link(event)
            case AccountChanged():
                figures = {**asdict(event), "account": event.account_id}
                self._account(event.account).update(figures)
            case IntentDenied():
                self.counts["denied"] += 1
                text = f"{event.check}: {event.observed} against {event.limit}"
                self._alert("denied", event.symbol, text, event.account, event.at_ns)
            case AlertRaised():
                self._alert(event.severity, event.symbol, event.text, event.account, event.at_ns)
            case FeedFailover():
                text = f"feed {event.old} → {event.new}, epoch {event.epoch}: {event.cause}"
                self._alert("failover", None, text, None, event.at_ns)
            case TickRefused(symbol=symbol):
                self.counts["refused_ticks"] += 1
                if symbol in self.refused or len(self.refused) < REFUSED_MAX:
                    self.refused[symbol] = self.refused.get(symbol, 0) + 1
            case ChildExited(asked=False):
                self.counts["restarts"] += 1
                self._restarted(event)
                self._alert("restart", None, f"{event.name}: {event.reason}", None, 0)
            case IntensityReached():
                text = f"{event.name} gave up: {event.intensity} restarts in {event.period_s:g} s"
                self._alert("critical", None, text, None, 0)
            case _:
                return

    def turn_day(self, now_ns: int) -> None:
        """Begin the day's figures anew where a market time lies in another day."""
        day = market_day(now_ns) if now_ns else self._day
        if self._day and day != self._day:
            self._before = {name: -self.counts[name] for name in DAY_COUNTS}
            self.knows_day = True
        self._day = day

    def recall(self, books: DayBooks) -> None:
        """Take in what the books know of this day from before this engine."""
        self.knows_day = True
        self._before = {name: getattr(books, name) for name in DAY_COUNTS}
        known, self.plans = self.plans, OrderedDict()
        for plan in books.plans:
            if plan.plan_id not in known:
                self._plan(asdict(plan))
        for row in known.values():
            self._plan(row)

    def day(self) -> dict[str, Any] | None:
        """Return the figures of the day; None while the books have not been read."""
        if not self.knows_day:
            return None
        plans = [row for row in self.plans.values() if self._is_of_day(row)]
        return {
            "net_r": sum(row["r_multiple"] or 0.0 for row in plans),
            "net_usd": sum((row["pnl_usd"] or Decimal(0) for row in plans), start=Decimal(0)),
            **{name: self.counts[name] + self._before[name] for name in DAY_COUNTS},
        }

    def _is_of_day(self, row: dict[str, Any]) -> bool:
        is_over = row["state"] in CLOSED_PLANS
        return not is_over or market_day(row["updated_ns"]) == self._day

    def positions_rows(self) -> list[dict[str, Any]]:
        """Return open positions and those with a stop or a slice still working."""
        return [
            row
            for row in self.positions.values()
            if row["quantity"] or row["stop_quantity"] or row["in_flight_quantity"]
        ]

    def restarts(self, name: str, mono_ns: int) -> list[int]:
        """Return when a child ended unasked within the last hour. Units: monotonic ns."""
        return [at for at in self._restarts.get(name, ()) if mono_ns - at <= RESTARTS_NS]

    def plan_detail(self, plan_id: str) -> dict[str, Any]:
        """Return one plan with its steps and its orders."""
        return {
            "plan": self.plans.get(plan_id),
            "steps": self.steps.get(plan_id, []),
            "orders": [row for row in self.orders.values() if row["plan_id"] == plan_id],
        }

    def _plan(self, row: dict[str, Any]) -> None:
        self.plans[row["plan_id"]] = row
        while len(self.plans) > PLANS_MAX:
            closed = (name for name, item in self.plans.items() if item["state"] in CLOSED_PLANS)
            dropped = next(closed, next(iter(self.plans)))
            del self.plans[dropped]
            self.steps.pop(dropped, None)

    def _position(self, event: PositionChanged) -> None:
        self.positions[event.account, event.symbol] = asdict(event)
        while len(self.positions) > POSITIONS_MAX:
            flat = (key for key, row in self.positions.items() if not row["quantity"])
            del self.positions[next(flat, next(iter(self.positions)))]

    def _step(self, event: PlanStepTaken) -> None:
        steps = self.steps.setdefault(event.plan_id, [])
        steps.append(asdict(event))
        del steps[:-STEPS_MAX]
        while len(self.steps) > PLANS_MAX:
            left = (plan_id for plan_id in self.steps if plan_id not in self.plans)
            del self.steps[next(left, next(iter(self.steps)))]
        text = f"{event.kind} @ {event.price}: {event.reason}"
        self._alert("step", event.symbol, text, event.account, event.at_ns)

    def _order(self, event: OrderChanged) -> None:
        known = self.orders.get(event.order_ref)
        if event.state is OrderState.REJECTED and (known is None or known["state"] != event.state):
            self.counts["rejected"] += 1
        self.orders[event.order_ref] = {**asdict(event), **self._told(event, known)}
        while len(self.orders) > ORDERS_MAX:
            done = (name for name, item in self.orders.items() if item["state"] in DONE)
            del self.orders[next(done, next(iter(self.orders)))]

    def _told(self, event: OrderChanged, known: dict[str, Any] | None) -> dict[str, Any]:
        """Return what an order's row remembers beside its last state."""
        state = event.state.value
        if known is not None:
            path = known["path"] if known["path"][-1:] == [state] else [*known["path"], state]
            names = ("first_ns", "average_price", "fill_quantity")
            kept = {name: known[name] for name in names}
            reference = known["reference_price"]
        else:
            path = [state]
            kept = {"first_ns": event.at_ns, "average_price": None, "fill_quantity": 0}
            reference = self.plans.get(event.plan_id, {}).get("last_price")
        if event.stop_price is not None:  # a limit is only the worst price we would take
            reference = event.stop_price
        return {**kept, "path": path[-PATH_MAX:], "reference_price": reference}

    def _restarted(self, event: ChildExited) -> None:
        if event.name not in self._restarts and len(self._restarts) >= CHILDREN_MAX:
            del self._restarts[next(iter(self._restarts))]
        stamps = self._restarts.setdefault(event.name, deque(maxlen=RESTARTS_MAX))
        stamps.append(int(event.at_s * 1e9))

    def _fill(self, event: FillBooked) -> None:
        self.counts["fills"] += 1
        order = self.orders.get(event.order_ref)
        if order is not None:
            had = order["fill_quantity"]
            spent = (order["average_price"] or Decimal(0)) * had + event.price * event.quantity
            order["fill_quantity"] = had + event.quantity
            order["average_price"] = spent / (had + event.quantity)
        text = f"{event.role} {event.side} {event.quantity} @ {event.price}"
        self._alert("fill", event.symbol, text, event.account, event.at_ns)

    def _link(self, event: LinkChanged) -> None:
        self._account(event.account).update(
            account=event.account_id, link=event.state, gateway=event.gateway
        )
        self._alert("link", None, f"{event.state} {event.reason}", event.account, event.at_ns)

    def _account(self, name: str) -> dict[str, Any]:
        return self.accounts.setdefault(
            name, {"name": str(name), "account": None, "link": None, "gateway": None}
        )

    def _alert(
        self, kind: str, symbol: str | None, text: str, account: str | None, at_ns: int
    ) -> None:
        self._alert_number += 1
        self.alerts.append(
            {
                "number": self._alert_number,
                "kind": kind,
                "symbol": symbol,
                "text": text[:TEXT_CHARS_MAX],
                "account": account,
                "at_ns": at_ns or self._now_ns,
            }
        )
