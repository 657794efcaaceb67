"""Looks: style words, the two glyph sets, and the themes in their order.

Rules of this file:
- colour repeats what a sign or a word already says, so every set works without colour;
- styles use the sixteen terminal colours; a theme that is not of them converts them itself;
- the ASCII set keeps one character per character, so that widths never differ.
"""

from collections.abc import Sequence
from typing import Final

from rich.style import Style

Span = tuple[str, str]
"""Text and a style word."""
Line = Sequence[Span]

THEMES: Final = ("ansi-dark", "textual-dark", "textual-light", "ansi-light")

STYLES: Final[dict[str, Style]] = {
    "": Style(),
    "dim": Style(dim=True),
    "bold": Style(bold=True),
    "good": Style(color="green"),
    "bad": Style(color="red"),
    "warn": Style(color="yellow"),
    "info": Style(color="cyan"),
    "frame": Style(color="bright_black"),
    "focus": Style(color="cyan"),
    "title": Style(bold=True),
    "head": Style(dim=True, underline=False),
    "cursor": Style(reverse=True),
    "stale": Style(color="black", bgcolor="yellow"),
    "chip-live": Style(color="white", bgcolor="red", bold=True),
    "chip-paper": Style(color="black", bgcolor="cyan"),
    "chip-sim": Style(color="black", bgcolor="yellow", bold=True),
    "chip-down": Style(color="red", reverse=True),
}

INKS: Final = frozenset({"", "good", "bad", "warn", "info", "frame", "focus", "bold", "title"})
"""Styles that do not show on a blank."""

_ASCII: Final = str.maketrans(
    {
        "─": "-", "│": "|", "┌": "+", "┐": "+", "└": "+", "┘": "+", "├": "|", "┤": "|", "┼": "+",
        "┬": "+", "┴": "+", "┄": ".", "●": "o", "○": ".", "◆": "*", "✓": "v", "✗": "X", "↻": "@",
        "↑": "^", "↓": "v", "→": ">", "▌": ">", "·": ".", "±": "~", "■": "#", "□": "-",
        "\N{MINUS SIGN}": "-",
        "▁": "_", "▂": "_", "▃": "-", "▄": "-", "▅": "=", "▆": "=", "▇": "#", "█": "#", "…": "~",
        "␣": "_", "\N{MULTIPLICATION SIGN}": "x", "≥": "G", "≤": "L", "⇥": ">", "⇧": "^", "⏎": "=",
    }
)  # fmt: skip


def styled(word: str) -> Style:
    """Return the style of a word; words joined by + are laid over each other."""
    known = STYLES.get(word)
    if known is None:
        known = Style.combine([STYLES[part] for part in word.split("+")])
        STYLES[word] = known
    return known


def to_ascii(text: str) -> str:
    """Return the text in seven bits, as long as it was."""
    if text.isascii():
        return text
    return text.translate(_ASCII).encode("ascii", "replace").decode()


def sign_style(value: float | None) -> str:
    """Return good for gains, bad for losses."""
    if not value:
        return ""
    return "good" if value > 0 else "bad"
