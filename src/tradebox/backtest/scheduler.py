"""Works through the queue of a run: admits by memory, watches, retries, and stops in order.

Rules of this file:
- nothing is done until it is stored; what is not stored is queued again, by us or by a resume;
- a batch that broke its worker is run once more, alone; then the stock that broke it is recorded
  as failed and the rest goes on: one stock never ends a run;
- a task begins when the tree has room for it; one that can never fit is split, then refused;
- want of PostgreSQL, of memory or of cores is waited for, and said.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass, field
from typing import Final, Literal

from tradebox.backtest.memory import SAFE_SHARE, Budget, Grant, SizeModel, shown_size
from tradebox.backtest.pool import Pool, Slot
from tradebox.backtest.progress import Progress
from tradebox.backtest.records import BatchTask, RunBrief
from tradebox.backtest.scheduler_pressure import Pressure
from tradebox.backtest.scheduler_queue import Job, TaskQueue
from tradebox.backtest.scheduler_store import Desk, Saves
from tradebox.backtest.worker import Outcome
from tradebox.supervision.clock import Clock

TICK_S: Final = 0.2
PENDING_PER_WORKER: Final = 2
STOP_S_MAX: Final = 10.0
"""How long tasks that run may go on after a stop; then they are ended and queued again."""

PRESSURE_TICK_S: Final = 1.0
DUTY_REST_S: Final = 9.0
"""Under lasting pressure: rest so long, then work a tick, so that a run still gets on."""

START_NS_MAX: Final = 60_000_000_000
"""How much longer a worker that has to start may be silent."""

STARTS_MAX: Final = 8
"""So many tasks in a row that broke before their first stock: it is not the stocks."""

OVER_SHARE: Final = 0.98
"""Of the budget: beyond it the task that took most beyond its grant is ended."""

BROKEN: Final = (BrokenExecutor, MemoryError, OSError, EOFError)
OVER_BUDGET: Final = "ended: the tree came too near its memory budget"

State = Literal["done", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may take. Units: seconds and bytes, by name."""

    stock_s_max: float
    store_wait_s_max: float
    worker_tasks_max: int
    worker_private_max: int


@dataclass(slots=True)
class Running:
    """A batch that is being worked on. verdict: why we ended it, if we did."""

    job: Job
    slot: Slot
    grant: Grant
    future: "Future[Outcome]"
    began_ns: int
    verdict: str = ""


@dataclass(slots=True)
class Figures:
    """What a run measured of itself. Units by name; stage_seconds: of all workers together."""

    stage_seconds: dict[str, float] = field(default_factory=dict)
    busy_s: float = 0.0
    retries: int = 0
    recycled: int = 0
    private_bytes_max: int = 0
    task_bytes_max: int = 0
    throttled_s: float = 0.0


@dataclass(slots=True)
class Services:
    """What a scheduler works with. lengths: bars of each stock."""

    pool: Pool
    queue: TaskQueue
    store: Saves
    budget: Budget
    progress: Progress
    lengths: Mapping[str, int]
    clock: Clock
    look_at_live: Callable[[], Pressure] = Pressure
    revive_store: Callable[[], Awaitable[None]] | None = None
    on_progress: Callable[[Progress], None] = lambda _: None


class Scheduler:
    """One run at work. `run` ends when every batch is stored, or the run was stopped."""

    def __init__(self, brief: RunBrief, services: Services, limits: Limits) -> None:
        self._brief = brief
        self._with = services
        self._limits = limits
        self._slots = services.pool.slots
        self._alone: deque[Job] = deque()
        self._running: dict[int, Running] = {}
        self._wake = asyncio.Event()
        self._stop_at_s: float | None = None
        self._paused_at_s: float | None = None
        self._resumed_ns = 0
        self._waits: dict[str, str] = {}
        self._broken_starts = 0
        self.error = ""
        self._done_before = services.progress.done
        self.figures = Figures()
        self.model = SizeModel()
        self.desk = Desk(
            brief.run_id,
            brief.data_hash,
            services.queue,
            services.store,
            services.clock,
            ahead=len(self._slots),
            wait_s_max=limits.store_wait_s_max,
            revive=services.revive_store,
            on_change=self._wake.set,
        )

    def stop(self) -> None:
        """Begin no more; asked again, end what runs now."""
        now_s = time.monotonic()
        self._stop_at_s = now_s + STOP_S_MAX if self._stop_at_s is None else now_s
        self.desk.is_closing = True
        self._wake.set()

    @property
    def is_stopping(self) -> bool:
        """Whether a stop was asked for."""
        return self._stop_at_s is not None

    async def run(self) -> State:
        """Work until nothing is left, the run is stopped, or the store is given up."""
        beside = [asyncio.create_task(self.desk.work()), asyncio.create_task(self._watch_live())]
        try:
            while not self._is_over():
                self._admit()
                self._tell()
                await self._until_something()
                for running in [each for each in self._running.values() if each.future.done()]:
                    self._take(running)
                self._watch()
                _raise_faults(beside)
        finally:
            for one in beside:
                one.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
            self._pause(paused=False)
        self._tell()
        self.error = self.error or self.desk.error
        if self.error:
            return "failed"
        is_all = self._with.progress.done >= self._with.progress.total
        return "done" if is_all else "stopped"

    # --- the turn ---

    def _is_over(self) -> bool:
        if self.desk.error:
            return True
        if self._running:
            return False
        if self.error:
            return not self.desk.pending
        if self.desk.pending:  # a store that is away does not hold up a stop for ever
            return self._stop_at_s is not None and time.monotonic() >= self._stop_at_s
        return self.is_stopping or (
            self.desk.is_drained and not self.desk.ready and not self._alone
        )

    async def _until_something(self) -> None:
        try:
            async with asyncio.timeout(TICK_S):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    def _admit(self) -> None:
        """Begin what fits: a batch that must be alone waits for, and keeps, an empty pool."""
        self._waits.pop("memory", None)
        if self.is_stopping or self.error or self._paused_at_s or self._is_backed_up():
            return
        while not any(each.job.attempts > 0 for each in self._running.values()):
            source = self._alone or self.desk.ready
            slot = self._free_slot()
            if not source or slot is None or (source is self._alone and self._running):
                break
            if not self._begin(source[0], slot):
                break
            source.popleft()
        self.desk.nudge()

    def _is_backed_up(self) -> bool:
        return self.desk.pending > PENDING_PER_WORKER * len(self._slots)

    def _free_slot(self) -> Slot | None:
        used = {id(each.slot) for each in self._running.values()}
        return next((slot for slot in self._slots if id(slot) not in used), None)

    def _begin(self, job: Job, slot: Slot) -> bool:
        """Begin a job if there is room; True also where it was taken out of the way."""
        budget = self._with.budget
        budget.glance()
        room = budget.room_bytes(each.grant for each in self._running.values())
        room -= 0 if slot.pid else slot.fresh_bytes
        need = self.model.predicted_bytes(self._bars(job))
        if need > room:
            return self._make_room(job, need, room)
        free = 1 if job.attempts else len(self._slots) - len(self._running)
        grant = Grant(slot.pid, max(need, room // free), budget.held(slot.pid).pss)
        task = BatchTask(self._brief, job.batch_no, job.symbols)
        try:
            future = slot.submit(task, grant.bytes)
        except BROKEN as error:  # it died while it had nothing to do, or cannot be started
            self._recycle(slot)
            self._note_broken_start(str(error))
            return False
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: _wake_from_thread(loop, self._wake))
        self._running[job.batch_no] = Running(job, slot, grant, future, time.monotonic_ns())
        return True

    def _bars(self, job: Job) -> list[int]:
        return [self._with.lengths.get(symbol, 0) for symbol in job.symbols]

    def _make_room(self, job: Job, need: int, room: int) -> bool:
        """Give back what idle workers hold; split or refuse what could never fit."""
        if self._running:
            return False
        for slot in self._slots:
            if slot.pid:
                self._recycle(slot)
        budget = self._with.budget
        ever = int(budget.limit_bytes * SAFE_SHARE) - budget.look() - self._slots[0].fresh_bytes
        if need <= ever:
            self._waits["memory"] = (
                f"memory: a task needs {shown_size(need)},"
                f" the machine has room for {shown_size(max(0, room))}"
            )
            return False
        if len(job.symbols) > 1:
            half = len(job.symbols) // 2
            self.desk.split(job, (job.symbols[:half], job.symbols[half:]))
        else:
            self.desk.fail(
                job,
                f"needs about {shown_size(need)} of memory; the budget of"
                f" {shown_size(budget.limit_bytes)} leaves {shown_size(max(0, ever))}",
            )
        return True

    # --- what came back ---

    def _take(self, running: Running) -> None:
        """Take a finished future: save its result, or decide what its failure means."""
        del self._running[running.job.batch_no]
        self.figures.busy_s += (time.monotonic_ns() - running.began_ns) / 1e9
        try:
            outcome = running.future.result()
        except BROKEN as error:
            index = running.slot.at().index
            self._recycle(running.slot)
            said = running.verdict or f"{type(error).__name__}: {error}"
            if index < 0 and not running.verdict:
                self._note_broken_start(said)
                if running.slot.fresh_bytes:  # it was seen not to have begun: no stock's fault
                    self.desk.ready.appendleft(running.job)
                    return
            self._retry(running.job, index, said)
            return
        self._broken_starts = 0
        self._learn(running, outcome)
        self.desk.save(outcome.batch)

    def _learn(self, running: Running, outcome: Outcome) -> None:
        figures, batch, slot = self.figures, outcome.batch, running.slot
        for name, seconds in batch.stage_seconds.items():
            figures.stage_seconds[name] = figures.stage_seconds.get(name, 0.0) + seconds
        figures.private_bytes_max = max(figures.private_bytes_max, outcome.private_bytes)
        figures.task_bytes_max = max(figures.task_bytes_max, batch.peak_bytes)
        self.model.learn(self._bars(running.job), batch.peak_bytes)
        if (
            slot.tasks >= self._limits.worker_tasks_max
            or outcome.private_bytes > self._limits.worker_private_max
        ):
            self._recycle(slot)

    def _recycle(self, slot: Slot) -> None:
        self.figures.recycled += slot.fresh_bytes > 0
        slot.recycle()

    def _note_broken_start(self, why: str) -> None:
        """End the run, to be resumed, where workers die whatever they are given."""
        self._broken_starts += 1
        if self._broken_starts >= STARTS_MAX:
            self.error = f"workers cannot be started or die at once: {why}"

    def _retry(self, job: Job, index: int, why: str) -> None:
        """Run a batch that broke once more, alone; then single out the stock that breaks it."""
        self.figures.retries += 1
        if self.is_stopping or self.error:
            return  # it is queued again with all that is not stored
        symbols, half = job.symbols, len(job.symbols) // 2
        broke_at = symbols[index] if 0 <= index < len(symbols) else ""
        if job.attempts == 0:
            self._alone.append(Job(job.batch_no, symbols, 1, broke_at))
        elif len(symbols) == 1:
            self.desk.fail(job, why)
        elif broke_at:
            rest = symbols[:index] + symbols[index + 1 :]

            def single_out(first: Job) -> None:
                if broke_at == job.broke_at:
                    self.desk.fail(first, why)
                else:
                    self._alone.append(Job(first.batch_no, first.symbols, 1, broke_at))

            self.desk.split(job, ((broke_at,), rest), single_out)
        else:
            self.desk.split(job, (symbols[:half], symbols[half:]))

    # --- the watch ---

    def _watch(self) -> None:
        """End what hangs, what takes too much, and, after a stop, what takes too long."""
        self._end_hung()
        budget = self._with.budget
        if budget.glance() > budget.limit_bytes * OVER_SHARE and self._running:
            worst = max(
                self._running.values(),
                key=lambda each: budget.held(each.slot.pid).private - each.grant.bytes,
            )
            self._end(worst, OVER_BUDGET)
        if self._stop_at_s is not None and time.monotonic() >= self._stop_at_s:
            for running in self._running.values():
                self._end(running, "ended: the run was stopped")

    def _end_hung(self) -> None:
        if self._paused_at_s is not None:
            return
        now_ns, limit_ns = time.monotonic_ns(), int(self._limits.stock_s_max * 1e9)
        for running in self._running.values():
            at = running.slot.at()
            is_at_work = at.batch_no == running.job.batch_no and at.index >= 0
            if not is_at_work and running.slot.fresh_bytes == 0:
                continue  # nobody sees a cluster's workers: it ends its own
            since_ns = max(at.since_ns if is_at_work else 0, self._resumed_ns, running.began_ns)
            if now_ns - since_ns > limit_ns + (0 if is_at_work else START_NS_MAX):
                self._end(running, f"ended: no sign of life for {self._limits.stock_s_max:g} s")

    @staticmethod
    def _end(running: Running, verdict: str) -> None:
        if not running.verdict:
            running.verdict = verdict
            running.slot.kill()

    async def _watch_live(self) -> None:
        """Pause every worker while the controller is short of the machine."""
        calm = 0
        while True:
            found = await asyncio.to_thread(self._with.look_at_live)
            calm = 0 if found.is_high else calm + 1
            if found.is_high:
                self._waits["live"] = f"the live controller: {found.why}"
                self._pause(paused=not self._is_on_duty())
            elif calm > 1:
                self._waits.pop("live", None)
                self._pause(paused=False)
            await self._with.clock.sleep(PRESSURE_TICK_S)

    def _is_on_duty(self) -> bool:
        return self._paused_at_s is not None and time.monotonic() - self._paused_at_s > DUTY_REST_S

    def _pause(self, *, paused: bool) -> None:
        now_s = time.monotonic()
        if paused == (self._paused_at_s is not None):
            return
        if self._paused_at_s is not None:
            self.figures.throttled_s += now_s - self._paused_at_s
            self._resumed_ns = time.monotonic_ns()
        self._paused_at_s = now_s if paused else None
        for slot in self._slots:
            slot.pause(paused=paused)
        self._wake.set()

    def _tell(self) -> None:
        progress, budget = self._with.progress, self._with.budget
        progress.done = self._done_before + self.desk.done
        progress.failed = self.desk.failed
        progress.running = len(self._running)
        progress.workers = len(self._slots)
        progress.tree_bytes, progress.peak_bytes = budget.tree_bytes, budget.peak_bytes
        waits = [self.desk.away, *self._waits.values()]
        progress.waits_for = "; ".join(each for each in waits if each)
        progress.mark(time.monotonic())
        self._with.on_progress(progress)


def _wake_from_thread(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(event.set)


def _raise_faults(tasks: list["asyncio.Task[None]"]) -> None:
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()
