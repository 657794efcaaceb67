"""The plan machine, scene by scene: what it asks for, what it notes, what it refuses to do."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from tradebox.domain.market import Quality, Source
from tradebox.domain.orders import Denied, OrderRole, OrderType, Tif
from tradebox.domain.path import (
    CancelEntryRequest,
    EnterRequest,
    EntryClosed,
    EntryCorrected,
    EntryFilled,
    Evidence,
    ExitRequest,
    MoveStopRequest,
    ProcedureDone,
    ReduceFilled,
    RequestDenied,
    RequestRejected,
    ScaleOutRequest,
    StopWorking,
)
from tradebox.domain.plan_document import PlanDocument, document_from
from tradebox.domain.plan_machine import (
    SESSION_CLOSE_LEAD_NS,
    STOP_GRACE_NS,
    step,
)
from tradebox.domain.plan_state import (
    Phase,
    PlanState,
    StepKind,
    Tally,
    Terms,
    state_from_json,
    state_to_json,
)
from tradebox.domain.plan_turn import (
    Armed,
    Book,
    CancelAsked,
    ClockReached,
    PlanAction,
    PriceSeen,
    Recovered,
    StepTaken,
)
from tradebox.domain.session import MINUTE_NS, SECOND_NS

T0 = 1_000_000 * SECOND_NS
ID = "20110103-0001-AAPL"


def seen(price: str, quality: Quality = Quality.LIVE, at_ns: int = T0) -> Evidence:
    return Evidence(Decimal(price), Source.FINNHUB, quality, at_ns)


class Scene:
    """A plan under test: events in, actions out; the clock moves a second per event."""

    def __init__(self, **changes: object) -> None:
        values: dict[str, object] = {
            "symbol": "AAPL",
            "side": "long",
            "size": {"quantity": 100},
            "entry": {"type": "market"},
            "stop": {"price": "99"},
            "steps": [
                {"at": {"r": "0.5"}, "move_stop": {"to": "break_even"}},
                {"at": {"r": "1"}, "take": {"fraction": "0.5"}},
                {"at": {"r": "1"}, "trail": {"percent": "0.5"}},
            ],
        } | changes
        self.plan: PlanDocument = document_from(values)
        self.state = PlanState(ID)
        self.now_ns = T0
        self.terms = Terms(Decimal("0.01"), T0, T0 + 60 * MINUTE_NS, is_day_entry=True)

    def tell(self, event: object) -> tuple[PlanAction, ...]:
        before = self.state
        self.state, actions = step(self.plan, self.state, event)
        assert step(self.plan, before, event) == (self.state, actions), "the machine is pure"
        assert state_from_json(json.loads(json.dumps(state_to_json(self.state)))) == self.state
        return actions

    def arm(self, **changes: object) -> "Scene":
        self.tell(Armed(replace(self.terms, **changes)))
        return self

    def price(self, price: str, quality: Quality = Quality.LIVE, **more: object):
        self.now_ns += SECOND_NS
        return self.tell(PriceSeen(seen(price, quality, self.now_ns), self.now_ns, **more))

    def clock(self, seconds: float = 1, **more: object):
        self.now_ns += int(seconds * SECOND_NS)
        return self.tell(ClockReached(self.now_ns, **more))

    def filled(self, quantity: int, price: str, filled: int | None = None, of: int = 100):
        total = quantity if filled is None else filled
        fact = EntryFilled(ID, quantity, Decimal(price), total, of - total, self.now_ns)
        return self.tell(fact)

    def echo(self, price: str, quantity: int = 100):
        return self.tell(StopWorking(ID, quantity, Decimal(price), self.now_ns))

    def reduced(self, role: OrderRole, quantity: int, price: str, left: int):
        return self.tell(ReduceFilled(ID, role, quantity, Decimal(price), left, self.now_ns))

    def done(self, request: type, filled: int = 0, left: int = 100):
        return self.tell(ProcedureDone(ID, request.__name__, filled, left, "", self.now_ns))

    def opened(self) -> "Scene":
        """Long 100 at 100.00 with the stop at 99.00: R is 1.00."""
        self.arm()
        self.price("100")
        self.echo("99")
        self.filled(100, "100")
        self.done(EnterRequest, 100)
        assert self.state.phase is Phase.OPEN
        return self


def kinds(actions: tuple[PlanAction, ...]) -> list[str]:
    return [a.kind.value if isinstance(a, StepTaken) else type(a).__name__ for a in actions]


def only(actions: tuple[PlanAction, ...]) -> PlanAction:
    assert len(actions) == 1, actions
    return actions[0]


def test_market_entry_waits_for_a_live_price_and_an_open_path():
    scene = Scene().arm()
    for quality in Quality:
        if quality is not Quality.LIVE:
            assert scene.price("100", quality) == ()
    assert scene.price("100", is_ready=False) == ()
    assert scene.price("100", is_busy=True) == ()
    request = only(scene.price("100.25"))
    assert isinstance(request, EnterRequest)
    assert (request.order_type, request.tif, request.quantity) == (OrderType.MARKET, Tif.DAY, 100)
    assert request.protective_stop == Decimal(99)
    assert request.evidence is not None
    assert request.evidence.price == Decimal("100.25")
    assert scene.state.phase is Phase.ENTERING
    assert scene.price("100.30") == (), "one entry only"


def test_whole_life_from_entry_to_the_trail_stop():
    scene = Scene().opened()
    assert scene.state.risk_per_share == Decimal(1)
    assert scene.price("100.49") == ()
    move = only(scene.price("100.50"))
    assert isinstance(move, MoveStopRequest)
    assert move.stop_price == Decimal(100)
    taken = only(scene.echo("100"))
    assert isinstance(taken, StepTaken)
    assert (taken.kind, taken.price, taken.source) == (StepKind.BREAK_EVEN, 100, "finnhub")
    assert "0.5 R" in taken.reason
    scene.done(MoveStopRequest)
    cut = only(scene.price("101.05"))
    assert isinstance(cut, ScaleOutRequest)
    assert cut.quantity == 50
    assert kinds(scene.reduced(OrderRole.SLICE, 20, "101.04", 80)) == []
    taken = only(scene.reduced(OrderRole.SLICE, 30, "101.02", 50))
    assert isinstance(taken, StepTaken)
    assert (taken.kind, taken.price, taken.quantity) == (
        StepKind.SCALE_OUT, Decimal("101.028"), 50,
    )  # fmt: skip
    scene.done(ScaleOutRequest, 50, 50)
    trail = only(scene.clock())
    assert isinstance(trail, MoveStopRequest)
    assert trail.stop_price == Decimal("100.54")
    assert kinds(scene.echo("100.54", 50)) == ["trail"]
    scene.done(MoveStopRequest, 0, 50)
    assert scene.price("101.06") == (), "a trail does not creep: 0.1 R at least"
    assert kinds(scene.price("101.20")) == ["MoveStopRequest"]
    scene.echo("100.69", 50)
    scene.done(MoveStopRequest, 0, 50)
    end = only(scene.reduced(OrderRole.STOP, 50, "100.68", 0))
    assert isinstance(end, StepTaken)
    assert (end.kind, end.price, end.source) == (StepKind.EXIT, Decimal("100.68"), "broker")
    assert scene.state.phase is Phase.CLOSED
    assert scene.state.steps_taken == 6


def test_short_plan_mirrors_the_long_one():
    scene = Scene(side="short", stop={"percent": "1"}).arm()
    request = only(scene.price("100"))
    assert isinstance(request, EnterRequest)
    assert request.protective_stop == Decimal(101)
    scene.filled(100, "100")
    scene.echo("101")
    assert scene.price("101") == ()
    move = only(scene.price("99.50"))
    assert isinstance(move, MoveStopRequest)
    assert move.stop_price == Decimal(100)


def test_several_steps_crossed_by_one_tick_are_taken_in_order_as_the_path_allows():
    scene = Scene().opened()
    assert kinds(scene.price("101.50")) == ["MoveStopRequest"]
    assert scene.clock(is_busy=True) == (), "a busy path is waited for"
    assert kinds(scene.echo("100")) == ["break_even"]
    scene.done(MoveStopRequest)
    cut = only(scene.clock())
    assert isinstance(cut, ScaleOutRequest)
    assert cut.evidence.price == Decimal("101.50"), "evidence is the crossing tick"
    scene.reduced(OrderRole.SLICE, 50, "101.4", 50)
    scene.done(ScaleOutRequest, 50, 50)
    assert kinds(scene.clock()) == ["MoveStopRequest"]


@pytest.mark.parametrize("quality", [q for q in Quality if q is not Quality.LIVE])
def test_a_price_that_is_not_live_moves_and_exits_nothing(quality):
    scene = Scene().opened()
    before = scene.state
    for price in ("101.50", "250", "90", "1"):
        assert scene.price(price, quality) == ()
    assert scene.state == before


def test_a_stop_move_whose_price_was_crossed_meanwhile_is_an_exit():
    scene = Scene().opened()
    scene.price("100.60", is_busy=True)
    leave = only(scene.price("99.90"))
    assert isinstance(leave, ExitRequest)
    assert "through the new stop" in leave.reason


def test_partial_entry_counts_once_and_completes_when_it_closes():
    scene = Scene().arm()
    scene.price("100")
    assert scene.filled(30, "100", 30) == ()
    assert scene.filled(30, "100", 30) == (), "told twice, counted once"
    assert scene.filled(20, "101", 50) == ()
    assert scene.price("105") == (), "no step before the entry is complete"
    taken = only(scene.tell(EntryClosed(ID, 50, "rest cancelled", scene.now_ns)))
    assert isinstance(taken, StepTaken)
    assert (taken.kind, taken.price, taken.quantity) == (StepKind.ENTRY, Decimal("100.40"), 50)
    assert "50 of 100 not filled" in taken.reason
    assert scene.state.risk_per_share == Decimal("1.4")


def test_gap_through_the_stop_is_booked_at_the_fill_and_the_stop_is_left_to_the_broker():
    scene = Scene().opened()
    assert scene.price("95") == ()
    end = only(scene.reduced(OrderRole.STOP, 100, "94.90", 0))
    assert isinstance(end, StepTaken)
    assert (end.kind, end.price) == (StepKind.EXIT, Decimal("94.90"))


def test_a_stop_that_does_not_fill_is_left_after_its_grace():
    scene = Scene().opened()
    assert scene.price("98.50") == ()
    scene.now_ns += STOP_GRACE_NS - 2 * SECOND_NS
    assert scene.price("98.60") == ()
    assert kinds(scene.price("98.70")) == ["ExitRequest"]
    scene = Scene().opened()
    scene.price("98.50")
    scene.now_ns += STOP_GRACE_NS
    scene.price("99.00")
    assert scene.price("98.50") == (), "back at the stop: the count starts again"


def test_a_stop_that_filled_in_part_has_a_moment_to_fill_whole():
    scene = Scene().opened()
    assert scene.reduced(OrderRole.STOP, 40, "99", 60) == ()
    assert scene.clock(5) == ()
    assert kinds(scene.clock(30)) == ["ExitRequest"]
    end = scene.reduced(OrderRole.EXIT, 60, "98", 0)
    assert kinds(end) == ["exit"]
    assert end[0].price == Decimal("98.40")


def test_time_exits():
    scene = Scene(time_exit={"after_minutes": 10}).opened()
    assert scene.clock(9 * 60) == ()
    leave = only(scene.clock(60))
    assert isinstance(leave, ExitRequest)
    assert leave.reason == "time exit after 10 minutes"
    assert leave.evidence is not None, "the last live price"

    scene = Scene(time_exit={"session_close": True}).opened()
    close_ns = scene.now_ns + SESSION_CLOSE_LEAD_NS + 10 * SECOND_NS
    assert scene.clock(9, session_close_ns=close_ns) == ()
    assert kinds(scene.clock(1, session_close_ns=close_ns)) == ["ExitRequest"]

    scene = Scene(time_exit={"at": "2030-01-01T00:00:00Z"}).arm(exit_at_ns=T0 + 5 * MINUTE_NS)
    scene.price("100")
    scene.filled(100, "100")
    assert kinds(scene.clock(5 * 60)) == ["ExitRequest"]


def test_an_exit_goes_before_steps_that_wait():
    scene = Scene(time_exit={"after_minutes": 1}).opened()
    scene.price("101.50", is_busy=True)
    scene.clock(61, is_busy=True)
    assert kinds(scene.clock(1)) == ["ExitRequest"]
    assert kinds(scene.reduced(OrderRole.EXIT, 100, "101.3", 0)) == ["exit"]
    assert scene.price("103") == ()


def test_limit_entry_expires_and_is_withdrawn():
    scene = Scene(entry={"type": "limit", "price": "100"}).arm(valid_until_ns=T0 + MINUTE_NS)
    request = only(scene.price("101"))
    assert isinstance(request, EnterRequest)
    assert (request.order_type, request.limit_price) == (OrderType.LIMIT, Decimal(100))
    assert kinds(scene.clock(60)) == ["CancelEntryRequest"]
    assert scene.clock(1, is_busy=True) == (), "asked once"
    scene.tell(EntryClosed(ID, 0, "cancelled", scene.now_ns))
    assert scene.state.phase is Phase.CANCELLED
    assert scene.filled(100, "100") != (), "a fill after the cancel is a fact all the same"
    assert scene.state.phase is Phase.OPEN
    assert kinds(scene.clock(1)) == ["ExitRequest"]


def test_an_entry_whose_time_passed_before_it_was_sent_is_cancelled():
    scene = Scene().arm(valid_until_ns=T0 + MINUTE_NS)
    assert scene.clock(61) == ()
    assert scene.state.phase is Phase.CANCELLED


def test_stop_entry_already_beyond_its_trigger_is_refused():
    scene = Scene(entry={"type": "stop", "price": "101"}).arm()
    assert scene.price("101") == ()
    assert scene.state.phase is Phase.REFUSED
    assert "already beyond" in scene.state.close_reason


def test_price_through_the_stop_before_the_entry_is_refused():
    scene = Scene(entry={"type": "limit", "price": "100"}).arm()
    assert scene.price("98") == ()
    assert scene.state.phase is Phase.REFUSED


def test_cancel_at_every_stage():
    scene = Scene()
    scene.tell(CancelAsked("by hand", T0))
    assert scene.state.phase is Phase.CANCELLED
    scene = Scene().arm()
    scene.tell(CancelAsked("by hand", T0))
    assert (scene.state.phase, scene.state.close_reason) == (Phase.CANCELLED, "by hand")
    assert scene.price("100") == ()

    scene = Scene().arm()
    scene.price("100")
    scene.filled(30, "100", 30)
    scene.tell(CancelAsked("by hand", scene.now_ns))
    cancel = only(scene.clock())
    assert isinstance(cancel, CancelEntryRequest)
    assert kinds(scene.tell(EntryClosed(ID, 30, "cancelled", scene.now_ns))) == ["entry"]
    assert kinds(scene.clock()) == ["ExitRequest"]

    scene = Scene().opened()
    scene.tell(CancelAsked("by hand", scene.now_ns))
    assert kinds(scene.clock()) == ["ExitRequest"]
    scene.tell(CancelAsked("again", scene.now_ns))
    end = only(scene.reduced(OrderRole.EXIT, 100, "100.1", 0))
    assert isinstance(end, StepTaken)
    assert end.reason == "by hand"


def test_a_denied_entry_is_refused_and_a_passing_reason_is_waited_out():
    scene = Scene().arm()
    scene.price("100")
    denied = Denied("size", "10000", "20000", "too many shares")
    scene.tell(RequestDenied(ID, "EnterRequest", denied, scene.now_ns))
    assert scene.state.phase is Phase.REFUSED
    assert "too many shares" in scene.state.close_reason

    scene = Scene().arm()
    scene.price("100")
    scene.tell(RequestDenied(ID, "EnterRequest", Denied("link", "CLEAN", "BLIND", ""), T0))
    assert scene.state.phase is Phase.ARMED
    assert scene.price("100") == (), "not at once"
    scene.now_ns += 5 * SECOND_NS
    assert kinds(scene.price("100")) == ["EnterRequest"]


def test_a_rejected_entry_is_refused_when_it_is_known_dead():
    scene = Scene().arm()
    scene.price("100")
    scene.tell(RequestRejected(ID, "EnterRequest", 201, "no margin", T0))
    assert scene.state.phase is Phase.ENTERING, "a text is no state"
    assert scene.clock(is_busy=True) == ()
    scene.tell(EntryClosed(ID, 0, "rejected", T0))
    assert (scene.state.phase, scene.state.close_reason) == (
        Phase.REFUSED, "rejected by the broker: 201 no margin",
    )  # fmt: skip


def test_a_refused_stop_move_is_asked_again_later_and_later():
    scene = Scene().opened()
    assert kinds(scene.price("100.50")) == ["MoveStopRequest"]
    scene.tell(RequestDenied(ID, "MoveStopRequest", Denied("rate", "10", "11", ""), scene.now_ns))
    assert scene.price("100.60") == ()
    assert kinds(scene.clock(5)) == ["MoveStopRequest"]
    scene.done(MoveStopRequest)
    assert scene.clock(6) == ()
    assert kinds(scene.clock(5)) == ["MoveStopRequest"]
    assert kinds(scene.echo("100")) == ["break_even"]


def test_a_slice_that_filled_in_part_is_finished_by_another():
    scene = Scene().opened()
    scene.price("100.50")
    scene.echo("100")
    scene.done(MoveStopRequest)
    scene.price("101")
    scene.reduced(OrderRole.SLICE, 20, "101", 80)
    assert scene.done(ScaleOutRequest, 20, 80) == ()
    again = only(scene.clock(6))
    assert isinstance(again, ScaleOutRequest)
    assert again.quantity == 30
    taken = only(scene.reduced(OrderRole.SLICE, 30, "102", 50))
    assert isinstance(taken, StepTaken)
    assert (taken.quantity, taken.price) == (50, Decimal("101.60"))


def test_the_stop_fires_within_a_slice_and_both_are_noted():
    scene = Scene(steps=[{"at": {"r": "1"}, "take": {"fraction": "0.5"}}]).opened()
    scene.price("101")
    scene.reduced(OrderRole.SLICE, 20, "101", 80)
    assert kinds(scene.reduced(OrderRole.STOP, 80, "99", 0)) == ["scale_out", "exit"]


def test_taking_everything_is_an_exit():
    scene = Scene(steps=[{"at": {"r": "1"}, "take": {"fraction": "1"}}]).opened()
    leave = only(scene.price("101"))
    assert isinstance(leave, ExitRequest)
    assert leave.evidence is not None


def test_fractions_of_few_shares_are_floored_on_the_running_sum():
    steps = [{"at": {"r": str(r)}, "take": {"fraction": "0.3"}} for r in (1, 2, 3)]
    scene = Scene(size={"quantity": 3}, steps=steps).arm()
    scene.price("100")
    scene.filled(3, "100", of=3)
    asked = []
    for price in ("101", "102", "103"):
        actions = scene.price(price)
        asked.append([a.quantity for a in actions if isinstance(a, ScaleOutRequest)])
        for action in actions:
            assert isinstance(action, ScaleOutRequest)
            scene.reduced(OrderRole.SLICE, action.quantity, price, scene.state.position - 1)
            scene.done(ScaleOutRequest, 1)
    assert asked == [[], [1], [1]]


def test_a_looser_stop_than_before_is_tightened_again():
    scene = Scene().opened()
    scene.price("100.60")
    scene.echo("100")
    scene.done(MoveStopRequest)
    scene.echo("99")
    repair = only(scene.clock())
    assert isinstance(repair, MoveStopRequest)
    assert repair.stop_price == Decimal(100)


def test_size_by_risk_and_atr_stop():
    size, stop = {"risk_share_of_nlv": "0.01"}, {"atr_multiple": "2", "atr_period": 14}
    scene = Scene(size=size, stop=stop)
    scene.arm(net_liquidation_usd=Decimal(100_000), atr=((14, 86_400, Decimal("1.25")),))
    request = only(scene.price("100"))
    assert isinstance(request, EnterRequest)
    assert (request.protective_stop, request.quantity) == (Decimal("97.50"), 400)
    scene = Scene(size=size, stop=stop).arm(net_liquidation_usd=Decimal(100_000))
    scene.price("100")
    assert scene.state.phase is Phase.REFUSED
    assert "too few bars" in scene.state.close_reason


def test_atr_trail_keeps_its_distance():
    trail = {"atr_multiple": "1", "atr_period": 5, "interval_s": 60}
    scene = Scene(steps=[{"at": {"r": "1"}, "trail": trail}])
    scene.arm(atr=((5, 60, Decimal("0.37")),))
    scene.price("100")
    scene.filled(100, "100")
    scene.echo("99")
    move = only(scene.price("101.005"))
    assert isinstance(move, MoveStopRequest)
    assert move.stop_price == Decimal("100.63")


@pytest.mark.parametrize(
    ("multiple", "stop"), [("chandelier_multiple", "100.90"), ("atr_multiple", "99.60")]
)
def test_a_chandelier_hangs_from_the_best_price_since_the_entry(multiple, stop):
    trail = {multiple: "1", "atr_period": 5, "interval_s": 60}
    steps = [
        {"at": {"r": "0.5"}, "take": {"fraction": "0.5"}},
        {"at": {"r": "1"}, "trail": trail},
    ]
    scene = Scene(steps=steps).arm(atr=((5, 60, Decimal("1.60")),))
    scene.price("100")
    scene.filled(100, "100")
    scene.echo("99")
    for price in ("100.5", "101", "102.5", "101.2"):  # the slice is under way all the time
        scene.price(price)
    scene.reduced(OrderRole.SLICE, 50, "100.5", 50)
    scene.echo("99", 50)
    scene.done(ScaleOutRequest, 50, 50)
    asked = [a for a in scene.price("101.2") if isinstance(a, MoveStopRequest)]
    assert [str(move.stop_price) for move in asked] == [stop]


class TestRecovery:
    def test_a_request_that_was_never_recorded_is_decided_anew(self):
        scene = Scene().arm()
        scene.price("100")
        scene.tell(Recovered(Book(), scene.now_ns))
        assert scene.state.phase is Phase.ARMED
        assert kinds(scene.price("100.1")) == ["EnterRequest"]

    def test_a_working_entry_is_waited_for(self):
        scene = Scene().arm()
        scene.price("100")
        scene.tell(Recovered(Book(entry_is_known=True), scene.now_ns))
        assert scene.state.phase is Phase.ENTERING
        assert scene.price("100.1") == ()
        assert kinds(scene.filled(100, "100.1")) == ["entry"]

    def test_fills_that_happened_while_down_are_noted_once(self):
        scene = Scene().arm()
        scene.price("100")
        entry = Tally(100, Decimal(10_010))
        book = Book(True, True, entry, stop_price=Decimal(99), stop_quantity=100, at_ns=T0)
        assert kinds(scene.tell(Recovered(book, scene.now_ns))) == ["entry"]
        assert scene.tell(Recovered(book, scene.now_ns)) == ()
        closed = replace(book, closing=Tally(100, Decimal(9_890)), stopped=100)
        end = only(scene.tell(Recovered(closed, scene.now_ns)))
        assert isinstance(end, StepTaken)
        assert (end.kind, end.price, end.source) == (StepKind.EXIT, Decimal("98.90"), "broker")

    def test_a_stop_move_and_a_slice_that_went_through_are_noted(self):
        scene = Scene().opened()
        scene.price("101.50")
        book = Book(True, True, scene.state.entry, stop_price=Decimal(100), stop_quantity=100)
        assert kinds(scene.tell(Recovered(book, scene.now_ns))) == ["break_even"]
        assert kinds(scene.clock()) == ["ScaleOutRequest"]
        book = replace(book, sliced=Tally(50, Decimal(5_070)))
        assert kinds(scene.tell(Recovered(book, scene.now_ns))) == ["scale_out"]
        assert kinds(scene.clock()) == ["MoveStopRequest"]

    def test_a_slice_the_plan_had_not_saved_is_found_and_its_step_not_fired_again(self):
        scene = Scene().opened()
        book = Book(True, True, scene.state.entry, Tally(50, Decimal(5_050)),
                    stop_price=Decimal(100), stop_quantity=50)  # fmt: skip
        assert kinds(scene.tell(Recovered(book, scene.now_ns))) == ["scale_out"]
        actions = scene.price("101.5")
        assert not any(isinstance(a, ScaleOutRequest) for a in actions)

    def test_an_unanswered_stop_move_is_asked_again(self):
        scene = Scene().opened()
        scene.price("100.50")
        book = Book(True, True, scene.state.entry, stop_price=Decimal(99), stop_quantity=100)
        assert scene.tell(Recovered(book, scene.now_ns)) == ()
        assert kinds(scene.clock()) == ["MoveStopRequest"]


def test_an_amended_entry_sets_what_is_held_and_never_below_what_left():
    scene = Scene().opened()
    assert scene.tell(EntryCorrected(ID, 60, Decimal(6000), scene.now_ns)) == ()
    assert (scene.state.phase, scene.state.position) == (Phase.OPEN, 60)
    scene.tell(EntryCorrected(ID, 60, Decimal(6060), scene.now_ns))
    assert scene.state.entry.average == Decimal(101), "a price that was corrected"
    assert scene.tell(EntryCorrected(ID, 60, Decimal(6060), scene.now_ns)) == ()
    scene.reduced(OrderRole.STOP, 20, "99", 40)
    closed = only(scene.tell(EntryCorrected(ID, 10, Decimal(1010), scene.now_ns)))
    assert (closed.kind, closed.quantity) == (StepKind.EXIT, 20)
    assert (scene.state.phase, scene.state.position) == (Phase.CLOSED, 0)
    assert scene.tell(EntryCorrected(ID, 0, Decimal(0), scene.now_ns)) == ()
    assert scene.state.entry.quantity == 20


def test_an_entry_that_was_taken_back_whole_cancels_its_plan():
    scene = Scene().opened()
    assert scene.tell(EntryCorrected(ID, 0, Decimal(0), scene.now_ns)) == ()
    assert (scene.state.phase, scene.state.position) == (Phase.CANCELLED, 0)
    assert "took back" in scene.state.close_reason


def test_a_first_part_that_was_taken_back_leaves_the_entry_at_work():
    scene = Scene().arm()
    scene.price("100")
    scene.filled(40, "100")
    scene.tell(EntryCorrected(ID, 0, Decimal(0), scene.now_ns))
    assert (scene.state.phase, scene.state.position) == (Phase.ENTERING, 0)
    scene.filled(60, "100", filled=60, of=60)
    assert (scene.state.phase, scene.state.position) == (Phase.OPEN, 60)
