"""Plans for the kill drill: short lives that show everything an order path does.

Rules of this file:
- one active plan a symbol and account at a time; the choice is seeded, the prices are the market's;
- sizes are such that many an entry, slice and exit is filled in parts;
- levels lie a few increments apart, so that a life is some seconds at the drill's speed.
"""

import asyncio
import contextlib
import random
from decimal import Decimal
from typing import Any

import asyncpg

from bench.live_run import LiveRun
from bench.plan_flow import Flow
from tradebox.domain.orders import AccountName
from tradebox.domain.plan_document import document_from
from tradebox.errors import NotRunning, StoreUnavailable
from tradebox.sim.control.client import ask

PLANS = 6
NOTIONAL_USD = 24_000
LOOK_S = 0.3
INCREMENT = Decimal("0.01")
STOP_INCREMENTS_MIN = 8
LIMIT_SHARE = 0.25
MINUTES = 4
_ACTIVE = "SELECT account, symbol FROM trade.plan WHERE closed_at IS NULL"


def document(rng: random.Random, symbol: str, price: Decimal) -> dict[str, Any]:
    """Return the values of a plan: an entry, two slices, a break-even, a trail, a time exit."""
    least = INCREMENT * STOP_INCREMENTS_MIN / price * 100
    stop = max(Decimal("0.15"), least.quantize(Decimal("0.01")) + Decimal("0.01"))
    trail = max(Decimal("0.06"), stop / 2)
    entry: dict[str, Any] = {"type": "market", "valid_until": 2}
    side = rng.choice(("long", "short"))
    if rng.random() < LIMIT_SHARE:
        entry = {"type": "limit", "price": str(price.quantize(INCREMENT)), "valid_until": 2}
    return {
        "symbol": symbol,
        "side": side,
        "size": {"quantity": max(6, int(NOTIONAL_USD / price))},
        "entry": entry,
        "stop": {"percent": str(stop)},
        "steps": [
            {"at": {"r": "0.2"}, "move_stop": {"to": "break_even"}},
            {"at": {"r": "0.25"}, "take": {"fraction": "0.3"}},
            {"at": {"r": "0.4"}, "take": {"fraction": "0.3"}},
            {"at": {"r": "0.4"}, "trail": {"percent": str(trail)}},
        ],
        "time_exit": {"after_minutes": rng.choice((1, 2, MINUTES))},
    }


async def keep_alive(run: LiveRun, flow: Flow, rng: random.Random) -> None:
    """Keep as many plans active on each account; without an end."""
    while True:
        with contextlib.suppress(asyncpg.PostgresError, StoreUnavailable, NotRunning, OSError):
            await _fill_up(run, flow, rng)
        await asyncio.sleep(LOOK_S)


async def _fill_up(run: LiveRun, flow: Flow, rng: random.Random) -> None:
    async with flow.pool.connection() as connection:
        rows = await connection.fetch(_ACTIVE)
    active = [(row["account"], row["symbol"]) for row in rows]
    quotes: Any = (await asyncio.to_thread(ask, run.home.sim_dir, "/market"))["symbols"]
    prices = {one["symbol"]: Decimal(one["last"]) for one in quotes if Decimal(one["last"]) > 0}
    for account in AccountName:
        taken = {symbol for name, symbol in active if name == account}
        free = sorted(set(prices) & set(flow.symbols) - taken)
        for symbol in rng.sample(free, min(len(free), max(0, PLANS - len(taken)))):
            made = document_from(document(rng, symbol, prices[symbol]))
            now_ns = flow.clock.now_ns()
            await flow.store.request_plan(made, account, now_ns=now_ns, author="drill")
            flow.asked += 1
