"""Shares that the broker takes back from a slice, a stop or an exit, and what an entry risks."""

import json
from decimal import Decimal

import pytest

from tradebox.domain.events import PlanRow
from tradebox.domain.market import Quality, Source
from tradebox.domain.orders import AccountName, OrderRole
from tradebox.domain.path import (
    EntryCorrected,
    EntryFilled,
    Evidence,
    ExitRequest,
    MoveStopRequest,
    ProcedureDone,
    ReduceFilled,
    ReductionCorrected,
    ScaleOutRequest,
    StopWorking,
)
from tradebox.domain.plan_document import document_from
from tradebox.domain.plan_machine import step
from tradebox.domain.plan_rows import plan_row
from tradebox.domain.plan_state import (
    Phase,
    PlanState,
    StepKind,
    Tally,
    Terms,
    state_from_json,
    state_to_json,
)
from tradebox.domain.plan_turn import Armed, Book, CancelAsked, ClockReached, PriceSeen, Recovered

ID = "p1"
NOW_NS = 10**15
SECOND_NS = 10**9
TERMS = Terms(Decimal("0.01"), NOW_NS, None, is_day_entry=True)
TAKES = [{"at": {"r": "1"}, "take": {"fraction": "0.4"}}]
STOP, SLICE, EXIT = OrderRole.STOP, OrderRole.SLICE, OrderRole.EXIT


class Life:
    """A plan that entered 100 at 100.00 with its stop at 99.00, unless told otherwise."""

    def __init__(self, side="long", stop="99", entry=None, steps=TAKES, at="100", filled="100"):
        values = {"symbol": "AAPL", "side": side, "size": {"quantity": 100}, "steps": steps}
        values |= {"entry": entry or {"type": "market"}, "stop": {"price": stop}}
        self.plan, self.state, self.now_ns = document_from(values), PlanState(ID), NOW_NS
        self.tell(Armed(TERMS))
        self.price(at)
        self.tell(EntryFilled(ID, 100, Decimal(filled), 100, 0, self.now_ns))
        self.tell(ProcedureDone(ID, "EnterRequest", 100, 100, "", self.now_ns))

    def tell(self, event):
        self.state, actions = step(self.plan, self.state, event)
        assert state_from_json(json.loads(json.dumps(state_to_json(self.state)))) == self.state
        return actions

    def price(self, price):
        self.now_ns += SECOND_NS
        evidence = Evidence(Decimal(price), Source.FINNHUB, Quality.LIVE, self.now_ns)
        return self.tell(PriceSeen(evidence, self.now_ns))

    def clock(self):
        return self.tell(ClockReached(self.now_ns))

    def reduced(self, role, quantity, left, price="101"):
        return self.tell(ReduceFilled(ID, role, quantity, Decimal(price), left, self.now_ns))

    def done(self, request, left):
        return self.tell(ProcedureDone(ID, request.__name__, 0, left, "", self.now_ns))

    def corrected(self, left, sliced=0, closed=0, stopped=0, price=101):
        costs = Decimal(sliced * price), Decimal(closed * price)
        return self.tell(
            ReductionCorrected(
                ID, sliced, costs[0], closed, costs[1], stopped, left, self.now_ns
            )
        )  # fmt: skip

    def sliced(self):
        """Let it take its 40 shares at 101."""
        (request,) = self.price("101")
        assert isinstance(request, ScaleOutRequest)
        self.reduced(SLICE, 40, 60)
        self.done(ScaleOutRequest, 60)
        return self

    def left(self):
        """Let it leave in full, on a person's word, at 101."""
        self.tell(CancelAsked("out", self.now_ns))
        (request,) = self.clock()
        assert isinstance(request, ExitRequest)
        self.reduced(EXIT, 100, 0)
        self.done(ExitRequest, 0)
        assert self.state.phase is Phase.CLOSED
        return self


def test_a_busted_slice_is_held_again_and_not_taken_anew():
    life = Life().sliced()
    assert life.corrected(75, sliced=25) == ()
    assert (life.state.phase, life.state.position) == (Phase.OPEN, 75)
    assert life.corrected(75, sliced=25) == (), "told twice, counted once"
    assert life.price("101.5") == ()
    assert life.corrected(100) == ()
    assert (life.state.phase, life.state.position, life.state.sliced) == (Phase.OPEN, 100, Tally())


def test_a_price_that_was_corrected_changes_what_the_slice_brought():
    life = Life().sliced()
    life.corrected(60, sliced=40, price=90)
    assert (life.state.position, life.state.sliced.average) == (60, Decimal(90))


def test_the_next_take_takes_what_was_given_back_within_its_fraction():
    takes = [*TAKES, {"at": {"r": "2"}, "take": {"fraction": "0.2"}}]
    life = Life(steps=takes).sliced()
    life.corrected(100)
    (request,) = life.price("102")
    assert (type(request), request.quantity) == (ScaleOutRequest, 60)


def test_a_part_of_a_slice_under_way_that_was_taken_back_is_taken_again():
    life = Life()
    life.price("101")
    life.reduced(SLICE, 30, 70)
    life.corrected(90, sliced=10)
    life.done(ScaleOutRequest, 90)
    life.now_ns += 60 * SECOND_NS
    (request,) = life.clock()
    assert (type(request), request.quantity) == (ScaleOutRequest, 30)
    taken = life.reduced(SLICE, 30, 60)[0]
    assert (taken.kind, taken.quantity, taken.price) == (StepKind.SCALE_OUT, 40, Decimal(101))


def test_an_earlier_slice_taken_back_during_the_next_one_is_not_counted_in_it():
    takes = [*TAKES, {"at": {"r": "2"}, "take": {"fraction": "0.2"}}]
    life = Life(steps=takes).sliced()
    life.price("102")
    life.corrected(90, sliced=10)
    taken = life.reduced(SLICE, 20, 70, "102")[0]
    assert (taken.kind, taken.quantity, taken.price) == (StepKind.SCALE_OUT, 20, Decimal(102))
    assert (life.state.position, life.state.slice) == (70, None)


@pytest.mark.parametrize(("entered", "left"), [(50, 10), (25, None), (20, None)])
def test_a_slice_under_way_takes_its_fraction_of_what_an_amended_entry_left(entered, left):
    life = Life()
    life.price("101")
    life.reduced(SLICE, 10, 90)
    actions = life.tell(EntryCorrected(ID, entered, Decimal(100 * entered), life.now_ns))
    assert life.state.position == entered - 10
    if left is None:
        assert [taken.quantity for taken in actions] == [10], "it has its fraction, or more"
        assert life.state.slice is None
        return
    life.done(ScaleOutRequest, entered - 10)
    life.now_ns += 60 * SECOND_NS
    (request,) = life.clock()
    assert (type(request), request.quantity) == (ScaleOutRequest, left)


def test_a_slice_that_an_amended_entry_leaves_nothing_to_take_is_dropped():
    life = Life()
    life.price("101")
    life.tell(EntryCorrected(ID, 2, Decimal(200), life.now_ns))
    assert (life.state.phase, life.state.position, life.state.slice) == (Phase.OPEN, 2, None)


@pytest.mark.parametrize("left", [100, 30])
def test_a_busted_exit_opens_its_plan_again_and_it_leaves_once_more(left):
    life = Life().left()
    assert life.corrected(left, closed=100 - left) == (), "a fact asks for nothing"
    assert (life.state.phase, life.state.position) == (Phase.EXITING, left)
    assert life.state.closed_ns is None
    (request,) = life.clock()
    assert isinstance(request, ExitRequest)
    assert "took back" in request.reason
    taken = life.reduced(EXIT, left, 0)[0]
    assert (taken.kind, taken.quantity) == (StepKind.EXIT, 100)
    assert life.state.phase is Phase.CLOSED


def test_a_busted_stop_opens_its_plan_again_behind_its_stop():
    life = Life()
    life.reduced(STOP, 100, 0, "99")
    assert life.state.phase is Phase.CLOSED
    assert life.corrected(100) == ()
    assert (life.state.phase, life.state.position, life.state.leaving) == (Phase.OPEN, 100, None)
    assert life.price("100") == (), "the fill was none: the plan goes on"
    assert kinds_of(life.price("101")) == [ScaleOutRequest]
    life.done(ScaleOutRequest, 100)
    life.reduced(STOP, 100, 0, "99")
    assert life.state.phase is Phase.CLOSED


def trailing(percent="1"):
    """A plan whose trail has brought its stop from 99 to 101.97, a hundredth below 103."""
    life = Life(steps=[{"at": {"r": "1"}, "trail": {"percent": percent}}])
    for price in ("101", "103"):
        (request,) = life.price(price)
        life.tell(StopWorking(ID, 100, request.stop_price, life.now_ns))
        life.done(MoveStopRequest, 100)
    assert life.state.stop_price == Decimal("101.97")
    return life


def test_a_plan_that_a_busted_stop_opens_again_goes_on_trailing_from_its_best_price():
    life = trailing()
    life.reduced(STOP, 100, 0, "101.97")
    assert life.state.phase is Phase.CLOSED
    life.corrected(100)
    assert (life.state.phase, life.state.best_stop) == (Phase.OPEN, Decimal("101.97"))
    life.tell(StopWorking(ID, 100, Decimal("101.97"), life.now_ns))
    assert life.price("102.50") == (), "below the best price already seen: nothing loosens"
    (request,) = life.price("104")
    assert isinstance(request, MoveStopRequest)
    assert request.stop_price == Decimal("102.96")


def test_a_looser_stop_that_comes_back_after_a_bust_is_tightened_again():
    life = trailing()
    life.reduced(STOP, 100, 0, "101.97")
    life.corrected(100)
    life.tell(StopWorking(ID, 100, Decimal(99), life.now_ns))
    (request,) = life.price("102.50")
    assert (type(request), request.stop_price) == (MoveStopRequest, Decimal("101.97"))


def test_a_step_that_was_reached_and_not_carried_out_waits_for_its_price_once_more():
    takes = [*TAKES, {"at": {"r": "2"}, "trail": {"percent": "1"}}]
    life = Life(steps=takes)
    life.price("101")
    assert life.price("102") == (), "the slice is under way"
    life.reduced(STOP, 100, 0, "99")
    assert (life.state.phase, life.state.next_step) == (Phase.CLOSED, 1)
    life.corrected(100)
    life.tell(StopWorking(ID, 100, Decimal(99), life.now_ns))
    assert life.price("101.50") == ()
    (request,) = life.price("102")
    assert (type(request), request.stop_price) == (MoveStopRequest, Decimal("100.98"))


def test_a_bust_of_a_stop_that_was_moved_through_the_market_to_leave_leaves_once_more():
    life = Life()
    life.tell(CancelAsked("out", life.now_ns))
    (request,) = life.clock()
    assert isinstance(request, ExitRequest)
    life.reduced(STOP, 100, 0, "101")
    life.done(ExitRequest, 0)
    assert life.state.phase is Phase.CLOSED
    life.corrected(100)
    assert (life.state.phase, life.state.position) == (Phase.EXITING, 100)
    assert kinds_of(life.clock()) == [ExitRequest]


def test_a_correction_may_take_the_last_share():
    life = Life().sliced()
    life.reduced(STOP, 50, 10, "99")
    taken = life.corrected(0, sliced=40, closed=60, stopped=60, price=99)[0]
    assert (taken.kind, taken.quantity) == (StepKind.EXIT, 60)
    assert (life.state.phase, life.state.position) == (Phase.CLOSED, 0)
    assert life.corrected(0, sliced=40, closed=60, stopped=60, price=100) == ()
    assert life.state.phase is Phase.CLOSED


def test_shares_that_a_reconcile_took_off_stay_gone():
    life = Life().sliced()
    life.corrected(45, sliced=20)
    assert (life.state.position, life.state.closing.quantity) == (45, 35)


def test_a_plan_without_an_entry_hears_of_no_reduction():
    life = Life()
    life.state = PlanState(ID)
    assert life.corrected(5) == ()
    assert life.state == PlanState(ID)


def test_books_with_fewer_slices_than_the_plan_had_noted_are_believed():
    life = Life().sliced()
    book = Book(True, True, life.state.entry, Tally(10, Decimal(1010)), stop_price=Decimal(99),
                stop_quantity=90)  # fmt: skip
    assert life.tell(Recovered(book, life.now_ns)) == ()
    assert (life.state.phase, life.state.position) == (Phase.OPEN, 90)


def kinds_of(actions):
    return [type(action) for action in actions]


# R


@pytest.mark.parametrize(
    ("filled", "risk"),
    [("100", "1"), ("100.40", "1.40"), ("99.40", "1"), ("99.0009", "1"), ("98.20", "1")],
)
def test_r_is_what_was_planned_or_more(filled, risk):
    life = Life(filled=filled)
    assert life.state.risk_per_share == Decimal(risk)


def test_r_of_a_short_and_of_a_limit_is_by_its_own_planned_price():
    short = Life("short", "101", filled="101.30")
    assert short.state.risk_per_share == Decimal(1)
    limit = Life(entry={"type": "limit", "price": "99.50"}, filled="99.10")
    assert limit.state.risk_per_share == Decimal("0.50")


def test_a_plan_that_gapped_through_its_stop_shows_a_result_that_means_something():
    """Long meant at 29.59 with its stop at 29.50, filled at 29.4991, left at 29.44."""
    life = Life(stop="29.50", at="29.59", filled="29.4991")
    assert life.state.risk_per_share == Decimal("0.09")
    life.reduced(STOP, 100, 0, "29.44")
    row = plan_row(
        AccountName.PAPER, life.plan, life.state, tick=None, quality=Quality.LIVE,
        now_ns=life.now_ns, is_demo=False,
    )  # fmt: skip
    assert isinstance(row, PlanRow)
    assert round(row.r_multiple, 2) == -0.66
    target = {name: price for name, price, _ in row.levels}["T1"]
    assert target == Decimal("29.5891")
