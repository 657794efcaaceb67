"""Orders, Feeds and Tree: one table each."""

from collections.abc import Iterable, Sequence
from typing import Any

from textual.widget import Widget

from tradebox_tui import plan_words as words
from tradebox_tui import text
from tradebox_tui.screens.frame import FrameScreen
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
QUALITY_STYLES = {"live": "good", "stale": "bad", "disputed": "bad", "suspect": "warn"}
QUALITY_RANK = ("disputed", "stale", "suspect", "unconfirmed", "delayed", "eod", "closed", "live")


class OrderTable(LiveTable):
    """Every order the dashboard remembers, newest first."""

    needs = ("orders",)
    empty = "no order has been sent"
    newest_first = True
    columns = (
        Column(" ", 1, lambda row, _: words.account_letter(row)),
        Column("SYM", 5, lambda row, _: words.symbol(row), words.symbol),
        Column("ROLE", 5, lambda row, _: text.clean(row.get("role")), lambda r: str(r.get("role"))),
        Column("SIDE", 4, lambda row, _: text.clean(row.get("side")), priority=4),
        Column("FILLED", 9, lambda row, _: f"{row.get('filled')}/{row.get('quantity')}",
               is_right=True),
        Column("TYPE", 4, lambda row, _: text.clean(row.get("order_type")), priority=5),
        Column("LIMIT", 9, lambda row, _: text.price(row.get("limit_price")), is_right=True),
        Column("STOP", 9, lambda row, _: text.price(row.get("stop_price")), is_right=True),
        Column("STATE", 12, lambda row, _: _order_state(row), lambda r: str(r.get("state"))),
        Column("AGE", 5, lambda row, view: _age(row, view, "at_ns"),
               lambda r: r.get("at_ns"), is_right=True),
        Column("ID", 6, lambda row, _: str(row.get("order_id") or "·"), None, True, 6),
        Column("REF", 12, lambda row, _: text.clean(row.get("order_ref")), priority=7, grows=True),
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="orders")
        self.shows_closed = True

    def rows(self, view: View) -> Sequence[RowData]:
        """Return orders, newest first."""
        found = view.listing("orders")[::-1]
        if self.shows_closed:
            return found
        return [row for row in found if row.get("state") not in DONE_STATES]

    def key(self, row: RowData) -> str:
        """Return the order's reference."""
        return str(row.get("order_ref"))

    def title(self, view: View) -> str:
        """Return the title with counts."""
        found = view.listing("orders")
        working = sum(1 for row in found if row.get("state") not in DONE_STATES)
        return f"Orders {len(found)} · working {working}{self.order_words()}"


def _order_state(row: RowData) -> Span:
    state = str(row.get("state"))
    return text.clean(state), STATE_STYLES.get(state, "dim" if state in DONE_STATES else "")


def _age(row: RowData, view: View, name: str) -> str:
    return text.span(text.between(view.market_ns, row.get(name)))


class Orders(FrameScreen):
    """The third screen."""

    screen_name = "orders"

    def content(self) -> Iterable[Widget]:
        """Yield the table."""
        yield OrderTable()

    def open_row(self) -> tuple[str, str] | None:
        """Open the order's plan."""
        row = self.query_one(OrderTable).cursor_row
        return None if row is None else ("plans", str(row.get("plan_id")))

    def toggle_closed(self) -> str:
        """List done orders too, or not."""
        table = self.query_one(OrderTable)
        table.shows_closed = not table.shows_closed
        table.redraw()
        return "all orders" if table.shows_closed else "working orders"


def quality_rank(row: RowData) -> int:
    """Return 0 for the worst quality."""
    quality = str(row.get("quality"))
    return QUALITY_RANK.index(quality) if quality in QUALITY_RANK else 0


class FeedTable(LiveTable):
    """The last admitted price of each instrument."""

    needs = ("feeds",)
    empty = "no price has been admitted"
    columns = (
        Column("SYM", 6, lambda row, _: words.symbol(row), words.symbol),
        Column("SOURCE", 12, lambda row, _: text.clean(row.get("source"))),
        Column("TIER", 4, lambda row, _: str(row.get("tier")), lambda r: r.get("tier"), True),
        Column("PRICE", 11, lambda row, _: text.micros(row.get("price_micros")), is_right=True),
        Column("SIZE", 8, lambda row, _: text.count(row.get("size")), None, True, 3),
        Column("QUALITY", 11, lambda row, _: _quality(row), quality_rank),
        Column("AGE", 5, lambda row, view: _age(row, view, "event_ns"),
               lambda r: r.get("event_ns"), is_right=True),
        Column("TICKS", 9, lambda row, _: text.count(row.get("pub_seq")),
               lambda r: r.get("pub_seq"), is_right=True),
        Column("EPOCH", 9, lambda row, _: text.epoch(int(row.get("epoch") or 0)), None, True, 4),
    )  # fmt: skip

    def rows(self, view: View) -> Sequence[RowData]:
        """Return feeds by symbol."""
        return view.listing("feeds")

    def key(self, row: RowData) -> str:
        """Return the symbol."""
        return str(row.get("symbol"))

    def title(self, view: View) -> str:
        """Return the title with the count of those that are not live."""
        found = view.listing("feeds")
        poor = sum(1 for row in found if row.get("quality") != "live")
        return f"Feeds {len(found)} · not live {poor}{self.order_words()}"

    def worst_first(self) -> None:
        """Sort by quality, worst first."""
        self.sort_column, self.is_reversed = 5, False
        self._order.clear()
        self.redraw()


def _quality(row: RowData) -> Span:
    quality = str(row.get("quality"))
    return text.clean(quality), QUALITY_STYLES.get(quality, "")


class Feeds(FrameScreen):
    """The fourth screen."""

    screen_name = "feeds"

    def content(self) -> Iterable[Widget]:
        """Yield the table."""
        yield FeedTable(id="feeds")


class TreeTable(LiveTable):
    """The supervision tree, in start order."""

    needs = ("health",)
    empty = "the tree is not known yet"
    columns = (
        Column("CHILD", 24, lambda row, _: _child(row), grows=True),
        Column("STATE", 10, lambda row, _: _state(row), lambda row: str(row.get("state"))),
        Column("UP", 6, lambda row, _: text.span(row.get("uptime_s")), None, True),
        Column("RESTARTS", 8, lambda row, _: str(row.get("restarts")),
               lambda row: row.get("restarts"), is_right=True),
        Column("LIMIT", 12, lambda row, _: text.clean(row.get("intensity") or "·"), priority=6),
        Column("MAIL", 5, lambda row, _: str(row.get("mailbox_depth")),
               lambda row: row.get("mailbox_depth"), is_right=True),
        Column("BEAT", 6, lambda row, _: _beat(row), None, True, 5),
        Column("LAST END", 24, lambda row, _: text.clean(row.get("last_reason") or "·"),
               priority=4),
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="tree")
        self.shows_closed = True

    def rows(self, view: View) -> Sequence[RowData]:
        """Return the tree's rows, root first."""
        found = view.listing("health")
        return found if self.shows_closed else [row for row in found if row.get("restarts")]

    def key(self, row: RowData) -> str:
        """Return the child's name."""
        return str(row.get("name"))

    def title(self, view: View) -> str:
        """Return the title with the restarts."""
        found = view.listing("health")
        restarts = sum(int(row.get("restarts") or 0) for row in found)
        return f"Tree · {len(found)} actors · restarts {restarts}{self.order_words()}"


def _child(row: RowData) -> Line:
    name = str(row.get("name"))
    depth = 0 if name == "root" else name.count(".") + 1
    restarted = bool(row.get("restarts"))
    is_up = row.get("state") == "running"
    glyph: Span = ("●", "good") if is_up else ("✗", "bad")
    if is_up and restarted:
        glyph = ("↻", "warn")
    is_branch = row.get("type") == "supervisor"
    label = text.clean(name.rsplit(".", 1)[-1])
    return [glyph, (" " + "  " * depth, ""), (label, "bold" if is_branch else "")]


def _state(row: RowData) -> Span:
    state = text.clean(row.get("state"))
    return state, "" if state == "running" else "bad"


def _beat(row: RowData) -> str:
    age: Any = row.get("checkin_age_s")
    return text.span(age) if isinstance(age, int | float) else "·"


class Tree(FrameScreen):
    """The fifth screen."""

    screen_name = "tree"

    def content(self) -> Iterable[Widget]:
        """Yield the table."""
        yield TreeTable()

    def toggle_closed(self) -> str:
        """List only what was restarted, or all."""
        table = self.query_one(TreeTable)
        table.shows_closed = not table.shows_closed
        table.redraw()
        return "the whole tree" if table.shows_closed else "what was restarted"
