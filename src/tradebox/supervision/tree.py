"""A whole tree: run it, stop it in order, show it as rows.

Rules of this file:
1. Cancelling `run_tree` stops the tree in order; cancelling it again kills it.
2. Too many zombies end the tree: a fresh process is the only cure, and its launcher's business.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tradebox.supervision.cell import Cell, CellState
from tradebox.supervision.checkin import SlotBoard
from tradebox.supervision.clock import Clock
from tradebox.supervision.events import EventBus
from tradebox.supervision.kernel import Kernel, Verdict, always_restart
from tradebox.supervision.reasons import ExitReason, Hung, Shutdown
from tradebox.supervision.ref import ActorRef
from tradebox.supervision.registry import Registry
from tradebox.supervision.spec import ChildSpec, ChildType
from tradebox.supervision.supervisor import Child, Supervisor

ZOMBIES_MAX = 3


@dataclass(frozen=True, slots=True)
class TreeRow:
    """One child as `status` and `tree` show it.

    Units: uptime_s and checkin_age_s in seconds, None without a process; `intensity` is
           "restarts counted / allowed in seconds", for supervisors.
    """

    name: str
    type: str
    state: str
    uptime_s: float | None
    restarts: int
    intensity: str | None
    last_reason: str | None
    mailbox_depth: int
    checkin_age_s: float | None
    epoch: int | None
    incarnation: int | None
    restart_type: str | None = None


class Runtime:
    """One tree on the running loop: kernel, names, events, root."""

    def __init__(
        self,
        clock: Clock,
        events: EventBus | None = None,
        registry: Registry | None = None,
        *,
        slots: SlotBoard | None = None,
        seed: int | None = None,
        rule: Callable[[ExitReason], Verdict] = always_restart,
        zombies_max: int = ZOMBIES_MAX,
    ) -> None:
        self.clock = clock
        self.events = EventBus() if events is None else events
        self.registry = Registry() if registry is None else registry
        self.kernel = Kernel(clock, self.events, self.registry, slots=slots, seed=seed, rule=rule)
        self.kernel.on_zombie = self._on_zombie
        self._zombies_max = zombies_max
        self._given_up: ExitReason | None = None
        self._root: Cell | None = None
        self._stop_asked = False

    @property
    def root(self) -> ActorRef[object]:
        """The root's reference; the tree has been started."""
        assert self._root is not None, "the tree has not been started"
        return ActorRef(self._root)

    async def start(self, root: ChildSpec) -> ActorRef[object]:
        """Start the root and return when its init has.

        Raises: StartFailed when it does not start, or ignores.
        """
        assert self._root is None, "a runtime runs one tree"
        cell = await self.kernel.start(root, None)
        assert cell is not None, "a root does not ignore"
        self._root = cell
        if self._stop_asked:
            self.request_stop()
        return ActorRef(cell)

    def request_stop(self, reason: ExitReason | None = None) -> None:
        """Ask the tree to end in order; returns at once, from a signal handler too."""
        self._stop_asked = True
        if self._root is not None:
            self.kernel.request_stop(self._root, reason)

    def _on_zombie(self, zombies: int) -> None:
        if zombies >= self._zombies_max and self._given_up is None:
            self._given_up = Hung("zombies")
            self.request_stop(Shutdown("zombies"))

    async def wait(self) -> ExitReason:
        """Wait for the tree's end; a cancellation stops it in order first, a second one kills it.

        Returns Hung("zombies") when too many abandoned tasks ended the tree.
        """
        assert self._root is not None, "the tree has not been started"
        try:
            reason = await self.kernel.join(self._root)
        except asyncio.CancelledError:
            self.request_stop()
            try:
                await self.kernel.join(self._root)
            except asyncio.CancelledError:
                self.kernel.kill(self._root)
                with contextlib.suppress(asyncio.CancelledError):
                    await self.kernel.join(self._root)
            raise
        return reason if self._given_up is None else self._given_up

    async def stop(self, reason: ExitReason | None = None) -> ExitReason:
        """Stop the tree in order and return its reason."""
        self.request_stop(reason)
        return await self.wait()

    def mailbox_figures(self) -> dict[str, int]:
        """Return what waits in the mailboxes of the living, and what they dropped and refused."""
        boxes = [cell.mailbox for cell in self.kernel.live_cells()]
        return {
            "waiting": sum(map(len, boxes)),
            "dropped": sum(box.dropped for box in boxes),
            "refused": sum(box.refused for box in boxes),
        }

    def rows(self) -> list[TreeRow]:
        """Return the tree as rows, root first, children in start order; none while it starts."""
        return [] if self._root is None else tree_rows(self.root)


async def run_tree(
    root: ChildSpec,
    *,
    clock: Clock,
    events: EventBus | None = None,
    registry: Registry | None = None,
    slots: SlotBoard | None = None,
    rule: Callable[[ExitReason], Verdict] = always_restart,
    on_ready: Callable[[Runtime], None] | None = None,
) -> ExitReason:
    """Run a tree until it ends, and say why it ended; `on_ready` runs once the root has started.

    Raises: StartFailed when the root does not start.
    """
    runtime = Runtime(clock, events, registry, slots=slots, rule=rule)
    await runtime.start(root)
    if on_ready is not None:
        on_ready(runtime)
    return await runtime.wait()


def tree_rows(root: ActorRef[object]) -> list[TreeRow]:
    """Return the tree below and with `root` as rows, in start order."""
    cell = root._cell  # noqa: SLF001 - same package
    return list(_rows(cell, None))


def _rows(cell: Cell, child: Child | None) -> Iterator[TreeRow]:
    supervisor = cell.actor if isinstance(cell.actor, Supervisor) else None
    now = cell.clock.now()
    yield TreeRow(
        name=cell.name,
        type=(ChildType.WORKER if supervisor is None else ChildType.SUPERVISOR).value,
        state=cell.state.value,
        uptime_s=now - cell.started_s if cell.alive else None,
        restarts=0 if child is None else child.restarts,
        intensity=None if supervisor is None else _intensity(supervisor, now),
        last_reason=None if child is None or child.last_reason is None else str(child.last_reason),
        mailbox_depth=len(cell.mailbox),
        checkin_age_s=now - cell.checkin_s if cell.state is CellState.RUNNING else None,
        epoch=cell.actor.epoch,
        incarnation=cell.incarnation,
        restart_type=None if child is None else child.spec.restart.value,
    )
    if supervisor is None:
        return
    for each in supervisor.children.values():
        if each.cell is not None:
            yield from _rows(each.cell, each)
        else:
            yield _row_without_process(cell, each)


def _intensity(supervisor: Supervisor, now: float) -> str:
    flags = supervisor.flags
    return f"{supervisor.restarts_counted(now)}/{flags.intensity} in {flags.period:g}s"


def _row_without_process(parent: Cell, child: Child) -> TreeRow:
    prefix = "" if parent.parent is None else f"{parent.name}."
    return TreeRow(
        name=f"{prefix}{child.spec.id}",
        type=child.spec.type.value,
        state=child.status.value,
        uptime_s=None,
        restarts=child.restarts,
        intensity=None,
        last_reason=None if child.last_reason is None else str(child.last_reason),
        mailbox_depth=0,
        checkin_age_s=None,
        epoch=None,
        incarnation=None,
        restart_type=child.spec.restart.value,
    )
