"""What every screen shares: first line, panes, last line, prompt, zoom.

Rules of this file:
- a screen names the rows it needs; only the screen that is shown reads;
- the pane that has the focus takes the keys; the first pane has it at first.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from tradebox_tui.source import RowSource
from tradebox_tui.view import HISTORY_ROWS, View
from tradebox_tui.widgets.bars import FooterBar, HeaderBar
from tradebox_tui.widgets.canvas import Canvas
from tradebox_tui.widgets.live_table import LiveTable
from tradebox_tui.widgets.pane import Pane

WIDTHS = [(0, "-narrow"), (100, "-normal"), (140, "-wide")]
HEIGHTS = [(0, "-short"), (30, "-middle"), (44, "-tall")]
HEAD_ROWS: tuple[str, ...] = ("header", "accounts")


class FrameScreen(Screen[None]):
    """A screen between first and last line."""

    HORIZONTAL_BREAKPOINTS = WIDTHS
    VERTICAL_BREAKPOINTS = HEIGHTS

    screen_name = ""
    turns = 1
    """Every how many periods this screen reads."""
    history_ns = 5_000_000_000
    """How often the past is read while this screen is shown."""
    wish_needs: tuple[str, ...] = ()
    """Rows without which `select` cannot find anything."""

    def __init__(self) -> None:
        super().__init__()
        self.view = View()
        self.zoomed: Pane | None = None

    def content(self) -> Iterable[Widget]:
        """Return what stands between the lines; subclasses say."""
        return ()

    def compose(self) -> ComposeResult:
        """Yield first line, content, prompt, last line."""
        yield HeaderBar(id="head")
        with Vertical(id="body"):
            yield from self.content()
        prompt = Input(id="prompt", compact=True)
        prompt.display = False
        yield prompt
        yield FooterBar(self.screen_name)

    @property
    def panes(self) -> list[Pane]:
        """Every pane of the screen, in order."""
        return list(self.query(Pane))

    @property
    def main(self) -> Pane | None:
        """The pane that keys go to: the focused one, else the first."""
        if isinstance(self.focused, Pane):
            return self.focused
        return next(iter(self.panes), None)

    @property
    def table(self) -> LiveTable | None:
        """The table that keys go to: the focused one, else the first."""
        if isinstance(self.focused, LiveTable):
            return self.focused
        return next(iter(self.query(LiveTable)), None)

    def wanted(self) -> list[str]:
        """Return the names of the rows that this screen shows."""
        names = dict.fromkeys(HEAD_ROWS)
        for pane in self.panes:
            names.update(dict.fromkeys(name for name in pane.needs if name not in HISTORY_ROWS))
        return list(names)

    def show(self, view: View) -> None:
        """Draw a view."""
        self.view = view
        for canvas in self.query(Canvas):
            if isinstance(canvas, Pane | HeaderBar | FooterBar) and canvas.display:
                canvas.show(view)

    async def read_history(self, source: RowSource, view: View) -> None:
        """Read what this screen shows of the past; most show none."""

    def notice(self, words: str) -> None:
        """Show a message in the last line."""
        self.query_one(FooterBar).notice(words, self.view.now_ns)

    def set_zoom(self, pane: Pane | None) -> None:
        """Give one pane the whole body, or each its place."""
        self.zoomed = pane
        body = self.query_one("#body")
        self.set_class(pane is not None, "-zoom")
        for row in body.children:
            inside = pane is None or row is pane or pane in row.query(Pane)
            row.display = inside and (pane is not None or getattr(row, "is_wanted", True))
            for each in row.query(Pane) if not isinstance(row, Pane) else ():
                each.display = pane is None or each is pane
        for each in self.panes:
            each.set_class(each is pane, "-zoomed")
            for above in each.ancestors:
                if above is body or above is self:
                    break
                if isinstance(above, Widget):
                    above.set_class(each is pane, "-zoomed") if each is pane else None
        if pane is None:
            for row in body.query(".-zoomed"):
                row.remove_class("-zoomed")
        else:
            pane.focus()
        self.show(self.view)

    def open_row(self) -> tuple[str, str] | None:
        """Return (screen, key) of what the cursor opens; None where it opens nothing."""
        return None

    def select(self, key: str) -> bool:
        """Put the cursor on a row."""
        table = self.table
        return table is not None and table.select(key)

    def toggle(self, what: str) -> str:
        """Turn one of the screen's own ways of showing; return what is shown now."""
        del what
        return ""

    def turn_timeframe(self, steps: int) -> str:
        """Choose another timeframe and return its name; empty where there is none to choose."""
        del steps
        return ""

    def match(self, steps: int) -> str:
        """Go to the next or the previous match; return why there is none."""
        del steps
        return ""

    def on_mount(self) -> None:
        """Give the focus to the first table, else to the first pane."""
        first: Sequence[Any] = list(self.query(LiveTable)) or self.panes
        if first:
            first[0].focus()
