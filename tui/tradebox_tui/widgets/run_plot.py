"""Plots of backtests: curves over their points, and a histogram, as lines of text.

Rules of this file:
- two curves differ by their marker and their name, not by colour alone.
"""

from collections.abc import Sequence

from tradebox_tui.theme import Line
from tradebox_tui.widgets.plot import blank_plot, plot_lines

MARKERS = ("braille", "dot")
ASCII_MARKERS = ("*", "+")
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
    plot = blank_plot(width, height)
    markers = ASCII_MARKERS if ascii_only else MARKERS
    for (name, curve), marker in zip(curves, markers, strict=False):
        plot.plot(list(range(len(curve))), list(curve), marker=marker)
        plot.text(f"{name} {curve[-1]:+.1f} R", x=len(curve) - 1, y=curve[-1], alignment="right")
    plot.xticks([])
    return plot_lines(plot, height)


def histogram(
    bins: Sequence[tuple[int, int]],
    bin_r: float,
    width: int,
    height: int,
    *,
    ascii_only: bool = False,
) -> list[Line]:
    """Return how trades are spread over R, a row for one bin or several, the highest first.

    bins: (number, trades); bin n reaches from n * bin_r to (n + 1) * bin_r.
    Holds:   the counts of all rows add up to the trades; no row crosses 0 R.
    """
    low, high = min(at for at, _ in bins), max(at for at, _ in bins)
    step = 1
    while high // step - low // step + 1 > max(2, height):
        step += 1
    counts = dict.fromkeys(range(low // step, high // step + 1), 0)
    for at, trades in bins:
        counts[at // step] += trades
    room = max(BAR_CELLS_MIN, width - LABEL_CELLS)
    most = max(counts.values())
    bar = "#" if ascii_only else "█"
    lines: list[Line] = []
    for at, count in sorted(counts.items(), reverse=True):
        label = f"{at * step * bin_r:+6.2f} to {(at + 1) * step * bin_r:+6.2f} "
        cells = -(-count * room // most) if most else 0
        lines.append(
            [(label, "dim"), (bar * cells, "good" if at >= 0 else "bad"), (f" {count}", "")]
        )
    return lines
