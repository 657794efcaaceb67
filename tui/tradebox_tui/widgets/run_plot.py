"""Plots of backtests: curves over their points, and a histogram, as lines of text.

Rules of this file:
- the plotting library is loaded when the first plot is drawn;
- two curves differ by their marker and their name, not by colour alone.
"""

from collections.abc import Sequence

from rich.text import Text

from tradebox_tui.theme import Line

MARKERS = ("braille", "dot")
ASCII_MARKERS = ("*", "+")
BINS_MIN, BINS_MAX = 3, 30
LABEL_CELLS = 24
BAR_CELLS_MIN = 4


def line_plot(
    curves: Sequence[tuple[str, Sequence[float]]],
    width: int,
    height: int,
    *,
    ascii_only: bool = False,
) -> list[Line]:
    """Return curves of R over their points, each with its name at its end."""
    from textual_plotext.plot import Plot

    plot = Plot()
    plot._set_size(width, height)  # noqa: SLF001 - plotsize alone is capped by the terminal's size
    plot.plotsize(width, height)
    plot.theme("clear")
    plot.xaxes(lower=False, upper=False)
    plot.yaxes(left=True, right=False)
    markers = ASCII_MARKERS if ascii_only else MARKERS
    for (name, curve), marker in zip(curves, markers, strict=False):
        plot.plot(list(range(len(curve))), list(curve), marker=marker)
        plot.text(f"{name} {curve[-1]:+.1f} R", x=len(curve) - 1, y=curve[-1], alignment="right")
    plot.xticks([])
    built = Text.from_ansi(plot.build()).plain
    return [[(line.rstrip(), "")] for line in built.splitlines()[:height]]


def histogram(
    values: Sequence[float], width: int, height: int, *, ascii_only: bool = False
) -> list[Line]:
    """Return how values are spread, a row per bin, the highest first.

    Holds:   the counts of all rows add up to the number of values.
    """
    low, high = min(values), max(values)
    bins = max(BINS_MIN, min(BINS_MAX, height))
    step = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / step))] += 1
    room = max(BAR_CELLS_MIN, width - LABEL_CELLS)
    most = max(counts)
    bar = "#" if ascii_only else "█"
    lines: list[Line] = []
    for at in reversed(range(bins)):
        start = low + at * step
        style = "bad" if start + step <= 0 else "good" if start >= 0 else ""
        cells = -(-counts[at] * room // most)
        label = f"{start:+6.2f} to {start + step:+6.2f} "
        lines.append([(label, "dim"), (bar * cells, style), (f" {counts[at]}", "")])
    return lines
