"""A plan in cells: side, size, cover, R, money and state, the same on every screen.

Rules of this file:
- protection first: the stop's cell begins with its cover, ✓ covered, ± in flight, ✗ not covered;
- a dot stands for what is not known or does not apply.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tradebox_tui import text
from tradebox_tui.text import UNKNOWN, number
from tradebox_tui.theme import Span, sign_style
from tradebox_tui.view import View

Plan = Mapping[str, Any]

PHASES = {
    "requested": ("asked", "dim"),
    "armed": ("armed", "info"),
    "entering": ("enter", "info"),
    "exiting": ("exit", "warn"),
    "closed": ("done", "dim"),
    "cancelled": ("cancel", "dim"),
    "refused": ("denied", "bad"),
}


def plan_key(plan: Plan) -> str:
    """Return the plan's id."""
    return str(plan.get("plan_id"))


def account_letter(plan: Plan) -> Span:
    """Return L for live, P for paper."""
    is_live = plan.get("account") == "live"
    return ("L", "bad+bold") if is_live else ("P", "info")


def symbol(plan: Plan) -> str:
    """Return the symbol."""
    return text.clean(plan.get("symbol") or UNKNOWN)


def side(plan: Plan) -> str:
    """Return LONG or SHORT."""
    return {"BUY": "LONG", "SELL": "SHORT"}.get(str(plan.get("side")), UNKNOWN)


def sign(plan: Plan) -> int:
    """Return +1 for a long plan, -1 for a short one."""
    return -1 if plan.get("side") == "SELL" else 1


def quantity(plan: Plan) -> str:
    """Return held of entered: 60/120; held alone when all is held."""
    held, entered = int(plan.get("quantity") or 0), int(plan.get("initial_quantity") or 0)
    return str(held) if held in (entered, 0) else f"{held}/{entered}"


def r_cell(plan: Plan) -> Span:
    """Return the plan's R-multiple."""
    value = number(plan.get("r_multiple"))
    return text.r_multiple(value), sign_style(None if value is None else float(value))


def pnl_cell(plan: Plan) -> Span:
    """Return the plan's profit in USD, open and realised."""
    value = number(plan.get("pnl_usd"))
    return text.money(value), sign_style(None if value is None else float(value))


def last_cell(plan: Plan) -> Span:
    """Return the last price, in words of its quality where it is not live."""
    quality = plan.get("last_quality")
    words = text.price(plan.get("last_price"))
    if quality in (None, "live"):
        return words, ""
    return f"!{words}", "warn"


def cover_sign(plan: Plan, view: View) -> Span:
    """Return the cover of the plan's position as one sign; a blank while nothing is held."""
    if not plan.get("quantity"):
        return " ", ""
    position = view.position(str(plan.get("account")), str(plan.get("symbol")))
    if position is None:
        return "?", "warn"
    if not position.get("covered"):
        return "✗", "bad+bold"
    if position.get("in_flight_quantity"):
        return "±", "warn"
    return "✓", "good"


def stop_cell(plan: Plan, view: View) -> list[Span]:
    """Return cover and stop price."""
    return [cover_sign(plan, view), (" " + text.price(plan.get("stop_price")), "")]


def state_cell(plan: Plan) -> Span:
    """Return where the plan stands: armed, live, b/e, T1 hit, trail, exit, done."""
    phase = str(plan.get("state"))
    if phase != "open":
        return PHASES.get(phase, (text.clean(phase), ""))
    levels = [item for item in plan.get("levels") or () if len(item) == 3]
    if any(label == "TR" and state == "done" for label, _, state in levels):
        return "trail", "good"
    hits = sum(1 for label, _, state in levels if _is_target(label) and state == "done")
    if hits:
        return f"T{hits} hit", "good"
    entry, stop = number(plan.get("entry_price")), number(plan.get("stop_price"))
    if entry is not None and stop is not None and sign(plan) * (stop - entry) >= 0:
        return "b/e", "good"
    return "live", ""


def age_cell(plan: Plan, view: View) -> str:
    """Return how long the plan has been open, in market time."""
    return text.span(text.between(view.market_ns, plan.get("opened_ns")))


def risk_usd(plan: Plan) -> Decimal | None:
    """Return what 1 R of the plan is worth in USD."""
    entry, stop = number(plan.get("entry_price")), number(plan.get("initial_stop"))
    if entry is None or stop is None:
        return None
    return abs(entry - stop) * int(plan.get("initial_quantity") or 0)


def _is_target(label: object) -> bool:
    return isinstance(label, str) and label[:1] == "T" and label[1:].isdigit()
