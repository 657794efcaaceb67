"""Tree: the supervision tree live, with each child's restarts on a strip of one hour."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from textual.widget import Widget

from tradebox_tui import text
from tradebox_tui.screens.frame import FrameScreen
from tradebox_tui.theme import Line, Span
from tradebox_tui.view import View
from tradebox_tui.widgets.live_table import Column, LiveTable, RowData

STRIP_CELLS: Final = 12
STRIP_NS: Final = 3_600_000_000_000


def strip(stamps: Sequence[Any], now_ns: int, cells: int = STRIP_CELLS) -> str:
    """Return the last hour as cells, oldest left: a dot per restart, its count where several.

    Holds:   exactly `cells` characters, whatever the stamps are.
    """
    counts = [0] * cells
    for stamp in stamps:
        if isinstance(stamp, int) and 0 <= now_ns - stamp < STRIP_NS:
            counts[cells - 1 - (now_ns - stamp) * cells // STRIP_NS] += 1
    return "".join("─" if not n else "●" if n == 1 else str(min(n, 9)) for n in counts)


def strip_cell(row: RowData, view: View) -> Span:
    """Return the restarts of the last hour on their strip."""
    stamps = row.get("restarts_ns") or ()
    return strip(stamps, view.now_ns), "warn" if stamps else "frame"


class TreeTable(LiveTable):
    """The supervision tree, in start order; `e` folds the branch under the cursor."""

    needs = ("health",)
    empty = "the tree is not known yet"
    columns = (
        Column("CHILD", 22, lambda row, _: _child(row), grows=True),
        Column("TYPE", 9, lambda row, _: text.clean(row.get("restart_type") or "·"), priority=7),
        Column("STATE", 10, lambda row, _: _state(row), lambda row: str(row.get("state"))),
        Column("UP", 6, lambda row, _: text.span(row.get("uptime_s")), None, True),
        Column("↻", 3, lambda row, _: _restarts(row), lambda row: row.get("restarts"), True),
        Column("n/m in t", 11, lambda row, _: text.clean(row.get("intensity") or "·"), priority=2),
        Column("LAST HOUR", STRIP_CELLS, strip_cell, priority=3),
        Column("MAIL", 4, lambda row, _: str(row.get("mailbox_depth")),
               lambda row: row.get("mailbox_depth"), is_right=True),
        Column("BEAT", 4, lambda row, _: _beat(row), None, True, 5),
        Column("EPOCH", 9, lambda row, _: _epoch(row), None, True, 8),
        Column("LAST END", 16, lambda row, _: text.clean(row.get("last_reason") or "·"),
               priority=4),
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="tree")
        self.shows_closed = True
        self.folded: set[str] = set()

    def rows(self, view: View) -> Sequence[RowData]:
        """Return the tree's rows, root first, without what lies in a folded branch."""
        found = view.listing("health")
        if not self.shows_closed:
            return [row for row in found if row.get("restarts")]
        return [
            {**row, "folded": str(row.get("name")) in self.folded}
            for row in found
            if not any(_is_below(str(row.get("name")), name) for name in self.folded)
        ]

    def nothing(self) -> str:
        """Return why no child is listed."""
        hides = not (self.pattern or self.shows_closed)
        return "nothing was restarted · r shows the whole tree" if hides else super().nothing()

    def key(self, row: RowData) -> str:
        """Return the child's name."""
        return str(row.get("name"))

    def title(self, view: View) -> str:
        """Return the title with the restarts."""
        found = view.listing("health")
        restarts = sum(int(row.get("restarts") or 0) for row in found)
        few = "" if self.shows_closed else " · only restarted"
        return f"Tree · {len(found)} actors · restarts {restarts}{few}{self.order_words()}"

    def fold(self) -> str:
        """Fold or unfold the branch that the cursor is on or in; return what was done."""
        name = self.cursor_key or ""
        types = {str(row.get("name")): row.get("type") for row in self.view.listing("health")}
        branch = name if types.get(name) == "supervisor" else name.rpartition(".")[0]
        if branch not in types:
            return ""
        if branch in self.folded:
            self.folded.discard(branch)
            words = f"{branch} unfolded"
        else:
            self.folded.add(branch)
            words = f"{branch} folded"
        self.redraw()
        self.select(branch)
        return words


def _is_below(name: str, branch: str) -> bool:
    return name != branch if branch == "root" else name.startswith(f"{branch}.")


def _child(row: RowData) -> Line:
    name = str(row.get("name"))
    depth = 0 if name == "root" else name.count(".") + 1
    restarted = bool(row.get("restarts"))
    is_up = row.get("state") == "running"
    glyph: Span = ("●", "good") if is_up else ("✗", "bad")
    if is_up and restarted:
        glyph = ("↻", "warn")
    is_branch = row.get("type") == "supervisor"
    label = text.clean(name.rsplit(".", 1)[-1]) + (" …" if row.get("folded") else "")
    return [glyph, (" " + "  " * depth, ""), (label, "bold" if is_branch else "")]


def _state(row: RowData) -> Span:
    state = text.clean(row.get("state"))
    return state, "" if state == "running" else "bad"


def _restarts(row: RowData) -> Span:
    restarts = int(row.get("restarts") or 0)
    return str(restarts), "warn" if restarts else "dim"


def _beat(row: RowData) -> str:
    age: Any = row.get("checkin_age_s")
    return text.span(age) if isinstance(age, int | float) else "·"


def _epoch(row: RowData) -> str:
    epoch = row.get("epoch")
    return text.epoch(epoch) if isinstance(epoch, int) else "·"


class Tree(FrameScreen):
    """The fifth screen."""

    screen_name = "tree"

    def content(self) -> Iterable[Widget]:
        """Yield the table."""
        yield TreeTable()

    def open_row(self) -> tuple[str, str] | None:
        """Open the child's lines in the journal."""
        child = self.query_one(TreeTable).cursor_key
        return None if child is None else ("journal", child)

    def toggle(self, what: str) -> str:
        """List only what was restarted or all, or fold a branch."""
        table = self.query_one(TreeTable)
        if what == "branch":
            return table.fold()
        table.shows_closed = not table.shows_closed
        table.redraw()
        return "listing the whole tree" if table.shows_closed else "listing what was restarted"
