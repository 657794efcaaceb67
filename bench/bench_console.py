"""The console's budget on a pty: bytes, CPU, memory, keys, start; and what ten of them cost.

Rules of this file:
- behind it is a whole run in profile sim with PLANS plans and hundreds of ticks a second;
- the engine's loop lag is the figure of two runs beside each other, without and with CONSOLES
  consoles, each from its start, so that both hold the same warm-up;
- the floor of a key is a pass through a bare pty that echoes.
"""

import asyncio
import os
import pty
import statistics
import termios
import time
import tty
from decimal import Decimal
from typing import Any

import asyncpg

from bench import plan_flow
from bench.live_run import LiveRun, live_run
from bench.machine import load_average, spread
from bench.pty_meter import Console
from tradebox.domain.orders import AccountName

PLANS = 200
AWAY = Decimal("0.9")
SPEED = 50
SCREEN_S = 6.0
LAG_S = 25.0
CONSOLES = 10
STARTS = 5
PLANS_PER_S = 25
CONFIG = {**plan_flow.CONFIG, "sim": {"demo_plans": False, "speed": SPEED}}
SCREENS = {
    "1": "overview", "2": "plans", "3": "orders", "4": "feeds", "5": "tree", "6": "runs",
    "7": "journal",
}  # fmt: skip
KEYS = (b"2", b"3", b"4", b"5", b"7", b"1", b"j", b"j", b"k", b"k", b"s", b"S", b"S", b"?", b"\x1b")
"""Each of them changes what is shown; the last of one round leaves the overview for the next."""
_LAST = "SELECT DISTINCT ON (symbol) symbol, close FROM trade.bar ORDER BY symbol, end_ns DESC"
BUDGET = {
    "first_paint_kib": 32, "kib_per_s": 8, "kib_worst_second": 40, "cpu_percent": 3,
    "memory_mb": 96, "key_ms": 100, "start_s": 1.5,
}  # fmt: skip


async def _plans(run: LiveRun, dsn: str) -> int:
    """Ask for PLANS plans: half enter at the market, half wait for a far price."""
    connection = await asyncpg.connect(dsn)
    try:
        closes = {row["symbol"]: row["close"] for row in await connection.fetch(_LAST)}
    finally:
        await connection.close()
    async with plan_flow.flow_into(run, dsn) as flow:
        began_s = time.monotonic()
        for number in range(PLANS):
            symbol = flow.symbols[number % len(flow.symbols)]
            flow.more = {"side": "long"}
            if number // len(flow.symbols) % 2 and symbol in closes:
                price = (closes[symbol] * AWAY).quantize(Decimal("0.01"))
                flow.more["entry"] = {"type": "limit", "price": str(price), "valid_until": 300}
            await flow.ask(tuple(AccountName)[number // 2 % 2], symbol)
            await asyncio.sleep(max(0.0, began_s + number / PLANS_PER_S - time.monotonic()))
        return flow.asked


def bare_key_ms(passes: int = 200) -> float:
    """Return the median time of a byte through a bare pty and back."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    termios.tcflush(slave, termios.TCIOFLUSH)
    found = []
    for _ in range(passes):
        began_s = time.perf_counter()
        os.write(master, b"x")
        os.write(slave, os.read(slave, 1))
        os.read(master, 1)
        found.append((time.perf_counter() - began_s) * 1000)
    os.close(master)
    os.close(slave)
    return round(statistics.median(found), 4)


def starts(run: LiveRun) -> dict[str, Any]:
    """Start a console a few times; how soon is there a live figure, and how much was written?"""
    took_s, commands_s, paints = [], [], []
    for _ in range(STARTS):
        for by_command, found in ((False, took_s), (True, commands_s)):
            console = Console(run.home.root, by_command=by_command)
            try:
                found.append(console.until_live())
                console.drain(0.4)
                paints.append(sum(size for _, size in console.chunks) / 1024)
            finally:
                console.close()
    return {
        "start_s": spread(took_s),
        "start_by_command_s": spread(commands_s),
        "first_paint_kib": round(max(paints), 1),
    }


def screens(run: LiveRun) -> dict[str, Any]:
    """Show every screen for a while, then press keys."""
    console = Console(run.home.root)
    try:
        console.until_live()
        console.drain(4.0)  # the plotting library comes three seconds after the start
        found = {}
        for key, name in SCREENS.items():
            os.write(console.master, key.encode())
            console.drain(1.5)
            found[name] = console.watch(SCREEN_S)
        keys_ms = [console.press(key) * 1000 for key in KEYS * 3]
        shown = run.status() or {}
        return {
            "screens": found,
            "kib_per_s_worst_screen": max(one["kib_per_s"] for one in found.values()),
            "kib_worst_second": max(one["kib_worst_second"] for one in found.values()),
            "cpu_percent_worst_screen": max(one["cpu_percent"] for one in found.values()),
            "memory_mb": console.memory_mb(),
            "key_ms": spread(keys_ms),
            "bare_pty_key_ms": bare_key_ms(),
            "active_positions": len(shown.get("positions", [])),
        }
    finally:
        console.close()


def lag(count: int) -> dict[str, Any]:
    """Return the engine's loop lag of a run of its own with that many consoles attached."""
    with live_run(CONFIG) as run, plan_flow.stores_of(run) as dsn:
        consoles = [Console(run.home.root) for _ in range(count)]
        try:
            asked = asyncio.run(_plans(run, dsn))
            until_s = time.monotonic() + LAG_S
            while time.monotonic() < until_s:
                for console in consoles:
                    console.drain(0.01)
                time.sleep(0.05)
            header = run.blob()["header"]
            seen = sum(1 for console in consoles if console.chunks)
        finally:
            for console in consoles:
                console.close()
    vitals = header["vitals"]
    return {
        "consoles": count,
        "consoles_painting": seen,
        "plans_asked": asked,
        "lag_p99_ms": vitals["lag_p99_ms"],
        "lag_max_ms": vitals["lag_max_ms"],
    }


def run() -> dict[str, Any]:
    """Meter one console on a busy run, then the lag without and with ten. Units in the names."""
    with live_run(CONFIG) as started, plan_flow.stores_of(started) as dsn:
        asked = asyncio.run(_plans(started, dsn))
        before, from_s = started.launcher()["counters"]["ticks_received"], time.monotonic()
        measured = {**starts(started), **screens(started)}
        ticks = started.launcher()["counters"]["ticks_received"] - before
        rate = round(ticks / (time.monotonic() - from_s))
        measured = {**measured, "load_during": load_average()}
    pairs = [lag(0), lag(CONSOLES)]
    return {
        **measured,
        "plans_asked": asked,
        "ticks_per_s": rate,
        "engine_lag": pairs,
        "budget": BUDGET,
    }
