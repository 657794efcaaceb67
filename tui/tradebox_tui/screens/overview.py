"""Overview: risk used, day in R, health with stop cover first, positions, alerts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widget import Widget

from tradebox_tui import plan_words as words
from tradebox_tui import text
from tradebox_tui.screens.frame import FrameScreen
from tradebox_tui.text import number
from tradebox_tui.theme import Line, Span, sign_style
from tradebox_tui.view import View
from tradebox_tui.widgets.ladder import MINI_CELLS, mini_ladder
from tradebox_tui.widgets.live_table import Column, LiveTable, RowData
from tradebox_tui.widgets.pane import Pane
from tradebox_tui.widgets.sparkline import sparkline

RISK_CELLS = 10
FULL_CELLS = 52
AXIS = f"{text.MINUS}1  0   1   2   3  +4"
OPEN_RISK_SHARE_MAX = 0.05
BRANCHES = ("stores", "market", "managers", "trading.live", "trading.paper", "trading")
ALERT_SIGNS: dict[str, Span] = {
    "fill": ("✓", "good"),
    "step": ("→", "info"),
    "denied": ("✗", "bad"),
    "critical": ("✗", "bad+bold"),
    "warning": ("!", "warn"),
    "restart": ("↻", "warn"),
    "failover": ("↻", "warn"),
    "link": ("●", "dim"),
    "info": ("·", ""),
}


class Today(Pane):
    """What the day brought, R first, and how much risk is open."""

    needs = ("header", "accounts")
    can_focus = True

    def title(self, view: View) -> str:
        """Return the title."""
        del view
        return "Today"

    def body(self, view: View, width: int, height: int) -> Sequence[Line]:
        """Return figures by line, most important first."""
        day = view.day
        net_r, net_usd = number(day.get("net_r")), number(day.get("net_usd"))
        word = sign_style(None if net_r is None else float(net_r))
        lines: list[Line] = [
            [
                ("net R      ", "dim"),
                (f"{text.r_multiple(net_r, unit=True):>9}", f"{word}+bold" if word else "bold"),
                (f"  {text.money(net_usd)} USD", word),
            ],
        ]
        for account in sorted(view.listing("accounts"), key=lambda a: str(a.get("name"))):
            lines.append(_risk_line(account))
            lines.append(_money_line(account))
        lines.append(_count_line(day))
        room = width - len("R ") - len(" hi +00.00")
        if len(view.net_r) > 1:
            bars = sparkline(list(view.net_r), room)
            lines.append([("R ", "dim"), (bars, ""), (f" hi {max(view.net_r):+.2f}", "dim")])
        return lines[:height]


def _risk_line(account: Mapping[str, Any]) -> Line:
    risk, worth = number(account.get("open_risk_usd")), number(account.get("net_liquidation_usd"))
    used = float(risk / worth) if risk is not None and worth else 0.0
    cells = min(RISK_CELLS, round(used / OPEN_RISK_SHARE_MAX * RISK_CELLS))
    word = "bad" if cells >= RISK_CELLS else "warn" if cells > RISK_CELLS * 0.7 else "good"
    return [
        (f"{account.get('name')!s:<5} risk ", "dim"),
        (f"{text.share(risk, worth):>8} ", ""),
        ("■" * cells, word),
        ("□" * (RISK_CELLS - cells), "dim"),
    ]


def _money_line(account: Mapping[str, Any]) -> Line:
    day = number(account.get("realised_day_usd"))
    return [
        ("      day ", "dim"),
        (f"{text.money(day):>10}", sign_style(None if day is None else float(day))),
        (" NLV ", "dim"),
        (text.money(account.get("net_liquidation_usd"), signed=False), ""),
    ]


def _count_line(day: Mapping[str, Any]) -> Line:
    line: list[Span] = [(f"fills {text.count(day.get('fills'))}", "")]
    for name in ("denied", "rejected"):
        value = number(day.get(name))
        line += [(" · ", "dim"), (f"{name} {text.count(value)}", "warn" if value else "")]
    return line


class Health(Pane):
    """Stop cover first, then the stores, then the branches of the tree."""

    needs = ("header", "accounts", "positions", "plans", "health")

    def title(self, view: View) -> str:
        """Return the title with the restarts: of actors, and of the whole engine where any."""
        header = view.fields("header")
        restarts = (header.get("counts") or {}).get("restarts", 0)
        again = int(number(header.get("generation")) or 1) - 1
        return f"Health · restarts {restarts}" + (f" · engine {again}" if again > 0 else "")

    def body(self, view: View, width: int, height: int) -> Sequence[Line]:
        """Return one line per thing that must be well."""
        lines: list[Line] = [cover_line(view), _stores_line(view)]
        rows = view.listing("health")
        branches = (_branch_line(rows, name, width) for name in BRANCHES)
        lines += [line for line in branches if line is not None]
        if rows:
            worst = max(rows, key=lambda row: int(row.get("mailbox_depth") or 0))
            depth = f"mailbox worst {worst.get('name')} {worst.get('mailbox_depth')}"
            lines.append([(depth, "dim")])
        return lines[:height]


def cover_line(view: View) -> Line:
    """Return whether every position has its stop: the first thing to know."""
    held = [row for row in view.listing("positions") if row.get("quantity")]
    bare = [row for row in held if not row.get("covered")]
    if bare:
        names = ", ".join(f"{text.clean(p.get('symbol'))} {p.get('account')}" for p in bare)
        return [("✗ NO STOP  ", "bad+bold"), (names, "bad+bold")]
    known = {(row.get("account"), row.get("symbol")) for row in held}
    unknown = [
        plan
        for plan in view.plans()
        if plan.get("quantity") and (plan.get("account"), plan.get("symbol")) not in known
    ]
    if unknown:
        names = ", ".join(words.symbol(plan) for plan in unknown)
        return [("? ", "warn+bold"), (f"stop cover not known: {names}", "warn+bold")]
    accounts = view.listing("accounts")
    silent = sorted(str(a.get("name")) for a in accounts if a.get("net_liquidation_usd") is None)
    if silent or not accounts:
        names = f": {', '.join(silent)}" if silent else ""
        return [("? ", "warn+bold"), (f"stop cover not known yet{names}", "warn+bold")]
    flight = sum(1 for row in held if row.get("in_flight_quantity"))
    tail = f" · {flight} in flight" if flight else ""
    if not held:
        return [("✓ ", "good"), ("stop cover  nothing held", "")]
    return [("✓ ", "good"), (f"stop cover  {len(held)} of {len(held)} positions{tail}", "")]


def _stores_line(view: View) -> Line:
    header = view.fields("header")
    line: list[Span] = []
    for name, label in (("postgres", "PostgreSQL"), ("redis", "Redis")):
        is_up = bool(header.get(name))
        line.append(("● " if is_up else "✗ ", "good" if is_up else "bad"))
        line.append((f"{label} {'up' if is_up else 'DOWN'}   ", "" if is_up else "bad"))
    ticks = header.get("ticks") or {}
    line.append((f"ticks {text.count(ticks.get('admitted'))}", "dim"))
    return line


def _branch_line(rows: Sequence[Mapping[str, Any]], name: str, width: int) -> Line | None:
    own = next((row for row in rows if row.get("name") == name), None)
    below = [row for row in rows if str(row.get("name")).startswith(f"{name}.")]
    if name == "trading" and below:
        return None
    if own is None:
        return None
    workers = [row for row in below if row.get("type") == "worker"]
    up = sum(1 for row in workers if row.get("state") == "running")
    restarts = sum(int(row.get("restarts") or 0) for row in [own, *below])
    is_well = up == len(workers) and own.get("state") == "running"
    glyph: Span = ("●", "good") if is_well else ("✗", "bad")
    if is_well and restarts:
        glyph = ("↻", "warn")
    words_ = f" {name:<14}{f'{up}/{len(workers)} up':<8} {text.span(own.get('uptime_s')):>6}"
    label = "  restarts" if width >= FULL_CELLS else " ↻"
    tail = f"{label} {own.get('intensity') or restarts}"
    return [glyph, (words_, ""), (tail, "warn" if restarts else "dim")]


def source_age(plan: RowData, view: View) -> str:
    """Return who said the last price, and how old it is."""
    age = text.between(view.market_ns, plan.get("last_event_ns"))
    return text.clean(f"{plan.get('last_source') or '·'} {text.span(age)}")


class Positions(LiveTable):
    """Every plan that is not over, with its cover, its R and its ladder."""

    needs = ("plans", "positions")
    empty = "no plan is active"
    columns = (
        Column(" ", 1, lambda row, _: words.account_letter(row)),
        Column("SYM", 5, lambda row, _: words.symbol(row), sort=words.symbol),
        Column("SIDE", 5, lambda row, _: words.side(row), sort=words.side),
        Column("QTY", 7, lambda row, _: words.quantity(row), is_right=True),
        Column("ENTRY", 8, lambda row, _: text.price(row.get("entry_price")), None, True, 5),
        Column("LAST", 8, lambda row, _: words.last_cell(row), is_right=True,
               mark=lambda row: row.get("last_price")),
        Column("  STOP", 10, words.stop_cell),
        Column("R", 6, lambda row, _: words.r_cell(row), lambda row: number(row.get("r_multiple")),
               is_right=True),
        Column(AXIS, MINI_CELLS, lambda row, _: mini_ladder(row), priority=3),
        Column("P&L USD", 9, lambda row, _: words.pnl_cell(row),
               lambda row: number(row.get("pnl_usd")), is_right=True, priority=4),
        Column("AGE", 5, words.age_cell, is_right=True, priority=6),
        Column("STATE", 6, lambda row, _: words.state_cell(row), lambda row: str(row.get("state"))),
        Column("PRICE FROM", 16, source_age, priority=8),
        Column("PLAN", 20, lambda row, _: text.clean(words.plan_key(row)), priority=9, grows=True),
    )  # fmt: skip

    def rows(self, view: View) -> Sequence[RowData]:
        """Return active plans as they were written."""
        return view.plans()

    def key(self, row: RowData) -> str:
        """Return the plan's id."""
        return words.plan_key(row)

    def title(self, view: View) -> str:
        """Return the title with counts and order."""
        plans = view.plans()
        held = sum(1 for plan in plans if plan.get("quantity"))
        waiting = sum(1 for plan in plans if plan.get("state") in ("armed", "requested"))
        tail = f" · armed {waiting}" if waiting else ""
        return f"Positions {held}{tail}{self.order_words()}"


class Alerts(LiveTable):
    """What happened, newest first."""

    needs = ("alerts",)
    empty = "nothing has happened yet"
    newest_first = True
    columns = (
        Column("TIME", 8, lambda row, _: text.clock(row.get("at_ns"))),
        Column("WHAT", 10, lambda row, _: _kind(row), lambda row: str(row.get("kind"))),
        Column("SYM", 5, lambda row, _: words.symbol(row), words.symbol),
        Column("", 20, lambda row, _: text.clean(row.get("text") or ""), grows=True),
    )

    def rows(self, view: View) -> Sequence[RowData]:
        """Return alerts, newest first."""
        found = view.listing("alerts")
        return [{"no": at, **row} for at, row in enumerate(found)][::-1]

    def key(self, row: RowData) -> str:
        """Return the alert's number."""
        return str(row.get("number", row["no"]))

    def title(self, view: View) -> str:
        """Return the title with the count."""
        return f"Alerts · last {len(view.listing('alerts'))}{self.order_words()}"


def _kind(row: RowData) -> Line:
    kind = str(row.get("kind"))
    glyph, word = ALERT_SIGNS.get(kind, ("!", "warn"))
    return [(f"{glyph} ", word), (text.clean(kind), word if kind == "critical" else "")]


class Overview(FrameScreen):
    """The first screen."""

    screen_name = "overview"

    def content(self) -> Iterable[Widget]:
        """Yield the panes."""
        yield Top(id="top")
        yield Positions(id="positions")
        yield Alerts(id="alerts")

    def toggle(self, what: str) -> str:
        """Give the alerts the body, and back."""
        del what
        alerts = self.query_one(Alerts)
        self.set_zoom(None if self.zoomed is alerts else alerts)
        return ""

    def open_row(self) -> tuple[str, str] | None:
        """Open the plan under the cursor."""
        if isinstance(self.main, Positions) and self.main.cursor_key:
            return "plans", self.main.cursor_key
        return None


class Top(Horizontal):
    """Today and Health side by side."""

    def compose(self) -> ComposeResult:
        """Yield both panes."""
        yield Today(id="today")
        yield Health(id="health")
