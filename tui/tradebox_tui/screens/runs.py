"""Runs: backtests with their grades, the stocks of one, and plots of one stock or of two.

Rules of this file:
- all of it comes from PostgreSQL, read while this screen is shown;
- a plot is drawn anew when what it shows changes; figures are out of sample, in R.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widget import Widget

from tradebox.readmodel.research import R_BIN
from tradebox_tui import text
from tradebox_tui.screens.frame import FrameScreen
from tradebox_tui.source import RowSource
from tradebox_tui.text import UNKNOWN, number
from tradebox_tui.theme import Line, Span, sign_style
from tradebox_tui.view import View
from tradebox_tui.widgets.live_table import Column, LiveTable, RowData
from tradebox_tui.widgets.pane import Pane
from tradebox_tui.widgets.run_plot import histogram, line_plot

GRADES: Final = "ABCDF"
GRADE_STYLES: Final = {"A": "good+bold", "B": "good", "C": "warn", "D": "warn", "F": "bad"}
PLOTS: Final = ("equity", "underwater", "R of every trade")
SPREAD: Final = 2
MARKS_MAX: Final = 2
Place = tuple[str, str]


class RunTable(LiveTable):
    """Backtests, newest first."""

    needs = ("runs",)
    empty = "no backtest has been stored: `tradebox backtest run` makes one"
    newest_first = True
    columns = (
        Column("RUN", 16, lambda row, _: text.clean(row.get("run_id")), grows=True),
        Column("STATE", 7, lambda row, _: _state(row), lambda row: str(row.get("state"))),
        Column("   A    B    C    D    F", 25, lambda row, _: _grades(row)),
        Column("DONE", 9, lambda row, _: _done(row), is_right=True),
        Column("REFUSED", 7, lambda row, _: text.count(row.get("refused_count")),
               is_right=True, priority=5),
        Column("FAILED", 6, lambda row, _: _failed(row), is_right=True, priority=3),
        Column("LOOK", 6, lambda row, _: _look_of_run(row), priority=1),
        Column("TOOK", 6, lambda row, _: text.span(row.get("took_s")), is_right=True, priority=4),
        Column("UNIVERSE", 12, lambda row, _: text.clean(row.get("universe")), priority=6),
        Column("STRATEGIES", 24, lambda row, _: text.clean(row.get("strategies")), priority=7),
    )  # fmt: skip

    def rows(self, view: View) -> Sequence[RowData]:
        """Return runs, newest first."""
        return view.listing("runs")

    def key(self, row: RowData) -> str:
        """Return the run's id."""
        return str(row.get("run_id"))

    def title(self, view: View) -> str:
        """Return the title with the count."""
        return f"Runs {len(view.listing('runs'))}{self.order_words()}"


class ResultTable(LiveTable):
    """The stocks of the selected run, best first."""

    needs = ("runs",)
    empty = "no stock is done yet"
    run_id: str | None = None
    columns = (
        Column("", 1, lambda row, _: ("▌", "info") if row.get("marked") else " "),
        Column("SYM", 6, lambda row, _: text.clean(row.get("symbol")),
               lambda row: str(row.get("symbol"))),
        Column("GR", 2, lambda row, _: _grade(row), lambda row: str(row.get("grade") or "Z")),
        Column("R/TRADE", 7, lambda row, _: _r(row), lambda row: row.get("expectancy_r"), True),
        Column("DD R", 5, lambda row, _: _figure(row.get("drawdown_r"), 1),
               lambda row: row.get("drawdown_r"), True),
        Column("PF", 4, lambda row, _: _figure(row.get("profit_factor"), 2),
               lambda row: row.get("profit_factor"), True, 2),
        Column("TRADES", 6, lambda row, _: text.count(row.get("trades")),
               lambda row: row.get("trades"), True, 3),
        Column("LOOK", 4, lambda row, _: _look(row), priority=1),
        Column("STRATEGY", 10, lambda row, _: text.clean(row.get("strategy")), priority=4,
               grows=True),
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="results")
        self.marks: list[Place] = []

    def rows(self, view: View) -> Sequence[RowData]:
        """Return the stocks of the selected run."""
        found = view.results.get(self.run_id or "", ())
        return [{**row, "marked": self.place(row) in self.marks} for row in found]

    def key(self, row: RowData) -> str:
        """Return the symbol."""
        return str(row.get("symbol"))

    def place(self, row: RowData) -> Place:
        """Return what a mark stands for."""
        return str(row.get("run_id")), str(row.get("symbol"))

    def title(self, view: View) -> str:
        """Return the title with the run."""
        count = len(view.results.get(self.run_id or "", ()))
        return f"Stocks {count} of {text.clean(self.run_id or 'no run')}{self.order_words()}"

    def mark(self) -> str:
        """Mark the stock under the cursor or unmark it; the oldest mark leaves."""
        row = self.cursor_row
        if row is None:
            return "nothing to mark"
        place = self.place(row)
        if place in self.marks:
            self.marks.remove(place)
        else:
            self.marks = [*self.marks, place][-MARKS_MAX:]
        self.redraw()
        return "marked " + (" and ".join(symbol for _, symbol in self.marks) or "nothing")


class RunPlot(Pane):
    """Equity, underwater, or how the run's trades are spread over R."""

    needs = ("runs",)

    def __init__(self) -> None:
        super().__init__(id="run-plot")
        self.kind = 0
        self.places: list[Place] = []
        self.run_id: str | None = None
        self._drawn: Sequence[Line] = ()
        self._drawn_for: object = None

    def title(self, view: View) -> str:
        """Return the kind of plot and what it is of."""
        of = " of " + (" and ".join(symbol for _, symbol in self.places) or "no stock")
        if self.kind == SPREAD:
            trades = sum(count for _, count in self._bins(view))
            of = f", {trades:,}"
        return f"{PLOTS[self.kind]}{of} · p turns"

    def body(self, view: View, width: int, height: int) -> Sequence[Line]:
        """Return the plot, or why there is none."""
        bins, curves = self._bins(view), self._curves(view)
        shown = bins if self.kind == SPREAD else curves
        if not shown:
            why = "no trade is stored with its R" if self.kind == SPREAD else "no equity is stored"
            return [[(why, "dim")]]
        drawn_for = (self.kind, repr(shown), width, height, self.ascii_only)
        if drawn_for != self._drawn_for:
            if self.kind == SPREAD:
                self._drawn = histogram(bins, R_BIN, width, height, ascii_only=self.ascii_only)
            else:
                self._drawn = line_plot(curves, width, height, ascii_only=self.ascii_only)
            self._drawn_for = drawn_for
        return self._drawn

    def _bins(self, view: View) -> list[tuple[int, int]]:
        return view.spread.get(self.run_id or "", [])

    def _curves(self, view: View) -> list[tuple[str, list[float]]]:
        curves = [(place[1], view.equity.get(place, [])) for place in self.places]
        return [(name, _shape(curve, self.kind)) for name, curve in curves if len(curve) > 1]


def _shape(curve: Sequence[float], kind: int) -> list[float]:
    """Return the curve, or how far it stands below its highest so far."""
    if PLOTS[kind] != "underwater":
        return list(curve)
    return [value - high for value, high in zip(curve, accumulate(curve, max), strict=True)]


def _state(row: RowData) -> Span:
    state = str(row.get("state"))
    styles = {"running": "info", "failed": "bad", "stopped": "warn", "done": "good"}
    return text.clean(state), styles.get(state, "dim")


def _grades(row: RowData) -> Line:
    line: list[Span] = []
    for letter in GRADES:
        count = int(row.get(f"grade_{letter.lower()}") or 0)
        line.append((f"{count:>4} ", GRADE_STYLES[letter] if count else "dim"))
    return line


def _done(row: RowData) -> str:
    return f"{row.get('task_ended') or 0}/{row.get('task_count') or 0}"


def _failed(row: RowData) -> Span:
    count = int(row.get("failed_count") or 0)
    return text.count(count), "bad" if count else "dim"


def _look_of_run(row: RowData) -> Span:
    wrong = int(row.get("mismatch_count") or 0)
    return (f"✗ {wrong}", "bad") if wrong else ("✓", "good")


def _look(row: RowData) -> Span:
    """Return whether the verifying engine, which cannot look ahead, agreed."""
    known: dict[object, Span] = {True: ("✓", "good"), False: ("✗", "bad+bold")}
    return known.get(row.get("is_verified"), (UNKNOWN, "dim"))


def _grade(row: RowData) -> Span:
    grade = str(row.get("grade") or "")
    if not grade:
        return text.clean(row.get("status"))[:2], "dim"
    return grade, GRADE_STYLES.get(grade, "")


def _r(row: RowData) -> Span:
    value = number(row.get("expectancy_r"))
    return text.r_multiple(value), sign_style(None if value is None else float(value))


def _figure(value: object, places: int) -> str:
    figure = number(value)
    return UNKNOWN if figure is None else f"{figure:.{places}f}"


class RunBottom(Horizontal):
    """Stocks beside the plot."""

    def compose(self) -> ComposeResult:
        """Yield both panes."""
        yield ResultTable()
        yield RunPlot()


class Runs(FrameScreen):
    """The sixth screen."""

    screen_name = "runs"

    def __init__(self) -> None:
        super().__init__()
        self.compares = False

    def content(self) -> Iterable[Widget]:
        """Yield the panes."""
        yield RunTable(id="runs")
        yield RunBottom(id="run-bottom")

    @on(LiveTable.Moved)
    def follow(self, event: LiveTable.Moved) -> None:
        """Show the run or the stock that the cursor is on."""
        if isinstance(event.table, RunTable):
            self.query_one(ResultTable).run_id = event.key
            self.query_one(RunPlot).run_id = event.key
        self._point()
        self.app.call_later(self.app.run_action, "look_again")

    def _point(self) -> None:
        """Tell the plot what to show."""
        table, plot = self.query_one(ResultTable), self.query_one(RunPlot)
        row = table.cursor_row
        own = [] if row is None else [table.place(row)]
        plot.places = list(table.marks) if self.compares and table.marks else own
        self.show(self.view)

    async def read_history(self, source: RowSource, view: View) -> None:
        """Read runs, the stocks of the selected one, and the curves that are shown."""
        runs = await source.runs()
        if runs is None:
            return
        view.keep_history("runs", runs)
        self.show(view)
        run_id = self.query_one(RunTable).cursor_key
        if run_id is not None:
            results = await source.results(run_id)
            if results is not None:
                view.results = {run_id: results}
        self.query_one(ResultTable).run_id = self.query_one(RunPlot).run_id = run_id
        self.query_one(ResultTable).show(view)
        self._point()
        curves: dict[Place, list[float]] = {}
        for place in self.query_one(RunPlot).places:
            curve = view.equity.get(place) or await source.equity(*place)
            if curve is not None:
                curves[place] = curve
        view.equity = curves
        if run_id is not None and self.query_one(RunPlot).kind == SPREAD:
            spread = await source.spread(run_id)
            if spread is not None:
                view.spread = {run_id: spread}

    def toggle(self, what: str) -> str:
        """Mark, compare, or turn the plot."""
        plot = self.query_one(RunPlot)
        if what == "mark":
            words = self.query_one(ResultTable).mark()
        elif what == "compare":
            self.compares = not self.compares
            words = "comparing the marked" if self.compares else "showing the cursor's stock"
        else:
            plot.kind = (plot.kind + 1) % len(PLOTS)
            words = f"plot: {PLOTS[plot.kind]}"
        self._point()
        self.app.call_later(self.app.run_action, "look_again")
        return words
