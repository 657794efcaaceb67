"""Judges a drill from outside: ledger against PostgreSQL, and the official client's word.

Rules of this file:
- nothing is asked of the engine;
- a fault is a sentence; figures stand beside, they are never a verdict.
"""

import asyncio
import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.ledger_fold import Key, LedgerFold
from bench.live_run import LiveRun
from bench.report import ROOT
from bench.uncovered import Absence
from tradebox.adapters.postgres.pool import PgPool

sys.path.insert(0, str(ROOT / "tests"))

_client_ids = itertools.count(100)
"""Each look has its own: the gateway may still hold the one before."""
_FILLS = "SELECT exec_id, account, symbol, side, quantity FROM trade.fill"
_HELD = "SELECT account, symbol, quantity FROM trade.position WHERE quantity <> 0"
_ORDERS = """
SELECT o.order_ref, o.plan_id, o.role, o.side, o.quantity, o.created_at,
       coalesce(sum(f.quantity), 0)::integer AS booked
FROM trade.broker_order AS o LEFT JOIN trade.fill AS f USING (order_ref)
GROUP BY o.order_ref
"""
_PLANS = """
SELECT p.plan_id, p.account, p.side, p.state, p.close_reason, v.document
FROM trade.plan AS p JOIN trade.plan_version AS v USING (plan_id, version)
"""
_STEPS = "SELECT kind, count(*) AS count FROM trade.plan_step GROUP BY kind"
_ALERT_TEXTS = """
SELECT account, kind, text, recorded_at::text AS at FROM trade.alert
WHERE severity = 'critical' ORDER BY recorded_at
"""
_TEXTS_MAX = 40
_TABLES = ("adjustment", "quarantine", "denial")
_ALERTS = "SELECT kind, count(*) AS count FROM trade.alert WHERE severity = 'critical' GROUP BY 1"


async def books_fault(
    pool: PgPool, fold: LedgerFold, read: Callable[[], object], known: Mapping[str, Any]
) -> str:
    """Return how PostgreSQL and the ledger differ; "" where they are equal.

    known: the executions that must be booked by now. What came since may be under way; positions
    are compared where nothing is.
    """
    read()
    before = len(fold.executions)
    async with pool.connection() as connection:
        rows = await connection.fetch(_FILLS)
        held = {(row["account"], row["symbol"]): row["quantity"] for row in
                await connection.fetch(_HELD)}  # fmt: skip
    read()
    booked = {
        row["exec_id"]: (row["account"], row["symbol"], row["side"], row["quantity"])
        for row in rows
    }
    lost = [exec_id for exec_id, what in known.items() if booked.get(exec_id) != what]
    if lost:
        return f"not booked as executed: {lost[:3]} of {len(lost)}"
    invented = [exec_id for exec_id in booked if exec_id not in fold.executions]
    if invented:
        return f"booked and never executed: {invented[:3]} of {len(invented)}"
    if len(fold.executions) != before or len(booked) != before:
        return ""
    return "" if held == fold.held() else f"positions: {held} booked, {fold.held()} held"


def official_faults(run: LiveRun, fold: LedgerFold) -> list[str]:
    """Return what the official client sees otherwise than the ledger has it."""
    from support.official import OfficialClient

    shown = run.status() or {}
    faults = []
    for row in shown.get("accounts", []):
        host, _, port = row["gateway"].rpartition(":")
        with OfficialClient((host, int(port)), next(_client_ids)) as client:
            positions, orders = client.look()
        mine = {key[1]: shares for key, shares in fold.held().items() if key[0] == row["name"]}
        live = fold.live(row["name"])
        if positions != mine:
            faults.append(f"{row['name']}: the official client sees {positions}, ledger {mine}")
        if orders != live:
            faults.append(f"{row['name']}: the official client sees {orders}, ledger {live}")
    return faults if shown.get("accounts") else ["the gateways' addresses are not told"]


async def final_faults(
    pool: PgPool, fold: LedgerFold, run: LiveRun
) -> tuple[list[str], dict[str, Any]]:
    """Return the faults that only the whole story shows, and its figures."""
    async with pool.connection() as connection:
        orders = {row["order_ref"]: row for row in await connection.fetch(_ORDERS)}
        plans = {row["plan_id"]: row for row in await connection.fetch(_PLANS)}
        steps = {row["kind"]: row["count"] for row in await connection.fetch(_STEPS)}
        alerts = {row["kind"]: row["count"] for row in await connection.fetch(_ALERTS)}
        texts = [dict(row) for row in await connection.fetch(_ALERT_TEXTS)]
        counts = {
            name: await connection.fetchval(f"SELECT count(*) FROM trade.{name}")
            for name in _TABLES
        }
        fills = await connection.fetchval("SELECT count(*) FROM trade.fill")
    faults = _order_faults(fold, orders, plans)
    executed = Counter(fold.executions)
    faults += [f"{name}: {counts[name]} rows" for name in ("adjustment", "quarantine")
               if counts[name]]  # fmt: skip
    held = fold.held()
    if held:
        faults.append(f"held at the end: {held}")
    faults += reused_ids(_sent(run))
    figures = {
        "plans": len(plans),
        "plans_by_end": dict(Counter(row["state"] for row in plans.values())),
        "orders_at_gateway": len(fold.orders),
        "executions": len(executed),
        "fills_booked": fills,
        "steps": steps,
        "critical_alerts": alerts,
        "critical_alerts_first": texts[:_TEXTS_MAX],
        "denials": counts["denial"],
    }
    return faults, figures


def _sent(run: LiveRun) -> list[Any]:
    from support.judge_lives import Lives

    return Lives(list(run.ledger()), {"paper": 11, "live": 12}).sent


def reused_ids(sent: Sequence[Any]) -> list[str]:
    """Return the order ids under which more than one orderRef went out.

    A gateway says 103 to those; it says the same of a stop that is changed as its parent ends.
    """
    refs: dict[tuple[str, int], set[str]] = {}
    for one in sent:
        refs.setdefault((one.account, one.order_id), set()).add(one.ref)
    return [
        f"{account}: order id {order_id} was used for {sorted(found)}"
        for (account, order_id), found in refs.items()
        if len(found) > 1
    ]


class Place:
    """What the judge of the fault matrix needs of a run: its home, and rows of PostgreSQL."""

    def __init__(self, home: Path, pool: PgPool, loop: asyncio.AbstractEventLoop) -> None:
        self.home = home
        self._pool = pool
        self._loop = loop

    def rows(self, query: str, *arguments: object) -> list[dict[str, Any]]:
        """Return what PostgreSQL answers; called from another thread than the pool's."""

        async def ask() -> list[dict[str, Any]]:
            async with self._pool.connection() as connection:
                return [dict(row) for row in await connection.fetch(query, *arguments)]

        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result()


def invariant_faults(place: Place, away: Sequence[Absence]) -> list[str]:
    """Return what the judge of the fault matrix finds, I1 to I12, while nobody was away."""
    from support.judge import Span, judge
    from support.judge_look import look

    spans = [Span("away", one.account, "", one.begin_ns, one.clean_ns) for one in away]
    seen = look(place, spans, place.rows)  # type: ignore[arg-type]  # of a bench it needs the two
    return [f"{v.rule} {v.account} {v.subject}: {v.text}" for v in judge(seen)]


def _order_faults(
    fold: LedgerFold, orders: Mapping[str, Any], plans: Mapping[str, Any]
) -> list[str]:
    faults = []
    entries: Counter[str] = Counter()
    flows: dict[str, Counter[str]] = {}
    for seen in fold.orders.values():
        known = orders.get(seen.ref)
        if known is None:
            faults.append(f"{seen.ref} is at the gateway and not in PostgreSQL")
            continue
        if known["booked"] != seen.filled:
            faults.append(f"{seen.ref}: {seen.filled} filled, {known['booked']} booked")
        entries[known["plan_id"]] += known["role"] == "entry"
        flow = flows.setdefault(known["plan_id"], Counter())
        flow[known["role"]] += seen.filled
        flow["net"] += seen.sign * seen.filled
    faults += [f"{plan} entered {count} times" for plan, count in entries.items() if count > 1]
    for plan_id, flow in flows.items():
        if flow["net"]:
            faults.append(f"{plan_id} ended with {flow['net']} shares: {dict(flow)}")
        values = plans[plan_id]["document"]
        document = json.loads(values) if isinstance(values, str) else values
        parts = [Decimal(one["take"]["fraction"]) for one in document["steps"] if "take" in one]
        if flow["slice"] > int(sum(parts) * flow["entry"]):
            faults.append(f"{plan_id}: {flow['slice']} sliced of {flow['entry']}, meant {parts}")
    return faults


__all__ = [
    "Key",
    "Place",
    "books_fault",
    "final_faults",
    "invariant_faults",
    "official_faults",
    "reused_ids",
]
