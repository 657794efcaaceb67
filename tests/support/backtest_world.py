"""A backtest on a real queue, pool and store, whose work is made up (see backtest_faults)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from support.backtest_faults import work
from tradebox.backtest.memory import Budget
from tradebox.backtest.pool import Pool, ProcessPool
from tradebox.backtest.progress import Progress
from tradebox.backtest.records import RunSpec
from tradebox.backtest.scheduler import Limits, Scheduler, Services
from tradebox.backtest.scheduler_queue import TaskQueue
from tradebox.backtest.store import BacktestStore
from tradebox.supervision.clock import MonotonicClock

LIMITS = Limits(
    stock_s_max=60.0, store_wait_s_max=20.0, worker_tasks_max=400, worker_private_max=1 << 30
)


@dataclass
class World:
    """One run on a database. `rows` and `tasks` are what it left there."""

    dsn: str
    folder: Path
    symbols: tuple[str, ...]
    batch: int = 2
    run_id: str = "run"
    lengths: dict[str, int] = field(default_factory=dict)
    progress: Progress | None = None
    told: list[str] = field(default_factory=list)
    scheduler: Scheduler | None = None

    @property
    def spec(self) -> RunSpec:
        return RunSpec(
            run_id=self.run_id,
            seed=1,
            strategies=("made_up",),
            universe="made_up",
            symbols=self.symbols,
            data_source="made_up",
            data_path=str(self.folder),
            data_hash="d" * 64,
            code_hash="c" * 64,
            config={"expiry_days": 30},
        )

    async def create(self) -> None:
        async with BacktestStore(self.dsn) as store:
            await store.create_run(self.spec, self.batches())

    def batches(self) -> list[tuple[str, ...]]:
        every = range(0, len(self.symbols), self.batch)
        return [self.symbols[at : at + self.batch] for at in every]

    async def run(
        self,
        *,
        workers: int = 2,
        pool: Pool | None = None,
        budget_bytes: int = 4 << 30,
        limits: Limits = LIMITS,
        during: Callable[["World"], Any] | None = None,
        **services: Any,
    ) -> str:
        """Work on the run until it ends; `during` is awaited beside it."""
        async with self.scheduling(
            workers=workers, pool=pool, budget_bytes=budget_bytes, limits=limits, **services
        ) as scheduler:
            beside = asyncio.create_task(during(self)) if during else None
            state = await scheduler.run()
            if beside is not None:
                await beside
            await TaskQueue(self.store, self.run_id, "test").give_back()
            self.run_hash = await self.store.finish_run(self.run_id, state, {})
            return state

    @contextlib.asynccontextmanager
    async def scheduling(
        self, *, workers: int, pool: Pool | None, budget_bytes: int, limits: Limits, **services: Any
    ) -> AsyncIterator[Scheduler]:
        used = pool or ProcessPool(workers, self.folder / "board", work)
        async with BacktestStore(self.dsn) as store:
            self.store = store
            queue = TaskQueue(store, self.run_id, "test")
            try:
                await asyncio.to_thread(used.start)
                self.counts = await queue.take_over()
                self.progress = Progress(
                    self.run_id, self.counts.total, self.counts.done, budget_bytes=budget_bytes
                )
                built = Services(
                    pool=used,
                    queue=queue,
                    store=store,
                    budget=Budget(budget_bytes),
                    progress=self.progress,
                    lengths=self.lengths,
                    clock=MonotonicClock(),
                    on_progress=lambda each: self.told.append(each.waits_for),
                )
                self.pool = used
                self.scheduler = Scheduler(self.spec.brief, replace(built, **services), limits)
                yield self.scheduler
            finally:
                used.close()

    async def rows(self) -> dict[str, tuple[str, str]]:
        """Symbol -> (status, first reason)."""
        found = await self.fetch("SELECT symbol, status, reasons FROM backtest.result")
        return {
            row["symbol"]: (row["status"], row["reasons"][0][1] if row["reasons"] else "")
            for row in found
        }

    async def tasks(self) -> dict[str, int]:
        """State -> number of batches."""
        found = await self.fetch("SELECT state, count(*) AS n FROM backtest.task GROUP BY state")
        return {row["state"]: row["n"] for row in found}

    async def fetch(self, statement: str) -> Sequence[Any]:
        async with BacktestStore(self.dsn) as store, store.connection() as connection:
            return await connection.fetch(statement)
