"""The one place where a run meets PostgreSQL: it claims batches, saves results, and waits.

Rules of this file:
- one conversation at a time, in order: what was decided first is stored first;
- PostgreSQL away is waited for, with results kept and no new work begun, up to a limit;
- nothing is dropped on the way: an action leaves the list when its transaction is through.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

from tradebox.backtest.records import BatchResult
from tradebox.backtest.scheduler_queue import Job, TaskQueue
from tradebox.backtest.store_encoding import RESULT_COLUMNS, EncodedBatch
from tradebox.backtest.worker import failed_result
from tradebox.errors import StoreUnavailable
from tradebox.supervision.clock import Clock

STATUS: Final = RESULT_COLUMNS.index("status")
RETRY_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
T = TypeVar("T")


class Saves(Protocol):
    """Where results go."""

    async def save_batch(self, run_id: str, batch: BatchResult | EncodedBatch) -> object:
        """Store results and say that the batch is done, in one transaction."""


class Desk:
    """Claims ahead and saves behind, beside the scheduler's turn.

    ready: batches that may begin. done, failed: stocks stored by us. away: why the store is
    waited for, empty while it answers. error: why it was given up.
    """

    def __init__(
        self,
        run_id: str,
        data_hash: str,
        queue: TaskQueue,
        store: Saves,
        clock: Clock,
        *,
        ahead: int,
        wait_s_max: float,
        revive: Callable[[], Awaitable[None]] | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._run_id, self._data_hash = run_id, data_hash
        self._queue, self._store, self._clock = queue, store, clock
        self._ahead, self._wait_s_max = ahead, wait_s_max
        self._revive = revive
        self._on_change = on_change
        self._actions: deque[Callable[[], Awaitable[None]]] = deque()
        self._has_work = asyncio.Event()
        self.ready: deque[Job] = deque()
        self.is_drained = False
        self.is_closing = False
        self.done = 0
        self.failed = 0
        self.away = ""
        self.away_s = 0.0
        self.error = ""

    @property
    def pending(self) -> int:
        """How many results and decisions are not stored yet."""
        return len(self._actions)

    def nudge(self) -> None:
        """Look again whether batches should be claimed."""
        self._has_work.set()

    def save(self, batch: EncodedBatch) -> None:
        """Store a batch's results soon."""

        async def act() -> None:
            await self._store.save_batch(self._run_id, batch)
            self.done += len(batch.rows)
            self.failed += sum(row.result[STATUS] == "failed" for row in batch.rows)

        self._add(act)

    def fail(self, job: Job, why: str) -> None:
        """Store that every stock of a batch failed, and why."""
        self._add(lambda: self._store_failure(job, why))

    def split(
        self,
        job: Job,
        parts: Sequence[tuple[str, ...]],
        on_first: Callable[[Job], None] | None = None,
    ) -> None:
        """Replace a batch by parts; on_first: takes the first part instead of `ready`."""

        async def act() -> None:
            jobs = await self._queue.split(job.batch_no, parts)
            if jobs and on_first is not None:
                on_first(jobs[0])
                jobs = jobs[1:]
            self.ready.extendleft(reversed(jobs))

        self._add(act)

    async def work(self) -> None:
        """Talk to the store until cancelled or given up; `error` says why it was given up."""
        try:
            while True:
                if self._wants_claims():
                    await self.patiently(self._claim)
                elif self._actions:
                    await self.patiently(self._actions[0])
                    self._actions.popleft()
                else:
                    self._has_work.clear()
                    await self._has_work.wait()
                    continue  # a nudge changes nothing: telling of it would be answered by another
                self._on_change()
        except StoreUnavailable as error:
            self.error = error.message
            self._on_change()

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until the store answers. Raises: StoreUnavailable after `wait_s_max`."""
        began_s, tries = time.monotonic(), 0
        while True:
            try:
                answer = await call()
            except StoreUnavailable as error:
                gone_s = time.monotonic() - began_s
                if gone_s > self._wait_s_max:
                    raise
                self.away = f"PostgreSQL, for {gone_s:.0f} s ({error.fields.get('reason', error)})"
                self._on_change()
                await self._clock.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
                tries += 1
                if self._revive is not None:
                    await self._revive()
            else:
                if tries:
                    self.away_s += time.monotonic() - began_s
                    self.away = ""
                return answer

    def _add(self, action: Callable[[], Awaitable[None]]) -> None:
        self._actions.append(action)
        self._has_work.set()

    def _wants_claims(self) -> bool:
        return not self.is_closing and not self.is_drained and len(self.ready) < self._ahead

    async def _claim(self) -> None:
        jobs = await self._queue.claim(self._ahead - len(self.ready))
        self.is_drained = not jobs
        self.ready.extend(jobs)

    async def _store_failure(self, job: Job, why: str) -> None:
        results = tuple(failed_result(each, why, self._data_hash) for each in job.symbols)
        await self._store.save_batch(self._run_id, BatchResult(job.batch_no, results))
        await self._queue.mark_failed(job.batch_no, why)
        self.done += len(results)
        self.failed += len(results)
