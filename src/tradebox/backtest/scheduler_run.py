"""A whole run, from what was asked for to its summary: data, queue, pool, work, end.

Rules of this file:
- what cannot work is refused before a row is written: a budget below one task, a run in use;
- whatever happens, workers end, and what is not stored is queued for a resume.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tradebox.backtest.memory import Budget, default_budget_bytes
from tradebox.backtest.pool import Pool, ProcessPool, SerialPool
from tradebox.backtest.progress import Progress
from tradebox.backtest.records import RunSpec
from tradebox.backtest.scheduler import Limits, Scheduler, Services, State
from tradebox.backtest.scheduler_around import board_file, held, reviver, signals_to
from tradebox.backtest.scheduler_budget import refuse_too_small
from tradebox.backtest.scheduler_pressure import LivePressure
from tradebox.backtest.scheduler_queue import Counts, Skipped, TaskQueue
from tradebox.backtest.scheduler_spec import batches_of
from tradebox.backtest.scheduler_wish import (
    Wish,
    lengths_of,
    limits_of,
    spec_of,
    tell_refused,
)
from tradebox.backtest.store import BacktestStore
from tradebox.backtest.worker import Function, run_batch
from tradebox.config import BacktestSettings, Home, Settings
from tradebox.errors import StoreUnavailable
from tradebox.supervision.clock import MonotonicClock
from tradebox.supervision.locks import hold_shared

SHARE_BESIDE_LIVE: Final = 0.5
SKIPPED_MAX: Final = 100
"""So many stocks that were skipped are told by name."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. figures: what it measured of itself, as stored with it.

    skipped: the first of the stocks that have no grade to trade by; the store has them all.
    """

    spec: RunSpec
    state: State
    error: str
    figures: Mapping[str, Any]
    row: Mapping[str, Any]
    skipped: Sequence[Skipped] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run lives: its home, its settings and its stores."""

    home: Home
    settings: Settings
    dsn: str
    revive: Callable[[], None]

    def with_backtest(self, settings: BacktestSettings) -> "Place":
        """Return the same place with other settings of backtests."""
        return replace(self, settings=self.settings.model_copy(update={"backtest": settings}))


@dataclass(slots=True)
class _Work:
    """What a run has at hand once everything is ready."""

    place: Place
    wish: Wish
    spec: RunSpec
    store: BacktestStore
    queue: TaskQueue
    pool: Pool
    budget: Budget
    lengths: Mapping[str, int]
    began_s: float
    on_progress: Callable[[Progress], None]


async def run_backtest(
    place: Place,
    wish: Wish,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
    on_note: Callable[[str], None] = lambda _: None,
    on_data: Callable[[int, int], None] = lambda _done, _total: None,
    function: Function = run_batch,
) -> Outcome:
    """Do a run, or the rest of one, and return how it ended.

    on_data: told how many of how many stocks were read, where they are read at all.
    Raises: ConfigInvalid, InputError, NotDone, NotRunning, HomeUnusable, StoreUnavailable.
    """
    began_s = time.monotonic()
    settings = place.settings.backtest
    async with BacktestStore(place.dsn) as store:
        spec = await spec_of(place.home, settings, wish, store, on_data)
        settings = limits_of(settings, wish, spec)
        place = place.with_backtest(settings)
        with held(place.home, spec.run_id), board_file(place.home) as board:
            tell_refused(spec, on_note)
            lengths = lengths_of(spec)
            longest = max(lengths.values(), default=0)
            budget = Budget(budget_bytes_of(settings))
            refuse_too_small(budget.limit_bytes, budget.look(), longest)
            pool = _pool(wish, board, _worker_count(place, spec), function)
            queue = TaskQueue(store, spec.run_id, f"{os.uname().nodename}:{os.getpid()}")
            work = _Work(
                place, wish, spec, store, queue, pool, budget, lengths, began_s, on_progress
            )
            try:
                await asyncio.to_thread(pool.start)
                refuse_too_small(budget.limit_bytes, budget.look(), longest, is_warm=True)
                return await _work(work)
            finally:
                pool.close()


async def _work(work: _Work) -> Outcome:
    settings, spec, queue = work.place.settings.backtest, work.spec, work.queue
    if work.wish.resume is None:
        batches = batches_of(spec.symbols, len(work.pool.slots), settings.batch_stocks_max)
        await work.store.create_run(spec, batches)
    counts = await queue.take_over()
    if counts.done == counts.total:
        row = await queue.row()
        skipped = await queue.skipped(SKIPPED_MAX)
        return Outcome(spec, "done", "", row.get("figures", {}), row, skipped)
    await work.store.reopen_run(spec.run_id)
    before_bytes = await queue.table_bytes()
    progress = Progress(
        spec.run_id, counts.total, counts.done, budget_bytes=work.budget.limit_bytes
    )
    with reviver(work.place.revive) as revive:
        scheduler = Scheduler(
            spec.brief,
            Services(
                pool=work.pool,
                queue=queue,
                store=work.store,
                budget=work.budget,
                progress=progress,
                lengths=work.lengths,
                clock=MonotonicClock(),
                look_at_live=LivePressure(
                    work.place.home.control_socket, settings.pressure_wait_share_max
                ).look,
                revive_store=revive,
                on_progress=work.on_progress,
            ),
            Limits(
                settings.stock_s_max,
                settings.store_wait_s_max,
                settings.worker_tasks_max,
                settings.worker_private_max,
            ),
        )
        worked_s = time.monotonic()
        with signals_to(scheduler.stop):
            state = await scheduler.run()
        figures = _figures(work, scheduler, counts, progress, worked_s)
        return await _end(work, scheduler, state, figures, before_bytes)  # it may revive too


async def _end(
    work: _Work, scheduler: Scheduler, state: State, figures: dict[str, Any], before_bytes: int
) -> Outcome:
    """Store how the run ended; a run that is done waits for a store that is away."""
    row: Mapping[str, Any] = {}
    skipped: Sequence[Skipped] = ()
    error = scheduler.error

    async def finish() -> tuple[Mapping[str, Any], Sequence[Skipped]]:
        await work.queue.give_back()
        figures["database_bytes"] = await work.queue.table_bytes() - before_bytes
        await work.store.finish_run(work.spec.run_id, state, figures, error)
        return await work.queue.row(), await work.queue.skipped(SKIPPED_MAX)

    try:
        row, skipped = await (scheduler.desk.patiently(finish) if state == "done" else finish())
    except StoreUnavailable as gone:
        error = error or gone.message
    return Outcome(work.spec, "failed" if error else state, error, figures, row, skipped)


# --- what a run may take ---


def _worker_count(place: Place, spec: RunSpec) -> int:
    """Return how many workers: as told, else the share of the cores; never more than stocks."""
    settings = place.settings.backtest
    cores = len(os.sched_getaffinity(0))
    share = settings.cores_share
    if share is None:
        share = SHARE_BESIDE_LIVE if _trades_here(place.home) else 1.0
    wanted = settings.workers or max(1, int(cores * share))
    return max(1, min(wanted, len(spec.symbols)))


def _trades_here(home: Home) -> bool:
    if not home.engine_lock.exists():
        return False
    lock = hold_shared(home.engine_lock)
    if lock is None:
        return True
    lock.release()
    return False


def budget_bytes_of(settings: BacktestSettings) -> int:
    """Return the budget as told, else a share of the machine."""
    return settings.memory_budget or default_budget_bytes()


def _pool(wish: Wish, board: Path, workers: int, function: Function) -> Pool:
    if wish.executor == "serial":
        return SerialPool(function)
    if wish.executor == "dask":
        from tradebox.backtest.cluster import DaskPool

        return DaskPool(wish.scheduler, workers, function, scatter=wish.scatter)
    return ProcessPool(workers, board, function)


def _figures(
    work: _Work, scheduler: Scheduler, counts: Counts, progress: Progress, worked_s: float
) -> dict[str, Any]:
    now_s = time.monotonic()
    wall_s, figures = now_s - worked_s, scheduler.figures
    fresh = progress.done - counts.done
    total_s = sum(figures.stage_seconds.values())
    slots = len(work.pool.slots)
    return {
        "wall_s": round(wall_s, 3),
        "prepare_s": round(worked_s - work.began_s, 3),
        "stocks": fresh,
        "stocks_per_s": round(fresh / wall_s, 2) if wall_s else 0.0,
        "workers": slots,
        "pool_busy_share": round(figures.busy_s / (wall_s * slots), 4) if wall_s else 0.0,
        "budget_bytes": work.budget.limit_bytes,
        "peak_bytes": work.budget.peak_bytes,
        "worker_private_bytes_max": figures.private_bytes_max,
        "task_bytes_max": figures.task_bytes_max,
        "size_margin": round(scheduler.model.margin, 3),
        "stage_seconds": {name: round(value, 3) for name, value in figures.stage_seconds.items()},
        "stage_shares": {
            name: round(value / total_s, 4) for name, value in figures.stage_seconds.items()
        },
        "retries": figures.retries,
        "recycled": figures.recycled,
        "throttled_s": round(figures.throttled_s, 3),
        "store_away_s": round(scheduler.desk.away_s, 3),
        "repeated_stocks": counts.repeated,
    }
