"""The last line of a run: what it did, from PostgreSQL and the shared counters."""

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from tradebox.actors.printer import iso_utc
from tradebox.adapters.postgres.run_report import PgRunReport
from tradebox.errors import StoreUnavailable
from tradebox.supervision.launch_options import RunFacts

if TYPE_CHECKING:
    from tradebox.app.engine import Plant


async def run_summary(plant: "Plant") -> dict[str, Any]:
    """Return the engine's part of the summary; with PostgreSQL away the figures are null."""
    summary: dict[str, Any] = {
        "profile": plant.settings.profile,
        "world": plant.world or None,
        "run_id": plant.run.run_id,
        "orders_sent": None,
        "fills_booked": None,
        "plans_closed": None,
        "positions": None,
    }
    try:
        report = await PgRunReport(plant.pool).report(plant.run.run_id)
    except StoreUnavailable as error:
        return {**summary, "problem": error.message}
    plans = [
        {**plan, "steps": [_step(step) for step in plan["steps"]]} for plan in report.plans_closed
    ]
    return {
        **summary,
        "orders_sent": report.orders_sent,
        "fills_booked": report.fills_booked,
        "plans_closed": plans,
        "positions": report.positions,
    }


def render_json(summary: Mapping[str, object] | None, facts: RunFacts) -> str:
    """Return the whole summary as one JSON line."""
    return orjson.dumps(_whole(summary, facts)).decode()


def render_text(summary: Mapping[str, object] | None, facts: RunFacts) -> str:
    """Return the summary as one line for a person."""
    whole = _whole(summary, facts)
    ticks = whole["ticks"]
    plans = whole.get("plans_closed") or []
    world = f"{whole['world']} " if whole.get("world") else ""
    return (
        f"{world}done: ticks {ticks['received']} received, {ticks['admitted']} admitted,"
        f" {ticks['published']} published · orders {whole.get('orders_sent')}"
        f" · fills {whole.get('fills_booked')} · plans closed {len(plans)}"
        f" · restarts {whole['restarts']}"
    )


def _whole(summary: Mapping[str, object] | None, facts: RunFacts) -> dict[str, Any]:
    counters = facts.counters
    names = ("received", "admitted", "published", "refused")
    return {
        "summary": True,
        **(summary or {}),
        "ticks": {name: counters.get(f"ticks_{name}", 0) for name in names},
        "restarts": facts.engine_deaths + facts.server_restarts + counters.get("restarts", 0),
        "exit_code": facts.exit_code,
    }


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    price: Decimal = step["price"]
    return {
        "kind": step["kind"],
        "price": float(price),
        "quantity": step["quantity"],
        "source": step["source"],
        "at": iso_utc(step["at_ns"]),
        "reason": step["reason"],
    }
