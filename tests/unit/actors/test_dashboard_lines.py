"""The last lines of what happened, and what an order's row remembers of its way."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tradebox.actors import dashboard_lines
from tradebox.actors.dashboard_lines import LINES_MAX, TEXT_CHARS_MAX, Lines
from tradebox.actors.dashboard_state import PATH_MAX, RESTARTS_MAX, DashboardState
from tradebox.domain.events import (
    AlertRaised,
    FillBooked,
    LinkChanged,
    OrderChanged,
    PlanStepTaken,
    StoreChanged,
    TickRefused,
)
from tradebox.domain.market import Source
from tradebox.domain.orders import AccountName, OrderRole, OrderState, Side
from tradebox.supervision.events import ChildExited
from tradebox.supervision.reasons import Crash

PAPER = AccountName.PAPER
STOP = OrderChanged(
    account=PAPER, order_ref="o-1", plan_id="P-1", symbol="NVDA", role=OrderRole.STOP,
    side=Side.SELL, quantity=10, filled=0, order_type="STP", limit_price=None,
    stop_price=Decimal("100.5"), state=OrderState.SENDING, order_id=7, perm_id=0, at_ns=5,
)  # fmt: skip
FILL = FillBooked(PAPER, "o-1", "P-1", "NVDA", OrderRole.STOP, Side.SELL, 4, Decimal(100), "e1", 6)
REFUSED = TickRefused("NVDA", next(iter(Source)), "spike", "drop", 1, 1)


def exited(at_s=1.0, name="market.feed_a", *, asked=False):
    return ChildExited(at_s=at_s, name=name, child_id="feed_a", incarnation=1,
                       reason=Crash(ValueError("odd")), asked=asked)  # fmt: skip


@pytest.mark.parametrize(
    ("event", "kind", "text"),
    [
        (STOP, "order", "stop SELL 0/10 @ 100.5 sending"),
        (FILL, "fill", "stop SELL 4 @ 100"),
        (LinkChanged(PAPER, "SIM1", "CLEAN", "h:1", "reconciled", 3), "link",
         "state=CLEAN gateway=h:1 reason=reconciled"),
        (PlanStepTaken(PAPER, "P-1", "NVDA", "exit", Decimal(9), "finnhub", "why", 4), "step",
         "exit @ 9 (finnhub): why"),
        (AlertRaised("warning", "gap", "a gap"), "alert", "warning gap: a gap"),
        (StoreChanged("redis", is_up=False, reason="refused", at_ns=1), "store",
         "store=redis is_up=False reason=refused"),
    ],
)  # fmt: skip
def test_every_kind_has_its_words(event, kind, text):
    lines = Lines()
    lines.take(event, 77)
    (row,) = lines.rows()
    assert (row["kind"], row["text"]) == (kind, text)
    assert row["at_ns"] == (getattr(event, "at_ns", 0) or 77)


def test_a_child_that_ended_is_told_by_its_name_unless_it_was_asked():
    lines = Lines()
    lines.take(exited(asked=True), 1)
    assert lines.rows() == []
    lines.take(exited(), 1)
    (row,) = lines.rows()
    assert (row["kind"], row["actor"]) == ("restart", "market.feed_a")


def test_figures_are_no_lines():
    lines = Lines()
    lines.take(REFUSED, 1)
    assert lines.rows() == []


def test_the_oldest_line_leaves_and_a_line_is_worded_once(monkeypatch):
    lines, worded = Lines(), []
    word = dashboard_lines._row
    monkeypatch.setattr(dashboard_lines, "_row", lambda *a: worded.append(a[0]) or word(*a))
    for _ in range(LINES_MAX + 5):
        lines.take(STOP, 1)
    assert worded == []
    rows = lines.rows()
    assert [row["number"] for row in rows] == list(range(6, LINES_MAX + 6))
    lines.take(replace(STOP, symbol="x" * 1000), 1)
    lines.take(AlertRaised("info", "k", "y" * 1000), 1)
    assert len(lines.rows()[-1]["text"]) == TEXT_CHARS_MAX
    assert len(worded) == LINES_MAX + 2


def test_an_order_remembers_its_way_its_start_and_its_reference():
    state = DashboardState()
    for at_ns, name in enumerate(("sending", "acked", "acked", "working"), 5):
        state.fold(replace(STOP, state=OrderState(name), at_ns=at_ns))
    row = state.orders["o-1"]
    assert row["path"] == ["sending", "acked", "working"]
    assert (row["first_ns"], row["at_ns"]) == (5, 8)
    assert row["reference_price"] == Decimal("100.5")
    for turn in range(PATH_MAX):
        moved = OrderState.PARTIAL if turn % 2 else OrderState.WORKING
        state.fold(replace(STOP, state=moved))
    assert len(state.orders["o-1"]["path"]) <= PATH_MAX


def test_the_average_price_is_that_of_all_fills():
    state = DashboardState()
    state.fold(STOP)
    state.fold(FILL)
    state.fold(replace(FILL, quantity=6, price=Decimal("100.5"), exec_id="e2"))
    state.fold(replace(STOP, state=OrderState.FILLED, filled=10))
    row = state.orders["o-1"]
    assert (row["average_price"], row["fill_quantity"]) == (Decimal("100.3"), 10)
    state.fold(replace(FILL, order_ref="unknown"))
    assert "unknown" not in state.orders


def test_restarts_of_the_last_hour_by_child():
    state = DashboardState()
    for at_s in range(RESTARTS_MAX + 3):
        state.fold(exited(float(at_s)))
    state.fold(exited(5.0, "dashboard", asked=True))
    now_ns = 3_600_000_000_000 + 10_000_000_000
    stamps = state.restarts("market.feed_a", now_ns)
    assert min(stamps) == 10_000_000_000
    assert len(stamps) <= RESTARTS_MAX
    assert state.restarts("dashboard", now_ns) == []


def test_refusals_are_counted_by_symbol():
    state = DashboardState()
    for symbol in ("NVDA", "NVDA", "GE"):
        state.fold(replace(REFUSED, symbol=symbol))
    assert state.refused == {"NVDA": 2, "GE": 1}
