"""The console's application: one reading loop, screens, keys. It looks and cannot touch.

Rules of this file:
- one read per period, of the shown screen's rows alone; a slow store delays figures, never keys;
- every action is named look_… and listed in keys.VIEW_ACTIONS;
- ages go on while figures are frozen or a store is away.
"""

import importlib
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, Final

from textual import on
from textual.app import App
from textual.binding import BindingType
from textual.screen import Screen
from textual.suggester import SuggestFromList
from textual.timer import Timer
from textual.widgets import Input

from tradebox.readmodel import reader
from tradebox_tui import HUNG_UP, keys, text
from tradebox_tui.screens.frame import FrameScreen
from tradebox_tui.screens.help import Help
from tradebox_tui.source import RowSource
from tradebox_tui.text import MISSHAPEN
from tradebox_tui.theme import THEMES
from tradebox_tui.view import View
from tradebox_tui.widgets.canvas import Canvas, misshapen

SIMPLE: Final = ("theme", "ascii", "help", "quit")
PERIODS_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
PRELOAD_S: Final = 3.0
START_S: Final = 0.2
"""While nothing has been seen yet the stores are asked this often."""
NICE: Final = 5
INTERRUPTED: Final = 130
TERMINATED: Final = 143


def made(name: str) -> FrameScreen:
    """Return a new screen; its module is loaded when it is first made."""
    module = importlib.import_module(f"tradebox_tui.screens.{name}")
    screen: FrameScreen = getattr(module, name.title())()
    return screen


MADE: Final[dict[str, Callable[[], FrameScreen]]] = {
    item.name: partial(made, item.name) for item in keys.SCREENS
}


class ConsoleApp(App[int], inherit_bindings=False):
    """The console over a source of rows. is_manual: the caller reads by `pulse()` itself."""

    CSS_PATH = "style.tcss"
    ENABLE_COMMAND_PALETTE = False
    TITLE = "tradebox"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings()
    SCREENS: ClassVar[dict[str, Callable[[], Screen[Any]]]] = {**MADE}

    def __init__(
        self,
        source: RowSource,
        *,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        first: str = "overview",
        ascii_only: bool = False,
        is_manual: bool = False,
    ) -> None:
        super().__init__()
        self.source = source
        self.view = View()
        self._clock_ns = clock_ns
        self._first = first if first in MADE else "overview"
        self._is_manual = is_manual
        self._period = PERIODS_S.index(1.0)
        self._timer: Timer | None = None
        self._is_reading = False
        self._turn = 0
        self._stands_back = False
        self._history_ns: int | None = None
        self._prompt_kind = ""
        self._wish = ""
        self._reads_again = False
        self.theme = THEMES[0]
        Canvas.ascii_only = ascii_only

    # --- life ---------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Put up the screens and start reading."""
        self.push_screen(self._first)
        self.view.now_ns = self._clock_ns()
        self.call_after_refresh(self.repaint)
        if self._is_manual:
            return
        self._set_timer()
        self.call_later(self._begin_read)
        self.set_timer(PRELOAD_S, self._preload)
        self._listen_to_signals()

    async def on_unmount(self) -> None:
        """Let go of the stores."""
        await self.source.close()

    def _listen_to_signals(self) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        with suppress(ValueError, RuntimeError):
            loop.add_signal_handler(signal.SIGINT, self.action_look_interrupt)
            loop.add_signal_handler(signal.SIGTERM, lambda: self.exit(return_code=TERMINATED))
            loop.add_signal_handler(signal.SIGHUP, lambda: self.exit(return_code=HUNG_UP))

    def _preload(self) -> None:
        self.run_worker(self._preloaded, thread=True, group="preload", exit_on_error=False)

    def _preloaded(self) -> None:
        """Load, in a thread, what the first key would otherwise wait for."""
        for item in keys.SCREENS:
            importlib.import_module(f"tradebox_tui.screens.{item.name}")
        reader.preload()
        from tradebox_tui.widgets import plot

        plot.preload()

    # --- reading ------------------------------------------------------------------------------

    @property
    def frame(self) -> FrameScreen | None:
        """The screen that is shown, also while help lies over it."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, FrameScreen):
                return screen
        return None

    async def pulse(self) -> None:
        """Read what the shown screen needs, fold it, draw it."""
        frame = self.frame
        if frame is None:
            return
        rows = await self.source.rows(frame.wanted())
        view = self.view
        view.now_ns = self._clock_ns()
        view.world, view.profile = self.source.world, self.source.profile
        view.waiting, view.history_waiting = self.source.waiting, self.source.history_waiting
        try:
            if not view.is_frozen and view.take(rows):
                self._history_ns = None
                self.refresh(layout=True)
            self._grant_wish()
            if "header" in view.rows:
                await self._read_history(frame)
            else:
                view.schema = await self.source.schema()
                view.history_waiting = self.source.history_waiting
                if view.schema is not None:
                    await self._read_history(frame)
        except MISSHAPEN as fault:
            self._tell(fault)
        self.repaint()

    def _grant_wish(self) -> None:
        """Put the cursor where it was asked to go, once the rows are there."""
        frame, wish = self.frame, self._wish
        if not wish or frame is None or self.view.missing(frame.wish_needs):
            return
        self._wish = ""
        if not frame.select(wish):
            frame.notice(f"nothing is called {wish}")

    async def _read_history(self, frame: FrameScreen) -> None:
        now_ns = self._clock_ns()
        is_due = self._history_ns is None or now_ns - self._history_ns >= frame.history_ns
        if self.view.is_frozen or not is_due:
            return
        self._history_ns = now_ns
        await frame.read_history(self.source, self.view)
        self.view.history_waiting = self.source.history_waiting

    def repaint(self) -> None:
        """Draw the view as it is now; only changed cells are sent."""
        self.view.now_ns = self._clock_ns()
        frame = self.frame
        if frame is not None and frame.is_mounted:
            frame.show(self.view)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_interval(PERIODS_S[self._period], self._on_period)

    def _on_period(self) -> None:
        self._turn += 1
        if self.frame is not None and self._turn % self.frame.turns:
            return
        if self._is_reading:
            self.repaint()
        else:
            self._begin_read()

    def _begin_read(self) -> None:
        if self._is_reading:
            self._reads_again = True
        elif not self._is_manual:
            self._is_reading = True
            self.run_worker(self._read(), group="read")

    def _stand_back(self) -> None:
        """From the first live figure on, the engine goes first."""
        if not self._stands_back:
            self._stands_back = True
            os.nice(NICE)

    async def _read(self) -> None:
        try:
            await self.pulse()
        finally:
            self._is_reading = False
        if "header" in self.view.rows:
            self._stand_back()
        else:
            self.set_timer(START_S, self._begin_read)
        if self._reads_again:
            self._reads_again = False
            self._begin_read()

    # --- actions: all of them look ------------------------------------------------------------

    def action_look_again(self) -> None:
        """Read at once: what is selected has changed."""
        self._history_ns = None
        self._begin_read()

    async def action_look_screen(self, name: str) -> None:
        """Show a screen, or say why it is not there."""
        item = next((each for each in keys.SCREENS if each.name == name), None)
        frame = self.frame
        if item is not None and item.why and frame is not None:
            frame.notice(f"{item.label} is not there: {item.why}")
            return
        if isinstance(self.screen, Help):
            self.pop_screen()
        if frame is None or frame.screen_name != name:
            self._close_prompt()
            await self.switch_screen(name)
            self.repaint()
            self.action_look_again()

    def action_look_move(self, steps: int) -> None:
        """Move the cursor."""
        if (table := self._table()) is not None:
            table.move(steps)

    def action_look_page(self, pages: int) -> None:
        """Move the cursor by pages."""
        if (table := self._table()) is not None:
            table.page(pages)

    def action_look_focus_next(self) -> None:
        """Focus the next pane."""
        self.screen.focus_next("Pane")

    def action_look_focus_previous(self) -> None:
        """Focus the previous pane."""
        self.screen.focus_previous("Pane")

    async def action_look_open(self) -> None:
        """Open what the cursor is on."""
        frame = self.frame
        target = None if frame is None else frame.open_row()
        if target is None:
            self.action_look_zoom()
            return
        await self.action_look_screen(target[0])
        self._wish = target[1]
        self._grant_wish()

    def action_look_back(self) -> None:
        """Close prompt, zoom or filter, in this order."""
        frame = self.frame
        if frame is None:
            return
        if self._prompt_kind:
            self._close_prompt()
        elif frame.zoomed is not None:
            frame.set_zoom(None)
        elif (table := self._table()) is not None and table.pattern:
            table.set_filter("")

    def action_look_sort(self) -> None:
        """Sort by the next column."""
        table, frame = self._table(), self.frame
        if table is not None and frame is not None:
            title = table.cycle_sort()
            frame.notice(f"sorted by {title}" if title else "as written")

    def action_look_reverse(self) -> None:
        """Turn the order round."""
        if (table := self._table()) is not None:
            table.reverse_sort()

    def action_look_freeze(self) -> None:
        """Hold the figures still, or let them go on."""
        self.view.is_frozen = not self.view.is_frozen
        self.repaint()

    def action_look_zoom(self) -> None:
        """Give the focused pane the body, or each pane its place."""
        frame = self.frame
        if frame is not None:
            frame.set_zoom(None if frame.zoomed is not None else frame.main)

    def action_look_toggle(self, what: str) -> None:
        """Turn one of the screen's own ways of showing."""
        frame = self.frame
        if frame is not None and (words := frame.toggle(what)):
            frame.notice(words)

    def action_look_match(self, steps: int) -> None:
        """Go from match to match."""
        frame = self.frame
        if frame is not None and (words := frame.match(steps)):
            frame.notice(words)

    async def action_look_log(self) -> None:
        """Show what was told about the child under the cursor."""
        await self.action_look_open()

    def action_look_period(self, step: int) -> None:
        """Read more or less often."""
        self._period = min(len(PERIODS_S) - 1, max(0, self._period + step))
        if not self._is_manual:
            self._set_timer()
        if self.frame is not None:
            self.frame.notice(f"reading every {PERIODS_S[self._period]:g} s")

    def action_look_copy(self) -> None:
        """Copy the row, or the pane's text, to the terminal's clipboard."""
        frame = self.frame
        if frame is None or frame.main is None:
            return
        words = frame.main.row_words()
        if words:
            self.copy_to_clipboard(words)
            frame.notice(f"copied {len(words)} characters")

    def action_look_theme(self) -> None:
        """Take the next theme."""
        at = THEMES.index(self.theme) if self.theme in THEMES else -1
        self.theme = THEMES[(at + 1) % len(THEMES)]
        if self.frame is not None:
            self.frame.notice(f"theme {self.theme}")

    def action_look_timeframe(self, steps: int) -> None:
        """Choose the plot's timeframe."""
        frame = self.frame
        if frame is not None and (name := frame.turn_timeframe(steps)):
            frame.notice(f"timeframe {name}")
            self.action_look_again()

    def action_look_help(self) -> None:
        """Show the keys of the screen."""
        frame = self.frame
        if frame is not None and not isinstance(self.screen, Help):
            self.push_screen(Help(frame.screen_name, self.view))

    def action_look_quit(self) -> None:
        """Leave; trading goes on."""
        self.exit(return_code=0)

    def action_look_interrupt(self) -> None:
        """Leave as Ctrl-C does."""
        self.exit(return_code=INTERRUPTED)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Say which keys mean something now: those of the shown screen, none under help."""
        name = action.removeprefix("look_")
        if isinstance(self.screen, Help):
            return name in ("quit", "interrupt", "screen", "theme")
        if name == "prompt" and self._prompt_kind:
            return False  # it is text then
        frame = self.frame
        whole = f"{name}('{parameters[0]}')" if name == "toggle" and parameters else name
        scopes = {key.scope for key in keys.KEYS if key.action.startswith(whole)}
        shown = "" if frame is None else frame.screen_name
        return not scopes or "everywhere" in scopes or shown in scopes

    async def run_action(self, *arguments: Any, **named: Any) -> bool:
        """Run an action; one that meets a row of another shape says so and ends nothing."""
        try:
            return await super().run_action(*arguments, **named)
        except MISSHAPEN as fault:
            self._tell(fault)
            return True

    def _tell(self, fault: Exception) -> None:
        if self.frame is not None:
            self.frame.notice(misshapen(fault))

    # --- the prompt ---------------------------------------------------------------------------

    def action_look_prompt(self, kind: str) -> None:
        """Open the one-line prompt: a filter, or where to go."""
        frame = self.frame
        if frame is None:
            return
        prompt = frame.query_one("#prompt", Input)
        table = self._table()
        self._prompt_kind = kind
        prompt.suggester = SuggestFromList(self._places(), case_sensitive=False)
        prompt.value = table.pattern if kind == "filter" and table is not None else ""
        prompt.placeholder = "filter: pattern, ! inverts" if kind == "filter" else f"go: {GO_WORDS}"
        prompt.display = True
        frame.query_one("#foot").display = False
        frame.set_focus(prompt)  # at once: `focus()` would let the next key pass to the pane

    def _places(self) -> list[str]:
        """Return where one may go, the likeliest first; a filter goes nowhere."""
        if self._prompt_kind != "go":
            return []
        symbols = dict.fromkeys(text.clean(plan.get("symbol")) for plan in self.view.plans())
        screens = [item.name for item in keys.SCREENS]
        return [*screens, *(f"plan {name}" for name in symbols), *SIMPLE, "seq ", "journal "]

    @on(Input.Changed, "#prompt")
    def filter_as_typed(self, event: Input.Changed) -> None:
        """Filter while typing."""
        table = self._table()
        if self._prompt_kind == "filter" and table is not None:
            table.set_filter(event.value)

    @on(Input.Submitted, "#prompt")
    async def prompt_done(self, event: Input.Submitted) -> None:
        """Take the filter, or go."""
        kind, words = self._prompt_kind, event.value.strip()
        self._close_prompt()
        if kind == "go" and words:
            await self._go(words)

    def _close_prompt(self) -> None:
        frame = self.frame
        if frame is None or not self._prompt_kind:
            return
        self._prompt_kind = ""
        frame.query_one("#prompt").display = False
        frame.query_one("#foot").display = True
        target = self._last_table or frame.main
        if target is not None:
            target.focus()
        self.repaint()

    @property
    def _last_table(self) -> Any:
        return None if self.frame is None else self.frame.table

    async def _go(self, words: str) -> None:
        """Carry out a line of the prompt: a screen, `plan NVDA`, `theme`, `help`, `quit`."""
        frame = self.frame
        name, _, rest = words.lower().partition(" ")
        for item in keys.SCREENS:
            is_short = len(name) > 1 and item.name.startswith(name)
            if name == item.digit or (is_short and not rest):
                await self.action_look_screen(item.name)
                return
        places = {"plan": "plans", "seq": "journal", "journal": "journal", "log": "journal"}
        if name in places and rest:
            await self.action_look_screen(places[name])
            self._wish = words.partition(" ")[2].strip()
            self._grant_wish()
            return
        simple: dict[str, Callable[[], None]] = {
            "theme": self.action_look_theme,
            "help": self.action_look_help,
            "quit": self.action_look_quit,
            "ascii": self._toggle_ascii,
        }
        if name in simple:
            simple[name]()
        elif frame is not None:
            frame.notice(f"nothing is called {words}; try {GO_WORDS}")

    def _toggle_ascii(self) -> None:
        Canvas.ascii_only = not Canvas.ascii_only
        self.repaint()

    def _table(self) -> Any:
        return None if self.frame is None else self.frame.table


GO_WORDS: Final = "a screen · plan NVDA · seq 71234 · journal ID · theme ascii help quit"
