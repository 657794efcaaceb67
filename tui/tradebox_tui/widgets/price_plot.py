"""The price of one plan over time, with its levels as lines on the price axis.

Rules of this file:
- drawn anew every REDRAW_NS at most, or when plan, timeframe or size change.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from tradebox_tui import text
from tradebox_tui.theme import Line
from tradebox_tui.view import View
from tradebox_tui.widgets.ladder import levels_of
from tradebox_tui.widgets.pane import Pane
from tradebox_tui.widgets.plot import blank_plot, plot_lines

REDRAW_NS: Final = 5_000_000_000
TICKS_MAX: Final = 6
TIMEFRAMES: Final = (("live", 0), ("1m", 60), ("5m", 300), ("1d", 86_400))
Point = tuple[int, Decimal]


class PricePlot(Pane):
    """Prices and levels of the selected plan."""

    needs = ("plans",)

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's word
        super().__init__(id=id)
        self.plan_id: str | None = None
        self.timeframe = 0
        self._drawn: Sequence[Line] = ()
        self._drawn_for: tuple[object, ...] = ()
        self._drawn_ns = 0

    @property
    def interval_s(self) -> int:
        """Seconds per bar of the timeframe, 0 for the prices seen by this console."""
        return TIMEFRAMES[self.timeframe][1]

    def turn(self, steps: int) -> str:
        """Choose another timeframe and return its name."""
        self.timeframe = min(len(TIMEFRAMES) - 1, max(0, self.timeframe + steps))
        self.redraw()
        return TIMEFRAMES[self.timeframe][0]

    def title(self, view: View) -> str:
        """Return symbol and timeframe."""
        plan = view.plan(self.plan_id)
        symbol = text.clean(plan.get("symbol")) if plan else "Price"
        return f"{symbol} {TIMEFRAMES[self.timeframe][0]} · [ and ] change the timeframe"

    def body(self, view: View, width: int, height: int) -> Sequence[Line]:
        """Return the plot, or why there is none."""
        plan = view.plan(self.plan_id)
        if plan is None:
            return [[("no plan is selected", "dim")]]
        points = self._points(view, str(plan.get("symbol")))
        if len(points) < 2:
            return [[(self._why(view), "dim")]]
        shown_for = (self.plan_id, self.timeframe, width, height, len(points) < 10)
        is_due = view.now_ns - self._drawn_ns >= REDRAW_NS
        if is_due or shown_for != self._drawn_for:
            self._drawn = draw(plan, points, width, height, ascii_only=self.ascii_only)
            self._drawn_for, self._drawn_ns = shown_for, view.now_ns
        return self._drawn

    def _points(self, view: View, symbol: str) -> list[Point]:
        if self.interval_s == 0:
            return list(view.points.get(symbol, ()))
        bars = view.bars.get((symbol, self.interval_s), ())
        return [(bar.end_ns, bar.close) for bar in bars]

    def _why(self, view: View) -> str:
        if self.interval_s == 0:
            return "collecting prices"
        return f"waiting: {view.history_waiting}" if view.history_waiting else "no bars are stored"


def draw(
    plan: Mapping[str, Any],
    points: Sequence[Point],
    width: int,
    height: int,
    *,
    ascii_only: bool = False,
) -> list[Line]:
    """Return the plot of points, times as x, with the plan's levels that are near them."""
    plot = blank_plot(width, height)
    first, last = points[0][0], points[-1][0]
    times = [(at - first) / 1e9 for at, _ in points]
    prices = [float(price) for _, price in points]
    low, high = _limits(plan, prices)
    for price, label in _labels(plan, low, high, height - 1):
        plot.hline(price)
        plot.text(label, x=times[-1] or 1.0, y=price, alignment="right")
    plot.plot(times, prices, marker="*" if ascii_only else "braille")
    plot.ylim(low, high)
    plot.xlim(times[0], times[-1] or 1.0)
    step = (high - low) / max(1, min(4, height // 2))
    ticks = [low + step * at for at in range(max(1, min(4, height // 2)) + 1)]
    plot.yticks(ticks, [f"{tick:,.2f}" for tick in ticks])
    plot.xticks(*_times(first, last))
    return plot_lines(plot, height)


def _labels(plan: Mapping[str, Any], low: float, high: float, rows: int) -> list[tuple[float, str]]:
    """Return a label per row of the plot; levels that share a row share its label."""
    found: dict[int, tuple[float, list[str]]] = {}
    for level in levels_of(plan):
        price = float(level.price)
        if level.sign != "◆" and low <= price <= high:
            row = round((price - low) / (high - low) * rows)
            found.setdefault(row, (price, []))[1].append(level.label)
    return [
        (price, f"{' '.join(names)} {text.price(f'{price:.2f}')}")
        for price, names in found.values()
    ]


def _limits(plan: Mapping[str, Any], prices: Sequence[float]) -> tuple[float, float]:
    low, high = min(prices), max(prices)
    near = max(high - low, (high + low) / 2 * 0.004)
    for level in levels_of(plan):
        price = float(level.price)
        if low - near <= price <= high + near:
            low, high = min(low, price), max(high, price)
    margin = (high - low) * 0.05 or high * 0.001
    return low - margin, high + margin


def _times(first: int, last: int) -> tuple[list[float], list[str]]:
    seconds = max(1.0, (last - first) / 1e9)
    pattern = "%m-%d" if seconds > 3 * text.DAY_S else "%H:%M" if seconds > 900 else "%H:%M:%S"
    marks = [seconds * at / (TICKS_MAX - 1) for at in range(TICKS_MAX)]
    return marks, [text.clock(first + int(mark * 1e9), pattern) for mark in marks]
