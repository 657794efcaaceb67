"""`python -m bench.data_hour [SPEED [HOURS]]`: 1,000 symbols for hours of the market, at speed.

Rules of this file:
- the path is the engine's, Redis and PostgreSQL real; the vendor is a process of its own whose cap
  is a setting here, as Finnhub's is in the configuration;
- every admitted tick is logged to a file beside; after the hours the log is folded anew, the slow
  way, and compared with the bars that PostgreSQL holds: each bar, each field;
- memory is read all the while; its slopes are those after the warm-up, of the resident set and of
  what Python's own allocator has handed out and not got back.
"""

import asyncio
import contextlib
import gc
import json
import os
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from bench.data_path import DataPath, Part
from bench.machine import load_average, machine, memory_mb, versions
from bench.report import RESULTS
from bench.soak import WARM_UP_SHARE, slope_an_hour
from tradebox.actors.bars import Bars
from tradebox.adapters.embedded import postgres, valkey
from tradebox.adapters.embedded.addresses import postgres_dsn, redis_url, superuser_dsn
from tradebox.adapters.embedded.secrets import Login, role_passwords
from tradebox.adapters.postgres.bars import PgMinuteBars
from tradebox.adapters.postgres.connect import connected
from tradebox.adapters.postgres.migrate import migrate
from tradebox.adapters.postgres.pool import PgPool
from tradebox.config import Home, Settings
from tradebox.domain.market import AdmittedTick
from tradebox.domain.minute_bars import MINUTE_NS, SETTLE_NS, BarBook
from tradebox.supervision.clock import MonotonicClock
from tradebox.supervision.spec import ChildSpec

SYMBOLS = [f"S{number:04d}" for number in range(1000)]
SPEED = 30.0
HOUR_S = 3600.0
PER_S = 0.1
"""Prints of one symbol a market second."""
SLICE_REAL_S = 4.0
SERIES_MAX = 60
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
    memory: list[tuple[float, float]] = []
    blocks: list[tuple[float, float]] = []
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
            memory.append((passed_s, memory_mb(os.getpid())["rss_mb"]))
            blocks.append((passed_s, sys.getallocatedblocks()))
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
        "market_s": round(memory[-1][0]),
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
        "rss_mb": _growth(memory),
        "allocated_blocks": _growth(blocks),
        "rss_mb_by_market_s": memory[:: max(1, len(memory) // SERIES_MAX)],
    }


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
