"""Vendor bytes to a controller's mailbox and to Redis with five readers: what one core takes.

Rules of this file:
- the path runs alone on one core; vendor, readers and Redis share the others; what was imported,
  and later what was started, is taken out of Python's sweeps, as launcher and engine do it;
- latency runs from the vendor's hand to the live controller's handler; a tick that a newer one of
  its symbol replaced in the mailbox has none and is counted;
- the floor is a bare redis-py pipeline that writes the same batches in the same run;
- beside a latency stands what may have made it: how often the kernel took the core away, and the
  longest sweep of Python's garbage; a takeover of the feeds is told with its cause;
- live beside a paper that stops reading: rounds of windows at a rate that leaves the cores idle
  most of the time, so that who stops gives nobody a core that he lacked; each round has short
  windows in peace, as many more in peace (the control: what the method itself moves), beside a
  controller that handles nothing, and beside a process that reads nothing of Redis, in turning
  order, so that what else the box does falls on all of them; both live's controller and a live
  reader of Redis are timed, and the median of the rounds' ratios is told.
"""

import contextlib
import gc
import os
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import uvloop

from bench.data_path import DataPath, Part
from bench.data_vendor import READERS
from bench.machine import load_average, memory_mb, quantile, ratio, spread, switches_forced
from bench.sampler import Sampler
from tradebox.adapters.embedded import valkey
from tradebox.adapters.embedded.addresses import redis_url
from tradebox.adapters.embedded.secrets import Login
from tradebox.adapters.redis.bus import RedisBus
from tradebox.adapters.redis.client import make_client
from tradebox.adapters.redis.prices import CHANNEL, QUOTE_PREFIX, RedisPrices, blob
from tradebox.config import Home, Settings
from tradebox.domain.events import FeedFailover
from tradebox.domain.market import AdmittedTick, Quality, Source
from tradebox.supervision.preload import freeze

SYMBOLS = [f"S{number:04d}" for number in range(50)]
MANY = [f"S{number:04d}" for number in range(1000)]
RATES = (500, 2000, 8000)
STEADY_S = 6.0
QUIET_RATE, QUIET_S = 60, 10.0
FLOOD_TICKS, FRAME_TICKS = 60_000, 10
"""Fewer frames than a mailbox holds: nothing is dropped, and nothing counted that was not done."""
WARM_TICKS, WARM_PER_S = 3000, 500
"""Slow enough that each symbol's first level is confirmed: two seconds of it."""
ROUNDS, TURNS, WINDOW_S, WINDOW_RATE = 8, 4, 1.5, 500
"""3,000 ticks of each kind in a round: thirty of them lie beyond its p99."""
PEACE, CONTROL, CONTROLLER, READER = "peace", "control", "controller_stopped", "reader_stopped"
WINDOWS = (PEACE, CONTROLLER, CONTROL, READER)
SETTLE_S = 0.15
"""Several periods of the publisher."""
BATCH, BATCHES = 50, 400
MANY_FLOODS = 2
TTL_MS = 15_000


@contextmanager
def own_core() -> Iterator[int | None]:
    """Keep this process on one core; yield another one for the rest, where there is one."""
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    os.sched_setaffinity(0, {cores[0]})
    try:
        yield cores[1] if len(cores) > 1 else None
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def own_redis(core: int | None) -> Iterator[str]:
    """A Valkey of this bench alone, on a core of its choice; its engine's address."""
    folder = Path(tempfile.mkdtemp(prefix="tradebox-bench-"))
    home = Home(folder / "h")
    home.root.mkdir(mode=0o700)
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, ours if core is None else {core})  # what it starts inherits it
    try:
        valkey.start(home, 256)
    finally:
        os.sched_setaffinity(0, ours)
    try:
        yield redis_url(home, Settings(), Login.REDIS_ENGINE)
    finally:
        valkey.stop(home)
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class World:
    """A path, its vendor, its readers, and one reader more in a process that can be stopped."""

    path: DataPath
    vendor: Part
    readers: Part
    paper: Part

    async def seen(self) -> dict[str, Any]:
        """Return what all readers saw."""
        ours, paper = await self.readers.ask(tell=True), await self.paper.ask(tell=True)
        names = ("batches", "symbols", "resyncs")
        return {name: [*ours[name], *paper[name]] for name in names}


@asynccontextmanager
async def path_of(symbols: Sequence[str], url: str, core: int | None) -> AsyncIterator[World]:
    """A path with its vendor and its readers, warm."""
    path = DataPath(symbols, url)
    times = {"mono_ns": path.market.mono_ns, "market_ns": path.market.market_ns}
    names = list(symbols)
    vendor = Part("vendor", core, symbols=names, seed=1, speed=1.0, **times)
    readers = Part("readers", core, url=url, symbols=names, count=READERS - 1, **times)
    paper = Part("readers", core, url=url, symbols=names, count=1)
    try:
        await path.start(vendor.first["port"])
        freeze()
        warm = max(WARM_TICKS, 20 * len(symbols))
        per_s = max(WARM_PER_S, 2 * len(symbols))
        await vendor.ask(do="send", per_s=per_s, seconds=warm / per_s, ticks=10)
        await path.received(warm)
        yield World(path, vendor, readers, paper)
    finally:
        await path.stop()
        for part in (vendor, readers, paper):
            part.close()


def latencies_us(path: DataPath, frames: Sequence[Sequence[int]], ticks: int) -> list[float]:
    """Return from the vendor's hand to live's handler, of the ticks that were handled."""
    sent = {}
    for before, mono_ns in frames:
        for number in range(before + 1, before + ticks + 1):
            sent[number] = mono_ns
    return [(at_ns - sent[number]) / 1000 for number, at_ns in path.seen if number in sent]


@contextmanager
def sweeps_ms() -> Iterator[list[float]]:
    """Yield how long each sweep of garbage took, meanwhile."""
    took: list[float] = []
    began_s = 0.0

    def note(phase: str, _: dict[str, int]) -> None:
        nonlocal began_s
        if phase == "start":
            began_s = time.monotonic()
        else:
            took.append(1000 * (time.monotonic() - began_s))

    gc.callbacks.append(note)
    try:
        yield took
    finally:
        gc.callbacks.remove(note)


async def steady(path: DataPath, vendor: Part, per_s: int, seconds: float) -> dict[str, Any]:
    """Measure one rate."""
    ticks = 1 if per_s <= 1000 else 4
    path.seen.clear()
    counters = path.hub.counters
    before, published = counters.received, counters.published
    cpu_s, began_s, forced = time.process_time(), time.monotonic(), switches_forced()
    with sweeps_ms() as sweeps:
        answer = await vendor.ask(do="send", per_s=per_s, seconds=seconds, ticks=ticks)
        count = len(answer["frames"]) * ticks
        await path.received(before + count)
    took_s = time.monotonic() - began_s
    cpu_share = (time.process_time() - cpu_s) / took_s
    found = latencies_us(path, answer["frames"], ticks)
    return {
        "per_s": per_s,
        "reached_per_s": round(count / took_s),
        "latency_us": spread(found, 1),
        "conflated_in_the_mailbox": count - len(found),
        "cpu_share": round(cpu_share, 3),
        "core_taken_away": switches_forced() - forced,
        "longest_sweep_ms": round(max(sweeps, default=0.0), 2),
        "written_to_redis": counters.published - published,
    }


async def flood(path: DataPath, vendor: Part) -> dict[str, Any]:
    """Measure what one core takes, with the profile attached."""
    counters = path.hub.counters
    before, admitted = counters.received, counters.admitted
    gc.collect()
    with Sampler() as sampler:
        cpu_s, began_s = time.process_time(), time.monotonic()
        await vendor.ask(do="flood", count=FLOOD_TICKS, ticks=FRAME_TICKS)
        await path.received(before + FLOOD_TICKS)
        took_s, spent_s = time.monotonic() - began_s, time.process_time() - cpu_s
    return {
        "ticks": FLOOD_TICKS,
        "ticks_per_s": round(FLOOD_TICKS / took_s),
        "cpu_us_per_tick": round(1e6 * spent_s / FLOOD_TICKS, 1),
        "admitted": counters.admitted - admitted,
        "profile": sampler.told(),
    }


async def window(world: World, what: str) -> dict[str, list[float]]:
    """Time live's controller and a live reader of Redis for one window of a round. Units: us."""
    path = world.path
    path.seen.clear()
    await world.readers.ask(tell=True)
    if what == CONTROLLER:
        path.paper_reads.clear()
    elif what == READER:
        os.kill(world.paper.pid, signal.SIGSTOP)
    try:
        before = path.hub.counters.received
        answer = await world.vendor.ask(do="send", per_s=WINDOW_RATE, seconds=WINDOW_S, ticks=1)
        await path.received(before + len(answer["frames"]))
        live_us = latencies_us(path, answer["frames"], 1)
        await path.clock.sleep(SETTLE_S)
        read = await world.readers.ask(tell=True)
    finally:
        path.paper_reads.set()
        os.kill(world.paper.pid, signal.SIGCONT)
    await world.paper.ask(tell=True)
    await path.clock.sleep(SETTLE_S)
    return {"controller": live_us, "reader": read["took_us"]}


Round = dict[str, dict[str, list[float]]]


async def one_round(world: World, number: int) -> Round:
    """Return what each consumer had in each kind of window of one round."""
    found: Round = {what: {"controller": [], "reader": []} for what in WINDOWS}
    for turn in range(TURNS):
        order = (*WINDOWS[turn:], *WINDOWS[:turn])
        for what in order if number % 2 else reversed(order):
            for who, took_us in (await window(world, what)).items():
                found[what][who] += took_us
    return found


async def stopped_paper(world: World) -> dict[str, Any]:
    """Measure live beside a paper that reads and beside one that does not, in rounds."""
    rounds = [await one_round(world, number) for number in range(ROUNDS)]
    return {
        "rounds": ROUNDS,
        "per_s": WINDOW_RATE,
        "windows_of_each_kind_in_a_round": TURNS,
        "window_s": WINDOW_S,
        **{f"live_{who}": told(rounds, who) for who in ("controller", "reader")},
    }


def told(rounds: Sequence[Round], who: str) -> dict[str, Any]:
    """Return what a live consumer had in peace, and how each other kind of window compares."""
    found: dict[str, Any] = {}
    for what in WINDOWS:
        all_us = [one for each in rounds for one in each[what][who]]
        found[f"{what}_us"] = spread(all_us, 1)
    for what in (CONTROL, CONTROLLER, READER):
        for share, name in ((0.99, "p99"), (0.5, "p50")):
            ratios = [
                quantile(each[what][who], share) / quantile(each[PEACE][who], share)
                for each in rounds
            ]
            found[f"{what}_ratio_{name}"] = round(statistics.median(ratios), 3)
            if name == "p99":
                found[f"{what}_ratios_p99"] = [round(one, 2) for one in sorted(ratios)]
    return found


async def bare_pipeline(url: str) -> dict[str, Any]:
    """Measure redis-py alone and our publisher's adapter with the same batches."""
    now_ns = time.time_ns()
    ticks = [
        AdmittedTick(
            symbol, 100_010_000, 100, now_ns, now_ns, Source.FINNHUB, Quality.LIVE, 1, 1, 1
        )
        for symbol in SYMBOLS[:BATCH]
    ]
    rates: dict[str, list[float]] = {"bare": [], "ours": []}
    client, bus = make_client(url), RedisBus(url)
    prices = RedisPrices(bus)
    await prices.publish(1, ticks)
    for _ in range(3):
        began_s = time.monotonic()
        for _ in range(BATCHES):
            blobs = [blob(tick) for tick in ticks]
            pipeline = client.pipeline(transaction=False)
            for tick, data in zip(ticks, blobs, strict=True):
                pipeline.set(QUOTE_PREFIX + tick.symbol, data, px=TTL_MS)
            pipeline.publish(CHANNEL, b"[" + b",".join(blobs) + b"]")
            await pipeline.execute()
        rates["bare"].append(BATCH * BATCHES / (time.monotonic() - began_s))
        began_s = time.monotonic()
        for _ in range(BATCHES):
            await prices.publish(1, ticks)
        rates["ours"].append(BATCH * BATCHES / (time.monotonic() - began_s))
    await client.aclose()
    await bus.close()
    return {name: round(statistics.median(found)) for name, found in rates.items()}


async def crowd(url: str, core: int | None) -> dict[str, Any]:
    """Measure memory with 1,000 symbols whose windows are full."""
    gc.collect()
    before = memory_mb(os.getpid())
    async with path_of(MANY, url, core) as world:
        path, vendor = world.path, world.vendor
        for _ in range(MANY_FLOODS):
            received = path.hub.counters.received
            await vendor.ask(do="flood", count=FLOOD_TICKS, ticks=FRAME_TICKS)
            await path.received(received + FLOOD_TICKS)
        path.seen.clear()
        gc.collect()
        after = memory_mb(os.getpid())
    return {
        "symbols": len(MANY),
        "ticks_each": MANY_FLOODS * FLOOD_TICKS // len(MANY) + 20,
        "rss_mb": after["rss_mb"],
        "grown_mb": round(after["rss_mb"] - before["rss_mb"], 1),
    }


async def _measure(url: str, core: int | None) -> dict[str, Any]:
    async with path_of(SYMBOLS, url, core) as world:
        path, vendor = world.path, world.vendor
        takeovers: list[FeedFailover] = []
        path.runtime.events.attach((FeedFailover,), takeovers.append)
        quiet = await steady(path, vendor, QUIET_RATE, QUIET_S)
        rates = [await steady(path, vendor, per_s, STEADY_S) for per_s in RATES]
        floods = [await flood(path, vendor) for _ in range(3)]
        stopped = await stopped_paper(world)
        seen = await world.seen()
        gate = path.gate
        events = {
            "gaps": gate.gaps,
            "duplicates": gate.duplicates,
            "fenced": gate.fenced,
            "takeovers": [str(one.cause) for one in takeovers],
        }
    floods.sort(key=lambda one: one["ticks_per_s"])
    most = floods[len(floods) // 2]
    bare = await bare_pipeline(url)
    return {
        "sustained": most,
        "sustained_per_s_each": [one["ticks_per_s"] for one in floods],
        "rates": rates,
        "quiet": quiet,
        "stopped_paper": stopped,
        "readers": {**seen, "count": len(seen["batches"])},
        "gate": events,
        "redis_ticks_per_s": bare,
        "ratio_to_bare_pipeline": ratio(bare["ours"], bare["bare"]),
        "path_to_bare_pipeline": ratio(most["ticks_per_s"], bare["bare"]),
    }


def run() -> dict[str, Any]:
    """Measure once and return the figures. Units stand in the names."""
    freeze()
    with own_core() as core, own_redis(core) as url:
        load = load_average()
        measured = uvloop.run(_measure(url, core))
        many = uvloop.run(crowd(url, core))
    gc.unfreeze()
    return {"load_during": load, "cores_of_the_path": 1, **measured, "memory": many}


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        print(orjson.dumps(run(), option=orjson.OPT_INDENT_2).decode())
