"""`python -m bench.data_hour [SPEED [HOURS]]`: 1,000 symbols for hours of the market, at speed.

Rules of this file:
- the path is the engine's, Redis and PostgreSQL real; the vendor is a process of its own whose cap
  is a setting here, as Finnhub's is in the configuration;
- every admitted tick is logged to a file beside; after the hours the log is folded anew, the slow
  way, and compared with the bars that PostgreSQL holds: each bar, each field;
- memory is read all the while: the resident set, what Python's own allocator has handed out and
  not got back, and beside them how full everything is that keeps something, with its bound; told at
  each tenth of the time; slopes are those after the warm-up, and of the second half.
"""

import asyncio
import contextlib
import gc
import json
import math
import os
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from bench.data_path import NAMES, DataPath, Part
from bench.machine import load_average, machine, memory_mb, versions
from bench.report import RESULTS
from bench.soak import WARM_UP_SHARE, slope_an_hour
from tradebox.actors.bars import Bars
from tradebox.actors.feed_slot import TOLD_MAX
from tradebox.actors.publisher import EVENTS_MAX
from tradebox.adapters.embedded import postgres, valkey
from tradebox.adapters.embedded.addresses import postgres_dsn, redis_url, superuser_dsn
from tradebox.adapters.embedded.secrets import Login, role_passwords
from tradebox.adapters.postgres.bars import PgMinuteBars
from tradebox.adapters.postgres.connect import connected
from tradebox.adapters.postgres.migrate import migrate
from tradebox.adapters.postgres.pool import PgPool
from tradebox.config import Home, Settings
from tradebox.domain.filter_values import BUCKETS, HELD_TICKS_MAX, MEDIAN_TICKS, RING_TICKS
from tradebox.domain.market import AdmittedTick, Source
from tradebox.domain.minute_bars import DONE_MAX, MINUTE_NS, SETTLE_NS, BarBook
from tradebox.supervision.clock import MonotonicClock
from tradebox.supervision.spec import ChildSpec

SYMBOLS = [f"S{number:04d}" for number in range(1000)]
SPEED = 30.0
HOUR_S = 3600.0
PER_S = 0.1
"""Prints of one symbol a market second."""
SLICE_REAL_S = 4.0
TENTHS = 10
FRAME_TICKS = 10
START_NS = 1_451_917_800_000_000_000
RECORD = struct.Struct("<HqqI")
NS_PER_S = 1_000_000_000

Key = tuple[str, int]


@contextmanager
def own_stores() -> Iterator[tuple[str, str]]:
    """A PostgreSQL, migrated, and a Valkey of this bench alone; their addresses."""
    folder = Path(tempfile.mkdtemp(prefix="tradebox-bench-"))
    home = Home(folder / "h")
    home.root.mkdir(mode=0o700)
    try:
        postgres.start(home, 64, durable=False)
        valkey.start(home, 256)
        asyncio.run(migrate(superuser_dsn(home), role_passwords(home)))
        settings = Settings()
        yield (
            postgres_dsn(home, settings, Login.TRADE),
            redis_url(home, settings, Login.REDIS_ENGINE),
        )
    finally:
        postgres.stop(home)
        valkey.stop(home)
        shutil.rmtree(folder, ignore_errors=True)


class Log:
    """Every admitted tick in a file: symbol's number, event time, price, size."""

    def __init__(self, path: Path) -> None:
        self._numbers = {symbol: number for number, symbol in enumerate(SYMBOLS)}
        self._file = path.open("wb", buffering=1 << 20)
        self._path = path
        self.count = 0

    def take(self, tick: AdmittedTick) -> None:
        self.count += 1
        number = self._numbers[tick.symbol]
        self._file.write(RECORD.pack(number, tick.event_ns, tick.price_micros, tick.size))

    def folded(self) -> dict[Key, tuple[int, ...]]:
        """Return open, high, low, close, volume and count of each symbol's minute."""
        self._file.close()
        minutes: dict[Key, list[tuple[int, int, int]]] = {}
        data = self._path.read_bytes()
        for number, event_ns, price, size in RECORD.iter_unpack(data):
            end_ns = (event_ns // MINUTE_NS + 1) * MINUTE_NS
            minutes.setdefault((SYMBOLS[number], end_ns), []).append((event_ns, price, size))
        found: dict[Key, tuple[int, ...]] = {}
        for key, ticks in minutes.items():
            ordered = sorted(ticks, key=lambda tick: tick[0])
            prices = [price for _, price, _ in ticks]
            volume = sum(size for *_, size in ticks)
            found[key] = (
                ordered[0][1], max(prices), min(prices), ordered[-1][1], volume, len(ticks)
            )  # fmt: skip
        return found


@dataclass(frozen=True)
class Sample:
    """What the process held at a market second."""

    market_s: float
    rss_mb: float
    blocks: int
    held: dict[str, int]


def held(path: DataPath, book: BarBook) -> dict[str, int]:
    """Return how full everything is that keeps something of a tick once it is handled."""
    states = [state for one in path.slot.memories.values() for state in one.states.values()]
    bars, slot = book.figures(), path.slot
    return {
        "prices_of_the_filter": sum(len(one.recent_micros) for one in states),
        "prints_of_the_filter": sum(len(one.seen) for one in states),
        "half_minutes_of_the_filter": sum(len(one.rest.means) for one in states),
        "held_ticks_of_the_filter": sum(len(one.held) for one in states),
        "lines_of_the_tiers": sum(len(one.tiers.lines) for one in slot.memories.values()),
        "words_for_a_feed_that_starts": len(slot.told),
        "bars": bars["open"] + bars["waiting"],
        "outbox": len(path.gate.outbox.pending()[1]),
        "events": 0 if path.publisher is None else len(path.publisher.events.waiting),
        "messages": path.runtime.mailbox_figures()["waiting"],
    }


def bounds() -> dict[str, int]:
    """Return how much each of these may hold, whatever comes."""
    both, symbols = len(NAMES) * len(SYMBOLS), len(SYMBOLS)
    return {
        "prices_of_the_filter": both * MEDIAN_TICKS,
        "prints_of_the_filter": both * RING_TICKS,
        "half_minutes_of_the_filter": both * BUCKETS,
        "held_ticks_of_the_filter": both * HELD_TICKS_MAX,
        "lines_of_the_tiers": both * len(Source),
        "words_for_a_feed_that_starts": TOLD_MAX,
        "bars": DONE_MAX + 2 * symbols,
        "outbox": symbols,
        "events": EVENTS_MAX,
    }


async def stored(dsn: str) -> dict[Key, tuple[int, ...]]:
    """Return the same of what PostgreSQL holds."""
    async with connected(dsn) as connection:
        rows = await connection.fetch(
            "SELECT symbol, end_ns, open_micros, high_micros, low_micros, close_micros, volume,"
            " ticks FROM trade.minute_bar"
        )
    return {(row["symbol"], row["end_ns"]): tuple(row)[2:] for row in rows}


async def _hours(dsn: str, url: str, folder: Path, speed: float, hours: float) -> dict[str, Any]:
    pool = PgPool(dsn, MonotonicClock())
    path = DataPath(SYMBOLS, url, speed=speed, market_ns=START_NS)
    book, log = BarBook(round(SETTLE_NS * speed)), Log(folder / "admitted")
    path.hub.subscribe("log", log.take, None, is_tape=True)
    bars: list[Bars] = []

    def keeper() -> Bars:
        bars.append(Bars(book, PgMinuteBars(pool), path.hub, path.market))
        return bars[-1]

    path.add(ChildSpec(id="bars", start=keeper, shutdown=10.0))
    vendor = Part(
        "vendor",
        None,
        symbols=SYMBOLS,
        seed=2,
        speed=speed,
        mono_ns=path.market.mono_ns,
        market_ns=path.market.market_ns,
    )
    readers = Part("readers", None, url=url, symbols=SYMBOLS)
    samples: list[Sample] = []
    sent = received = 0
    began_s = time.monotonic()
    try:
        await path.start(vendor.first["port"])
        per_s, began_ns = len(SYMBOLS) * PER_S * speed, path.market.now_ns()
        while (passed_s := (path.market.now_ns() - began_ns) / NS_PER_S) < hours * HOUR_S:
            answer = await vendor.ask(
                do="send", per_s=per_s, seconds=SLICE_REAL_S, ticks=FRAME_TICKS
            )
            sent += len(answer.pop("frames")) * FRAME_TICKS
            path.seen.clear()
            gc.collect()
            rss_mb, blocks = memory_mb(os.getpid())["rss_mb"], sys.getallocatedblocks()
            samples.append(Sample(passed_s, rss_mb, blocks, held(path, book)))
        received = await path.settled(sent)
        seen = await readers.ask(tell=True)
    finally:
        await path.stop()
        vendor.close()
        readers.close()
    lasted_s, load = time.monotonic() - began_s, load_average()
    counters, found, kept = path.hub.counters, log.folded(), await stored(dsn)
    await pool.close()
    return {
        "load_during": load,
        "symbols": len(SYMBOLS),
        "speed": speed,
        "lasted_s": round(lasted_s),
        "market_s": round(samples[-1].market_s),
        "sent": sent,
        "received": received,
        "lost_before_the_feeds": sent - received,
        "refused": counters.refused,
        "admitted": counters.admitted,
        "admitted_in_the_log": log.count,
        "written_to_redis": counters.published,
        "bars_of_the_log": len(found),
        "bars_stored": len(kept),
        "bars_that_differ": sum(found.get(key) != kept.get(key) for key in found | kept),
        "book": book.figures(),
        "gate": {"gaps": path.gate.gaps, "duplicates": path.gate.duplicates},
        "readers": seen,
        "rss_mb": _growth([(one.market_s, one.rss_mb) for one in samples]),
        "allocated_blocks": _growth([(one.market_s, one.blocks) for one in samples]),
        "bounds": bounds(),
        "by_tenths": [asdict(one) for one in _tenths(samples)],
    }


def _tenths(samples: list[Sample]) -> list[Sample]:
    """Return the first sample, and the last one of each tenth of the time."""
    whole_s = samples[-1].market_s
    found = {0: samples[0]}
    for one in samples[1:]:
        found[math.ceil(TENTHS * one.market_s / whole_s)] = one
    return list(found.values())


def _growth(points: list[tuple[float, float]]) -> dict[str, float | None]:
    """Return how a figure went on after the warm-up, and in the second half alone."""
    warm = points[int(len(points) * WARM_UP_SHARE) :]
    slopes = (slope_an_hour(warm), slope_an_hour(points[len(points) // 2 :]))
    whole, late = (None if one is None else round(one, 2) for one in slopes)
    return {
        "first": points[0][1],
        "warm": warm[0][1],
        "last": warm[-1][1],
        "max": max(value for _, value in points),
        "slope_a_market_hour": whole,
        "slope_a_market_hour_second_half": late,
    }


def run(speed: float = SPEED, hours: float = 1.0) -> dict[str, Any]:
    """Play the hours and return the figures. Units stand in the names."""
    with own_stores() as (dsn, url):
        folder = Path(tempfile.mkdtemp(prefix="tradebox-bench-"))
        try:
            return uvloop.run(_hours(dsn, url, folder, speed, hours))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Play the hours and keep the result."""
    measured = run(*(float(one) for one in sys.argv[1:3]))
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    result = {
        "name": "data_hour",
        "date": date,
        "machine": machine(),
        "versions": versions(),
        "measured": measured,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{date}-data_hour.json"
    path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    print(json.dumps(measured))
    return 0 if not measured["bars_that_differ"] else 1


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
