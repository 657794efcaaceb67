"""A table whose rows hold still: sorted on a key press or every few seconds, never per tick.

Rules of this file:
- the cursor follows its row's key, not its place;
- columns leave by priority when the terminal is narrow, the widest-ranked first;
- a filter hides rows, `!` in front inverts it; a bad pattern is taken word for word;
- a changed figure carries ↑ or ↓ until its row is written again; a cell that cannot be drawn is ?.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from textual.message import Message

from tradebox_tui.text import MISSHAPEN, clean, number
from tradebox_tui.theme import Line, Span
from tradebox_tui.view import View
from tradebox_tui.widgets.canvas import line_width
from tradebox_tui.widgets.pane import Pane

RESORT_NS: Final = 5_000_000_000
ARROWS: Final = {" ": "", "↑": "good", "↓": "bad"}
Cell = str | Span | Line
RowData = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One column. priority: 0 stays always, the highest leaves first; grows: takes spare room.

    mark: the figure whose change carries an arrow for once.
    """

    title: str
    width: int
    draw: Callable[[RowData, View], Cell]
    sort: Callable[[RowData], Any] | None = None
    is_right: bool = False
    priority: int = 0
    grows: bool = False
    mark: Callable[[RowData], Any] | None = None


class LiveTable(Pane):
    """Rows by key in columns, with cursor, sort and filter."""

    columns: Sequence[Column] = ()
    empty = "nothing yet"
    newest_first = False
    """A cursor on the first row stays there, so that what is new is seen."""

    class Moved(Message):
        """The cursor stands on another row."""

        def __init__(self, table: "LiveTable", key: str | None) -> None:
            super().__init__()
            self.table = table
            self.key = key

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.cursor_key: str | None = None
        self.pattern = ""
        self.sort_column: int | None = None
        self.is_reversed = False
        self._order: list[str] = []
        self._sorted_ns = 0
        self._top_at = 0
        self._page = 1
        self._is_at_top = True
        self._marks: dict[tuple[str, int], str] = {}
        self._figures: dict[tuple[str, int], Decimal | None] = {}
        self._marked_ns: int | None = None

    def rows(self, view: View) -> Sequence[RowData]:
        """Return what to list; subclasses say."""
        del view
        return ()

    def key(self, row: RowData) -> str:
        """Return what makes a row the same row; subclasses say."""
        return str(row)

    @property
    def cursor_row(self) -> RowData | None:
        """The row under the cursor."""
        rows = self._ordered()
        keys = [self.key(row) for row in rows]
        return rows[keys.index(self.cursor_key)] if self.cursor_key in keys else None

    def move(self, steps: int) -> None:
        """Move the cursor by that many rows, as far as there are any."""
        keys = [self.key(row) for row in self._ordered()]
        if not keys:
            return
        at = keys.index(self.cursor_key) if self.cursor_key in keys else -1 if steps > 0 else 0
        goal = min(len(keys) - 1, max(0, at + steps))
        self._is_at_top = goal == 0
        self._stand_on(keys[goal])

    def page(self, pages: int) -> None:
        """Move the cursor by whole pages."""
        self.move(pages * self._page)

    def select(self, key: str) -> bool:
        """Put the cursor on that row if it is listed."""
        if key not in {self.key(row) for row in self._ordered()}:
            return False
        self._is_at_top = False
        self._stand_on(key)
        return True

    def cycle_sort(self) -> str:
        """Sort by the next column that can be sorted; return its title, empty for as written."""
        able = [at for at, column in enumerate(self.columns) if column.sort is not None]
        later = [at for at in able if self.sort_column is None or at > self.sort_column]
        self.sort_column = later[0] if later else None
        self._order.clear()
        self.redraw()
        return "" if self.sort_column is None else self.columns[self.sort_column].title

    def reverse_sort(self) -> None:
        """Turn the order round."""
        self.is_reversed = not self.is_reversed
        self._order.clear()
        self.redraw()

    def set_filter(self, pattern: str) -> None:
        """Show only rows whose text has the pattern; `!` inverts."""
        self.pattern = pattern
        self.redraw()

    def row_words(self) -> str:
        """Return the row under the cursor, tabs between its cells."""
        row = self.cursor_row
        if row is None:
            return ""
        return "\t".join(_words(self._draw(column, row)) for column in self.columns)

    def order_words(self) -> str:
        """Return how the table is sorted and filtered, for its title."""
        words = []
        if self.sort_column is not None:
            arrow = "↓" if self.is_reversed else "↑"
            words.append(f"by {self.columns[self.sort_column].title.strip()} {arrow}")
        if self.pattern:
            words.append(f"/{clean(self.pattern)}")
        return "".join(f" · {word}" for word in words)

    def nothing(self) -> str:
        """Return why no row is listed."""
        return f"nothing has /{clean(self.pattern)} · esc shows all" if self.pattern else self.empty

    def body(self, view: View, width: int, height: int) -> Sequence[Line]:
        """Return the head and the rows that fit."""
        rows = self._ordered()
        columns = self._fitting(width)
        lines: list[Line] = [_joined([_fitted(c, c.title, w, "head") for c, w in columns])]
        if not rows:
            return [*lines, [(self.nothing(), "dim")]]
        keys = [self.key(row) for row in rows]
        if self.cursor_key not in keys or (self.newest_first and self._is_at_top):
            self._stand_on(keys[0], quietly=True)
        at = keys.index(self.cursor_key or "")
        self._page = max(1, height - 1)
        self._mark(rows, view)
        self._top_at = min(self._top_at, at, max(0, len(rows) - self._page))
        self._top_at = max(self._top_at, at - self._page + 1)
        for place, row in enumerate(rows[self._top_at : self._top_at + self._page], self._top_at):
            line = self._line(row, columns)
            if place == at and self.has_focus:
                line = [(text, "cursor") for text, _ in line]
                line.append((" " * max(0, width - line_width(line)), "cursor"))
            lines.append(line)
        return lines

    def _draw(self, column: Column, row: RowData) -> Cell:
        try:
            return column.draw(row, self.view)
        except MISSHAPEN:
            return "?", "warn"

    def _line(self, row: RowData, columns: Sequence[tuple[Column, int]]) -> list[Span]:
        """Return a row's cells; the gap behind a changed figure holds its arrow."""
        line: list[Span] = []
        for column, width in columns:
            line += _fitted(column, self._draw(column, row), width)
            arrow = " "
            if column.mark is not None:
                arrow = self._marks.get((self.key(row), self.columns.index(column)), " ")
            line.append((arrow, ARROWS[arrow]))
        return line[:-1] if line[-1][0] == " " else line

    def _mark(self, rows: Sequence[RowData], view: View) -> None:
        """Compare the figures of a newly written row with those before; new rows carry none."""
        written = view.rows.get(self.needs[0]) if self.needs else None
        if written is None or written.mono_ns == self._marked_ns:
            return
        is_first = self._marked_ns is None
        self._marked_ns = written.mono_ns
        self._marks.clear()
        figures: dict[tuple[str, int], Decimal | None] = {}
        for at, column in enumerate(self.columns):
            if column.mark is None:
                continue
            for row in rows:
                place = (self.key(row), at)
                after = figures[place] = number(column.mark(row))
                before = self._figures.get(place)
                if not is_first and before is not None and after is not None and after != before:
                    self._marks[place] = "↑" if after > before else "↓"
        self._figures = figures

    def _stand_on(self, key: str, *, quietly: bool = False) -> None:
        if key == self.cursor_key:
            return
        self.cursor_key = key
        self.post_message(self.Moved(self, key))
        if not quietly:
            self.redraw()

    def _ordered(self) -> list[RowData]:
        found = {self.key(row): row for row in self.rows(self.view)}
        if self.sort_column is not None:
            due = self.view.now_ns - self._sorted_ns >= RESORT_NS
            if due or not self._order:
                self._sorted_ns = self.view.now_ns
                sort = self.columns[self.sort_column].sort
                assert sort is not None, self.sort_column
                known = [(key, _sortable(sort, row)) for key, row in found.items()]
                with_value = [item for item in known if item[1] is not None]
                with_value.sort(key=lambda item: item[1] or (), reverse=self.is_reversed)
                none = [item for item in known if item[1] is None]
                self._order = [key for key, _ in with_value + none]
            held = set(self._order)
            keys = [key for key in self._order if key in found]
            keys += [key for key in found if key not in held]
        else:
            keys = list(found)
            if self.is_reversed:
                keys.reverse()
        return [found[key] for key in keys if self._is_shown(found[key])]

    def _is_shown(self, row: RowData) -> bool:
        if not self.pattern.removeprefix("!"):
            return True
        wanted = self.pattern.removeprefix("!")
        text = " ".join(_words(self._draw(column, row)) for column in self.columns)
        try:
            hit = re.search(wanted, text, re.IGNORECASE) is not None
        except re.error:
            hit = wanted.lower() in text.lower()
        return hit != self.pattern.startswith("!")

    def _fitting(self, width: int) -> list[tuple[Column, int]]:
        kept = list(self.columns)
        while len(kept) > 1 and sum(c.width + 1 for c in kept) - 1 > width:
            worst = max(kept, key=lambda c: c.priority)
            if worst.priority == 0:
                break
            kept.remove(worst)
        for column in sorted(self.columns, key=lambda c: c.priority):
            room = width - (sum(c.width + 1 for c in kept) - 1)
            if column not in kept and column.width + 1 <= room:
                kept.append(column)
        kept = [column for column in self.columns if column in kept]
        spare = width - (sum(c.width + 1 for c in kept) - 1)
        growing = [c for c in kept if c.grows]
        sizes = []
        for column in kept:
            extra = 0
            if spare > 0 and growing and column is growing[0]:
                extra = spare
            sizes.append((column, column.width + extra))
        return sizes


def _spans(cell: Cell, word: str = "") -> list[Span]:
    if isinstance(cell, str):
        return [(cell, word)]
    if isinstance(cell, tuple) and len(cell) == 2 and isinstance(cell[0], str):
        return [(cell[0], str(cell[1]))]
    return [(str(text), str(style)) for text, style in cell]


def _words(cell: Cell) -> str:
    return "".join(text for text, _ in _spans(cell)).strip()


def _sortable(sort: Callable[[RowData], Any], row: RowData) -> tuple[int, Any] | None:
    """Return what rows are ordered by, so that figures and words never meet; None comes last."""
    try:
        value = sort(row)
    except MISSHAPEN:
        return None
    if value is None:
        return None
    figure = number(value) if isinstance(value, int | float | Decimal) else None
    return (1, str(value)) if figure is None else (0, figure)


def _fitted(column: Column, cell: Cell, width: int, word: str = "") -> list[Span]:
    spans = _spans(cell, word)
    length = line_width(spans)
    if length > width:
        text, style = "".join(text for text, _ in spans), spans[0][1]
        return [(text[: width - 1] + "…", style)]
    pad = (" " * (width - length), "")
    return [pad, *spans] if column.is_right else [*spans, pad]


def _joined(cells: Sequence[Sequence[Span]]) -> list[Span]:
    line: list[Span] = []
    for at, cell in enumerate(cells):
        if at:
            line.append((" ", ""))
        line.extend(cell)
    return line
