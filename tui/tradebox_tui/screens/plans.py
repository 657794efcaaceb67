"""Plans: the list, the R ladder of one plan, its price, why it stands so, what it did."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widget import Widget

from tradebox_tui import plan_words as words
from tradebox_tui import text
from tradebox_tui.screens.frame import FrameScreen
from tradebox_tui.source import RowSource
from tradebox_tui.text import UNKNOWN, number
from tradebox_tui.theme import Line, Span, sign_style
from tradebox_tui.view import CLOSED, View
from tradebox_tui.widgets.ladder import Level, levels_of, sign_word
from tradebox_tui.widgets.live_table import Column, LiveTable, RowData
from tradebox_tui.widgets.pane import Pane
from tradebox_tui.widgets.price_plot import PricePlot

STOP_STATES = frozenset({"acked", "working", "partial", "sending", "sent_unknown"})


class PlanList(LiveTable):
    """Plans by state; `x` lists closed ones too."""

    needs = ("plans", "positions")
    empty = "there is no plan yet"
    newest_first = True
    columns = (
        Column(" ", 1, lambda row, _: words.account_letter(row)),
        Column("SYM", 5, lambda row, _: words.symbol(row), words.symbol),
        Column("SIDE", 5, lambda row, _: words.side(row), words.side, priority=2),
        Column("C", 1, words.cover_sign),
        Column("R", 6, lambda row, _: words.r_cell(row), lambda row: number(row.get("r_multiple")),
               is_right=True, mark=lambda row: row.get("r_multiple")),
        Column("STATE", 6, lambda row, _: words.state_cell(row), lambda row: str(row.get("state"))),
        Column("PLAN", 4, lambda row, _: text.clean(words.plan_key(row)), words.plan_key,
               priority=3, grows=True),
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="list")
        self.shows_closed = False

    def rows(self, view: View) -> Sequence[RowData]:
        """Return the active plans; the closed, newest first, where asked for or alone."""
        active = view.plans()
        if active and not self.shows_closed:
            return active
        over = [plan for plan in view.plans(closed=True) if plan not in active]
        return active + over[::-1]

    def key(self, row: RowData) -> str:
        """Return the plan's id."""
        return words.plan_key(row)

    def title(self, view: View) -> str:
        """Return the title with the count."""
        active = len(view.plans())
        over = len(view.plans(closed=True)) - active
        is_all = self.shows_closed or not active
        tail = f" · closed {over}" if is_all and over else ""
        return f"Plans {active}{tail}{self.order_words()}"


class PlanPane(Pane):
    """A pane about the selected plan."""

    needs: tuple[str, ...] = ("plans",)
    plan_id: str | None = None

    def about(self, plan: Mapping[str, Any], view: View, width: int) -> Sequence[Line]:
        """Return the lines about a plan; subclasses say."""
        del plan, view, width
        return ()

    def body(self, view: View, width: int, height: int) -> Sequence[Line]:
        """Return the lines about the selected plan."""
        del height
        plan = view.plan(self.plan_id)
        if plan is None:
            return [[("no plan is selected", "dim")]]
        return self.about(plan, view, width)


class Ladder(PlanPane):
    """The plan's levels on the price axis, highest first."""

    needs = ("plans", "positions", "orders")

    def title(self, view: View) -> str:
        """Return what the plan is and how it stands."""
        plan = view.plan(self.plan_id)
        if plan is None:
            return "Ladder"
        held, entered = plan.get("quantity") or 0, plan.get("initial_quantity") or 0
        result = text.r_multiple(plan.get("r_multiple"), unit=True)
        return f"{words.symbol(plan)} {words.side(plan)} {held} of {entered} open  {result}"

    def about(self, plan: Mapping[str, Any], view: View, width: int) -> Sequence[Line]:
        """Return head and levels."""
        del width
        lines: list[Line] = [[("    PRICE      R   LADDER            STATE", "head")]]
        lines += [_level_line(level, plan, view) for level in levels_of(plan)]
        if len(lines) == 1:
            lines.append([("levels are known once the entry has a price", "dim")])
        return lines


def _level_line(level: Level, plan: Mapping[str, Any], view: View) -> Line:
    r = text.r_multiple(level.r) if level.r is not None else UNKNOWN
    name, state = _level_words(level, plan, view)
    word = sign_word(level.sign)
    return [
        (f"{text.price(level.price):>9} {r:>6}   ", "bold" if level.sign == "◆" else ""),
        (level.sign, word),
        (f" {name:<15} ", "bold" if level.sign == "◆" else ""),
        state,
    ]


def _level_words(level: Level, plan: Mapping[str, Any], view: View) -> tuple[str, Span]:
    if level.sign == "◆":
        if plan.get("state") in CLOSED:
            return "LAST", ("when it closed", "dim")
        age = text.span(text.between(view.market_ns, plan.get("last_event_ns")))
        source = text.clean(plan.get("last_source") or UNKNOWN)
        quality = text.clean(level.state)
        return f"LAST {source}, {age}", (quality, "" if quality == "live" else "warn")
    if level.sign == "S":
        return "STOP", _stop_state(plan, view)
    if level.sign == "E":
        count = plan.get("initial_quantity") or 0
        return f"ENTRY {count}", (text.clean(level.state), "dim")
    if level.sign == "┴":
        risk = words.risk_usd(plan)
        return "initial stop", (f"1 R = {text.money(risk, signed=False)} USD", "dim")
    names = {"m": "move stop", "t": "trail", "x": "reached", "T": "target"}
    if level.state == "watched" and plan.get("state") in CLOSED:
        return f"{text.clean(level.label)} {names.get(level.sign, '')}", ("not reached", "dim")
    style = "good" if level.state == "done" else "warn" if level.state == "working" else "dim"
    return f"{text.clean(level.label)} {names.get(level.sign, '')}", (
        text.clean(level.state),
        style,
    )


def _stop_state(plan: Mapping[str, Any], view: View) -> Span:
    for order in view.listing("orders"):
        mine = order.get("plan_id") == plan.get("plan_id") and order.get("role") == "stop"
        if mine and order.get("state") in STOP_STATES:
            sign, word = words.cover_sign(plan, view)
            state = text.clean(order.get("state"))
            return f"{sign} {state} {order.get('quantity')} #{order.get('order_id')}", word
    if plan.get("quantity"):
        return "✗ no stop works", "bad+bold"
    return "over" if plan.get("state") in CLOSED else "not sent", "dim"


class Why(PlanPane):
    """Money, risk and cover of the plan in words."""

    needs = ("plans", "positions")

    def title(self, view: View) -> str:
        """Return the title."""
        del view
        return "Why"

    def about(self, plan: Mapping[str, Any], view: View, width: int) -> Sequence[Line]:
        """Return result, risk and what happened last."""
        del width
        risk = words.risk_usd(plan)
        realised, total = number(plan.get("realised_usd")), number(plan.get("pnl_usd"))
        open_usd = None if total is None or realised is None else total - realised
        lines: list[Line] = [
            [("realised ", "dim"), *_both(realised, risk), (" · open ", "dim"),
             *_both(open_usd, risk)],
            [(_terms(plan, view), "")],
            _cover_words(plan, view),
        ]  # fmt: skip
        return lines


def _terms(plan: Mapping[str, Any], view: View) -> str:
    risk = words.risk_usd(plan)
    parts = [
        f"account {plan.get('account')}",
        f"risk {text.money(risk, signed=False)} USD{_nlv(view, plan, risk)}",
        f"held {words.age_cell(plan, view)}",
        *(["demo plan"] if plan.get("is_demo") else []),
    ]
    return " · ".join(parts)


def _both(usd: Any, risk: Any) -> list[Span]:
    if usd is None:
        return [(UNKNOWN, "dim")]
    word = sign_style(float(usd))
    r = f" ({text.r_multiple(usd / risk, unit=True)})" if risk else ""
    return [(f"{text.money(usd)} USD{r}", word)]


def _nlv(view: View, plan: Mapping[str, Any], risk: Any) -> str:
    for account in view.listing("accounts"):
        if account.get("name") == plan.get("account"):
            return f" = {text.share(risk, account.get('net_liquidation_usd'))} of NLV"
    return ""


def _cover_words(plan: Mapping[str, Any], view: View) -> Line:
    if not plan.get("quantity"):
        return [("nothing held, nothing to protect", "dim")]
    row = view.position(str(plan.get("account")), str(plan.get("symbol")))
    sign = words.cover_sign(plan, view)
    if row is None:
        return [sign, (" the position's cover is not known", "warn")]
    flight = row.get("in_flight_quantity") or 0
    tail = f" + {flight} in flight" if flight else ""
    held = abs(int(row.get("quantity") or 0))
    return [sign, (f" stop {row.get('stop_quantity')}{tail} of {held} shares held", "")]


class Events(PlanPane):
    """The steps the plan took, newest first: with price, source and reason."""

    needs = ("plans",)

    def title(self, view: View) -> str:
        """Return the title, and what history waits for."""
        is_waiting = view.history_waiting and self.plan_id is not None
        waits = f" · history {view.history_waiting}" if is_waiting else ""
        return f"Plan events{text.clean(waits)}"

    def about(self, plan: Mapping[str, Any], view: View, width: int) -> Sequence[Line]:
        """Return one line per step."""
        del plan, width
        steps = _steps(view, self.plan_id or "")
        if not steps:
            return [[("no step yet", "dim")]]
        return [
            [
                (f"{text.clock(step['at_ns'])} ", "dim"),
                (f"{text.clean(step['kind']):<10} ", "bold"),
                (f"{text.price(step['price']):>9} ", ""),
                (f"{text.clean(step['source']):<8} ", "dim"),
                (text.clean(step["reason"]), ""),
            ]
            for step in reversed(steps)
        ]


def _steps(view: View, plan_id: str) -> list[dict[str, Any]]:
    """Return the plan's steps, oldest first: the stored ones, or what the engine tells now."""
    fields = ("kind", "price", "source", "at_ns", "reason")
    stored = [{name: getattr(row, name) for name in fields} for row in view.steps.get(plan_id, ())]
    told = [
        {name: step.get(name) for name in fields}
        for step in view.fields(f"plan:{plan_id}").get("steps") or ()
        if isinstance(step, dict)
    ]
    seen = {(step["kind"], step["at_ns"]) for step in stored}
    return stored + [step for step in told if (step["kind"], step["at_ns"]) not in seen]


class PlanTop(Horizontal):
    """The list beside the ladder."""

    def compose(self) -> ComposeResult:
        """Yield both panes."""
        yield PlanList()
        yield Ladder(id="ladder")


class Plans(FrameScreen):
    """The second screen."""

    screen_name = "plans"
    wish_needs = ("plans",)

    def content(self) -> Iterable[Widget]:
        """Yield the panes."""
        yield PlanTop(id="plan-top")
        yield PricePlot(id="plot")
        yield Why(id="why")
        yield Events(id="events")

    @property
    def plan_id(self) -> str | None:
        """The selected plan."""
        return self.query_one(PlanList).cursor_key

    def wanted(self) -> list[str]:
        """Return the rows of this screen and of the selected plan."""
        return super().wanted() + ([f"plan:{self.plan_id}"] if self.plan_id else [])

    @on(LiveTable.Moved)
    def follow(self, event: LiveTable.Moved) -> None:
        """Show the plan that the cursor is on."""
        if not isinstance(event.table, PlanList):
            return
        for pane in self.query(PlanPane):
            pane.plan_id = event.key
        self.query_one(PricePlot).plan_id = event.key
        self.show(self.view)
        self.app.call_later(self.app.run_action, "look_again")

    async def read_history(self, source: RowSource, view: View) -> None:
        """Read the selected plan's steps and, where bars are shown, its bars."""
        plan = view.plan(self.plan_id)
        if plan is None or self.plan_id is None:
            return
        steps = await source.steps(self.plan_id)
        if steps is not None:
            view.steps = {self.plan_id: steps}
        interval_s = self.query_one(PricePlot).interval_s
        if interval_s and view.market_ns:
            symbol = str(plan.get("symbol"))
            bars = await source.bars(symbol, interval_s, view.market_ns)
            if bars is not None:
                view.bars = {(symbol, interval_s): bars}

    def open_row(self) -> tuple[str, str] | None:
        """Zooming is for `z`; a plan opens nothing further."""
        return None

    def select(self, key: str) -> bool:
        """Put the cursor on a plan by id or symbol, closed ones too."""
        plans = self.query_one(PlanList)
        wanted = key.lower()
        for plan in self.view.plans(closed=True):
            if wanted in (words.plan_key(plan).lower(), words.symbol(plan).lower()):
                if plan not in self.view.plans():
                    plans.shows_closed = True
                return plans.select(words.plan_key(plan))
        return False

    def toggle(self, what: str) -> str:
        """List closed plans too, or not."""
        del what
        plans = self.query_one(PlanList)
        plans.shows_closed = not plans.shows_closed
        plans.redraw()
        return "listing all plans" if plans.shows_closed else "listing active plans"

    def turn_timeframe(self, steps: int) -> str:
        """Choose the plot's timeframe."""
        return self.query_one(PricePlot).turn(steps)
