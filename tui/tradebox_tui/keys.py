"""Every key of the console, with label and help: the one place where a key gets a meaning.

Rules of this file:
- an action is one of VIEW_ACTIONS, and all of them look; none of them can write;
- a key means one thing on a screen; numbers of screens that are not there say why.
"""

from dataclasses import dataclass
from typing import Final

from textual.binding import Binding, BindingType


@dataclass(frozen=True, slots=True)
class Key:
    """One key. keys: Textual's names joined by commas; scope: a screen's name or everywhere."""

    keys: str
    action: str
    label: str
    help: str
    shown: str
    scope: str = "everywhere"


@dataclass(frozen=True, slots=True)
class ScreenKey:
    """A numbered screen; why: the reason it is not there, empty where it is."""

    digit: str
    name: str
    label: str
    short: str
    why: str = ""


SCREENS: Final = (
    ScreenKey("1", "overview", "Overview", "Over"),
    ScreenKey("2", "plans", "Plans", "Plan"),
    ScreenKey("3", "orders", "Orders", "Ord"),
    ScreenKey("4", "feeds", "Feeds", "Feed"),
    ScreenKey("5", "tree", "Tree", "Tree"),
    ScreenKey("6", "runs", "Runs", "Runs"),
    ScreenKey("7", "journal", "Journal", "Jrnl"),
)

KEYS: Final = (
    *(
        Key(s.digit, f"screen('{s.name}')", s.label, f"Show the screen {s.label}.", s.digit)
        for s in SCREENS
    ),
    Key("slash", "prompt('filter')", "filter", "Filter rows: a pattern, ! inverts it.", "/"),
    Key("colon,ctrl+p", "prompt('go')", "go", "Go anywhere: plans, plan NVDA, theme …", ":  ^p"),
    Key("space", "freeze", "freeze", "Hold the figures still; ages go on.", "␣"),
    Key("question_mark", "help", "help", "Show all keys of this screen.", "?"),
    Key("q,ctrl+q", "quit", "quit", "Leave the console; trading goes on.", "q"),
    Key("ctrl+c", "interrupt", "stop", "Leave with code 130; a run in this terminal stops.", "^c"),
    Key("j,down", "move(1)", "down", "Next row.", "j ↓"),
    Key("k,up", "move(-1)", "up", "Previous row.", "k ↑"),
    Key("g,home", "move(-100000)", "first", "First row.", "g"),
    Key("G,end", "move(100000)", "last", "Last row.", "G"),
    Key("pagedown,ctrl+f", "page(1)", "page down", "A page further.", "^f"),
    Key("pageup,ctrl+b", "page(-1)", "page up", "A page back.", "^b"),
    Key("tab", "focus_next", "next pane", "Next pane.", "⇥"),
    Key("shift+tab", "focus_previous", "previous pane", "Previous pane.", "⇧⇥"),
    Key("enter", "open", "open", "Open what the cursor is on.", "⏎"),
    Key("escape", "back", "back", "Close help, prompt, zoom or filter, in this order.", "esc"),
    Key("s", "sort", "sort", "Sort by the next column.", "s"),
    Key("S", "reverse", "reverse", "Turn the order round.", "S"),
    Key("z", "zoom", "zoom", "Give the pane the whole screen, and back.", "z"),
    Key("plus,equals_sign", "period(-1)", "faster", "Read more often.", "+"),
    Key("minus", "period(1)", "slower", "Read less often.", "-"),
    Key("y", "copy", "copy", "Copy the row to the clipboard of your terminal.", "y"),
    Key("t", "theme", "theme", "Next theme.", "t"),
    Key("a", "toggle('alerts')", "all alerts", "Zoom the alerts, and back.", "a", "overview"),
    Key("left_square_bracket", "timeframe(-1)", "finer", "Shorter timeframe.", "[", "plans"),
    Key("right_square_bracket", "timeframe(1)", "coarser", "Longer timeframe.", "]", "plans"),
    Key("x", "toggle('closed')", "closed too", "List closed plans too, and back.", "x", "plans"),
    Key(
        "w",
        "toggle('working')",
        "working only",
        "Working orders only, and back.",
        "w",
        "orders",
    ),
    Key(
        "o",
        "toggle('by_plan')",
        "by plan",
        "Orders below their plans, and back.",
        "o",
        "orders",
    ),
    Key("b", "toggle('worst')", "worst first", "Sort feeds by quality and age.", "b", "feeds"),
    Key("d", "toggle('detail')", "detail", "Show one instrument in detail.", "d", "feeds"),
    Key("r", "toggle('restarted')", "only restarted", "List only what was restarted.", "r", "tree"),
    Key("e", "toggle('branch')", "fold", "Fold the branch, or unfold it.", "e", "tree"),
    Key("l", "log", "log", "Show what was told about the child.", "l", "tree"),
    Key("m", "toggle('mark')", "mark", "Mark the stock, two at most, or unmark it.", "m", "runs"),
    Key("c", "toggle('compare')", "compare", "Plot both marked stocks, and back.", "c", "runs"),
    Key("p", "toggle('plot')", "plot", "Equity, underwater, or R of every trade.", "p", "runs"),
    Key(
        "f",
        "toggle('follow')",
        "follow",
        "Follow what is new, or hold.",
        "f",
        "journal",
    ),
    Key("n", "match(1)", "next match", "Next line that has the filter's words.", "n", "journal"),
    Key("N", "match(-1)", "last match", "Previous line that has them.", "N", "journal"),
    Key(
        "i",
        "toggle('about')",
        "one id",
        "Only this plan or order, and back.",
        "i",
        "journal",
    ),
)

VIEW_ACTIONS: Final = frozenset(
    {
        "back", "copy", "focus_next", "focus_previous", "freeze", "help", "interrupt", "log",
        "match", "move", "open", "page", "period", "prompt", "quit", "reverse", "screen", "sort",
        "theme", "timeframe", "toggle", "zoom",
    }
)  # fmt: skip
"""What a key may do; all of it looks."""

FOOTER: Final = ("question_mark", "q,ctrl+q", "slash", "colon,ctrl+p", "space")
"""Keys of the last line, the ones kept longest first."""


def bindings() -> list[BindingType]:
    """Return Textual's bindings; Ctrl-C and the prompt's keys come before any widget.

    What is typed at once behind `/` or `:` then finds the prompt open, not the pane's own keys.
    """
    return [
        Binding(
            key.keys,
            f"look_{key.action}",
            key.label,
            show=False,
            priority=key.action == "interrupt" or key.action.startswith("prompt("),
            tooltip=key.help,
        )
        for key in KEYS
    ]


def of_screen(name: str) -> list[Key]:
    """Return the keys that mean something on a screen, its own first."""
    own = [key for key in KEYS if key.scope == name]
    return own + [key for key in KEYS if key.scope == "everywhere"]
