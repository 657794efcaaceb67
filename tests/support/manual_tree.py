"""Means for tests: a tree on a manual clock, and a loop with a seeded scheduling order.

Rules of this file:
1. A test moves time by itself; nothing here waits for real time.
2. The same seed gives the same order of ready tasks; another seed another legal order.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tradebox.supervision.clock import ManualClock, settle, yield_turn
from tradebox.supervision.events import ActorEvent
from tradebox.supervision.kernel import Verdict, always_restart
from tradebox.supervision.reasons import ExitReason
from tradebox.supervision.ref import ActorRef
from tradebox.supervision.requests import SupervisorHandle
from tradebox.supervision.spec import ChildSpec
from tradebox.supervision.tree import Runtime

T = TypeVar("T")


@dataclass
class Harness:
    """A tree under test: its clock, its runtime, and every event so far."""

    clock: ManualClock
    runtime: Runtime
    events: list[ActorEvent] = field(default_factory=list)

    @property
    def root(self) -> SupervisorHandle:
        """The root supervisor, to be asked."""
        return SupervisorHandle(self.runtime.root)

    def ref(self, name: str) -> ActorRef[Any]:
        """Return the live actor of this name."""
        ref = self.runtime.registry.whereis(name)
        assert ref is not None, f"nobody is called {name}"
        return ref

    def of(self, kind: type[ActorEvent]) -> list[Any]:
        """Return the events of this kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    async def run(self, seconds: float = 0.0) -> None:
        """Let `seconds` pass on the clock, and everything that follows happen."""
        await self.clock.run_for(seconds)

    async def within(self, awaitable: Awaitable[T], seconds: float = 60.0) -> T:
        """Await something that needs the clock to move, for at most `seconds` of its time."""
        task = asyncio.ensure_future(awaitable)
        await settle()
        until = self.clock.now() + seconds
        while not task.done():
            due = self.clock.next_due()
            if due is None or due > until:
                break
            await self.clock.run_until(due)
        if not task.done():
            task.cancel()
            await settle()
            raise AssertionError(f"not done within {seconds} s of the clock")
        return task.result()


@asynccontextmanager
async def manual_tree(
    root: ChildSpec,
    *,
    seed: int = 0,
    rule: Callable[[ExitReason], Verdict] = always_restart,
    zombies_max: int = 1_000,
) -> AsyncIterator[Harness]:
    """Run a tree on a manual clock for the length of the block, then stop it and look for rests."""
    clock = ManualClock()
    runtime = Runtime(clock, seed=seed, rule=rule, zombies_max=zombies_max)
    harness = Harness(clock, runtime)
    runtime.events.attach(ActorEvent, harness.events.append)
    await harness.within(runtime.start(root))
    try:
        yield harness
    finally:
        if runtime.root.alive:
            await harness.within(runtime.stop(), 3_600.0)
        await settle()
        assert not runtime.kernel.live_cells(), "an actor outlived its tree"


class SeededLoop(asyncio.SelectorEventLoop):
    """A loop that runs what is ready in an order drawn from a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._order = random.Random(seed)

    def _run_once(self) -> None:
        ready: Any = getattr(self, "_ready")  # noqa: B009 - private to the stock loop
        if len(ready) > 1:
            handles = list(ready)
            self._order.shuffle(handles)
            ready.clear()
            ready.extend(handles)
        super()._run_once()  # type: ignore[misc]


def run_seeded(seed: int, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `main()` on a loop whose scheduling order comes from `seed`."""
    with asyncio.Runner(loop_factory=lambda: SeededLoop(seed)) as runner:
        return runner.run(main())


async def until(condition: Callable[[], bool], turns: int = 10_000) -> None:
    """Yield until the condition holds; for waits that need no time to pass."""
    for _ in range(turns):
        if condition():
            return
        await yield_turn()
    raise AssertionError("the condition never held")
