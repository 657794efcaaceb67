"""What the console knows now: the last rows, their ages, and what it waits for.

Rules of this file:
- a row of an epoch older than the newest one seen is stale, whatever its age;
- a new epoch forgets everything collected under the old one;
- nothing here talks to anybody; the caller says what time it is.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from tradebox.readmodel import BarRow, EventRow, Row, StepRow
from tradebox_tui import order_rows
from tradebox_tui.text import number

POINTS_MAX: Final = 600
SYMBOLS_MAX: Final = 500
DAY_R_MAX: Final = 240
GAP_NS_MAX: Final = 1_800_000_000_000
"""A longer silence is a night or a halt: no line is drawn across it."""
HISTORY_ROWS: Final = ("runs",)
"""Rows that come from PostgreSQL, not from the engine."""
HISTORY_PERIOD_S: Final = 5.0
CLOSED: Final = frozenset({"closed", "cancelled", "refused"})


@dataclass
class View:
    """The console's knowledge. Units: now_ns monotonic; points (market ns, price)."""

    now_ns: int = 0
    rows: dict[str, Row] = field(default_factory=dict)
    epoch: int = 0
    waiting: str = "starting"
    history_waiting: str = ""
    schema: int | None = None
    world: str = ""
    profile: str = ""
    is_frozen: bool = False
    is_dirty: bool = True
    points: dict[str, deque[tuple[int, Decimal]]] = field(default_factory=dict)
    net_r: deque[float] = field(default_factory=lambda: deque(maxlen=DAY_R_MAX))
    steps: dict[str, list[StepRow]] = field(default_factory=dict)
    bars: dict[tuple[str, int], list[BarRow]] = field(default_factory=dict)
    events: dict[int, EventRow] = field(default_factory=dict)
    results: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    equity: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    spread: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    kept_orders: list[dict[str, Any]] = field(default_factory=list)
    _orders: tuple[Row | None, object, list[dict[str, Any]]] | None = None

    def take(self, rows: Mapping[str, Row | None]) -> bool:
        """Fold what was read; say whether a new epoch began, which calls for a full redraw."""
        newest = max((row.epoch for row in rows.values() if row is not None), default=self.epoch)
        began = newest > self.epoch and self.epoch > 0
        if began:
            self.rows.clear()
            self.points.clear()
            self.net_r.clear()
            self.steps.clear()
            self.bars.clear()
        self.epoch = max(self.epoch, newest)
        for name, row in rows.items():
            known = self.rows.get(name)
            if row is not None and (known is None or row.mono_ns >= known.mono_ns):
                self.rows[name] = row
        if rows.get("plans") is not None:
            self._collect()
        return began

    def keep_history(self, name: str, data: Any) -> None:
        """Keep what PostgreSQL told as a row, so that it has an age and grows stale."""
        self.rows[name] = Row(self.epoch, 0, self.now_ns, HISTORY_PERIOD_S, data)

    def data(self, name: str) -> Any:
        """Return the data of a row, None where there is none."""
        row = self.rows.get(name)
        return None if row is None else row.data

    def listing(self, name: str) -> list[dict[str, Any]]:
        """Return the data of a row that is a list of objects."""
        data = self.data(name)
        return [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []

    def fields(self, name: str) -> dict[str, Any]:
        """Return the data of a row that is one object."""
        data = self.data(name)
        return data if isinstance(data, dict) else {}

    def age_s(self, names: Sequence[str]) -> float | None:
        """Return the age of the oldest of these rows; None while one is missing."""
        rows = [self.rows.get(name) for name in names]
        if not rows or any(row is None for row in rows):
            return None
        return max(row.age_s(self.now_ns) for row in rows if row is not None)

    def is_stale(self, names: Sequence[str]) -> bool:
        """Say whether one of these rows is older than three periods, or of an older epoch."""
        known = [self.rows[name] for name in names if name in self.rows]
        return any(row.is_stale(self.now_ns) or row.epoch < self.epoch for row in known)

    def missing(self, names: Sequence[str]) -> str:
        """Return what these rows wait for; empty when all are there."""
        absent = [name for name in names if name not in self.rows]
        if not absent:
            return ""
        if absent[0] in HISTORY_ROWS:
            return f"waiting: {self.history_waiting or self.waiting or 'PostgreSQL'}"
        if self.waiting:
            return f"waiting: {self.waiting}"
        if "header" in self.rows:
            return f"waiting: the engine has not written {absent[0]} yet"
        store = self.history_waiting or f"PostgreSQL up, schema {self.schema or '?'}"
        return f"waiting: the engine · Redis up · {store}"

    @property
    def market_ns(self) -> int:
        """Market time as the header said it last, 0 while unknown."""
        return int(number(self.fields("header").get("market_ns")) or 0)

    @property
    def day(self) -> dict[str, Any]:
        """Return the figures of the day; empty while the engine does not know them yet."""
        day = self.fields("header").get("day")
        return day if isinstance(day, dict) else {}

    def plans(self, *, closed: bool = False) -> list[dict[str, Any]]:
        """Return plans that are not over; closed ones too where asked for."""
        return [plan for plan in self.listing("plans") if closed or plan.get("state") not in CLOSED]

    def plan(self, plan_id: str | None) -> dict[str, Any] | None:
        """Return one plan, None where it is not known."""
        return next((p for p in self.listing("plans") if p.get("plan_id") == plan_id), None)

    def orders(self) -> list[dict[str, Any]]:
        """Return the day's orders, oldest first: the engine's over those of the books."""
        row = self.rows.get("orders")
        if (
            self._orders is None
            or self._orders[0] is not row
            or self._orders[1] is not self.kept_orders
        ):
            orders = order_rows.merged(self.kept_orders, self.listing("orders"))
            self._orders = (row, self.kept_orders, orders)
        return self._orders[2]

    def position(self, account: str, symbol: str) -> dict[str, Any] | None:
        """Return the position of an account in a symbol, None where there is none."""
        for row in self.listing("positions"):
            if row.get("account") == account and row.get("symbol") == symbol:
                return row
        return None

    def _collect(self) -> None:
        for plan in self.listing("plans"):
            last, at_ns = number(plan.get("last_price")), plan.get("last_event_ns")
            symbol = str(plan.get("symbol"))
            if last is None or not isinstance(at_ns, int):
                continue
            if symbol not in self.points and len(self.points) >= SYMBOLS_MAX:
                del self.points[next(iter(self.points))]
            points = self.points.setdefault(symbol, deque(maxlen=POINTS_MAX))
            if points and at_ns - points[-1][0] > GAP_NS_MAX:
                points.clear()
            if not points or points[-1][0] < at_ns:
                points.append((at_ns, last))
        net_r = number(self.day.get("net_r"))
        if net_r is not None:
            self.net_r.append(float(net_r))
