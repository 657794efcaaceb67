"""What a run survives: workers that die, hang, take too much, and stocks that do it again."""

import asyncio
import os
import signal
import sys
from dataclasses import replace

import pytest

from support.backtest_faults import never_begins
from support.backtest_world import LIMITS, World
from tradebox.backtest import memory
from tradebox.backtest.pool import ProcessPool
from tradebox.backtest.scheduler_pressure import Pressure
from tradebox.backtest.store import BacktestStore
from tradebox.backtest.worker import failed_result
from tradebox.errors import StoreUnavailable

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("backtest-pool"),
]
"""Workers are served last: on a busy machine the first of them may take a minute to start."""


async def world(dsn, folder, *symbols, **options) -> World:
    made = World(dsn, folder, symbols, **options)
    await made.create()
    return made


async def until(is_so) -> None:
    while not is_so():  # noqa: ASYNC110 - what is waited for is in another process
        await asyncio.sleep(0.01)


def well(count: int) -> tuple[str, ...]:
    return tuple(f"w{number:02}" for number in range(count))


async def test_every_stock_is_stored_once(pg_research_dsn, tmp_path) -> None:
    box = await world(pg_research_dsn, tmp_path, *well(9))
    assert await box.run() == "done"
    assert {row[0] for row in (await box.rows()).values()} == {"ok"}
    assert len(await box.rows()) == 9
    assert await box.tasks() == {"done": 5}
    assert box.progress is not None
    assert (box.progress.done, box.progress.failed) == (9, 0)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("KILL", "terminated abruptly"),
        ("SEGV", "terminated abruptly"),
        ("EXIT", "terminated abruptly"),
        ("GREED", "MemoryError"),
        ("HANG", "no sign of life"),
    ],
)
async def test_a_stock_that_breaks_its_worker_fails_alone(
    pg_research_dsn, tmp_path, fault, said
) -> None:
    box = await world(pg_research_dsn, tmp_path, *well(3), fault, *well(7)[3:], batch=4)
    limits = replace(LIMITS, stock_s_max=3.0) if fault == "HANG" else LIMITS
    assert await box.run(limits=limits) == "done"
    rows = await box.rows()
    assert rows.pop(fault)[0] == "failed"
    assert {row[0] for row in rows.values()} == {"ok"}
    assert len(rows) == 7
    failed = await box.fetch("SELECT error FROM backtest.task WHERE state = 'failed'")
    assert [said in row["error"] for row in failed] == [True]


async def test_a_passing_fault_costs_one_more_try_and_nothing_else(
    pg_research_dsn, tmp_path
) -> None:
    box = await world(pg_research_dsn, tmp_path, *well(4), "KILL1", "SEGV1", batch=2)
    assert await box.run() == "done"
    assert {row[0] for row in (await box.rows()).values()} == {"ok"}
    assert box.scheduler is not None
    assert box.scheduler.figures.retries == 2  # the second fault struck when the first was retried


async def test_a_worker_killed_from_outside_loses_nothing(pg_research_dsn, tmp_path) -> None:
    box = await world(pg_research_dsn, tmp_path, *[f"SLOW-{n}" for n in range(8)], batch=1)

    async def kill(world: World) -> None:
        slot = world.pool.slots[0]
        await until(lambda: slot.at().index >= 0)
        os.kill(slot.at().pid, signal.SIGKILL)

    assert await box.run(during=kill) == "done"
    assert {row[0] for row in (await box.rows()).values()} == {"ok"}
    assert box.scheduler is not None
    assert box.scheduler.figures.retries == 1


async def test_what_a_dead_scheduler_left_is_done_by_the_next(pg_research_dsn, tmp_path) -> None:
    box = await world(pg_research_dsn, tmp_path, *[f"SLOW-{n}" for n in range(12)], batch=1)

    async def stop(world: World) -> None:
        await until(lambda: world.progress is not None and world.progress.done >= 2)
        world.scheduler.stop()

    assert await box.run(during=stop) == "stopped"
    before = await box.fetch("SELECT symbol, result_hash, xmin::text AS x FROM backtest.result")
    assert 2 <= len(before) < 12
    # As a kill -9 leaves it: taken, and never given back.
    await box.fetch("UPDATE backtest.task SET state = 'running' WHERE batch_no = 11")
    assert await box.run() == "done"
    assert box.counts.repeated == 1
    after = await box.fetch("SELECT symbol, result_hash, xmin::text AS x FROM backtest.result")
    assert len(after) == 12
    assert {tuple(row) for row in before} <= {tuple(row) for row in after}


async def test_a_second_stop_ends_what_runs(pg_research_dsn, tmp_path) -> None:
    box = await world(pg_research_dsn, tmp_path, "HANG", "w1", batch=1)

    async def stop(world: World) -> None:
        await until(lambda: world.pool.slots[0].at().index >= 0)
        world.scheduler.stop()
        world.scheduler.stop()

    assert await box.run(workers=1, during=stop) == "stopped"
    assert await box.rows() == {}
    assert (await box.tasks()) == {"queued": 2}


async def test_workers_that_die_whatever_they_are_given_end_the_run(
    pg_research_dsn, tmp_path
) -> None:
    box = await world(pg_research_dsn, tmp_path, *well(20), batch=1)
    pool = ProcessPool(2, tmp_path / "board", never_begins)
    assert await box.run(pool=pool) == "failed"
    assert box.scheduler is not None
    assert "workers cannot be started" in box.scheduler.error
    assert await box.rows() == {}  # all wait for a resume with workers that live
    assert await box.run() == "done"
    assert len(await box.rows()) == 20


async def test_a_store_that_is_away_is_waited_for(pg_research_dsn, tmp_path, monkeypatch) -> None:
    box = await world(pg_research_dsn, tmp_path, *well(8), batch=2)
    honest, away = BacktestStore.save_batch, iter(range(4))

    async def save(self, run_id, batch):
        if next(away, None) is not None:
            raise StoreUnavailable("away", reason="made up")
        return await honest(self, run_id, batch)

    monkeypatch.setattr(BacktestStore, "save_batch", save)
    assert await box.run() == "done"
    assert len(await box.rows()) == 8
    assert any("PostgreSQL" in told for told in box.told)
    assert box.scheduler is not None
    assert box.scheduler.desk.away_s > 0


async def test_a_store_that_stays_away_ends_the_run_to_be_resumed(
    pg_research_dsn, tmp_path, monkeypatch
) -> None:
    box = await world(pg_research_dsn, tmp_path, *well(4), batch=2)
    with monkeypatch.context() as patch:

        async def save(self, run_id, batch):
            raise StoreUnavailable("away", reason="made up")

        patch.setattr(BacktestStore, "save_batch", save)
        limits = replace(LIMITS, store_wait_s_max=0.3)
        assert await box.run(limits=limits) == "failed"
    assert await box.rows() == {}
    assert await box.run() == "done"
    assert len(await box.rows()) == 4


async def test_pressure_on_live_stops_the_workers_for_as_long(pg_research_dsn, tmp_path) -> None:
    box = await world(pg_research_dsn, tmp_path, *[f"SLOW-{n}" for n in range(6)], batch=1)
    looks = iter([True, True, False, False])
    seen: list[float] = []

    def look() -> Pressure:
        is_high = next(looks, False)
        seen.append(box.progress.done if box.progress else 0)
        return Pressure(runs=True, is_high=is_high, why="made up")

    assert await box.run(look_at_live=look) == "done"
    assert {row[0] for row in (await box.rows()).values()} == {"ok"}
    assert box.scheduler is not None
    assert box.scheduler.figures.throttled_s > 0.9
    assert any("the live controller: made up" in told for told in box.told)


async def test_a_neighbour_that_eats_the_memory_is_waited_for(
    pg_research_dsn, tmp_path, monkeypatch
) -> None:
    box = await world(pg_research_dsn, tmp_path, *well(6), batch=2)
    free = [16 << 20]
    monkeypatch.setattr(memory, "available_bytes", lambda: free[0])

    async def leave(world: World) -> None:
        await until(lambda: any("the machine has room for" in told for told in world.told))
        assert world.progress is not None
        assert world.progress.done == 0
        free[0] = 16 << 30

    assert await box.run(during=leave) == "done"
    assert {row[0] for row in (await box.rows()).values()} == {"ok"}
    assert len(await box.rows()) == 6


NEIGHBOUR = """
import sys
held = bytearray(int(sys.argv[1]))
held[::4096] = b"x" * len(held[::4096])
print("full", flush=True)
sys.stdin.read()
"""
EATEN = 1 << 30


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_neighbour_that_holds_real_memory_is_waited_for(
    pg_research_dsn, tmp_path, monkeypatch
) -> None:
    box = await world(pg_research_dsn, tmp_path, *well(6), batch=2)
    words = [sys.executable, "-c", NEIGHBOUR, str(EATEN)]
    pipe = asyncio.subprocess.PIPE
    neighbour = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe)
    assert neighbour.stdin is not None
    assert neighbour.stdout is not None
    try:
        assert await neighbour.stdout.readline() == b"full\n"
        # The machine counts as full while the neighbour holds its share, and only then.
        monkeypatch.setattr(memory, "KEEP_FREE_BYTES", memory.available_bytes() + EATEN // 2)

        async def leave(world: World) -> None:
            await until(lambda: any("the machine has room for" in told for told in world.told))
            assert world.progress is not None
            assert world.progress.done == 0
            neighbour.stdin.close()
            await neighbour.wait()

        assert await box.run(during=leave) == "done"
    finally:
        if neighbour.returncode is None:
            neighbour.kill()
            await neighbour.wait()
    assert {row[0] for row in (await box.rows()).values()} == {"ok"}
    assert len(await box.rows()) == 6


async def test_a_batch_that_cannot_fit_is_split_and_then_refused(pg_research_dsn, tmp_path) -> None:
    lengths = {"w0": 10, "w1": 10, "huge": 10_000_000}
    box = await world(pg_research_dsn, tmp_path, "w0", "huge", "w1", batch=3, lengths=lengths)
    assert await box.run(budget_bytes=2 << 30) == "done"
    rows = await box.rows()
    assert rows.pop("huge")[0] == "failed"
    assert {row[0] for row in rows.values()} == {"ok"}
    failed = await box.fetch("SELECT error FROM backtest.task WHERE state = 'failed'")
    assert ["the budget of 2,048 MiB leaves" in row["error"] for row in failed] == [True]


async def test_a_failed_stock_has_a_result_with_a_hash() -> None:
    first, second = failed_result("A", "why", "d"), failed_result("A", "why", "d")
    assert first.result_hash == second.result_hash != ""
    assert (first.status, first.reasons[0].text) == ("failed", "why")
