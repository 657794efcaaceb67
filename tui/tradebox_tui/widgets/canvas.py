"""A widget on the line API that repaints only the cells that changed.

Rules of this file:
- lines are formatted first and compared then: an unchanged cell costs nothing on the wire;
- one region a row: Textual sends a row again from its widget's edge for each further region;
- a canvas never scrolls by itself and never grows: what does not fit is cut;
- what cannot be drawn says so in its place: a row of another shape ends nothing.
"""

from collections.abc import Sequence
from typing import Final

from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tradebox_tui.text import MISSHAPEN, clean
from tradebox_tui.theme import INKS, Line, Span, styled, to_ascii

GAP_CELLS_MAX: Final = 6
"""Equal cells between two changes that are cheaper sent again than jumped over."""

Cells = list[tuple[str, str]]


def fit(line: Line, width: int) -> list[Span]:
    """Return the line cut or filled to exactly that many cells."""
    kept: list[Span] = []
    left = width
    for text, word in line:
        if left <= 0:
            break
        if not text:
            continue
        part = text if len(text) <= left else text[: left - 1] + "…"
        kept.append((part, word))
        left -= len(part)
    if left > 0:
        kept.append((" " * left, ""))
    return kept


def joined(line: Line) -> list[Span]:
    """Return the line in as few spans as show the same: blanks take the ink of what stands left.

    Holds:   the text is the same; a character that is no blank keeps its style.
    """
    merged: list[Span] = []
    for text, word in line:
        if merged:
            before = merged[-1][1]
            is_same = word == before or (not text.strip() and word in INKS and before in INKS)
            if is_same:
                merged[-1] = (merged[-1][0] + text, before)
                continue
        merged.append((text, word))
    return merged


def line_width(line: Line) -> int:
    """Return how many cells a line takes."""
    return sum(len(text) for text, _ in line)


def restyled(line: Line, word: str) -> list[Span]:
    """Return the line with one style word in place of its own."""
    return [(text, word) for text, _ in line]


def changed(old: Cells, new: Cells) -> list[tuple[int, int]]:
    """Return [start, end) spans of cells that differ, near ones joined.

    Holds:   outside the spans both lines are equal.
    """
    spans: list[tuple[int, int]] = []
    for at, (before, after) in enumerate(zip(old, new, strict=True)):
        if before == after:
            continue
        if spans and at - spans[-1][1] <= GAP_CELLS_MAX:
            spans[-1] = (spans[-1][0], at + 1)
        else:
            spans.append((at, at + 1))
    return spans


def cells_of(line: Line) -> Cells:
    """Return one (character, style word) per cell."""
    return [(char, word) for text, word in line for char in text]


def misshapen(fault: Exception) -> str:
    """Return what is shown in place of what cannot be drawn."""
    return clean(f"these figures cannot be shown ({type(fault).__name__}: {fault})")


class Canvas(Widget):
    """Draws `lines(width, height)`; `redraw` sends what differs from the last time."""

    ascii_only = False

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id, classes=classes)
        self._lines: list[list[Span]] = []
        self._strips: list[Strip] = []
        self.cells_sent = 0

    def lines(self, width: int, height: int) -> Sequence[Line]:
        """Return what to draw; subclasses say."""
        del width, height
        return ()

    def redraw(self) -> None:
        """Draw again; only changed cells are sent."""
        width, height = self.size
        if not width or not height:
            return
        drawn = [joined(fit(line, width)) for line in self._safe_lines(width, height)[:height]]
        drawn += [[(" " * width, "")]] * (height - len(drawn))
        if self.ascii_only:
            drawn = [[(to_ascii(text), word) for text, word in line] for line in drawn]
        old, self._lines = self._lines, drawn
        same_size = len(old) == height and bool(old) and line_width(old[0]) == width
        if not same_size:
            self._strips = [self._strip(line) for line in drawn]
            self.cells_sent += width * height
            self.refresh()
            return
        regions = []
        for y, (before, after) in enumerate(zip(old, drawn, strict=True)):
            if before == after:
                continue
            self._strips[y] = self._strip(after)
            spans = changed(cells_of(before), cells_of(after))
            if not spans:
                continue
            start, end = spans[0][0], spans[-1][1]
            regions.append(Region(start, y, end - start, 1))
            self.cells_sent += end - start
        if regions:
            self.refresh(*regions)

    def _safe_lines(self, width: int, height: int) -> list[Line]:
        try:
            return list(self.lines(width, height))
        except MISSHAPEN as fault:
            return [[(misshapen(fault), "bad")]]

    def plain(self) -> list[str]:
        """Return what is drawn, as text."""
        return ["".join(text for text, _ in line) for line in self._lines]

    def on_resize(self) -> None:
        """Draw for the new size."""
        self.redraw()

    def render_line(self, y: int) -> Strip:
        """Return one line, already formatted."""
        if y < len(self._strips):
            return self._strips[y].apply_style(self.rich_style)
        return Strip.blank(self.size.width, self.rich_style)

    @staticmethod
    def _strip(line: Line) -> Strip:
        return Strip([Segment(text, styled(word)) for text, word in line])
