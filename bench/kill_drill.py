"""`python -m bench.kill_drill [KILLS] [SEED] [MINUTES]`: the engine killed again and again.

Rules of this file:
- a real `tradebox run` in profile sim, plans in full life on both accounts: entries in parts,
  stop moves, scale-outs, trails, exits; each SIGKILL falls at a seeded instant: at random, right
  after bytes or facts of a chosen kind, or into the recovery from the kill before;
- the judge looks from outside: the gateway's ledger, PostgreSQL, the official client;
- what is told is what was seen; a fault ends nothing, it is counted and named.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bench import plan_flow
from bench.drill_judge import (
    Place,
    books_fault,
    final_faults,
    invariant_faults,
    official_faults,
)
from bench.drill_plans import keep_alive
from bench.ledger_fold import LedgerFold, LedgerTail
from bench.live_run import LiveRun, live_run
from bench.machine import load_average, machine, spread, versions
from bench.report import RESULTS
from bench.uncovered import absences, uncovered
from tradebox.domain.orders import AccountName
from tradebox.errors import NotRunning

KILLS = 200
SEED = 1
MINUTES_MAX = 120.0
SPEED = 20
BACK_S_MAX = 180.0
BOOKS_S_MAX = 60.0
QUIET_S_MAX = 180.0
PHASE_S_MAX = 8.0
CALM_S = (0.1, 1.5)
LOOK_EVERY = 25
POLL_S = 0.02
WATCH_S = 0.001
WIDE = {
    **plan_flow.LIMITS,
    "stops_in_row_max": 100_000,
    "day_loss_nlv_share_max": 0.9,
    "drawdown_nlv_share_max": 0.9,
    "entries_per_symbol_min_max": 1000,
}
CONFIG: dict[str, dict[str, Any]] = {
    "paper.limits": WIDE,
    "live.limits": WIDE,
    "sim": {"demo_plans": False, "speed": SPEED},
    "log": {"file_mb_max": 500},
}
"""Limits that would end a day of so many plans are wide; every other default stands."""

Row = Mapping[str, Any]


def _is(kind: str, role: str) -> Callable[[Row, LedgerFold], bool]:
    return lambda row, fold: row["kind"] == kind and fold.role(row) == role


def _is_partial(row: Row, fold: LedgerFold) -> bool:
    seen = fold.orders.get(row.get("perm_id", 0))
    is_entry = row["kind"] == "execution" and seen is not None and seen.kind == "entry"
    return is_entry and row["cum_quantity"] < seen.total


def _is_shrunk(row: Row, fold: LedgerFold) -> bool:
    seen = fold.orders.get(row.get("perm_id", 0))
    is_stop = row["kind"] == "order_modified" and seen is not None and seen.kind == "stop"
    return is_stop and row["ticket"]["quantity"] < seen.total


def _is_moved(row: Row, fold: LedgerFold) -> bool:
    seen = fold.orders.get(row.get("perm_id", 0))
    is_stop = row["kind"] == "order_modified" and seen is not None and seen.kind == "stop"
    return is_stop and row["ticket"]["quantity"] == seen.total


def _is_stop_gone(row: Row, fold: LedgerFold) -> bool:
    is_cancelled = row["kind"] == "order_state" and row["status"] == "Cancelled"
    return is_cancelled and fold.role(row) == "stop"


PHASES: dict[str, Callable[[Row, LedgerFold], bool] | None] = {
    "random": None,
    "recovery": None,
    "order bytes": lambda row, _: row["kind"] == "message",
    "entry placed": _is("order_placed", "entry"),
    "entry filled in part": _is_partial,
    "entry filled": _is("execution", "entry"),
    "stop shrunk for a slice": _is_shrunk,
    "slice placed": _is("order_placed", "slice"),
    "slice filled": _is("execution", "slice"),
    "stop moved": _is_moved,
    "stop cancelled for an exit": _is_stop_gone,
    "exit placed": _is("order_placed", "exit"),
    "exit filled": _is("execution", "exit"),
    "stop filled": _is("execution", "stop"),
}
"""What a kill follows; None: nothing but the clock."""

WEIGHTS = {"random": 12, "recovery": 4}
"""How often, where it is not once."""


@dataclass
class Drill:
    """What was done and what was seen."""

    run: LiveRun
    flow: plan_flow.Flow
    tail: LedgerTail
    log: LedgerTail
    rng: random.Random
    fold: LedgerFold = field(default_factory=LedgerFold)
    kills_ns: list[int] = field(default_factory=list)
    phases: Counter[str] = field(default_factory=Counter)
    books_s: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    cleans: dict[str, list[int]] = field(default_factory=dict)
    """When each account's link became CLEAN, by the engine's log. Units: monotonic ns."""
    _last_pid: int = 0
    _ahead_ns: int = field(default_factory=lambda: time.time_ns() - time.monotonic_ns())

    def tell(self) -> None:
        """Say how far it is, for whoever waits."""
        faults = self.faults + self.fold.faults
        print(
            f"{len(self.kills_ns)} kills, {len(self.fold.executions)} executions,"
            f" {len(faults)} faults {faults[-1:]}",
            file=sys.stderr,
            flush=True,
        )

    def read(self) -> list[dict[str, Any]]:
        """Take in what the ledger has now; return the new rows."""
        rows = list(self.tail.rows())
        for row in rows:
            self.fold.take(row)
        return rows

    async def kill(self) -> None:
        """Kill the engine at the next seeded instant."""
        names = list(PHASES)
        phase = self.rng.choices(names, [WEIGHTS.get(name, 1) for name in names])[0]
        if phase == "recovery":
            await self._kill_now()
            self.phases["recovery, first"] += 1
            await asyncio.sleep(self.rng.uniform(0.0, 0.6))
        elif phase == "random":
            await asyncio.sleep(self.rng.uniform(0.0, 1.5))
        elif not await self._until_phase(phase):
            phase = f"random, no {phase} came"
        await self._kill_now()
        self.phases[phase] += 1

    async def _until_phase(self, phase: str) -> bool:
        """Wait for a row of the phase, and a seeded moment more; False where none came."""
        fits = PHASES[phase]
        assert fits is not None
        delay_s = self.rng.choice((0.0, self.rng.uniform(0, 0.005), self.rng.uniform(0, 0.05)))
        self.read()
        until_s = time.monotonic() + PHASE_S_MAX
        while time.monotonic() < until_s:
            has_come = False
            for row in self.tail.rows():
                is_new = row["kind"] == "order_placed"  # its role is known once it is taken
                has_come = has_come or (not is_new and fits(row, self.fold))
                self.fold.take(row)
                has_come = has_come or (is_new and fits(row, self.fold))
            if has_come:
                await asyncio.sleep(delay_s)
                return True
            await asyncio.sleep(WATCH_S)
        return False

    async def _kill_now(self) -> None:
        """Kill the engine that there is; wait for one where there is none."""
        until_s = time.monotonic() + BACK_S_MAX
        while time.monotonic() < until_s:
            pid = self._engine_pid()
            if pid not in (0, self._last_pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self._last_pid = pid
                    self.kills_ns.append(time.monotonic_ns())
                    return
            await asyncio.sleep(WATCH_S)
        raise TimeoutError("there is no engine to kill")

    def _engine_pid(self) -> int:
        with contextlib.suppress(NotRunning):
            return int(self.run.launcher().get("engine_pid") or 0)
        return 0

    async def recovered(self) -> None:
        """Wait until both links are CLEAN under a new engine, and books equal the broker."""
        killed_ns = self.kills_ns[-1]
        try:
            await self._until(lambda: self._clean_since(killed_ns), "both links CLEAN", BACK_S_MAX)
        except TimeoutError as error:
            self.faults.append(f"kill {len(self.kills_ns)}: {error}")
        self.read()
        began_s, known = time.monotonic(), dict(self.fold.executions)
        while True:
            fault = await books_fault(self.flow.pool, self.fold, self.read, known)
            if not fault:
                break
            if time.monotonic() - began_s > BOOKS_S_MAX:
                number = len(self.kills_ns)
                self.faults.append(f"kill {number}: books differ from the broker: {fault}")
                break
            await asyncio.sleep(POLL_S)
        self.books_s.append(time.monotonic() - began_s)
        if len(self.kills_ns) % LOOK_EVERY == 0:
            await self.official()

    def _clean_since(self, killed_ns: int) -> bool:
        for line in self.log.rows():
            if line.get("event") == "link_changed" and line.get("state") == "CLEAN":
                at_ns = int(datetime.fromisoformat(line["at"]).timestamp() * 1e9)
                self.cleans.setdefault(line["account"], []).append(at_ns - self._ahead_ns)
        return sum(times[-1] > killed_ns for times in self.cleans.values()) == len(AccountName)

    async def official(self) -> None:
        """Let the official client compare, until it agrees or time is up."""
        began_s = time.monotonic()
        while True:
            self.read()
            faults = await asyncio.to_thread(official_faults, self.run, self.fold)
            if not faults:
                return
            if time.monotonic() - began_s > BOOKS_S_MAX:
                self.faults += faults
                return
            await asyncio.sleep(POLL_S)

    async def _until(self, holds: Callable[[], bool], what: str, within_s: float) -> None:
        until_s = time.monotonic() + within_s
        while not holds():
            if time.monotonic() > until_s:
                raise TimeoutError(f"never happened: {what}")
            self.read()
            await asyncio.sleep(POLL_S)

    async def quiet(self) -> None:
        """Wait until no plan is active and nothing is held."""
        until_s = time.monotonic() + QUIET_S_MAX
        query = "SELECT count(*) FROM trade.plan WHERE closed_at IS NULL"
        while time.monotonic() < until_s:
            self.read()
            async with self.flow.pool.connection() as connection:
                active = await connection.fetchval(query)
            if not active and not self.fold.held():
                return
            await asyncio.sleep(POLL_S * 10)
        self.faults.append(f"{active} plans never ended; held at the broker: {self.fold.held()}")


async def drill(
    run: LiveRun, dsn: str, kills: int, seed: int, minutes_max: float = MINUTES_MAX
) -> dict[str, Any]:
    """Kill the engine so often, or for so long; return what was seen. Units stand in the names."""
    until_s = time.monotonic() + minutes_max * 60
    tail = LedgerTail(run.home.sim_dir / "ledger.jsonl")
    log = LedgerTail(run.home.logs_dir / "engine.jsonl")
    rng = random.Random(seed)
    try:
        async with plan_flow.flow_into(run, dsn) as flow:
            at = Drill(run, flow, tail, log, rng)
            living = asyncio.create_task(keep_alive(run, flow, random.Random(seed + 1)))
            try:
                await asyncio.sleep(4.0)
                while len(at.kills_ns) < kills and time.monotonic() < until_s:
                    await at.kill()
                    await at.recovered()
                    at.tell()
                    await asyncio.sleep(rng.uniform(*CALM_S))
            finally:
                living.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await living
            await at.quiet()
            at.read()
            await at.official()
            at.fold.finish()
            return await _told(at, seed)
    finally:
        tail.close()
        log.close()


async def _told(at: Drill, seed: int) -> dict[str, Any]:
    found, figures = await final_faults(at.flow.pool, at.fold, at.run)
    away = absences(at.cleans, at.kills_ns)
    place = Place(at.run.home.root, at.flow.pool, asyncio.get_running_loop())
    found += await asyncio.to_thread(invariant_faults, place, away)
    lasted = [one.lasted_ms for one in away if one.kills == 1]
    return {
        "seed": seed,
        "kills": len(at.kills_ns),
        "kills_by_phase": dict(sorted(at.phases.items())),
        "faults": at.faults + at.fold.faults + found,
        **figures,
        "kill_to_clean_ms": spread(lasted, 1) if lasted else None,
        "clean_to_books_equal_ms": spread([each * 1000 for each in at.books_s], 1),
        "uncovered": uncovered(at.fold.spans, away),
        "load_during": load_average(),
    }


def measure(
    kills: int,
    seed: int,
    config: Mapping[str, Mapping[str, Any]] = CONFIG,
    minutes_max: float = MINUTES_MAX,
) -> dict[str, Any]:
    """Run the drill on a fresh home."""
    with live_run(config) as run, plan_flow.stores_of(run) as dsn:
        return asyncio.run(drill(run, dsn, kills, seed, minutes_max))


def main() -> int:
    """Drill and keep the result; 1 where a fault was seen."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else SEED
    began_s = time.monotonic()
    minutes_max = float(sys.argv[3]) if len(sys.argv) > 3 else MINUTES_MAX
    measured = measure(kills, seed, minutes_max=minutes_max)
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    result = {
        "name": "kill_drill",
        "date": date,
        "took_s": round(time.monotonic() - began_s, 1),
        "machine": machine(),
        "versions": versions(),
        "measured": measured,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{date}-kill_drill.json"
    path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    print(json.dumps(measured))
    return int(bool(measured["faults"]))


__all__ = ["CONFIG", "drill", "measure"]

if __name__ == "__main__":
    sys.exit(main())
