"""Orders: each with the way it went, its age, its slippage; flat, or as a tree by plan.

Rules of this file:
- the day's orders come from the books, so that an engine's restart loses none of them; what the
  engine tells stands over them.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from textual.widget import Widget

from tradebox_tui import plan_words as words
from tradebox_tui import text
from tradebox_tui.screens.frame import FrameScreen
from tradebox_tui.source import RowSource
from tradebox_tui.text import UNKNOWN, number
from tradebox_tui.theme import Line, Span
from tradebox_tui.view import View
from tradebox_tui.widgets.live_table import Column, LiveTable, RowData

DONE_STATES = frozenset({"filled", "cancelled", "rejected", "expired", "never_sent"})
STATE_STYLES = {
    "rejected": "bad",
    "sent_unknown": "warn+bold",
    "filled": "good",
    "working": "info",
    "partial": "warn",
}
SHORT_STATES = {
    "recorded": "New", "sending": "Sent", "sent_unknown": "Sent?", "acked": "Ack",
    "working": "Work", "partial": "Part", "filled": "Filled", "cancelled": "Cxl",
    "rejected": "Rej", "expired": "Exp", "never_sent": "Never",
}  # fmt: skip
ROLE_ORDER = ("entry", "stop", "slice", "exit")


def state_cell(row: RowData) -> Span:
    """Return the state in its colour."""
    state = str(row.get("state"))
    return text.clean(state), STATE_STYLES.get(state, "dim" if state in DONE_STATES else "")


def path_cell(row: RowData) -> Line:
    """Return the states the order went through, the present one last: Sent→Ack→Filled."""
    state, path = str(row.get("state")), [str(each) for each in row.get("path") or ()]
    path += [state] if path[-1:] != [state] else []
    steps = [text.clean(SHORT_STATES.get(each, each)) for each in path]
    style = STATE_STYLES.get(path[-1], "bold")
    return [("→".join(steps[:-1]) + ("→" if steps[1:] else ""), "dim"), (steps[-1], style)]


def slippage(row: RowData) -> Decimal | None:
    """Return what a share cost beside the reference price: positive is worse for us."""
    paid, wanted = number(row.get("average_price")), number(row.get("reference_price"))
    if paid is None or wanted is None:
        return None
    return (paid - wanted) * (-1 if row.get("side") == "SELL" else 1)


def slippage_cell(row: RowData) -> Span:
    """Return the slippage per share with its sign."""
    value = slippage(row)
    if value is None:
        return UNKNOWN, "dim"
    return text.r_multiple(value), "bad" if value > 0 else "good" if value < 0 else ""


def age_cell(row: RowData, view: View) -> str:
    """Return how long the order has been known, in market time."""
    return text.span(text.between(view.market_ns, row.get("first_ns") or row.get("at_ns")))


class OrderTable(LiveTable):
    """The day's orders, newest first; `o` puts them below their plans."""

    needs = ("orders",)
    empty = "no order has been sent"
    newest_first = True
    columns = (
        Column(" ", 1, lambda row, _: words.account_letter(row)),
        Column("SYM", 5, lambda row, _: words.symbol(row), words.symbol),
        Column("ROLE", 7, lambda row, _: _role(row), lambda r: str(r.get("role"))),
        Column("SIDE", 4, lambda row, _: text.clean(row.get("side")), priority=4),
        Column("FILLED", 9, lambda row, _: f"{row.get('filled')}/{row.get('quantity')}",
               is_right=True),
        Column("TYPE", 4, lambda row, _: text.clean(row.get("order_type")), priority=7),
        Column("AT", 8, lambda row, _: _at(row), is_right=True),
        Column("SLIP", 6, lambda row, _: slippage_cell(row), slippage, True, 3),
        Column("STATE", 12, lambda row, _: state_cell(row), lambda r: str(r.get("state"))),
        Column("AGE", 5, age_cell, lambda r: r.get("first_ns") or r.get("at_ns"), is_right=True),
        Column("WAY", 22, lambda row, _: path_cell(row), priority=5),
        Column("ID", 6, lambda row, _: str(row.get("order_id") or "·"), None, True, 8),
        Column("REF", 14, lambda row, _: text.clean(row.get("order_ref")), priority=6, grows=True),
        Column("PLAN", 20, lambda row, _: text.clean(row.get("plan_id")), priority=9),
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="orders")
        self.shows_closed = True
        self.is_by_plan = False

    def rows(self, view: View) -> Sequence[RowData]:
        """Return orders, newest first, or each plan's orders together."""
        found = view.orders()[::-1]
        if not self.shows_closed:
            found = [row for row in found if row.get("state") not in DONE_STATES]
        return _by_plan(found) if self.is_by_plan else found

    def nothing(self) -> str:
        """Return why no order is listed."""
        hides = not (self.pattern or self.shows_closed)
        return "no order is working · w shows all" if hides else super().nothing()

    def key(self, row: RowData) -> str:
        """Return the order's reference."""
        return str(row.get("order_ref"))

    def title(self, view: View) -> str:
        """Return the title with counts."""
        found = view.orders()
        working = sum(1 for row in found if row.get("state") not in DONE_STATES)
        tree = " · by plan" if self.is_by_plan else ""
        few = "" if self.shows_closed else " · working only"
        return f"Orders {len(found)} · working {working}{tree}{few}{self.order_words()}"


def _by_plan(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with each plan's together, entry first, and where each hangs."""
    plans: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        plans.setdefault(str(row.get("plan_id")), []).append(row)
    found = []
    for mine in plans.values():
        mine.sort(key=lambda row: _rank(str(row.get("role"))))
        for at, row in enumerate(mine):
            branch = "" if at == 0 else "└" if row is mine[-1] else "├"
            found.append({**row, "branch": branch})
    return found


def _rank(role: str) -> int:
    return ROLE_ORDER.index(role) if role in ROLE_ORDER else len(ROLE_ORDER)


def _role(row: RowData) -> Line:
    branch = str(row.get("branch") or "")
    return [(f"{branch} " if branch else "", "frame"), (text.clean(row.get("role")), "")]


def _at(row: RowData) -> str:
    stop = row.get("stop_price")
    return text.price(row.get("limit_price") if stop is None else stop)


class Orders(FrameScreen):
    """The third screen."""

    screen_name = "orders"
    history_ns = 20_000_000_000

    def content(self) -> Iterable[Widget]:
        """Yield the table."""
        yield OrderTable()

    async def read_history(self, source: RowSource, view: View) -> None:
        """Read the day's orders from the books."""
        kept = await source.orders()
        if kept is not None:
            view.kept_orders = kept

    def open_row(self) -> tuple[str, str] | None:
        """Open the order's plan."""
        row = self.query_one(OrderTable).cursor_row
        return None if row is None else ("plans", str(row.get("plan_id")))

    def toggle(self, what: str) -> str:
        """List done orders too or not; put orders below their plans or not."""
        table = self.query_one(OrderTable)
        if what == "by_plan":
            table.is_by_plan = not table.is_by_plan
            table.redraw()
            return "listing by plan" if table.is_by_plan else "listing newest first"
        table.shows_closed = not table.shows_closed
        table.redraw()
        return "listing all orders" if table.shows_closed else "listing working orders"
