"""A framed part of a screen that shows one thing, its age, and STALE when that is too old.

Rules of this file:
- the frame is drawn, not styled: title and age change without sending the pane again;
- the age is that of the oldest row the pane needs; past three periods the pane dims and says so;
- a pane without rows says what it waits for, never an empty table.
"""

import math
from collections.abc import Sequence
from typing import Final

from tradebox_tui.text import MISSHAPEN
from tradebox_tui.theme import Line, Span
from tradebox_tui.view import View
from tradebox_tui.widgets.canvas import Canvas, fit, line_width, misshapen, restyled

FRAME_CELLS: Final = 2


class Pane(Canvas):
    """A frame with title and age around `body(view, width, height)`."""

    can_focus = True
    needs: tuple[str, ...] = ()
    """Names of the rows that this pane shows."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self.view: View = View()

    def title(self, view: View) -> str:
        """Return the words in the frame."""
        del view
        return ""

    def body(self, view: View, width: int, height: int) -> Sequence[Line]:
        """Return the lines inside the frame."""
        del view, width, height
        return ()

    def show(self, view: View) -> None:
        """Take a new view and draw what changed."""
        self.view = view
        self.redraw()

    def on_focus(self) -> None:
        """Light the frame."""
        self.redraw()

    def on_blur(self) -> None:
        """Dim the frame."""
        self.redraw()

    def row_words(self) -> str:
        """Return what `y` copies: the text inside the frame."""
        return "\n".join(line[2:-2].rstrip() for line in self.plain()[1:-1]).strip()

    def lines(self, width: int, height: int) -> list[Line]:
        """Return the framed body."""
        inner_width, inner_height = width - 2 * FRAME_CELLS, height - 2
        if inner_width < 1 or inner_height < 1:
            return []
        view = self.view
        stale = view.is_stale(self.needs)
        waiting = view.missing(self.needs)
        body: Sequence[Line] = [[(waiting, "dim")]]
        if not waiting:
            body = self._safe_body(inner_width, inner_height)
        frame = "focus" if self.has_focus else "frame"
        lines: list[Line] = [self._top(width, frame, stale=stale)]
        for at in range(inner_height):
            line = fit(body[at], inner_width) if at < len(body) else [(" " * inner_width, "")]
            inside = restyled(line, "dim") if stale else line
            lines.append([("│ ", frame), *inside, (" │", frame)])
        lines.append([("└" + "─" * (width - 2) + "┘", frame)])
        return lines

    def _safe_body(self, width: int, height: int) -> Sequence[Line]:
        try:
            return [list(line) for line in self.body(self.view, width, height)]
        except MISSHAPEN as fault:
            return [[(misshapen(fault), "bad")]]

    def _safe_title(self) -> str:
        try:
            return self.title(self.view)
        except MISSHAPEN:
            return type(self).__name__

    def _top(self, width: int, frame: str, *, stale: bool) -> list[Span]:
        age = self._age(stale=stale)
        room = width - 4 - line_width(age)
        title = f" {self._safe_title()} "
        title = title if len(title) <= room else title[: max(0, room - 1)] + "…"
        fill = "─" * max(0, width - 2 - len(title) - line_width(age) - 1)
        return [("┌", frame), (title, "title"), (fill, frame), *age, ("─┐", frame)]

    def _age(self, *, stale: bool) -> list[Span]:
        age_s = self.view.age_s(self.needs)
        if age_s is None:
            return []
        words = f" {max(1, math.ceil(age_s))}s "
        if stale:
            return [(f" STALE{words}", "stale")]
        return [(words, "frame")]
