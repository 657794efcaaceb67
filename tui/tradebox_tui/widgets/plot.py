"""A plot as lines of text: the plotting library's sheet, without its frame, theme and colours.

Rules of this file:
- the library is loaded when the first plot is drawn, or ahead of that by `preload`.
"""

from collections.abc import Callable
from typing import Any

from rich.text import Text

from tradebox_tui.theme import Line


def blank_plot(width: int, height: int) -> Any:
    """Return an empty plot of so many cells, with its axis of values alone."""
    from textual_plotext.plot import Plot

    plot = Plot()
    plot._set_size(width, height)  # noqa: SLF001 - plotsize alone is capped by the terminal's size
    plot.plotsize(width, height)
    plot.theme("clear")
    plot.xaxes(lower=False, upper=False)
    plot.yaxes(left=True, right=False)
    return plot


def plot_lines(plot: Any, height: int) -> list[Line]:
    """Return what a plot draws."""
    built = Text.from_ansi(plot.build()).plain
    return [[(line.rstrip(), "")] for line in built.splitlines()[:height]]


def preload(done: Callable[[], None] = lambda: None) -> None:
    """Load the plotting library, in a thread of its own."""
    import textual_plotext.plot  # noqa: F401 - loaded for its effect

    done()
