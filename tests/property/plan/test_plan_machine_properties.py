"""The plan machine against a broker that does anything legal, in any order.

Held after every event: ratchet, cover, conservation, fractions, each step once, live prices only,
one procedure at a time, a chandelier from the best price since the entry.
Each has a mutant of the machine that the same walk catches.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tradebox.domain import plan_facts, plan_machine
from tradebox.domain.market import Quality, Source
from tradebox.domain.orders import Denied, OrderRole
from tradebox.domain.path import (
    CancelEntryRequest,
    EnterRequest,
    EntryClosed,
    EntryCorrected,
    EntryFilled,
    Evidence,
    ExitRequest,
    MoveStopRequest,
    PathEvent,
    ProcedureDone,
    ReduceFilled,
    ReductionCorrected,
    RequestDenied,
    RequestRejected,
    ScaleOutRequest,
    StopWorking,
)
from tradebox.domain.plan_document import PlanDocument, document_from
from tradebox.domain.plan_machine import step
from tradebox.domain.plan_state import Phase, PlanState, StepKind, Tally, Terms
from tradebox.domain.plan_turn import (
    Armed,
    Book,
    CancelAsked,
    ClockReached,
    PriceSeen,
    Recovered,
    StepTaken,
)

SECOND_NS = 10**9
ID = "20160104-0001-AAPL"


class Broken(AssertionError):
    """A property did not hold."""


def hold(condition: object, what: str) -> None:
    if not condition:
        raise Broken(what)


@dataclass
class World:
    """The broker's side: what is held, what stands, what is under way."""

    plan: PlanDocument
    random: random.Random
    state: PlanState = field(default_factory=lambda: PlanState(ID))
    now_ns: int = 10**15
    price: Decimal = Decimal(100)
    request: object | None = None
    entry_left: int = 0
    entry_works: bool = False
    entered: int = 0
    cost: Decimal = Decimal(0)
    position: int = 0
    stop: Decimal | None = None
    slice_left: int = 0
    sliced: int = 0
    sliced_cost: Decimal = Decimal(0)
    closed: int = 0
    closed_cost: Decimal = Decimal(0)
    stopped: int = 0
    stops_asked: list[Decimal] = field(default_factory=list)
    steps: list[StepTaken] = field(default_factory=list)
    entries: int = 0
    told: list[PathEvent] = field(default_factory=list)
    best: Decimal | None = None
    reductions: list[tuple[OrderRole, int, Decimal]] = field(default_factory=list)
    reopened: int = 0

    @property
    def sign(self) -> int:
        return self.plan.order_side.sign

    @property
    def is_busy(self) -> bool:
        return self.request is not None

    # -- what the machine says ---------------------------------------------------------------

    def tell(self, event: object) -> None:
        before = self.state
        self.state, actions = step(self.plan, before, event)
        is_price = isinstance(event, PriceSeen)
        if is_price and before.is_entered and before.position > 0:
            self.see(event.evidence)
        if is_price and event.evidence.quality is not Quality.LIVE:
            dull, dull_actions = step(
                self.plan, before,
                ClockReached(event.now_ns, event.is_busy, event.session_close_ns),
            )  # fmt: skip
            hold((self.state, actions) == (dull, dull_actions), "only live prices decide")
        for action in actions:
            if isinstance(action, StepTaken):
                self.step_taken(action)
            else:
                hold(is_price or isinstance(event, ClockReached), "facts ask for nothing")
                self.asked(action)
        self.check()

    def see(self, evidence: Evidence) -> None:
        """Note the best live price since the entry."""
        if evidence.quality is not Quality.LIVE:
            return
        if self.best is None or self.sign * (evidence.price - self.best) > 0:
            self.best = evidence.price

    def step_taken(self, taken: StepTaken) -> None:
        self.steps.append(taken)
        hold(taken.step_no == len(self.steps), "step numbers are gapless")
        times = [one.at_ns for one in self.steps]
        hold(times == sorted(times), "steps are dated in their order")
        kinds = [one.kind for one in self.steps]
        hold(kinds.count(StepKind.ENTRY) <= 1, "one entry")
        hold(kinds.count(StepKind.EXIT) <= 1 + self.reopened, "one exit")
        hold(kinds[0] is StepKind.ENTRY, "the entry is first")
        takes = sum(part.take is not None for part in self.plan.steps)
        hold(kinds.count(StepKind.SCALE_OUT) <= takes, "each take fires once")
        moves = sum(
            part.move_stop is not None and part.move_stop.to == "break_even"
            for part in self.plan.steps
        )
        hold(kinds.count(StepKind.BREAK_EVEN) <= moves, "each break-even fires once")

    def asked(self, request: object) -> None:
        if isinstance(request, CancelEntryRequest):
            hold(self.entries == 1, "only an entry is withdrawn")
            return
        hold(not self.is_busy, "a busy procedure is waited for")
        self.request = request
        if isinstance(request, EnterRequest):
            self.entries += 1
            hold(self.entries == 1, "one entry request")
            self.entry_left, self.entry_works = request.quantity, True
            self.stops_asked.append(request.protective_stop)
        elif isinstance(request, MoveStopRequest):
            hold(
                self.sign * (request.stop_price - self.stops_asked[-1]) >= 0,
                "the stop never loosens",
            )
            hold(
                self.state.last is None
                or self.sign * (self.state.last.price - request.stop_price) > 0,
                "no stop is sent through the market",
            )
            self.stops_asked.append(request.stop_price)
        elif isinstance(request, ScaleOutRequest):
            hold(0 < request.quantity < self.position, "a slice is less than what is held")
            due = sum(
                (Fraction(part.take.fraction)
                 for part in self.plan.steps[: self.state.next_step] if part.take is not None),
                Fraction(0),
            )  # fmt: skip
            most = math.floor(due * self.entered)
            hold(self.sliced + request.quantity <= most, "slices stay within their fractions")
            self.slice_left = request.quantity
        else:
            hold(isinstance(request, ExitRequest), "a known request")
            hold(self.position > 0, "an exit leaves something")

    def check(self) -> None:
        state = self.state
        hold(state.position == self.position, "conservation of shares")
        hold(state.entry.quantity == self.entered, "entered shares are counted once")
        hold(state.position >= 0, "never short of what was entered")
        left = (state.sliced.cost, state.closing.cost, state.stopped)
        hold(left == (self.sliced_cost, self.closed_cost, self.stopped), "conservation of money")
        trails = [part.trail for part in self.plan.steps if part.trail is not None]
        hangs = all(trail.chandelier_multiple is not None for trail in trails)
        if state.trail is not None and hangs and self.best is not None:
            away = self.sign * (self.best - state.trail.best)
            hold(away <= 0, "a chandelier hangs from the best price since the entry")
        if self.position > 0:
            hold(not state.phase.is_final, "a plan with shares has not ended")
        if state.phase is Phase.CLOSED:
            hold(self.steps[-1].kind is StepKind.EXIT, "a closed plan has its exit row")

    # -- what the broker does -----------------------------------------------------------------

    def say(self, event: PathEvent) -> None:
        self.told.append(event)
        self.tell(event)
        self.tell(ClockReached(self.now_ns, self.is_busy))

    def fill_entry(self) -> None:
        if not self.entry_works or self.entry_left == 0:
            return
        quantity = self.random.randint(1, self.entry_left)
        self.entry_left -= quantity
        self.entered += quantity
        self.position += quantity
        self.cost += quantity * self.price
        if self.stop is None:
            self.stop = self.stops_asked[0]
        if self.entry_left == 0:
            self.entry_works = False
        self.say(EntryFilled(ID, quantity, self.price, self.entered, self.entry_left, self.now_ns))
        self.end_entry()

    def end_entry(self) -> None:
        if self.entry_works or self.entries == 0 or not isinstance(self.request, EnterRequest):
            return
        self.request = None
        self.say(EntryClosed(ID, self.entered, "over", self.now_ns))
        if self.position and self.stop is not None:
            self.say(StopWorking(ID, self.position, self.stop, self.now_ns))
        self.say(ProcedureDone(ID, "EnterRequest", self.entered, self.position, "", self.now_ns))

    def cancel_entry(self) -> None:
        if self.entry_works:
            self.entry_works, self.entry_left = False, 0
            self.end_entry()

    def reduce(self, role: OrderRole, quantity: int) -> None:
        quantity = min(quantity, self.position)
        if quantity <= 0:
            return
        self.position -= quantity
        if role is OrderRole.SLICE:
            self.sliced += quantity
            self.sliced_cost += quantity * self.price
        else:
            self.closed += quantity
            self.closed_cost += quantity * self.price
            self.stopped += quantity if role is OrderRole.STOP else 0
        self.reductions.append((role, quantity, self.price))
        at_ns = self.now_ns - self.random.choice([0, SECOND_NS])
        self.say(ReduceFilled(ID, role, quantity, self.price, self.position, at_ns))

    def take_back(self) -> None:
        """Amend an execution that reduced the position: some of its shares, or all, come back."""
        if not self.reductions or isinstance(self.request, EnterRequest):
            return
        index = self.random.randrange(len(self.reductions))
        role, quantity, price = self.reductions[index]
        left = self.random.choice([0, 0, self.random.randint(0, quantity)])
        told = self.random.choice([price, price + 1])
        self.reductions[index] = (role, left, told)
        back, less = quantity - left, quantity * price - left * told
        self.position += back
        if role is OrderRole.SLICE:
            self.sliced, self.sliced_cost = self.sliced - back, self.sliced_cost - less
        else:
            self.closed, self.closed_cost = self.closed - back, self.closed_cost - less
            self.stopped -= back if role is OrderRole.STOP else 0
        self.reopened += self.state.phase.is_final and self.position > 0
        self.say(
            ReductionCorrected(
                ID, self.sliced, self.sliced_cost, self.closed, self.closed_cost, self.stopped,
                self.position, self.now_ns,
            )
        )  # fmt: skip

    def take_entry_back(self) -> None:
        """Amend the entry: some of the shares that are still held were never bought."""
        if self.position == 0 or self.entry_works or isinstance(self.request, EnterRequest):
            return
        back = self.random.choice([self.position, self.random.randint(1, self.position)])
        self.cost -= self.cost / self.entered * back
        self.entered, self.position = self.entered - back, self.position - back
        self.told = []  # what was told before is not told again with its old total
        self.say(EntryCorrected(ID, self.entered, self.cost, self.now_ns))

    def stop_fires(self) -> None:
        if self.position and not isinstance(self.request, EnterRequest):
            self.reduce(OrderRole.STOP, self.random.choice([self.position, 1]))

    def go_on(self) -> None:
        """Let the procedure under way make some progress, or end."""
        request = self.request
        if isinstance(request, EnterRequest):
            self.fill_entry()
        elif isinstance(request, MoveStopRequest):
            if self.random.random() < 0.8 and self.position:
                self.stop = request.stop_price
                self.say(StopWorking(ID, self.position, self.stop, self.now_ns))
            self.finish()
        elif isinstance(request, ScaleOutRequest):
            part = self.random.randint(0, self.slice_left)
            self.slice_left -= part
            self.reduce(OrderRole.SLICE, part)
            if self.random.random() < 0.5:
                self.finish()
        elif isinstance(request, ExitRequest):
            self.reduce(OrderRole.EXIT, self.random.randint(0, self.position))
            self.finish()

    def finish(self) -> None:
        if self.request is None or isinstance(self.request, EnterRequest):
            return
        kind = type(self.request).__name__
        self.request = None
        if self.random.random() < 0.9:
            self.say(ProcedureDone(ID, kind, 0, self.position, "", self.now_ns))
        else:
            self.tell(ClockReached(self.now_ns, is_busy=False))

    def refuse(self) -> None:
        if self.request is None or isinstance(self.request, EnterRequest):
            return
        kind = type(self.request).__name__
        self.request = None
        if self.random.random() < 0.5:
            denied = Denied("rate", "1", "2", "")
            self.say(RequestDenied(ID, kind, denied, self.now_ns))
        else:
            self.say(RequestRejected(ID, kind, 201, "no", self.now_ns))
            self.say(ProcedureDone(ID, kind, 0, self.position, "", self.now_ns))

    def repeat(self) -> None:
        """Tell a fill or an end again: facts may come twice."""
        fills = [e for e in self.told if isinstance(e, EntryFilled | EntryClosed)]
        if fills:
            self.tell(self.random.choice(fills))

    def crash(self) -> None:
        """Start again from the books."""
        if self.request is not None and not isinstance(self.request, EnterRequest):
            self.request = None
        book = Book(
            self.entries > 0, self.entries > 0 and not self.entry_works,
            Tally(self.entered, self.cost), Tally(self.sliced, self.sliced_cost),
            Tally(self.closed, self.closed_cost), self.stopped,
            self.stop if self.position else None, self.position, self.now_ns,
        )  # fmt: skip
        if not self.entry_works and isinstance(self.request, EnterRequest):
            self.request = None
        self.tell(Recovered(book, self.now_ns))
        if self.entry_works:
            seen = Evidence(self.price, Source.FINNHUB, Quality.LIVE, self.now_ns)
            self.tell(PriceSeen(seen, self.now_ns, is_busy=False))
        self.tell(ClockReached(self.now_ns, self.is_busy))

    def move(self, steps: int) -> None:
        self.price = max(Decimal("1.00"), self.price + self.sign * steps * Decimal("0.11"))
        self.now_ns += self.random.choice([1, 3, 20]) * SECOND_NS
        live = self.random.random() < 0.85
        quality = Quality.LIVE if live else self.random.choice(list(Quality))
        seen = Evidence(self.price, Source.FINNHUB, quality, self.now_ns)
        self.tell(PriceSeen(seen, self.now_ns, is_busy=self.is_busy))


ACTIONS: list[Callable[[World], None]] = [
    World.fill_entry, World.cancel_entry, World.stop_fires, World.go_on, World.go_on,
    World.go_on, World.refuse, World.repeat, World.crash, World.take_back,
    World.take_entry_back,
    lambda world: world.tell(ClockReached(world.now_ns, world.is_busy)),
]  # fmt: skip
RARE = lambda world: world.tell(CancelAsked("enough", world.now_ns))  # noqa: E731 - one of many


TRAILS = [{"percent": "0.1"}, {"percent": "0.7"}, {"percent": "1.4"}, {"atr_multiple": "2"}]
CHANDELIERS = [{"chandelier_multiple": "0.3"}, {"chandelier_multiple": "2.2"}]


def document(seed: random.Random) -> PlanDocument:
    is_long = seed.random() < 0.5
    trails = seed.choice([TRAILS, CHANDELIERS])
    steps = [
        {"at": {"r": "0.5"}, "move_stop": {"to": "break_even"}},
        {"at": {"r": "0.8"}, "take": {"fraction": seed.choice(["0.1", "0.3", "0.5"])}},
        {"at": {"r": "1"}, "trail": seed.choice(trails)},
        {"at": {"r": "1.2"}, "take": {"fraction": seed.choice(["0.3", "0.5"])}},
        {"at": {"r": "2"}, "trail": trails[0]},
    ]
    kept = [part for part in steps if seed.random() < 0.8]
    return document_from(
        {
            "symbol": "AAPL",
            "side": "long" if is_long else "short",
            "size": {"quantity": seed.choice([1, 2, 3, 10, 97])},
            "entry": {"type": "market"},
            "stop": {"percent": "1"},
            "steps": kept,
            "time_exit": {"after_minutes": 30},
        }
    )


def walk(seed: int, length: int = 140) -> World:
    """Play a seeded life; raises Broken where a property fails."""
    chance = random.Random(seed)
    world = World(document(chance), chance)
    ranges = ((14, 86_400, Decimal("0.4")),)
    terms = Terms(Decimal("0.01"), world.now_ns, None, is_day_entry=True, atr=ranges)
    world.tell(Armed(terms))
    drift = chance.choice([-1, 0, 1, 1])
    hostility = chance.choice([0.05, 0.2, 1.0])
    for _ in range(length):
        draw = chance.random()
        if draw < 0.5:
            world.move(chance.randint(-3, 3) + drift)
        elif draw > 0.995:
            RARE(world)
        elif chance.random() < hostility:
            chance.choice(ACTIONS)(world)
        else:
            world.go_on()
    return world


def settle(world: World) -> None:
    """Let the broker answer everything; the plan must come to its end."""
    world.tell(CancelAsked("the walk ends", world.now_ns))
    for _ in range(400):
        if world.state.phase.is_final:
            return
        world.now_ns += 61 * SECOND_NS
        world.tell(ClockReached(world.now_ns, world.is_busy))
        if world.state.is_cancelling:
            world.cancel_entry()
        world.go_on()
    raise Broken(f"the plan does not end: {world.state}")


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_every_life_holds_and_ends(seed):
    world = walk(seed)
    settle(world)
    assert world.position == 0


def test_the_walks_see_every_kind_of_step():
    kinds = {taken.kind for seed in range(300) for taken in walk(seed).steps}
    assert kinds >= {
        StepKind.ENTRY, StepKind.BREAK_EVEN, StepKind.SCALE_OUT, StepKind.TRAIL, StepKind.EXIT,
    }  # fmt: skip


# Mutants: (what is broken, how). Each must be caught by the same walks.


def _loosens(monkeypatch) -> None:
    trail = plan_machine._wish_by_trail

    def mutant(turn):
        best = turn.state.best_stop
        turn.set(best_stop=None)
        wished = trail(turn)
        turn.set(best_stop=best)
        return wished

    monkeypatch.setattr(plan_machine, "_wish_by_trail", mutant)


def _ignores_quality(monkeypatch) -> None:
    monkeypatch.setattr(plan_machine, "is_live", lambda evidence: True)


def _ignores_busy(monkeypatch) -> None:
    manage = plan_machine._manage

    def mutant(turn, moment, live):
        manage(turn, replace(moment, is_busy=False), live)

    monkeypatch.setattr(plan_machine, "_manage", mutant)


def _fires_twice(monkeypatch) -> None:
    watch = plan_machine._watch

    def mutant(turn, live, now_ns):
        watch(turn, live, now_ns)
        if turn.state.next_step and not turn.state.crossed:
            turn.set(next_step=0)

    monkeypatch.setattr(plan_machine, "_watch", mutant)


def _takes_too_much(monkeypatch) -> None:
    until = plan_machine.fraction_until
    monkeypatch.setattr(
        plan_machine, "fraction_until", lambda plan, index: until(plan, index) * Fraction(3, 2)
    )


def _counts_deltas(monkeypatch) -> None:
    def mutant(turn, fact):
        if not turn.state.is_entered:
            turn.set(entry=turn.state.entry.plus(fact.quantity, fact.price))
            if fact.remaining == 0:
                plan_facts.complete_entry(turn, fact.at_ns)

    monkeypatch.setattr(plan_facts, "_entry_filled", mutant)


def _enters_again(monkeypatch) -> None:
    books = plan_machine.apply_books

    def mutant(turn, event):
        books(turn, event)
        if turn.state.phase is Phase.ENTERING:
            turn.set(phase=Phase.ARMED, pending=None)

    monkeypatch.setattr(plan_machine, "apply_books", mutant)


def _sends_through_the_market(monkeypatch) -> None:
    move = plan_machine._move_stop

    def mutant(turn, wish):
        last = turn.state.last
        turn.set(last=None)
        move(turn, wish)
        turn.set(last=last)

    monkeypatch.setattr(plan_machine, "_move_stop", mutant)


def _hangs_from_now(monkeypatch) -> None:
    begin = plan_machine._begin_step

    def mutant(turn, crossing):
        best = turn.state.best_price
        turn.set(best_price=None)
        begin(turn, crossing)
        turn.set(best_price=best)

    monkeypatch.setattr(plan_machine, "_begin_step", mutant)


def _ignores_what_comes_back(monkeypatch) -> None:
    monkeypatch.setattr(plan_facts, "_reduction_corrected", lambda turn, fact: None)


def _stays_ended(monkeypatch) -> None:
    corrected = plan_facts._reduction_corrected

    def mutant(turn, fact):
        if not turn.state.phase.is_final:
            corrected(turn, fact)
        else:
            turn.set(closing=Tally(fact.closed, fact.closed_cost), stopped=fact.stopped,
                     sliced=Tally(fact.sliced, fact.sliced_cost))  # fmt: skip

    monkeypatch.setattr(plan_facts, "_reduction_corrected", mutant)


def _forgets_the_exit(monkeypatch) -> None:
    monkeypatch.setattr(plan_facts, "_finish_if_flat", lambda turn, at_ns: None)


def _play(seeds: int) -> None:
    for seed in range(seeds):
        settle(walk(seed))


MUTANTS = [
    (_loosens, "never loosens"),
    (_ignores_quality, "only live prices decide"),
    (_ignores_busy, "busy"),
    (_fires_twice, "fraction|fires once"),
    (_takes_too_much, "fraction"),
    (_counts_deltas, "conservation"),
    (_enters_again, "busy|one entry|not ended"),
    (_sends_through_the_market, "through the market"),
    (_hangs_from_now, "chandelier"),
    (_ignores_what_comes_back, "conservation"),
    (_stays_ended, "has not ended"),
    (_forgets_the_exit, "does not end"),
]


@pytest.mark.parametrize(
    ("mutant", "what"), MUTANTS, ids=[mutant.__name__.strip("_") for mutant, _ in MUTANTS]
)
def test_a_mutant_is_caught(mutant, what, monkeypatch):
    mutant(monkeypatch)
    with pytest.raises(AssertionError, match=what):
        _play(400)
