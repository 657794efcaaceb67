"""What the judge looks at in a run: the ledger file, PostgreSQL, and the official client.

Rules of this file:
- nothing is asked of the engine;
- positions and open orders come from the official client, connected anew for each look.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from support.books import account as account_of
from support.books import ledger
from support.judge import Seen, Span
from support.official import OfficialClient
from support.run_bench import Bench

ACCOUNTS = ("paper", "live")
CLIENT_ID = 77
Rows = Callable[[str], list[dict[str, Any]]]

ORDERS = """
SELECT order_ref, plan_id, account, account_id, symbol, role, side, quantity, filled, state,
       order_id, client_id, stop_price, created_at FROM trade.broker_order ORDER BY created_at
"""
MOVES = """
SELECT order_ref, account, data ->> 'state' AS state, data ->> 'cause' AS cause, recorded_at
FROM trade.event WHERE kind = 'order_moved' ORDER BY seq
"""
FILLS = "SELECT exec_id, order_ref, plan_id, account, symbol, side, quantity FROM trade.fill"
HELD = "SELECT account, symbol, quantity FROM trade.position"
ADOPTED = """
SELECT account, symbol, quantity, made_at FROM trade.adjustment
WHERE plan_id IS NOT NULL AND reason = 'adopted by a person'
"""
QUARANTINE = "SELECT account, symbol, since FROM trade.quarantine"
ALERTS = "SELECT account, symbol, severity, kind, text, recorded_at FROM trade.alert"


def by_official_client(box: Bench) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], Any]]:
    """Return positions and open orders of both accounts as the official client sees them."""
    ready = json.loads((box.home / "sim" / "ready.json").read_text())
    positions: dict[tuple[str, str], int] = {}
    orders: dict[tuple[str, str], Any] = {}
    for account in ACCOUNTS:
        host, _, port = ready[f"gateway_{account}"].rpartition(":")
        with OfficialClient((host, int(port)), CLIENT_ID) as client:
            held, working = client.look()
        positions |= {(account, symbol): shares for symbol, shares in held.items()}
        orders |= {(account, ref): order for ref, order in working.items()}
    return positions, orders


def by_control_port(box: Bench) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], Any]]:
    """Return the same as the simulator tells it: cheap, for waiting."""
    positions: dict[tuple[str, str], int] = {}
    orders: dict[tuple[str, str], Any] = {}
    for account in ACCOUNTS:
        seen = account_of(box, account)
        positions |= {(account, row["symbol"]): row["quantity"] for row in seen["positions"]}
        orders |= {
            (account, row["order_ref"]): (row["symbol"], row["side"], row["quantity"])
            for row in seen["open_orders"]
        }
    return positions, orders


def look(
    box: Bench, spans: Iterable[Span] = (), rows: Rows | None = None, *, by_client: bool = True
) -> Seen:
    """Look at a run from outside.

    rows: how PostgreSQL is asked, else anew for each question; by_client: positions and open orders
    come from the official client.
    """
    ask = rows or box.rows
    positions, orders = by_official_client(box) if by_client else by_control_port(box)
    mono_ns = _mono(time.time_ns() - time.monotonic_ns())
    return Seen(
        ledger=ledger(box),
        orders=[{**row, "mono_ns": mono_ns(row["created_at"])} for row in ask(ORDERS)],
        moves=[{**row, "mono_ns": mono_ns(row["recorded_at"])} for row in ask(MOVES)],
        fills=ask(FILLS),
        held={(row["account"], row["symbol"]): row["quantity"] for row in ask(HELD)},
        adopted=[
            (row["account"], row["symbol"], row["quantity"], mono_ns(row["made_at"]))
            for row in ask(ADOPTED)
        ],
        quarantined={
            (row["account"], row["symbol"]): mono_ns(row["since"]) for row in ask(QUARANTINE)
        },
        alerts=[{**row, "mono_ns": mono_ns(row["recorded_at"])} for row in ask(ALERTS)],
        positions=positions,
        open_orders=orders,
        account_ids=_account_ids(box),
        spans=list(spans),
        now_ns=time.monotonic_ns(),
    )


def _mono(offset_ns: int) -> Callable[[Any], int]:
    """Return what turns a time of PostgreSQL into monotonic ns."""

    def convert(moment: Any) -> int:
        return round(moment.timestamp() * 1e6) * 1000 - offset_ns

    return convert


def _account_ids(box: Bench) -> dict[str, str]:
    identity = json.loads((box.home / "sim" / "identity.json").read_text())
    return {name: identity[f"account_{name}"] for name in ACCOUNTS}


def told(seen: Seen, kinds: Sequence[str], account: str = "", since_ns: int = 0) -> list[str]:
    """Return the texts of the alerts of these kinds."""
    return [
        alert["text"]
        for alert in seen.alerts
        if alert["kind"] in kinds
        and account in ("", alert["account"])
        and alert["mono_ns"] >= since_ns
    ]
