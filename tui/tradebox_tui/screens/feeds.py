"""Feeds: instrument by source, its quality, its flow of ticks; `d` shows one in detail."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from textual import on
from textual.widget import Widget

from tradebox_tui import plan_words as words
from tradebox_tui import text
from tradebox_tui.screens.frame import FrameScreen
from tradebox_tui.text import UNKNOWN, number
from tradebox_tui.theme import Line, Span
from tradebox_tui.view import View
from tradebox_tui.widgets.live_table import Column, LiveTable, RowData
from tradebox_tui.widgets.pane import Pane
from tradebox_tui.widgets.sparkline import sparkline

QUALITY_STYLES: Final = {"live": "good", "stale": "bad", "disputed": "bad", "suspect": "warn"}
QUALITY_RANK: Final = (
    "disputed", "stale", "suspect", "unconfirmed", "delayed", "eod", "closed", "live",
)  # fmt: skip
SYMBOLS_MAX, RATES_MAX = 500, 60
SPARK_CELLS: Final = 8


def quality_rank(row: RowData) -> int:
    """Return 0 for the worst quality."""
    quality = str(row.get("quality"))
    return QUALITY_RANK.index(quality) if quality in QUALITY_RANK else 0


class Rates:
    """Ticks a second by symbol, from the counts of two readings. Units: mono_ns monotonic."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int]] = {}
        self._rates: dict[str, deque[float]] = {}

    def take(self, rows: Sequence[RowData], mono_ns: int) -> None:
        """Take a reading; one already taken changes nothing."""
        for row in rows[:SYMBOLS_MAX]:
            symbol, ticks = str(row.get("symbol")), row.get("ticks")
            if not isinstance(ticks, int):
                continue
            at_ns, before = self._counts.get(symbol, (mono_ns, ticks))
            if mono_ns > at_ns:
                rate = max(0.0, (ticks - before) * 1e9 / (mono_ns - at_ns))
                self._rates.setdefault(symbol, deque(maxlen=RATES_MAX)).append(rate)
            self._counts[symbol] = (mono_ns, ticks)

    def of(self, symbol: str) -> Sequence[float]:
        """Return the last rates of a symbol, oldest first."""
        return tuple(self._rates.get(symbol, ()))


class FeedTable(LiveTable):
    """The last admitted price of each instrument."""

    needs = ("feeds",)
    empty = "no price has been admitted"

    def __init__(self) -> None:
        super().__init__(id="feeds")
        self.rates = Rates()
        self.columns = (
            Column("SYM", 6, lambda row, _: words.symbol(row), words.symbol),
            Column("SOURCE", 12, lambda row, _: text.clean(row.get("source"))),
            Column("TIER", 4, lambda row, _: str(row.get("tier")), lambda r: r.get("tier"), True),
            Column("PRICE", 11, lambda row, _: text.micros(row.get("price_micros")),
                   is_right=True, mark=lambda row: row.get("price_micros")),
            Column("SIZE", 6, lambda row, _: text.count(row.get("size")), None, True, 6),
            Column("QUALITY", 11, lambda row, _: quality_cell(row), quality_rank),
            Column("AGE", 4, _age, lambda r: r.get("event_ns"), is_right=True),
            Column("TICKS", 7, lambda row, _: text.count(row.get("ticks")),
                   lambda r: r.get("ticks"), True, 4),
            Column("TICKS/S", SPARK_CELLS, lambda row, _: self.spark(row), self.rate, priority=3),
            Column("GAPS", 4, lambda row, _: text.count(row.get("gaps")),
                   lambda r: r.get("gaps"), True, 2),
            Column("SPREAD", 6, lambda row, _: spread_cell(row), lambda r: r.get("spread_bps"),
                   True, 5),
            Column("HELD", 4, lambda row, _: refused_cell(row), lambda r: r.get("refused"), True),
            Column("EPOCH", 9, lambda row, _: text.epoch(int(row.get("epoch") or 0)), None, True,
                   9, grows=True),
        )  # fmt: skip

    def rows(self, view: View) -> Sequence[RowData]:
        """Return feeds by symbol."""
        return view.listing("feeds")

    def key(self, row: RowData) -> str:
        """Return the symbol."""
        return str(row.get("symbol"))

    def title(self, view: View) -> str:
        """Return the title with the count of those that are not live."""
        found = view.listing("feeds")
        poor = sum(1 for row in found if row.get("quality") != "live")
        return f"Feeds {len(found)} · not live {poor}{self.order_words()}"

    def show(self, view: View) -> None:
        """Take the counts of a new reading, then draw."""
        row = view.rows.get("feeds")
        if row is not None:
            self.rates.take(view.listing("feeds"), row.mono_ns)
        super().show(view)

    def rate(self, row: RowData) -> float | None:
        """Return the last rate of a row's symbol."""
        rates = self.rates.of(self.key(row))
        return rates[-1] if rates else None

    def spark(self, row: RowData) -> str:
        """Return the last rates of a row's symbol as bars."""
        return sparkline(self.rates.of(self.key(row)), SPARK_CELLS).rjust(SPARK_CELLS)

    def worst_first(self) -> None:
        """Sort by quality, worst first."""
        titles = [column.title for column in self.columns]
        self.sort_column, self.is_reversed = titles.index("QUALITY"), False
        self._order.clear()
        self.redraw()


def _age(row: RowData, view: View) -> str:
    return text.span(text.between(view.market_ns, row.get("event_ns")))


def quality_cell(row: RowData) -> Span:
    """Return the quality in its colour."""
    quality = str(row.get("quality"))
    return text.clean(quality), QUALITY_STYLES.get(quality, "")


def spread_cell(row: RowData) -> str:
    """Return the spread in basis points, where a source quotes one."""
    spread = number(row.get("spread_bps"))
    return UNKNOWN if spread is None else f"{spread:.1f}"


def refused_cell(row: RowData) -> Span:
    """Return how many ticks were held aside or dropped."""
    refused = number(row.get("refused")) or 0
    return text.count(refused), "warn" if refused else "dim"


class FeedDetail(Pane):
    """One instrument in detail."""

    needs = ("feeds", "header")
    symbol: str | None = None
    is_wanted = False
    """Whether it is shown beside the table."""

    def title(self, view: View) -> str:
        """Return the symbol."""
        del view
        return text.clean(self.symbol or "no instrument") + " in detail"

    def body(self, view: View, width: int, height: int) -> Sequence[Line]:
        """Return price, flow and refusals in words."""
        del height
        found = (row for row in view.listing("feeds") if row.get("symbol") == self.symbol)
        row = next(found, None)
        if row is None:
            return [[("no instrument is selected", "dim")]]
        rates = self.screen.query_one(FeedTable).rates.of(str(self.symbol))
        refused, style = refused_cell(row)
        size = f"{text.micros(row.get('price_micros'))}  size {text.count(row.get('size'))}"
        shown = (
            ("price", size),
            ("from", f"{text.clean(row.get('source'))}, tier {row.get('tier')}"),
            ("event time", f"{text.clock(row.get('event_ns'), '%Y-%m-%d %H:%M:%S')}Z"),
        )
        lines: list[Line] = [[(f"{name:<12}", "dim"), (value, "")] for name, value in shown]
        lines.append([("quality     ", "dim"), quality_cell(row)])
        flow = f"{text.count(row.get('ticks'))} ticks, {text.count(row.get('gaps'))} gaps, "
        aside = (f"held or dropped {refused}", style)
        lines.append([("admitted    ", "dim"), (flow, ""), aside])
        if rates:
            bars = sparkline(rates, width - 30)
            lines.append([("ticks/s     ", "dim"), (f"{rates[-1]:>6.1f} ", "bold"), (bars, "")])
        return lines


class Feeds(FrameScreen):
    """The fourth screen."""

    screen_name = "feeds"
    turns = 2

    def content(self) -> Iterable[Widget]:
        """Yield the table and the detail below it, hidden at first."""
        yield FeedTable()
        detail = FeedDetail(id="feed-detail")
        detail.display = False
        yield detail

    @on(LiveTable.Moved)
    def follow(self, event: LiveTable.Moved) -> None:
        """Show the instrument that the cursor is on."""
        detail = self.query_one(FeedDetail)
        detail.symbol = event.key
        detail.redraw()

    def toggle(self, what: str) -> str:
        """Sort worst first, or show the detail or not."""
        if what == "worst":
            self.query_one(FeedTable).worst_first()
            return "worst first"
        detail = self.query_one(FeedDetail)
        detail.is_wanted = not detail.is_wanted
        if self.zoomed is None:
            detail.display = detail.is_wanted
        self.show(self.view)
        return ""
