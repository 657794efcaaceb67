"""Prints one line per event where no console is shown.

Rules of this file:
- formatting is pure and total: every event it is subscribed to has one line;
- every line says SIMULATED in profile sim;
- lines leave through a callback that never blocks; what it drops is not this actor's business.
"""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import orjson

from tradebox.domain.events import (
    AlertRaised,
    FeedFailover,
    FillBooked,
    IntentDenied,
    LinkChanged,
    OrderChanged,
    PlanStepTaken,
)
from tradebox.supervision.actor import Actor, Context
from tradebox.supervision.events import ChildExited, Sink
from tradebox.supervision.mailbox import Overflow

SHOWN = (
    AlertRaised,
    ChildExited,
    FeedFailover,
    FillBooked,
    IntentDenied,
    LinkChanged,
    OrderChanged,
    PlanStepTaken,
)


class Printer(Actor[object]):
    """Subscribes to what happens and prints it, one line each."""

    mailbox_capacity = 2048
    overflow = Overflow.DROP_OLDEST

    def __init__(self, print_line: Callable[[str], None], *, as_json: bool, world: str) -> None:
        self._print_line = print_line
        self._as_json = as_json
        self._world = world
        self._sink: Sink | None = None

    async def init(self, ctx: Context) -> None:
        """Subscribe."""
        self._sink = ctx.events.attach(SHOWN, ctx.ref.tell)

    async def handle(self, msg: object) -> None:
        """Print one event."""
        if isinstance(msg, ChildExited) and msg.asked:
            return
        show = json_line if self._as_json else text_line
        self._print_line(show(msg, self._world))

    async def terminate(self, reason: object) -> None:
        """Unsubscribe."""
        del reason
        if self._sink is not None:
            self._sink.close()


def json_line(event: object, world: str) -> str:
    """Return the event as one JSON object."""
    shown: dict[str, Any] = {"event": type(event).__name__}
    if world:
        shown["world"] = world
    if is_dataclass(event) and not isinstance(event, type):
        # No copy is made of what it holds: an error may not be copied.
        shown.update((one.name, getattr(event, one.name)) for one in fields(event))
    if "at_ns" in shown:
        shown["at"] = iso_utc(shown.pop("at_ns"))
    return orjson.dumps(shown, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode()


def text_line(event: object, world: str) -> str:
    """Return the event as one line for a person."""
    at_ns = getattr(event, "at_ns", 0)
    at = iso_utc(at_ns)[11:19] if at_ns else "--:--:--"
    prefix = f"{world} " if world else ""
    return f"{prefix}{at}Z {_words(event)}"


def _words(event: object) -> str:
    match event:
        case PlanStepTaken(account=account, plan_id=plan, symbol=symbol, kind=kind) as step:
            return (
                f"{account} ◆ {kind:<10} {symbol:<5} @ {step.price} ({step.source})"
                f" {step.reason} [{plan}]"
            )
        case FillBooked() as fill:
            return (
                f"{fill.account} ✓ fill       {fill.symbol:<5} {fill.side} {fill.quantity}"
                f" @ {fill.price} ({fill.role}) [{fill.plan_id}]"
            )
        case OrderChanged() as order:
            price = order.limit_price if order.limit_price is not None else order.stop_price
            at = f" @ {price}" if price is not None else ""
            return (
                f"{order.account} · order      {order.symbol:<5} {order.role} {order.side}"
                f" {order.quantity}{at} {order.state} [{order.order_ref}]"
            )
        case LinkChanged() as link:
            return f"{link.account} · link       {link.state} {link.gateway} {link.reason}"
        case IntentDenied() as denied:
            return (
                f"{denied.account} ✗ denied     {denied.symbol:<5} {denied.check}:"
                f" {denied.observed} against {denied.limit} [{denied.plan_id}]"
            )
        case FeedFailover() as moved:
            return f"feed  ↻ failover   {moved.old} → {moved.new} epoch {moved.epoch} {moved.cause}"
        case ChildExited() as exited:
            return f"tree  ↻ exit       {exited.name} {exited.reason}"
        case AlertRaised() as alert:
            return f"alert ! {alert.severity:<10} {alert.kind}: {alert.text}"
        case _:
            return repr(event)


def iso_utc(at_ns: int) -> str:
    """Return ns UTC as ISO 8601 with milliseconds and Z."""
    whole_s, rest_ns = divmod(at_ns, 1_000_000_000)
    at = datetime.fromtimestamp(whole_s, UTC).replace(microsecond=rest_ns // 1000)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    return repr(value)
