"""A plan that the market holds says so, keeps its stop, and goes on when it can."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tradebox.domain.market import Quality, Source
from tradebox.domain.orders import Denied, OrderRole
from tradebox.domain.path import Evidence, ExitRequest, ProcedureDone, ReduceFilled, RequestDenied
from tradebox.domain.plan_document import document_from
from tradebox.domain.plan_machine import step
from tradebox.domain.plan_state import (
    Phase,
    PlanState,
    Tally,
    Terms,
    state_from_json,
    state_to_json,
)
from tradebox.domain.plan_turn import CancelAsked, ClockReached, PriceSeen

SECOND_NS = 10**9
NOW_NS = 10**15
PLAN = document_from(
    {
        "symbol": "AAPL",
        "side": "long",
        "size": {"quantity": 10},
        "entry": {"type": "market"},
        "stop": {"price": "95"},
    }
)
HELD = PlanState(
    "p1",
    phase=Phase.OPEN,
    terms=Terms(Decimal("0.01"), NOW_NS, None, is_day_entry=True),
    quantity=10,
    initial_stop=Decimal(95),
    entry=Tally(10, Decimal(1000)),
    entry_is_closed=True,
    is_entered=True,
    risk_per_share=Decimal(5),
    stop_price=Decimal(95),
    stop_quantity=10,
    best_stop=Decimal(95),
)


def leaving(state=HELD):
    state, _ = step(PLAN, state, CancelAsked("out", NOW_NS))
    return step(PLAN, state, ClockReached(NOW_NS))


def refused(state, check, at_ns=NOW_NS):
    denied = Denied(check, "trading", "halted", "not now")
    return step(PLAN, state, RequestDenied("p1", "ExitRequest", denied, at_ns))


@pytest.mark.parametrize("check", ["halt", "split"])
def test_a_held_plan_says_by_what_and_asks_again_later(check):
    state, actions = leaving()
    assert [type(action) for action in actions] == [ExitRequest]
    state, actions = refused(state, check)
    assert (state.held_by, state.pending, actions) == (check, None, ())
    assert state_from_json(state_to_json(state)) == state
    _, soon = step(PLAN, state, ClockReached(NOW_NS + 4 * SECOND_NS))
    assert soon == ()
    state, later = step(PLAN, state, ClockReached(NOW_NS + 6 * SECOND_NS))
    assert [type(action) for action in later] == [ExitRequest]
    assert state.held_by == check, "until something happens, it is held"


def test_another_refusal_is_no_hold():
    state, _ = leaving()
    state, _ = refused(state, "rate")
    assert state.held_by == ""


def test_a_hold_ends_with_the_first_shares_that_leave_or_a_procedure_that_ends():
    held = replace(leaving()[0], held_by="halt")
    fill = ReduceFilled("p1", OrderRole.EXIT, 4, Decimal(99), 6, NOW_NS)
    assert step(PLAN, held, fill)[0].held_by == ""
    done = ProcedureDone("p1", "ExitRequest", 0, 10, "late", NOW_NS)
    assert step(PLAN, held, done)[0].held_by == ""


def test_a_price_alone_ends_no_hold_and_moves_no_stop_while_it_waits():
    state, _ = refused(leaving()[0], "halt")
    seen = Evidence(Decimal(101), Source.FINNHUB, Quality.LIVE, NOW_NS)
    after, actions = step(PLAN, state, PriceSeen(seen, NOW_NS + SECOND_NS))
    assert (after.held_by, actions) == ("halt", ())
