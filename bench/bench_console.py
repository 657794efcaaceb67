"""The console's budget on a pty: bytes, CPU, memory, keys, start; and what ten of them cost.

Rules of this file:
- behind it is a whole run in profile sim with PLANS plans and hundreds of ticks a second;
- the engine's loop lag is told of PAIRS pairs of windows on one run: nobody looking, then CONSOLES
  consoles, drained as terminals do, past their start; both loops' lags are the engine's own;
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
from bench.machine import load_average, quantile, spread
from bench.pty_meter import Console
from tradebox.domain.orders import AccountName

PLANS = 200
AWAY = Decimal("0.9")
SPEED = 28
SCREEN_S = 6.0
LAG_S = 15.0
LAG_SETTLE_S = 12.0
METER_S = 0.05
PAIRS = 5
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


def _lags_ms(run: LiveRun) -> list[float]:
    """Return the engine's lags of the last LAG_S seconds."""
    found = (run.forward("lags") or {"recent_ms": []})["recent_ms"]
    return list(found[-int(LAG_S / METER_S) :])


def _drained(consoles: list[Console], for_s: float) -> None:
    until_s = time.monotonic() + for_s
    while time.monotonic() < until_s:
        for console in consoles:
            console.drain(0.01)
        time.sleep(0.05)


def _pair(run: LiveRun) -> tuple[list[float], list[float], int]:
    """Return the lags of one window without and one with consoles, and how many were painting."""
    _drained([], LAG_S + METER_S)
    alone = _lags_ms(run)
    consoles = [Console(run.home.root) for _ in range(CONSOLES)]
    try:
        _drained(consoles, LAG_SETTLE_S)
        before = [len(console.chunks) for console in consoles]
        _drained(consoles, LAG_S + METER_S)
        seen = sum(len(one.chunks) > was for one, was in zip(consoles, before, strict=True))
        return alone, _lags_ms(run), seen
    finally:
        for console in consoles:
            console.close()


def lag(run: LiveRun) -> dict[str, Any]:
    """Return the engine's loop lag without and with consoles attached."""
    pairs = [_pair(run) for _ in range(PAIRS)]

    def ratio(share: float) -> float:
        found = [quantile(many, share) / quantile(alone, share) for alone, many, _ in pairs]
        return round(statistics.median(found), 3)

    return {
        "consoles": CONSOLES,
        "consoles_painting": min(seen for *_, seen in pairs),
        "pairs": PAIRS,
        "window_s": LAG_S,
        "alone_ms": spread([value for alone, _, _ in pairs for value in alone]),
        "attached_ms": spread([value for _, many, _ in pairs for value in many]),
        "median_ratio_p50": ratio(0.50),
        "median_ratio_p99": ratio(0.99),
    }


def run() -> dict[str, Any]:
    """Meter one console on a busy run, then the lag without and with ten. Units in the names."""
    with live_run(CONFIG) as started, plan_flow.stores_of(started) as dsn:
        asked = asyncio.run(_plans(started, dsn))
        before, from_s = started.launcher()["counters"]["ticks_received"], time.monotonic()
        measured = {**starts(started), **screens(started)}
        ticks = started.launcher()["counters"]["ticks_received"] - before
        rate = round(ticks / (time.monotonic() - from_s))
        measured = {**measured, "load_during": load_average(), "engine_lag": lag(started)}
    return {
        **measured,
        "plans_asked": asked,
        "ticks_per_s": rate,
        "budget": BUDGET,
    }
