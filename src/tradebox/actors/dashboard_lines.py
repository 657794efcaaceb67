"""The last lines of what happened, for the console's journal: kept as events, worded when asked.

Rules of this file:
- taking an event costs one append; words are made once, when the lines are next asked for;
- bounded: the oldest line leaves first; lines have numbers that only grow.
"""

from collections import deque
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, Final

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
    PriceAgeChanged,
    PriceSourceChanged,
    ProviderChanged,
    StoreChanged,
    StreamChanged,
    TickRefused,
)
from tradebox.supervision.events import ChildExited, IntensityReached

LINES_MAX: Final = 200
TEXT_CHARS_MAX: Final = 200
QUIET: Final = (AccountChanged, PlanChanged, PositionChanged, PriceAgeChanged, TickRefused)
"""Figures, not happenings: they have rows of their own."""
KINDS: Final[dict[type, str]] = {
    AlertRaised: "alert",
    ChildExited: "restart",
    FeedFailover: "failover",
    FillBooked: "fill",
    IntensityReached: "gave_up",
    IntentDenied: "denied",
    LinkChanged: "link",
    OrderChanged: "order",
    PlanStepTaken: "step",
    PriceSourceChanged: "source",
    ProviderChanged: "provider",
    StoreChanged: "store",
    StreamChanged: "stream",
}
OWN_COLUMN: Final = frozenset({"account", "account_id", "symbol", "plan_id", "order_ref", "at_ns",
                               "name", "at_s", "child_id", "exec_id"})  # fmt: skip


class Lines:
    """The last LINES_MAX events as rows. Units: at_ns market time."""

    def __init__(self) -> None:
        self._number = 0
        self._kept: deque[tuple[int, int, object]] = deque(maxlen=LINES_MAX)
        self._worded: dict[int, dict[str, Any]] = {}

    def take(self, event: object, now_ns: int) -> None:
        """Keep an event, if it is one that happened."""
        if isinstance(event, QUIET) or (isinstance(event, ChildExited) and event.asked):
            return
        self._number += 1
        self._kept.append((self._number, now_ns, event))

    def rows(self) -> list[dict[str, Any]]:
        """Return the lines, oldest first."""
        known = self._worded
        self._worded = {
            number: known.get(number) or _row(number, now_ns, event)
            for number, now_ns, event in self._kept
        }
        return list(self._worded.values())


def _row(number: int, now_ns: int, event: object) -> dict[str, Any]:
    return {
        "number": number,
        "at_ns": getattr(event, "at_ns", 0) or now_ns,
        "kind": KINDS.get(type(event), type(event).__name__),
        "account": _plain(getattr(event, "account", None)),
        "symbol": getattr(event, "symbol", None),
        "plan_id": getattr(event, "plan_id", None),
        "order_ref": getattr(event, "order_ref", None),
        "actor": getattr(event, "name", None),
        "text": _text(event)[:TEXT_CHARS_MAX],
    }


def _text(event: object) -> str:
    match event:
        case OrderChanged():
            at = event.stop_price if event.stop_price is not None else event.limit_price
            price = "" if at is None else f" @ {at}"
            size = f"{event.side.value} {event.filled}/{event.quantity}{price}"
            return f"{event.role.value} {size} {event.state.value}"
        case FillBooked():
            return f"{event.role.value} {event.side.value} {event.quantity} @ {event.price}"
        case PlanStepTaken():
            return f"{event.kind} @ {event.price} ({event.source}): {event.reason}"
        case ChildExited():
            return f"{event.name}: {event.reason}"
        case AlertRaised():
            return f"{event.severity} {event.kind}: {event.text}"
        case _:
            return _told(event)


def _told(event: object) -> str:
    """Return the fields of an event that has no words of its own."""
    if not is_dataclass(event):
        return repr(event)
    told = ((field.name, getattr(event, field.name)) for field in fields(event))
    return " ".join(f"{name}={_plain(value)}" for name, value in told if name not in OWN_COLUMN)


def _plain(value: object) -> Any:
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Decimal) else value
