"""A run as one HTML page that needs nothing else: plotly's script is inside it.

Rules of this file:
- pure: rows, results and bars in, one text out; nothing is fetched when the page is opened;
- R and dollars are never mixed in one figure, and each says which it shows;
- every text from data is escaped; a stock without bars or trades says so instead of a figure;
- the page is valid HTML: headings skip no level, figures and tables say what they are.

Public names: RunTotals, StockPart, build_report.
"""

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tradebox.backtest.records import GRADES, REASONS, StockResult
from tradebox.strategies.bars import Bars

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
COLOURS: Final = {"A": "#1b7837", "B": "#5aae61", "C": "#c7a92b", "D": "#e08214", "F": "#b2182b"}
BLUE: Final = "#2b6cb0"
GREEN: Final = "#1b7837"
RED: Final = "#b2182b"
FIGURE_PX: Final = 300
ROWS_MAX: Final = 5_000

_POLICY: Final = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline';"
    " img-src data: blob:; base-uri 'none'; form-action 'none'"
)
"""The browser's part of loading nothing: what stands in the page may run, all else is refused."""

_CONTROL: Final = re.compile(r"[\x01-\x08\x0b\x0e-\x1f\x7f]")
"""What plotly's script holds raw in its texts, and no page may hold."""

_ALL_NOTE: Final = (
    "<p class=quiet>Each stock trades its own account; R of all out-of-sample trades is summed"
    " by the day of exit. It is no portfolio: nothing limits how many are open at once.</p>"
)
_STYLE: Final = """
body{font:14px/1.45 system-ui,sans-serif;margin:0 auto;max-width:1180px;padding:1.5em;
color:#1a202c}
h1{font-size:1.5em} h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid #cbd5e0}
h3{font-size:1.05em;margin-top:2em} table{border-collapse:collapse;
font-variant-numeric:tabular-nums}
td,th{padding:.15em .6em;text-align:right;border-bottom:1px solid #edf2f7}
td.t{text-align:left} .win{color:#1b7837} .loss{color:#b2182b} .quiet{color:#4a5568}
caption{text-align:left;font-weight:bold;padding:.6em 0} figure{margin:0}
td.t,th.t{text-align:left} tbody th{font-weight:normal}
.scroll{max-height:32em;overflow:auto;border:1px solid #edf2f7} thead th{position:sticky;top:0;
background:#f7fafc} code{background:#f7fafc;padding:0 .2em}
"""


@dataclass(slots=True)
class RunTotals:
    """Every trade of a run, gathered stock by stock: R and day of its exit."""

    r: list[NDArray[np.float64]] = field(default_factory=list)
    day: list[NDArray[np.int32]] = field(default_factory=list)

    def add(self, stock: StockResult) -> None:
        """Take a stock's trades in."""
        if len(stock.trades):
            self.r.append(stock.trades["r"].astype(np.float64))
            self.day.append(stock.days[stock.trades["exit_bar"]])

    def ordered(self) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return (day, R) of all trades in the order of their exits."""
        if not self.r:
            return np.empty(0, np.int32), np.empty(0)
        day, r = np.concatenate(self.day), np.concatenate(self.r)
        order = np.argsort(day, kind="stable")
        return day[order], r[order]


@dataclass(frozen=True, slots=True)
class StockPart:
    """A stock that gets figures of its own; bars None = its prices are gone."""

    stock: StockResult
    bars: Bars | None


def build_report(
    run: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    totals: RunTotals,
    parts: Sequence[StockPart],
) -> str:
    """Return the page of a run.

    rows: of RunReader.results. totals: of the stocks the page sums up. parts: shown one by one.
    Holds: no address of another host in it is loaded; every text of the data is escaped.
    """
    from plotly.offline import get_plotlyjs

    day, r = totals.ordered()
    sections = [
        _head(run),
        "<h2>Grades</h2>",
        _figure(_grades_figure(rows)),
        "<h2>All stocks together, in R</h2>",
        _ALL_NOTE,
        *_r_sections(day, r),
        "<h2>Stocks</h2>",
        _stock_table(rows),
        *[_stock_section(part) for part in parts],
    ]
    title = f"Backtest {run['run_id']}"
    script = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", get_plotlyjs())
    script = script.replace("</script", "<\\/script")
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width'>"
        f'<meta http-equiv=Content-Security-Policy content="{_POLICY}">'
        f"<title>{_text(title)}</title><style>{_STYLE}</style><script>{script}</script></head>"
        f"<body><h1>{_text(title)}</h1>{''.join(sections)}</body></html>\n"
    )


def monthly(day: NDArray[np.int32], values: NDArray[np.float64]) -> dict[int, list[float | None]]:
    """Return sums per year and month: {2016: [Jan … Dec]}; None where nothing happened."""
    months = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    found: dict[int, list[float | None]] = {}
    for month in np.unique(months):
        year = 1970 + int(month) // 12
        line = found.setdefault(year, [None] * 12)
        line[int(month) % 12] = float(values[months == month].sum())
    return found


# --- the run ---


def _head(run: Mapping[str, Any]) -> str:
    figures = run.get("figures") or {}
    facts = {
        "state": run["state"],
        "universe": f"{run['universe']}, {run['symbol_count']} stocks",
        "strategies": ", ".join(run["strategies"]),
        "data": f"{run.get('data_source', '')}",
        "data hash": run["data_hash"],
        "code hash": run["code_hash"],
        "run hash": run["run_hash"] or "",
        "seed": run["seed"],
        "begun": _moment(run["started_at"]),
        "ended": _moment(run["finished_at"]),
        "grades expire": _moment(run["expires_at"]),
        "wall": f"{figures['wall_s']:.1f} s" if "wall_s" in figures else "",
        "refused / failed / mismatch": f"{run['refused_count']} / {run['failed_count']}"
        f" / {run['mismatch_count']}",
    }
    lines = "".join(
        f"<tr><th class=t scope=row>{_text(name)}</th><td class=t>{_text(value)}</td></tr>"
        for name, value in facts.items()
        if value not in ("", None)
    )
    return f"<table><caption>The run</caption><tbody>{lines}</tbody></table>"


def _grades_figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    from plotly import graph_objects as go

    counts = [sum(row["grade"] == letter for row in rows) for letter in GRADES]
    bar = go.Bar(
        x=list(GRADES), y=counts, marker_color=[COLOURS[one] for one in GRADES], text=counts
    )
    return _styled(go.Figure(bar), "stocks by grade", "stocks")


def _stock_table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = ("stock", "grade", "strategy", "trades", "expectancy R", "profit factor", "drawdown R",
             "Sharpe", "why")  # fmt: skip
    head = "".join(
        f"<th scope=col{' class=t' if name in ('stock', 'strategy', 'why') else ''}>{name}</th>"
        for name in names
    )
    lines = []
    for row in rows[:ROWS_MAX]:
        why = row["reasons"][-1][1] if row["reasons"] else ""
        lines.append(
            f"<tr><th class=t scope=row>{_text(row['symbol'])}</th>"
            f"<td>{_text(row['grade'] or '·')}</td>"
            f"<td class=t>{_text(row['strategy'])}</td><td>{row['trades']}</td>"
            + "".join(
                f"<td>{_number(row[name])}</td>"
                for name in ("expectancy_r", "profit_factor", "drawdown_r", "sharpe")
            )
            + f"<td class=t>{_text(why)}</td></tr>"
        )
    more = len(rows) - ROWS_MAX
    note = f"<p class=quiet>and {more} more</p>" if more > 0 else ""
    body = "".join(lines)
    return (
        "<div class=scroll tabindex=0 role=region aria-label='Every stock'><table>"
        f"<caption>Every stock</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
        f"</table></div>{note}"
    )


def _r_sections(day: NDArray[np.int32], r: NDArray[np.float64]) -> list[str]:
    if not len(r):
        return ["<p>No trades.</p>"]
    days, of_day = np.unique(day, return_inverse=True)
    curve = np.cumsum(np.bincount(of_day, weights=r)).astype(np.float64)
    moments = days.astype("datetime64[D]")
    return [
        _figure(_line_figure(moments, curve, "equity: sum of R", "R")),
        _figure(_underwater_figure(moments, curve, "R")),
        _figure(_histogram(r)),
        _monthly_table(monthly(day, r), "R by month of exit"),
    ]


# --- a stock ---


def _stock_section(part: StockPart) -> str:
    stock = part.stock
    setting = ", ".join(f"{name} {value:g}" for name, value in stock.setting.items())
    title = f"{stock.symbol}: {stock.grade or stock.status}, {stock.strategy} ({setting})"
    reasons = "".join(
        f"<li><b>{_text(reason.layer)}</b>: {_text(reason.text)}</li>" for reason in stock.reasons
    )
    pieces = [f"<h3>{_text(title)}</h3>", f"<ul>{reasons}</ul>"]
    if len(stock.equity):
        moments = stock.days.astype("datetime64[D]")
        equity = stock.equity.astype(np.float64)
        pieces.append(_figure(_line_figure(moments, equity, "equity at each close", "USD")))
        pieces.append(_figure(_underwater_figure(moments, equity, "USD")))
    if not len(stock.trades):
        return "".join([*pieces, "<p>No trades.</p>"])
    r = stock.trades["r"].astype(np.float64)
    pieces.append(_figure(_histogram(r)))
    exits = stock.days[stock.trades["exit_bar"]]
    pieces.append(_monthly_table(monthly(exits, r), "R by month of exit"))
    pieces.append(
        "<p class=quiet>The prices of this run are no longer stored.</p>"
        if part.bars is None
        else _figure(_price_figure(stock, part.bars))
    )
    return "".join(pieces)


def _price_figure(stock: StockResult, bars: Bars) -> Any:
    from plotly import graph_objects as go

    figure = go.Figure()
    first = int(np.searchsorted(bars.day, stock.days[0])) if len(stock.days) else 0
    shown = bars.slice(first, len(bars))
    figure.add_scatter(
        x=shown.day.astype("datetime64[D]"), y=shown.close, name="close", line_color="#4a5568",
        line_width=1,
    )  # fmt: skip
    trades, days = stock.trades, stock.days
    for side, name, symbol in ((1, "long", "triangle-up"), (-1, "short", "triangle-down")):
        some = trades[trades["side"] == side]
        if len(some):
            figure.add_scatter(
                x=days[some["entry_bar"]].astype("datetime64[D]"), y=some["entry_price"],
                mode="markers", name=f"{name} entry", marker_symbol=symbol, marker_size=9,
                marker_color=BLUE,
            )  # fmt: skip
    for is_win, name, colour in ((True, "exit with gain", GREEN), (False, "exit with loss", RED)):
        some = trades[(trades["pnl"] > 0) == is_win]
        if len(some):
            figure.add_scatter(
                x=days[some["exit_bar"]].astype("datetime64[D]"), y=some["exit_price"],
                mode="markers", name=name, marker_symbol="x", marker_color=colour,
                text=[f"{REASONS[one['reason']]}, {one['r']:.2f} R" for one in some],
            )  # fmt: skip
    _styled(figure, f"trades on price, {bars.currency}", bars.currency)
    return figure.update_layout(height=2 * FIGURE_PX, showlegend=True)


# --- pieces ---


def _line_figure(moments: Any, values: NDArray[np.float64], title: str, unit: str) -> Any:
    from plotly import graph_objects as go

    return _styled(go.Figure(go.Scatter(x=moments, y=values, line_color=BLUE)), title, unit)


def _underwater_figure(moments: Any, values: NDArray[np.float64], unit: str) -> Any:
    from plotly import graph_objects as go

    start = 0.0 if unit == "R" else float(values[0])
    below = values - np.maximum.accumulate(np.maximum(values, start))
    figure = go.Figure(go.Scatter(x=moments, y=below, fill="tozeroy", line_color=RED))
    return _styled(figure, "underwater: below the highest so far", unit)


def _histogram(r: NDArray[np.float64]) -> Any:
    from plotly import graph_objects as go

    low, high = float(np.floor(r.min() * 4) / 4), float(np.ceil(r.max() * 4) / 4)
    edges = np.arange(low, max(high, low + 0.25) + 0.25, 0.25)
    counts, edges = np.histogram(r, edges if len(edges) < 400 else 200)
    middles = (edges[:-1] + edges[1:]) / 2
    colours = [GREEN if one > 0 else RED for one in middles]
    figure = go.Figure(go.Bar(x=middles, y=counts, marker_color=colours))
    return _styled(figure, f"R of {len(r)} trades, mean {r.mean():.3f}", "trades")


def _monthly_table(table: Mapping[int, Sequence[float | None]], title: str) -> str:
    head = "".join(f"<th scope=col>{month}</th>" for month in (*MONTHS, "year"))
    lines = []
    for year, values in table.items():
        known = [one for one in values if one is not None]
        cells = "".join(_coloured(one) for one in (*values, sum(known)))
        lines.append(f"<tr><th class=t scope=row>{year}</th>{cells}</tr>")
    return (
        f"<table><caption>{_text(title)}</caption><thead><tr><td></td>{head}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _coloured(value: float | None) -> str:
    if value is None:
        return "<td class=quiet>·</td>"
    return f"<td class={'win' if value > 0 else 'loss'}>{value:.1f}</td>"


def _styled(figure: Any, title: str, unit: str) -> Any:
    return figure.update_layout(
        title=title, height=FIGURE_PX, yaxis_title=unit, showlegend=False, template="none",
        margin={"l": 60, "r": 20, "t": 45, "b": 40}, paper_bgcolor="white", plot_bgcolor="#f7fafc",
    )  # fmt: skip


def _figure(figure: Any) -> str:
    made = figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False})
    return f'<figure aria-label="{_text(figure.layout.title.text)}">{made}</figure>'


def _number(value: float | None) -> str:
    return "·" if value is None else f"{value:.3g}"


def _moment(value: Any) -> str:
    return "" if value is None else f"{value:%Y-%m-%d %H:%M} UTC"


def _text(value: object) -> str:
    return html.escape(str(value))
