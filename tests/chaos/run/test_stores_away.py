"""A store dead for a minute in a trading run: decisions, prices and bars are those of a quiet run.

Rules of this file:
- the plans' levels are prints that the stand-in market of this seed will make, each with nothing
  for a while after it: which tick takes which step is known before anything runs;
- the entry's tick is the first after arming, a matter of when a person's command came: it is not
  compared;
- what was admitted is read from the tape, which no store has anything to do with.
"""

import itertools
import json
import os
import signal
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.decisions import Decision
from support.run_bench import Bench, Run, bench, eventually
from support.stores import SETTINGS, in_thread
from tradebox.adapters.embedded.addresses import REDIS_FOLDER, redis_url
from tradebox.adapters.embedded.secrets import Login
from tradebox.adapters.marketclock import AffineMarketClock
from tradebox.adapters.postgres.plans import PgPlanStore
from tradebox.adapters.postgres.pool import PgPool
from tradebox.adapters.redis.client import make_client
from tradebox.config import Home
from tradebox.domain.minute_bars import MINUTE_NS
from tradebox.domain.orders import AccountName
from tradebox.domain.plan_document import document_from
from tradebox.domain.tape import read_tape
from tradebox.sim.control.client import ask
from tradebox.sim.market import hours
from tradebox.sim.market.data import load
from tradebox.sim.market.replay import QuotedPrint, Replay
from tradebox.supervision.clock import MonotonicClock

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("stores_away"),
    pytest.mark.timeout(900),
]

BEGIN_NS = 1_451_917_800_000_000_000
SPEED = 8
DEAD_S = 60
FIRST_MINUTE, LAST_MINUTE = 8, 17
QUIET_NS = 4_000_000_000
APART_NS = 30_000_000_000
SYMBOLS_MAX = 6
STEPS_MIN = 6
S = 1_000_000_000
LIED_ABOUT, QUIET_MINUTE = "COP", 13
"""A symbol of a plan, and from when on it has no level to be reached."""
LIES: dict[str, dict[str, Any]] = {
    "zero_price": {"count": 2},
    "spike": {"count": 2, "percent": 20.0},
}


@dataclass(frozen=True)
class Level:
    """A print that is the first to reach its price."""

    price_micros: int
    at_ns: int


def day() -> tuple[Replay, int]:
    """The market of a run's seed, and the session it begins with."""
    return Replay(load(), seed=1), hours.session_from(BEGIN_NS).number


def prints(replay: Replay, symbol: str, number: int, minutes: int) -> list[QuotedPrint]:
    return [one for minute in range(minutes) for one in replay.prints(symbol, number, minute)]


def levels(day_prints: list[QuotedPrint], open_ns: int, sign: int) -> list[Level]:
    """New extremes of the day in the middle of it, each followed by a pause."""
    best, found = sign * day_prints[0].price_micros, list[Level]()
    for one, following in itertools.pairwise(day_prints):
        value = sign * one.price_micros
        if value <= best:
            continue
        best = value
        is_within = FIRST_MINUTE * MINUTE_NS <= one.event_ns - open_ns <= LAST_MINUTE * MINUTE_NS
        is_apart = not found or one.event_ns - found[-1].at_ns >= APART_NS
        if is_within and is_apart and following.event_ns - one.event_ns >= QUIET_NS:
            found.append(Level(one.price_micros, one.event_ns))
    return found[:3]


def plans() -> dict[str, tuple[str, list[Level]]]:
    """Symbols with what to plan: the side, and the levels in their order."""
    replay, number = day()
    open_ns = hours.session(number).open_ns
    candidates: list[tuple[int, str, str, list[Level]]] = []
    for series in replay.series:
        symbol = series.instrument.symbol
        made = prints(replay, symbol, number, LAST_MINUTE + 2)
        for side, sign in (("long", 1), ("short", -1)):
            steps = levels(made, open_ns, sign)
            candidates.append((-len(steps), symbol, side, steps))
    found: dict[str, tuple[str, list[Level]]] = {}
    for _, symbol, side, steps in sorted(candidates, key=lambda one: one[:3]):
        if steps and len(found) < SYMBOLS_MAX:
            found.setdefault(symbol, (side, steps))
    assert sum(len(steps) for _, steps in found.values()) >= STEPS_MIN, found
    return found


def document(symbol: str, side: str, steps: list[Level]) -> str:
    lines = [
        f'symbol = "{symbol}"',
        f'side = "{side}"',
        "size = { quantity = 8 }",
        'entry = { type = "market", valid_until = 30 }',
        "stop = { percent = 8 }",
    ]
    for level in steps:
        price = level.price_micros / 1_000_000
        lines += ["[[steps]]", f'at = {{ price = "{price:.2f}" }}', "take = { fraction = 0.25 }"]
    return "\n".join(lines) + "\n"


async def ask_for(box: Bench, run: Run, wanted: dict[str, tuple[str, list[Level]]]) -> None:
    """Store the plans as `tradebox plan add` does, all at once."""
    pool = PgPool(box.dsn(), MonotonicClock())
    store = PgPlanStore(pool, "test", 0)
    for symbol, (side, steps) in wanted.items():
        made = document_from(tomllib.loads(document(symbol, side, steps)))
        await store.request_plan(made, AccountName.PAPER, now_ns=market_ns(run), author="test")
    await pool.close()


@dataclass
class Seen:
    """What one run left behind."""

    decisions: list[Decision]
    tape: list[tuple[str, int, int, int]]
    bars: dict[tuple[str, int], tuple[int, ...]]
    partial: set[tuple[str, int]]
    summary: dict[str, Any]
    engines: int
    errors: str
    dead: dict[str, Any]
    counted: list[dict[str, float]]
    verdicts: list[dict[str, Any]]


def server_pid(box: Bench, name: str) -> int:
    rows = {row["name"]: row for row in box.status().get("servers", [])}
    return int(rows[name]["pid"])


def wait_minute(run: Run, minute: int) -> None:
    """Wait until the market has come so far into its session."""
    _, number = day()
    at_ns = hours.session(number).open_ns + minute * MINUTE_NS
    eventually(lambda: market_ns(run) >= at_ns, f"minute {minute}", 400)


def market_ns(run: Run) -> int:
    return AffineMarketClock(run.bench.home / "sim" / "clock.json").now_ns()


def traded(disturb: Callable[[Bench, Run, dict[str, Any]], None]) -> Seen:
    """Run the plans to the end of their levels, and read what was decided, shown and kept."""
    wanted, dead = plans(), dict[str, Any]()
    with bench() as box:
        # The broker's quotes come four times a second, whatever traded: their ticks are no prints.
        run = box.run(
            "--speed",
            str(SPEED),
            TRADEBOX_SIM_DEMO_PLANS="false",
            TRADEBOX_TAPE_ENABLED="true",
            TRADEBOX_IBQUOTES_ENABLED="false",
        ).ready()
        in_thread(ask_for(box, run, wanted))
        run.wait_event("PlanStepTaken", kind="entry", count=len(wanted))
        assert market_ns(run) < hours.session(day()[1]).open_ns + FIRST_MINUTE * MINUTE_NS, (
            "the entries came too late for the levels: the box is too busy"
        )
        wait_minute(run, FIRST_MINUTE)
        disturb(box, run, dead)
        wait_minute(run, LAST_MINUTE + 1)
        time.sleep(3)
        found = box.rows(
            "SELECT p.symbol, s.kind, s.evidence FROM trade.plan_step s JOIN trade.plan p"
            " USING (plan_id) WHERE s.kind <> 'entry' ORDER BY p.symbol, s.step_no"
        )
        status = box.status()
        ended_ns = market_ns(run)
        summary = run.stop()
        counted = figures(Home(box.home))
        again = box.run("--for", "1", "--speed", "1", TRADEBOX_SIM_DEMO_PLANS="false").ready()
        bars = box.rows("SELECT * FROM trade.minute_bar")
        verdicts = box.rows("SELECT * FROM trade.tick_verdict WHERE event_ns < $1", ended_ns)
        again.wait()
        decisions = [
            (row["symbol"], row["kind"], row["evidence"]["event_ns"], row["evidence"]["price"])
            for row in found
        ]
        return Seen(
            decisions=decisions,
            tape=sorted(tape_of(box.home / "tape")),
            bars={
                (row["symbol"], row["end_ns"]): (
                    row["open_micros"], row["high_micros"], row["low_micros"],
                    row["close_micros"], row["volume"], row["ticks"],
                )
                for row in bars
            },
            partial={(row["symbol"], row["end_ns"]) for row in bars if row["is_partial"]},
            summary=summary,
            engines=status["generation"],
            errors=run.err,
            dead=dead,
            counted=counted,
            verdicts=verdicts,
        )  # fmt: skip


def figures(home: Home) -> list[dict[str, float]]:
    """The engine's own counts, one line each ten seconds, oldest first."""
    newest = home.logs_dir / "engine.jsonl"
    older = sorted(newest.parent.glob(f"{newest.name}.*"), key=lambda one: -int(one.suffix[1:]))
    lines = (line for path in (*older, newest) for line in path.read_text().splitlines())
    return [one for one in map(json.loads, lines) if one.get("event") == "metrics"]


def tape_of(folder: Path) -> Iterator[tuple[str, int, int, int]]:
    for path in folder.iterdir():
        with path.open(encoding="utf-8", newline="") as file:
            for one in read_tape(file):
                yield (one.symbol, one.at_ns, one.price_micros, one.size)


def of_server(pid: int) -> list[int]:
    """A server and its children: PostgreSQL's sessions live on without their parent."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def stop_server(name: str) -> Callable[[Bench, Run, dict[str, Any]], None]:
    """Have a server answer nobody for DEAD_S seconds."""

    def disturb(box: Bench, run: Run, dead: dict[str, Any]) -> None:
        pid = server_pid(box, name)
        began_s, began_ns = time.monotonic(), market_ns(run)
        stopped: list[int] = []
        try:
            while time.monotonic() - began_s < DEAD_S:
                for each in set(of_server(pid)) - set(stopped):
                    os.kill(each, signal.SIGSTOP)
                    stopped.append(each)
                time.sleep(1)
        finally:
            for each in reversed(stopped):
                os.kill(each, signal.SIGCONT)
        dead["from_ns"], dead["until_ns"] = began_ns, market_ns(run)
        dead["was_same"] = server_pid(box, name) == pid

    return disturb


def without_postgres(box: Bench, run: Run, dead: dict[str, Any]) -> None:
    """PostgreSQL dead for a minute; in the midst of it the vendor tells wrong prices."""
    stop = stop_server("postgres")
    calm_ns = hours.session(day()[1]).open_ns + QUIET_MINUTE * MINUTE_NS

    def lies() -> dict[str, Any]:
        """The faults of the vendor that are not over yet."""
        rows: Any = ask(box.home / "sim", "/faults")["finnhub"]
        return {row["name"]: row["active"] for row in rows if row["active"]}

    def lie() -> None:
        eventually(lambda: market_ns(run) >= calm_ns, "no more levels of its symbol", 60)
        for name, more in LIES.items():
            told = {"name": f"finnhub.{name}", "arguments": {"symbol": LIED_ABOUT, **more}}
            ask(box.home / "sim", "/faults/set", told)
            eventually(lambda: not lies(), f"the vendor has told each {name}", 60)

    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(lie)
        stop(box, run, dead)
        told.result()


def dead_and_flushed(box: Bench, run: Run, dead: dict[str, Any]) -> None:
    """Redis dead for a minute; some time later it forgets everything."""
    stop_server("redis")(box, run, dead)
    home = Home(box.home)
    url = redis_url(home, SETTINGS, Login.REDIS_OWNER, box.socket_dir / REDIS_FOLDER)

    async def flush() -> None:
        async with make_client(url) as client:
            await client.flushall()

    in_thread(flush())


@pytest.fixture(scope="module")
def quiet() -> Seen:
    return traded(lambda box, run, dead: None)


@pytest.fixture(scope="module")
def dead() -> Seen:
    """A run whose PostgreSQL was dead for a minute."""
    return traded(without_postgres)


def known_prints() -> set[tuple[str, int, int, int]]:
    replay, number = day()
    return {
        (series.instrument.symbol, one.event_ns, one.price_micros, one.size)
        for series in replay.series
        for one in prints(replay, series.instrument.symbol, number, LAST_MINUTE + 20)
    }


def judge_prices(seen: Seen) -> None:
    """Every admitted price is a print of the market, once; every whole bar is their fold."""
    assert seen.tape
    assert set(seen.tape) <= known_prints()
    assert len(set(seen.tape)) == len(seen.tape)
    by_minute: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
    for symbol, at_ns, price, size in seen.tape:
        end_ns = (at_ns // MINUTE_NS + 1) * MINUTE_NS
        by_minute.setdefault((symbol, end_ns), []).append((at_ns, price, size))
    folded = {}
    for key, ticks in by_minute.items():
        prices = [price for _, price, _ in ticks]
        folded[key] = (max(prices), min(prices), sum(size for *_, size in ticks), len(ticks))
    stored = {key: (bar[1], bar[2], bar[4], bar[5]) for key, bar in seen.bars.items()}
    whole = folded.keys() - seen.partial
    assert {key: stored.get(key) for key in whole} == {key: folded[key] for key in whole}


def expected() -> list[tuple[str, str, int]]:
    """The steps and their ticks, as the seed has them."""
    return sorted(
        (symbol, "scale_out", level.at_ns)
        for symbol, (_, steps) in plans().items()
        for level in steps
    )


def test_a_quiet_run_decides_what_the_seed_says(quiet: Seen) -> None:
    assert sorted(row[:3] for row in quiet.decisions) == expected()
    assert quiet.engines == 1
    judge_prices(quiet)


def test_redis_dead_for_a_minute_and_flushed_changes_no_decision(quiet: Seen) -> None:
    seen = traded(dead_and_flushed)
    assert seen.dead["until_ns"] - seen.dead["from_ns"] >= DEAD_S * SPEED * S
    assert seen.decisions == quiet.decisions
    within = [row for row in seen.decisions
              if seen.dead["from_ns"] <= row[2] <= seen.dead["until_ns"]]  # fmt: skip
    assert len(within) >= 3, "decisions were made while it was dead"
    assert seen.engines == 1
    judge_prices(seen)


def test_postgres_dead_for_a_minute_costs_no_price_no_bar_and_no_decision(
    quiet: Seen, dead: Seen
) -> None:
    levels = plans()[LIED_ABOUT][1]
    assert max(one.at_ns for one in levels) < (
        hours.session(day()[1]).open_ns + QUIET_MINUTE * MINUTE_NS
    )
    seen = dead
    assert seen.dead["until_ns"] - seen.dead["from_ns"] >= DEAD_S * SPEED * S
    assert (seen.engines, seen.summary["restarts"]) == (1, 0), "nobody hung on it"
    judge_prices(seen)
    assert seen.decisions == quiet.decisions
    within = [row for row in seen.decisions
              if seen.dead["from_ns"] <= row[2] <= seen.dead["until_ns"]]  # fmt: skip
    assert len(within) >= 3, "decisions were made while it was dead"


def test_what_was_refused_without_postgres_is_there_when_it_is_back(dead: Seen) -> None:
    refused = [
        (row["check_name"], row["price_micros"])
        for row in dead.verdicts
        if row["symbol"] == LIED_ABOUT and row["verdict"] != "flag"
        and dead.dead["from_ns"] <= row["event_ns"] <= dead.dead["until_ns"]
    ]  # fmt: skip
    true = {price for symbol, _, price, _ in known_prints() if symbol == LIED_ABOUT}
    assert [check for check, _ in refused].count("sentinel") == 2
    assert sum(price > 0 and price not in true for _, price in refused) == 2
    last = dead.counted[-1]
    assert last["verdicts.failures"] > 0, "there were writes that failed"
    assert last["verdicts.rows_dropped"] == last["verdicts.lost"] == last["bars.dropped"] == 0
    ways = ("written", "waiting", "dropped")
    for one in dead.counted:
        taken = one["verdicts.rows_taken"]
        assert taken == sum(one[f"verdicts.rows_{way}"] for way in ways)
    assert max(one["verdicts.rows_waiting"] for one in dead.counted) > 0
