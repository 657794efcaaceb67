"""A price in the controller's mailbox to order bytes at the gateway, on a whole run.

Rules of this file:
- every hop is real: `tradebox run` in profile sim, PostgreSQL commits, TWS bytes on loopback;
- the floor is taken in between, under the same load: one bare commit of a row as large as an
  order intent with the same PostgreSQL, and one write and read over loopback TCP;
- the end of a sample is the gateway's own clock when it has the entry's bytes, before it answers or
  writes its ledger; CLOCK_MONOTONIC is one for all processes of a box;
- the stages between are the engine's own stamps, told after the bytes have left.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from bench import plan_flow
from bench.live_run import LiveRun, live_run
from bench.loopback import Loopback
from bench.machine import load_average, memory_mb, ratio, spread

TRADE_S = 60.0
PLANS_PER_S = 2.0
FLOOR_PERIOD_S = 0.1
WARM_UP_S = 3.0
SETTLE_S = 1.0
SPEEDS = {"60": 1.75, "2000": 103.0}
"""Ticks a second that are aimed at, and the market's speed that brings about so many."""

_INTENT = """
INSERT INTO trade.broker_order (order_ref, plan_id, account, account_id, symbol, con_id, role,
    side, quantity, order_type, limit_price, stop_price, tif, parent_ref, client_id, order_id,
    state, run_id, epoch, reason)
VALUES ($1, '20160104-0001-AAPL', 'paper', 'DU0000000', 'AAPL', 265598, 'entry', 'BUY', 1, 'MKT',
    NULL, NULL, 'DAY', NULL, 11, 0, 'never_sent', 'bench', 0, 'the floor: a commit and no more')
"""


class Floor:
    """What no order path on this box can be faster than."""

    def __init__(self) -> None:
        self.commit_us: list[float] = []
        self.loopback_us: list[float] = []

    async def keep_measuring(self, dsn: str, until_s: float) -> str:
        """Measure at a slow pace; return what `synchronous_commit` says."""
        connection = await asyncpg.connect(dsn)
        loopback = Loopback()
        try:
            setting = str(await connection.fetchval("SHOW synchronous_commit"))
            statement = await connection.prepare(_INTENT)
            number = 0
            while time.monotonic() < until_s:
                began_ns = time.perf_counter_ns()
                await statement.fetch(f"bench-{number:06d}")
                self.commit_us.append((time.perf_counter_ns() - began_ns) / 1000)
                self.loopback_us.append(loopback.pass_over())
                number += 1
                await asyncio.sleep(FLOOR_PERIOD_S)
        finally:
            loopback.close()
            await connection.close()
        return setting


async def _trade(run: LiveRun, dsn: str) -> dict[str, Any]:
    floor = Floor()
    async with plan_flow.flow_into(run, dsn) as flow:
        await flow.keep_asking(PLANS_PER_S, time.monotonic() + WARM_UP_S)
        warm_ns, began_s = time.monotonic_ns(), time.monotonic()
        before = run.launcher()["counters"]
        until_s = began_s + TRADE_S
        setting, _ = await asyncio.gather(
            floor.keep_measuring(dsn, until_s), flow.keep_asking(PLANS_PER_S, until_s)
        )
        launcher, passed_s = run.launcher(), time.monotonic() - began_s
        measured = {
            "load_during": load_average(),
            "memory": {
                "engine": memory_mb(launcher["engine_pid"]),
                "launcher": memory_mb(launcher["pid"]),
            },
        }
        await asyncio.sleep(SETTLE_S)
        found = await plan_flow.samples(flow, run.ledger(), run.log())
    ticks = launcher["counters"]["ticks_received"] - before["ticks_received"]
    kept = [one for one in found if one.gateway_mono_ns > warm_ns]
    to_gateway = spread([one.mailbox_to_gateway_us for one in kept], 1)
    to_mailbox = spread([one.socket_to_mailbox_us for one in kept], 1)
    third = len(kept) // 3
    commit, loopback = spread(floor.commit_us, 1), spread(floor.loopback_us, 1)
    floor_p50_us, floor_p99_us = (commit[share] + loopback[share] for share in ("p50", "p99"))
    return {
        **measured,
        "ticks_per_s": round(ticks / passed_s),
        "plans_per_s": PLANS_PER_S,
        "plans_asked": flow.asked,
        "mailbox_to_gateway_us": to_gateway,
        "mailbox_to_gateway_p50_us_as_plans_open": {
            "first_third": _p50_us(kept[:third]),
            "last_third": _p50_us(kept[-third:]),
        },
        "stages_us": _stages([one.stages_us for one in kept if one.stages_us]),
        "socket_to_mailbox_us": to_mailbox,
        "ratio_socket_to_mailbox_p50": ratio(to_mailbox["p50"], loopback["p50"]),
        "floor": {
            "commit_us": commit,
            "loopback_us": loopback,
            "p50_us": round(floor_p50_us, 1),
            "p99_us": round(floor_p99_us, 1),
            "synchronous_commit": setting,
        },
        "ratio_to_floor_p50": ratio(to_gateway["p50"], floor_p50_us),
        "ratio_to_floor_p99": ratio(to_gateway["p99"], floor_p99_us),
    }


def _stages(found: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Return where the time between mailbox and gateway goes."""
    return {stage: spread([one[stage] for one in found], 1) for stage in plan_flow.STAGES if found}


def _p50_us(kept: Sequence[plan_flow.Sample]) -> float:
    return spread([one.mailbox_to_gateway_us for one in kept], 1)["p50"]


def run() -> dict[str, Any]:
    """Trade at both rates, under a minute each, and return the figures. Units: in the names."""
    found = {}
    for rate, speed in SPEEDS.items():
        config = {**plan_flow.CONFIG, "sim": {"demo_plans": False, "speed": speed}}
        with live_run(config) as started, plan_flow.stores_of(started) as dsn:
            found[rate] = {"speed": speed, **asyncio.run(_trade(started, dsn))}
    return {**found["60"], "at_2000_ticks_per_s": found["2000"]}
