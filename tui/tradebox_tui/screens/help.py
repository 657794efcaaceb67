"""Help: every key of the screen it was asked on, over that screen."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.screen import ModalScreen

from tradebox_tui.keys import of_screen
from tradebox_tui.theme import Line
from tradebox_tui.view import View
from tradebox_tui.widgets.pane import Pane


class HelpPane(Pane):
    """The keys in one or two columns."""

    def __init__(self, screen_name: str) -> None:
        super().__init__(id="help")
        self._screen_name = screen_name

    def title(self, view: View) -> str:
        """Return the title with the world, which every screen shows."""
        world = f"{view.world} · " if view.world else ""
        return f"{world}Keys of {self._screen_name} · esc closes"

    def body(self, view: View, width: int, height: int) -> Sequence[Line]:
        """Return a line per key."""
        del view
        keys = of_screen(self._screen_name)
        columns = 1 if len(keys) <= height else 2
        room = width // columns
        lines: list[Line] = []
        for at in range(min(height, -(-len(keys) // columns))):
            line = []
            for key in keys[at :: -(-len(keys) // columns)][:columns]:
                words = key.help if len(key.help) <= room - 8 else key.label
                line += [(f"{key.shown:>5}  ", "bold"), (f"{words:<{room - 8}} ", "")]
            lines.append(line)
        return lines


class Help(ModalScreen[None]):
    """Shows the keys; any of ? and esc closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,question_mark,enter,space", "dismiss", "close"),
    ]

    def __init__(self, screen_name: str, view: View) -> None:
        super().__init__()
        self._pane = HelpPane(screen_name)
        self._pane.view = view

    def compose(self) -> ComposeResult:
        """Yield the keys."""
        yield self._pane

    def on_mount(self) -> None:
        """Draw."""
        self._pane.focus()
