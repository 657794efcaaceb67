"""The plan of a restart, as pure functions over the children's order and types.

Rules of this file:
1. Nothing here runs anything: views in, plans out.
2. Stops go in reverse start order, starts in start order.
3. A temporary child in a group restart is forgotten, never revived; a stopped one is revived.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from tradebox.supervision.reasons import ExitReason
from tradebox.supervision.spec import AutoShutdown, RestartScope, RestartType


@dataclass(frozen=True, slots=True)
class ChildView:
    """What a plan needs to know of one child."""

    id: str
    restart: RestartType
    running: bool
    significant: bool = False


class AfterExit(enum.Enum):
    """What follows the end of a child."""

    RESTART = "restart"
    KEEP = "keep"
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Plan:
    """Stop these, forget these, start these, each in the order given.

    Holds: stop is in reverse start order, start in start order; no temporary child in start;
           the failed child is first in start, or all are.
    """

    stop: tuple[str, ...]
    forget: tuple[str, ...]
    start: tuple[str, ...]


def after_exit(restart: RestartType, reason: ExitReason) -> AfterExit:
    """Return what the restart type asks for after an end that nobody ordered."""
    if restart is RestartType.TEMPORARY:
        return AfterExit.FORGET
    if restart is RestartType.PERMANENT or not reason.expected:
        return AfterExit.RESTART
    return AfterExit.KEEP


def plan_restart(scope: RestartScope, children: Sequence[ChildView], failed_id: str) -> Plan:
    """Return what a restart of `failed_id` does to its siblings.

    `children` stand in start order; the failed one is among them and may still be running
    (a retry under one_for_all stops those that had come back).
    """
    ids = [child.id for child in children]
    at = ids.index(failed_id)
    first = 0 if scope is RestartScope.ONE_FOR_ALL else at
    last = at + 1 if scope is RestartScope.ONE_FOR_ONE else len(children)
    covered = children[first:last]
    return Plan(
        stop=tuple(child.id for child in reversed(covered) if child.running),
        forget=tuple(
            child.id
            for child in covered
            if child.restart is RestartType.TEMPORARY and child.id != failed_id
        ),
        start=tuple(
            child.id
            for child in covered
            if child.restart is not RestartType.TEMPORARY or child.id == failed_id
        ),
    )


def ends_supervisor(mode: AutoShutdown, ended: ChildView, others: Sequence[ChildView]) -> bool:
    """Return whether the end of `ended`, by itself and for good, ends the supervisor.

    `others` are the remaining children; under ALL_SIGNIFICANT none of the significant ones may
    still run.
    """
    if not ended.significant or mode is AutoShutdown.NEVER:
        return False
    if mode is AutoShutdown.ANY_SIGNIFICANT:
        return True
    return not any(child.significant and child.running for child in others)
