"""The actor runtime alone: a crash to its replacement, tells and asks a second.

Rules of this file:
- real supervisor, real mailbox, monotonic clock, uvloop; nothing but the actors is in the process;
- floors of the same run: a bare asyncio queue, and a bare future set and awaited.
"""

import asyncio
import time
from typing import Any

import uvloop

from bench.machine import load_average, ratio, spread
from tradebox.supervision.actor import Actor, Context, ReplyTo
from tradebox.supervision.clock import MonotonicClock
from tradebox.supervision.spec import ChildSpec, ChildType, SupFlags
from tradebox.supervision.supervisor import Supervisor
from tradebox.supervision.tree import Runtime

CRASHES = 1000
TELLS = 100_000
ASKS = 20_000
BATCH = 500
NAME = "target"


class Target(Actor[object]):
    """Counts what it is told, answers what it is asked, and falls over when told to."""

    mailbox_capacity = 4096

    def __init__(self, marks: "Marks") -> None:
        self._marks = marks

    async def init(self, ctx: Context) -> None:
        del ctx
        self._marks.started_ns = time.perf_counter_ns()
        self._marks.starts += 1

    async def handle(self, msg: object) -> None:
        self._marks.handled += 1
        if msg == "crash":
            self._marks.crashed_ns = time.perf_counter_ns()
            raise RuntimeError("told to")

    async def handle_call(self, req: object, reply_to: ReplyTo) -> object:
        del reply_to
        return req


class Marks:
    """What survives a target."""

    def __init__(self) -> None:
        self.started_ns = self.crashed_ns = self.starts = self.handled = 0


async def _crashes(runtime: Runtime, marks: Marks) -> list[float]:
    found = []
    for _ in range(CRASHES):
        starts = marks.starts
        ref = runtime.registry.whereis(NAME)
        assert ref is not None
        ref.tell("crash")
        while marks.starts == starts or runtime.registry.whereis(NAME) is None:  # noqa: ASYNC110 - benches poll
            await asyncio.sleep(0)
        found.append((marks.started_ns - marks.crashed_ns) / 1000)
        await asyncio.sleep(0)
    return found


async def _tells_per_s(runtime: Runtime, marks: Marks) -> float:
    ref = runtime.registry.whereis(NAME)
    assert ref is not None
    before, began_s = marks.handled, time.perf_counter()
    for _ in range(TELLS // BATCH):
        for _ in range(BATCH):
            ref.tell(1)
        while marks.handled - before < BATCH:  # noqa: ASYNC110 - benches poll
            await asyncio.sleep(0)
        before = marks.handled
    return TELLS / (time.perf_counter() - began_s)


async def _asks_per_s(runtime: Runtime) -> float:
    ref = runtime.registry.whereis(NAME)
    assert ref is not None
    began_s = time.perf_counter()
    for _ in range(ASKS):
        await ref.ask(1)
    return ASKS / (time.perf_counter() - began_s)


async def _queue_per_s() -> float:
    """The floor of a tell: a bounded asyncio queue and a task that reads it."""
    queue: asyncio.Queue[int] = asyncio.Queue(4096)

    async def read() -> None:
        for _ in range(TELLS):
            await queue.get()

    reader = asyncio.create_task(read())
    began_s = time.perf_counter()
    for _ in range(TELLS // BATCH):
        for _ in range(BATCH):
            queue.put_nowait(1)
        while not queue.empty():  # noqa: ASYNC110 - benches poll
            await asyncio.sleep(0)
    await reader
    return TELLS / (time.perf_counter() - began_s)


async def _futures_per_s() -> float:
    """The floor of an ask: another task sets a future that one awaits."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[asyncio.Future[int]] = asyncio.Queue(1)

    async def answer() -> None:
        for _ in range(ASKS):
            (await queue.get()).set_result(1)

    answering = asyncio.create_task(answer())
    began_s = time.perf_counter()
    for _ in range(ASKS):
        future: asyncio.Future[int] = loop.create_future()
        queue.put_nowait(future)
        await future
    await answering
    return ASKS / (time.perf_counter() - began_s)


async def _task_turn_us() -> list[float]:
    """The floor of a replacement: a task that is made and has run once."""
    found = []
    for _ in range(CRASHES):
        began_ns = time.perf_counter_ns()
        ended_ns = await asyncio.create_task(_now_ns())
        found.append((ended_ns - began_ns) / 1000)
    return found


async def _now_ns() -> int:
    return time.perf_counter_ns()


async def _measure() -> dict[str, Any]:
    marks = Marks()
    spec = ChildSpec(id=NAME, start=lambda: Target(marks))
    flags = SupFlags(intensity=CRASHES * 2, period=3600.0)
    root = ChildSpec(id="root", start=lambda: Supervisor(flags, [spec]), type=ChildType.SUPERVISOR)
    runtime = Runtime(MonotonicClock())
    await runtime.start(root)
    try:
        crashes = spread(await _crashes(runtime, marks), 1)
        tells_per_s = await _tells_per_s(runtime, marks)
        asks_per_s = await _asks_per_s(runtime)
    finally:
        await runtime.stop()
    queue_per_s, futures_per_s = await _queue_per_s(), await _futures_per_s()
    task_turn = spread(await _task_turn_us(), 1)
    return {
        "load_during": load_average(),
        "crash_to_replacement_us": crashes,
        "tells_per_s": round(tells_per_s),
        "asks_per_s": round(asks_per_s),
        "floor": {
            "task_turn_us": task_turn,
            "queue_items_per_s": round(queue_per_s),
            "futures_per_s": round(futures_per_s),
        },
        "ratio_crash_to_task_turn": ratio(crashes["p50"], task_turn["p50"]),
        "ratio_queue_to_tell": ratio(queue_per_s, tells_per_s),
        "ratio_future_to_ask": ratio(futures_per_s, asks_per_s),
    }


def run() -> dict[str, Any]:
    """Measure once and return the figures. Units stand in the names."""
    return uvloop.run(_measure())
