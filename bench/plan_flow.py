"""A steady flow of one-share plans into a run, and the orders that came of them.

Rules of this file:
- plans go in as rows, by the store that `tradebox plan add` uses, paced, on both accounts;
- each enters at the market on the first live price;
- a sample pairs an order's evidence in PostgreSQL with the gateway's ledger by orderRef.
"""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from bench.live_run import LiveRun
from tradebox.adapters.embedded.lease import stores
from tradebox.adapters.marketclock import market_clock_of
from tradebox.adapters.postgres.plans import PgPlanStore
from tradebox.adapters.postgres.pool import PgPool
from tradebox.config import load_settings
from tradebox.domain.orders import AccountName
from tradebox.domain.plan_document import document_from
from tradebox.ports.clock import MarketClock
from tradebox.supervision.clock import MonotonicClock

US_NS = 1000
PLACE_ORDER = 3
"""TWS API: the number of placeOrder."""

LIMITS = {
    "orders_per_s_max": 45,
    "orders_per_min_max": 2700,
    "orders_per_day_max": 100_000,
}
CONFIG = {"paper.limits": LIMITS, "live.limits": LIMITS}
"""What a bench widens: the order rate. Every other limit stands."""

_INTENTS = """
SELECT order_ref, account, data ->> 'role' AS role, data ->> 'evidence' AS evidence
FROM trade.event WHERE kind = 'order_intent'
"""


@dataclass
class Flow:
    """Puts plans in. more: further parts of each document; asked: how many went in."""

    store: PgPlanStore
    pool: PgPool
    dsn: str
    clock: MarketClock
    symbols: tuple[str, ...]
    asked: int = 0
    more: dict[str, object] = field(default_factory=dict)

    async def ask(self, account: AccountName, symbol: str) -> None:
        """Store one plan."""
        document = document_from(
            {
                "symbol": symbol,
                "side": "long" if self.asked % 2 else "short",
                "size": {"quantity": 1},
                "entry": {"type": "market", "valid_until": 10},
                "stop": {"percent": "2.0"},
                **self.more,
            }
        )
        now_ns = self.clock.now_ns()
        await self.store.request_plan(document, account, now_ns=now_ns, author="bench")
        self.asked += 1

    async def keep_asking(self, per_s: float, until_s: float) -> None:
        """Ask for plans at that rate, round the symbols and accounts."""
        pairs = [(name, symbol) for symbol in self.symbols for name in AccountName]
        began_s, number = time.monotonic(), 0
        while time.monotonic() < until_s:
            account, symbol = pairs[number % len(pairs)]
            with contextlib.suppress(asyncpg.PostgresError):
                await self.ask(account, symbol)
            number += 1
            await asyncio.sleep(max(0.0, began_s + number / per_s - time.monotonic()))


@contextmanager
def stores_of(run: LiveRun) -> Iterator[str]:
    """Give a bench the run's database; its address. Not to be called inside an event loop."""
    with stores(run.home, load_settings(run.home, environ={})) as addresses:
        yield addresses.postgres_trade


@asynccontextmanager
async def flow_into(run: LiveRun, dsn: str) -> AsyncIterator[Flow]:
    """Open the database of a run for plans."""
    clock = market_clock_of(run.home, load_settings(run.home, environ={}))
    pool = PgPool(dsn, MonotonicClock(), connections_max=3)
    try:
        async with pool.connection() as connection:
            rows = await connection.fetch("SELECT symbol FROM trade.instrument ORDER BY symbol")
        symbols = tuple(row["symbol"] for row in rows)
        yield Flow(PgPlanStore(pool, "bench", 0), pool, dsn, clock, symbols)
    finally:
        await pool.close()


@dataclass(frozen=True)
class Sample:
    """One order whose price and arrival are known. Units: microseconds."""

    account: str
    socket_to_mailbox_us: float
    mailbox_to_gateway_us: float
    gateway_mono_ns: int
    stages_us: dict[str, float] = field(default_factory=dict)


def arrivals(ledger: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return when the first bytes of each order were at the gateway, by orderRef."""
    found: dict[str, int] = {}
    for row in ledger:
        if row["kind"] != "message" or row["message_id"] != PLACE_ORDER:
            continue
        for part in bytes.fromhex(row["payload"]).split(b"\0"):
            if part.startswith(b"tb"):
                found.setdefault(part.decode(), row["mono_ns"])
    return found


STATIONS = ("mailbox", "turn", "asked", "passed", "committed", "sent")
STAGES = ("wait_for_turn", "decide", "gate", "commit", "write", "arrive")
"""What lies between two stations; the last ends when its bytes are at the gateway."""


def stages_of(
    log: Iterable[Mapping[str, Any]], arrived: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    """Return, by orderRef, how long each stage of an entry's way took. Units: microseconds."""
    found = {}
    for line in log:
        if line.get("event") != "entry_sent" or line["order_ref"] not in arrived:
            continue
        at_ns = [line[f"{station}_ns"] for station in STATIONS] + [arrived[line["order_ref"]]]
        if all(at_ns):
            spans = [(end - begin) / US_NS for begin, end in itertools.pairwise(at_ns)]
            found[line["order_ref"]] = dict(zip(STAGES, spans, strict=True))
    return found


async def samples(
    flow: Flow, ledger: Iterable[Mapping[str, Any]], log: Iterable[Mapping[str, Any]] = ()
) -> list[Sample]:
    """Pair every entry's evidence with its order at the gateway; its stages, where a log tells."""
    arrived = arrivals(ledger)
    stages = stages_of(log, arrived)
    async with flow.pool.connection() as connection:
        intents = await connection.fetch(_INTENTS)
    found = []
    for intent in intents:
        at_ns = arrived.get(intent["order_ref"])
        if at_ns is None or intent["role"] != "entry" or not intent["evidence"]:
            continue
        seen = json.loads(intent["evidence"])
        if not seen.get("mailbox_mono_ns") or not seen.get("mono_ns"):
            continue
        found.append(
            Sample(
                intent["account"],
                (seen["mailbox_mono_ns"] - seen["mono_ns"]) / US_NS,
                (at_ns - seen["mailbox_mono_ns"]) / US_NS,
                at_ns,
                stages.get(intent["order_ref"], {}),
            )
        )
    return sorted(found, key=lambda one: one.gateway_mono_ns)
