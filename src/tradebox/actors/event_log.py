"""Writes what happened to the log: one line per event, keyed by plan, order, child and epoch.

Rules of this file:
- the event's class is the line's name in snake case, its fields are the line's fields;
- prices and rows for the console are no events and are not logged.
"""

import re
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from typing import Any

from loguru import logger

from tradebox.domain.events import (
    AccountChanged,
    PlanChanged,
    PlanStepTaken,
    PositionChanged,
    PriceAgeChanged,
    TickRefused,
)
from tradebox.supervision.actor import Actor, Context
from tradebox.supervision.events import ChildAbandoned, ChildExited, IntensityReached, Sink
from tradebox.supervision.mailbox import Overflow

QUIET = (
    AccountChanged,
    PlanChanged,
    PlanStepTaken,
    PositionChanged,
    PriceAgeChanged,
    TickRefused,
)
"""Chatter for the console, and steps: the plan runner logs those with all their fields."""
LOUD = (ChildAbandoned, IntensityReached)
WORD = re.compile(r"(?<!^)(?=[A-Z])")


class EventLog(Actor[object]):
    """Logs every event of the bus but the chatty ones."""

    mailbox_capacity = 4096
    overflow = Overflow.DROP_OLDEST

    def __init__(self) -> None:
        self._sink: Sink | None = None

    async def init(self, ctx: Context) -> None:
        """Subscribe."""
        self._sink = ctx.events.attach(object, ctx.ref.tell)

    async def handle(self, msg: object) -> None:
        """Log one event."""
        if isinstance(msg, QUIET):
            return
        name = WORD.sub("_", type(msg).__name__).lower()
        logger.bind(**plain_fields(msg)).log(level_of(msg), name)

    async def terminate(self, reason: object) -> None:
        """Unsubscribe."""
        del reason
        if self._sink is not None:
            self._sink.close()


def level_of(event: object) -> str:
    """Return the log level of an event."""
    severity = getattr(event, "severity", "")
    if severity == "critical" or isinstance(event, LOUD):
        return "ERROR"
    is_crash = isinstance(event, ChildExited) and not event.asked and not event.reason.expected
    return "WARNING" if severity == "warning" or is_crash else "INFO"


def plain_fields(event: object) -> dict[str, Any]:
    """Return an event's fields as plain values; `name` becomes `actor`."""
    if not is_dataclass(event) or isinstance(event, type):
        return {"detail": repr(event)}
    shown = {field.name: _plain(getattr(event, field.name)) for field in fields(event)}
    if "name" in shown:
        shown["actor"] = shown.pop("name")
    return shown


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        return str(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
