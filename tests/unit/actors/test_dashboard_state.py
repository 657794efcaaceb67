from decimal import Decimal

import pytest

from tradebox.actors import dashboard_state
from tradebox.actors.dashboard_state import (
    ALERTS_MAX,
    ORDERS_MAX,
    PLANS_MAX,
    POSITIONS_MAX,
    STEPS_MAX,
    TEXT_CHARS_MAX,
    DashboardState,
)
from tradebox.domain.events import (
    AccountChanged,
    AlertRaised,
    FeedFailover,
    FillBooked,
    IntentDenied,
    LinkChanged,
    OrderChanged,
    PlanChanged,
    PlanRow,
    PlanStepTaken,
    PositionChanged,
)
from tradebox.domain.orders import AccountName, OrderRole, OrderState, Side
from tradebox.ports.day_books import DayBooks
from tradebox.supervision.events import ChildExited
from tradebox.supervision.reasons import Crash

PAPER, LIVE = AccountName.PAPER, AccountName.LIVE


def plan(number, state="open", r_multiple=None, at_ns=0):
    pnl_usd = None if r_multiple is None else Decimal(10) * Decimal(str(r_multiple))
    return PlanChanged(
        PlanRow(
            account=PAPER, plan_id=f"P-{number}", symbol="NVDA", side=Side.BUY, state=state,
            quantity=1, initial_quantity=1, entry_price=None, stop_price=None, initial_stop=None,
            last_price=None, last_source=None, last_quality=None, last_event_ns=None,
            r_multiple=r_multiple, pnl_usd=pnl_usd, realised_usd=Decimal(0), updated_ns=at_ns,
        )
    )  # fmt: skip


def order(number, state=OrderState.WORKING, plan_id="P-1"):
    return OrderChanged(
        account=PAPER, order_ref=f"o-{number}", plan_id=plan_id, symbol="NVDA",
        role=OrderRole.STOP, side=Side.SELL, quantity=10, filled=0, order_type="STP",
        limit_price=None, stop_price=Decimal(1), state=state, order_id=number, perm_id=0, at_ns=5,
    )  # fmt: skip


def position(symbol, quantity, stop=0):
    return PositionChanged(
        account=PAPER, symbol=symbol, quantity=quantity, stop_quantity=stop,
        in_flight_quantity=0, covered=quantity == stop, average_price=None, at_ns=5,
    )  # fmt: skip


def step(number, plan_id="P-1"):
    return PlanStepTaken(PAPER, plan_id, "NVDA", "trail", Decimal(number), "finnhub", "why", number)


@pytest.fixture
def state():
    return DashboardState()


def test_every_collection_is_bounded(state):
    for number in range(PLANS_MAX * 2):
        state.fold(plan(number, "closed" if number % 3 else "open"))
        state.fold(step(number, f"P-{number}"))
        state.fold(order(number))
        state.fold(position(f"S{number}", 0))
    for number in range(STEPS_MAX * 2):
        state.fold(step(number, f"P-{PLANS_MAX * 2 - 1}"))
    for number in range(POSITIONS_MAX):
        state.fold(position(f"T{number}", 1))
    assert len(state.plans) == PLANS_MAX
    assert len(state.orders) == ORDERS_MAX
    assert len(state.alerts) == ALERTS_MAX
    assert len(state.positions) == POSITIONS_MAX
    assert len(state.steps[f"P-{PLANS_MAX * 2 - 1}"]) == STEPS_MAX
    assert len(state.steps) <= PLANS_MAX


def test_closed_plans_and_done_orders_leave_first(state):
    state.fold(plan(0, "open"))
    state.fold(order(0, OrderState.WORKING))
    for number in range(1, PLANS_MAX * 2):
        state.fold(plan(number, "closed"))
        state.fold(order(number, OrderState.FILLED))
    assert "P-0" in state.plans
    assert "o-0" in state.orders


def test_a_plan_keeps_its_place_when_it_changes(state):
    for number in (1, 2, 3):
        state.fold(plan(number))
    state.fold(plan(1, "closed"))
    assert list(state.plans) == ["P-1", "P-2", "P-3"]


def test_steps_of_plans_that_left_go_first(state):
    state.fold(plan(0))
    state.fold(step(1, "P-0"))
    for number in range(1, PLANS_MAX * 2):
        state.fold(step(number, f"P-gone-{number}"))
    assert len(state.steps) == PLANS_MAX
    assert "P-0" in state.steps
    assert state.alerts[-1]["kind"] == "step"


def test_a_plan_has_its_steps_and_its_orders(state):
    for event in (plan(1), step(1), order(1), order(2, plan_id="P-2")):
        state.fold(event)
    detail = state.plan_detail("P-1")
    assert detail["plan"]["plan_id"] == "P-1"
    assert [row["price"] for row in detail["steps"]] == [Decimal(1)]
    assert [row["order_ref"] for row in detail["orders"]] == ["o-1"]


def test_flat_positions_are_shown_while_a_stop_still_works(state):
    state.fold(position("A", 10, 10))
    state.fold(position("B", 0, 10))
    state.fold(position("C", 0, 0))
    assert [row["symbol"] for row in state.positions_rows()] == ["A", "B"]


def test_link_and_money_of_an_account_meet_in_one_row(state):
    state.fold(AccountChanged(PAPER, "SIM1", Decimal(9), Decimal(8), Decimal(0), Decimal(1), 5))
    assert state.accounts[PAPER]["link"] is None
    state.fold(LinkChanged(PAPER, "SIM1", "CLEAN", "127.0.0.1:1", "reconciled", 5))
    row = state.accounts[PAPER]
    assert (row["name"], row["account"], row["link"]) == ("paper", "SIM1", "CLEAN")
    assert row["net_liquidation_usd"] == 9
    assert LIVE not in state.accounts


def test_what_is_counted(state):
    state.fold(
        FillBooked(PAPER, "o-1", "P-1", "X", OrderRole.ENTRY, Side.BUY, 1, Decimal(1), "e", 5)
    )
    state.fold(IntentDenied(PAPER, "P-1", "X", "limit", "4", "5", "too much", 5))
    for _ in range(2):
        state.fold(order(1, OrderState.REJECTED))
    reason = Crash(ValueError("x"))
    for asked in (False, True):
        state.fold(
            ChildExited(at_s=1.0, name="a", child_id="a", incarnation=1, reason=reason, asked=asked)
        )
    assert state.counts == {
        "fills": 1, "denied": 1, "rejected": 1, "refused_ticks": 0, "restarts": 1,
    }  # fmt: skip


def test_alerts_are_numbered_dated_and_cut(state):
    reason = Crash(ValueError("x" * 1000))
    state.fold(
        ChildExited(at_s=1.0, name="a", child_id="a", incarnation=1, reason=reason), now_ns=77
    )
    state.fold(AlertRaised("warning", "k", "y" * 1000, at_ns=8), now_ns=78)
    state.fold(FeedFailover("feed_a", "feed_b", 2, "crash", 0, 9), now_ns=79)
    assert [row["number"] for row in state.alerts] == [1, 2, 3]
    assert [row["at_ns"] for row in state.alerts] == [77, 8, 9]
    assert all(len(row["text"]) <= TEXT_CHARS_MAX for row in state.alerts)


def test_an_unknown_event_changes_nothing(state):
    state.fold(object())
    assert not state.alerts


def test_every_watched_event_is_an_event_the_state_knows():
    assert len(set(dashboard_state.WATCHED)) == len(dashboard_state.WATCHED)


NOON, DAY_NS = 1_294_066_800_000_000_000, 86_400_000_000_000  # 2011-01-03, 10:00 in New York


def denial():
    return IntentDenied(PAPER, "P-1", "NVDA", "rate", "2", "3", "too many", NOON)


def test_a_day_is_not_told_before_the_books_were_read(state):
    state.fold(plan(1, "closed", 1.5, NOON), NOON)
    assert state.day() is None
    state.recall(DayBooks((), 0, 0, 0))
    assert state.day()["net_r"] == 1.5


def test_a_day_holds_what_an_earlier_engine_did_in_it_once(state):
    state.fold(plan(1, "open", 0.5, NOON), NOON)
    state.fold(plan(2, "closed", -1.0, NOON), NOON)
    state.fold(denial(), NOON)
    older = (plan(9, "closed", 2.0, NOON).row, plan(2, "closed", -7.0, NOON).row)
    state.recall(DayBooks(older, fills=4, denied=2, rejected=1))
    state.fold(denial(), NOON)
    day = state.day()
    assert (day["net_r"], day["net_usd"]) == (1.5, Decimal(15))
    assert (day["fills"], day["denied"], day["rejected"]) == (4, 4, 1)
    assert list(state.plans) == ["P-9", "P-1", "P-2"]


def test_a_day_begins_anew_and_keeps_what_is_open(state):
    state.fold(plan(1, "open", 0.5, NOON), NOON)
    state.fold(plan(2, "closed", -1.0, NOON), NOON)
    state.fold(denial(), NOON)
    state.recall(DayBooks((), fills=4, denied=2, rejected=1))
    state.turn_day(NOON + DAY_NS)
    day = state.day()
    assert (day["net_r"], day["fills"], day["denied"], day["rejected"]) == (0.5, 0, 0, 0)
    assert "P-2" in state.plans
