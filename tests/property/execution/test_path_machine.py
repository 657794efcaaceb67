"""Any order of fills, refusals, cancels, silence and time: no oversell, no double stop, cover."""

import asyncio
from collections import deque
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from support.fake_broker import AT_NS, FakeBroker
from support.order_world import INSTRUMENTS, KnownFacts, MemorySpool, MemoryStore, enter
from tradebox.config import AccountSettings
from tradebox.domain.market import AdmittedTick, Quality, Source
from tradebox.domain.orders import AccountName, OrderRole, OrderType, Side
from tradebox.domain.path import (
    CancelEntryRequest,
    Evidence,
    ExitRequest,
    LinkState,
    MoveStopRequest,
    ScaleOutRequest,
)
from tradebox.execution import procedures
from tradebox.execution.buckets import Buckets
from tradebox.execution.identity import Identity
from tradebox.execution.kill_switch import KillSwitch
from tradebox.execution.order_book import OrderBook, OrderRecord
from tradebox.execution.order_link import OrderLink
from tradebox.execution.order_path import OrderPath
from tradebox.execution.path_world import PathRules, PathWorld
from tradebox.execution.record_keeper import RecordKeeper
from tradebox.ports.order_store import IntentRefused, Noted
from tradebox.ports.orders import ExecutionFact
from tradebox.supervision.clock import ManualClock

SEEN = Evidence(Decimal(100), Source.FINNHUB, Quality.LIVE, 1)
EXAMPLES = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


class Still:
    """A market whose price never changes; its time goes on when somebody says so."""

    speed = 1.0

    def __init__(self):
        self.at_ns = AT_NS

    def now_ns(self):
        return self.at_ns

    def last(self, symbol):
        at_ns = self.at_ns
        return AdmittedTick(
            symbol, 100_000_000, 1, at_ns, at_ns, Source.FINNHUB, Quality.LIVE, 1, 1, 1
        )

    def quality_now(self, symbol):
        return Quality.LIVE


class PathMachine(RuleBasedStateMachine):
    """One long plan of 30 shares, a broker with moods, and a person who asks for things."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock(1000.0)
        self.store, self.spool, self.facts = MemoryStore(), MemorySpool(), deque()
        self.published = []
        self.still = Still()
        self.tells_halt = False
        """The prices say that the symbol is halted."""
        self.raced = False
        """An entry was cancelled that had no fill yet, as far as anybody had told."""

    def do(self, awaitable):
        return self.loop.run_until_complete(awaitable)

    @initialize(
        on_partial=st.sampled_from(["held", "armed_part"]),
        on_cancel=st.sampled_from(["dies", "shrinks", "arms"]),
        is_limit=st.booleans(),
        is_open=st.booleans(),
        trouble=st.sampled_from(["", "", "halts", "amends"]),
    )
    def begin(self, on_partial, on_cancel, is_limit, is_open, trouble=""):
        self.trouble = trouble
        self.broker = FakeBroker(on_partial=on_partial, on_cancel=on_cancel)
        self.build()
        fields = {"order_type": OrderType.LIMIT, "limit_price": Decimal(100)} if is_limit else {}
        self.do(self.path.request(enter(quantity=30, **fields)))
        assert self.path.take_events() == []
        if is_open:
            self.broker.read_one()
            self.broker.read_one()
            self.broker.fill(self.broker.live(OrderRole.ENTRY)[0], 30)
            self.broker.deliver_all()
            self.settle()
            assert not self.path.is_busy("p1")

    def build(self):
        identity = Identity("sim", AccountName.PAPER, "SIM1234567P", "127.0.0.1", 5000)
        still = self.still
        self.bared_in_a_halt = []
        self.link = OrderLink(identity, self.broker, 11, self.clock, still, self.published.append)
        keeper = RecordKeeper(
            AccountName.PAPER, self.store, self.spool, self.clock, still, run_id="r", epoch=1
        )
        world = PathWorld(
            self.clock,
            still,
            still,
            INSTRUMENTS.get,
            lambda _: True,
            self.published.append,
            KnownFacts(),
            is_halted=lambda _: self.tells_halt,
        )
        rules = replace(
            PathRules.of(AccountSettings(), "sim", AccountName.PAPER),
            orders_per_s_max=1000,
            orders_per_min_max=10_000,
        )
        self.path = OrderPath(
            self.link, self.store, keeper, KillSwitch(Path("/nonexistent")), world, rules
        )
        self.do(self.path.recover())
        self.watch_cancels()
        self.facts.clear()
        self.path.attach(self.take)
        self.do(self.link.connect())
        self.broker.deliver_all()
        self.settle()
        assert self.link.state is LinkState.CLEAN

    def watch_cancels(self):
        """Note each cancel that takes the only stop off while a halt is known."""
        cancel = self.path._sender.cancel

        async def watched(action):
            record = action.record
            desk = self.path._desks["p1"]
            self.raced |= record.row.role is OrderRole.ENTRY and not record.booked
            is_only = desk.working(OrderRole.STOP) == [record] and record.is_armed
            if is_only and desk.held > 0 and self.path._views.is_halted("AAPL"):
                self.bared_in_a_halt.append(action.reason)
            await cancel(action)

        self.path._sender.cancel = watched

    def take(self, fact):
        self.facts.append(fact)
        return True

    def settle(self):
        """Let the path act on every fact that was delivered, and answer its looks."""
        for _ in range(200):
            while self.facts:
                self.do(self.path.on_fact(self.facts.popleft()))
            if not self.link.look_wanted:
                return
            self.do(self.link.take_snapshot())
        raise AssertionError("the path looks for ever")

    # the broker's moods

    @precondition(lambda self: self.broker.inbox)
    @rule()
    def broker_reads(self):
        self.broker.read_one()

    @precondition(lambda self: any(o.is_dying and o.is_live for o in self.broker.orders.values()))
    @rule()
    def cancels_take_effect(self):
        self.broker.finish_cancels()

    @precondition(lambda self: self.broker.facts)
    @rule(count=st.integers(1, 4))
    def fact_arrives(self, count):
        for _ in range(count):
            if self.broker.facts:
                self.broker.deliver_one()
        while self.facts:
            self.do(self.path.on_fact(self.facts.popleft()))

    @precondition(lambda self: self.link.look_wanted)
    @rule()
    def look(self):
        self.settle()

    @precondition(lambda self: self.broker.live(OrderRole.ENTRY))
    @rule(shares=st.integers(1, 30))
    def entry_fills(self, shares):
        order = self.broker.live(OrderRole.ENTRY)[0]
        self.broker.fill(order, min(shares, order.remaining))

    @precondition(lambda self: [o for o in self.broker.live(OrderRole.STOP) if not o.is_held])
    @rule(shares=st.integers(1, 30))
    def stop_fires(self, shares):
        order = next(o for o in self.broker.live(OrderRole.STOP) if not o.is_held)
        self.broker.fill(order, min(shares, order.remaining))

    @rule(share=st.sampled_from([0, 30, 100]))
    def slices_fill_this_much(self, share):
        self.broker.ioc_share = share

    @rule(refuses=st.booleans())
    def changes_are_refused(self, refuses):
        self.broker.refuse_changes = refuses

    @precondition(lambda self: self.broker.refuse_stops == 0)
    @rule()
    def next_stop_is_refused(self):
        self.broker.refuse_stops = 1

    @precondition(lambda self: self.trouble == "halts" and not self.broker.is_halted)
    @rule(is_told=st.booleans())
    def trading_is_halted(self, is_told):
        self.broker.is_halted, self.tells_halt = True, is_told

    @precondition(lambda self: self.broker.is_halted)
    @rule()
    def trading_goes_on(self):
        self.broker.is_halted = self.tells_halt = False
        self.still.at_ns += 1_000_000_000

    @precondition(lambda self: self.trouble == "amends" and self.broker.reduced())
    @rule(which=st.integers(0, 99), share=st.sampled_from([0, 0, 50]))
    def a_reduction_is_taken_back(self, which, share):
        found = self.broker.reduced()
        index = found[which % len(found)]
        self.broker.amend(index, int(self.broker.executions[index].quantity) * share // 100)

    @rule(seconds=st.sampled_from([0.3, 1.0, 3.0, 11.0]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)
        self.do(self.path.on_timer())

    # the plan's wishes

    @rule(wish=st.sampled_from(["move", "slice", "exit", "cancel"]), n=st.integers(1, 29))
    def plan_asks(self, wish, n):
        request = {
            "move": MoveStopRequest("p1", Decimal(95) + Decimal(n) / 10, SEEN, "trail"),
            "slice": ScaleOutRequest("p1", n, SEEN, "slice"),
            "exit": ExitRequest("p1", SEEN, "out"),
            "cancel": CancelEntryRequest("p1", "no more"),
        }[wish]
        self.do(self.path.request(request))
        self.path.take_events()

    @rule(lost=st.integers(0, 1))
    def the_program_dies(self, lost):
        """Everything of ours is gone; what was written to the socket may arrive or not."""
        while len(self.broker.inbox) > lost:
            self.broker.read_one()
        self.broker.facts.clear()
        self.broker.inbox.clear()
        self.broker.untransmitted.clear()
        self.build()

    @invariant()
    def an_outsider_objects_to_nothing(self):
        if hasattr(self, "broker"):
            assert self.objections() == []
            assert self.bared_in_a_halt == []

    def objections(self):
        """Return the faults of now, but for what no program can help.

        A fill that crosses the cancel of its order, at a broker that arms the child as it is: until
        that is heard of, the child is too large.
        """
        found = self.broker.faults()
        if not (self.raced and self.broker.on_cancel == "arms"):
            return found
        return [each for each in found if "may be sold" not in each and "oversold" not in each]

    @invariant()
    def the_open_risk_is_that_of_every_plan_weighed_anew(self):
        if hasattr(self, "broker"):
            views = self.path._views
            anew = sum(views._plan_risk(desk)[0] for desk in views.desks.values())
            assert views.open_risk() == anew

    def teardown(self):
        try:
            if hasattr(self, "broker"):
                self.come_to_rest()
        finally:
            self.loop.close()

    def come_to_rest(self):
        """With a broker that does what it is told, books equal broker and all is covered."""
        self.broker.refuse_changes, self.broker.refuse_stops = False, 0
        self.broker.ioc_share = 100
        if self.broker.is_halted:
            self.trading_goes_on()
        for _ in range(120):
            while self.broker.inbox:
                self.broker.read_one()
            self.broker.finish_cancels()
            for order in self.broker.live(OrderRole.ENTRY):
                self.broker.fill(order, order.remaining)
            self.broker.deliver_all()
            self.settle()
            self.clock.advance(0.5)
            self.do(self.path.on_timer())
            assert self.objections() == []
        assert self.broker.faults() == []
        held = self.path.holding("p1")
        assert held.position == self.broker.position()
        assert held.covered, held
        assert not self.path.is_busy("p1")
        booked = sum(fill.side.sign * fill.quantity for fill in self.store.fills.values())
        assert booked == self.broker.position()
        stops = self.broker.live(OrderRole.STOP)
        assert sum(order.remaining for order in stops) == self.broker.position()


PathMachine.TestCase.settings = EXAMPLES
TestPath = PathMachine.TestCase


def blind_to_dying_stops(desk, *roles):
    """Mutant: an order whose cancel was asked does not count any more."""
    return [
        record
        for record in desk.records
        if record.row.role in roles and not record.is_over and record.cancel_asked_s is None
    ]


def counts_every_report(book, fact):
    """Mutant: an execution that is reported again is booked again."""
    stem = f"{fact.exec_id}-{len(book.fills)}.01"
    return LEARN(book, replace(fact, exec_id=stem))


LEARN = OrderBook.learn_execution


def slices_before_it_shrinks(desk, quantity, now_s, now_ns):
    """Mutant: a scale-out does not wait for its smaller stop."""
    scale = desk.procedure
    if isinstance(scale, procedures.ScaleOut) and scale.phase == "shrink":
        return None
    return STOP_TO(desk, quantity, now_s, now_ns)


STOP_TO = procedures.PlanDesk._stop_to
DESK = procedures.PlanDesk


MUTANTS = {
    "a dying stop is gone": [(DESK, "working", blind_to_dying_stops)],
    "a replay is a fill": [(OrderBook, "learn_execution", counts_every_report)],
    "the slice goes first": [
        (DESK, "_stop_to", slices_before_it_shrinks),
        (DESK, "other_live_quantity", lambda *_: 0),
    ],
    "never cover": [(DESK, "_cover", lambda *_: [])],
}
"""Mutants that need a story (a restart, a halt, a bust) have tests of their own, below."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught(name, monkeypatch):
    for owner, attribute, mutant in MUTANTS[name]:
        monkeypatch.setattr(owner, attribute, mutant)
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(
            PathMachine,
            settings=settings(
                EXAMPLES,
                max_examples=200,
                database=None,
                derandomize=True,
                report_multiple_bugs=False,
                phases=(Phase.generate,),
            ),
        )


@pytest.fixture
def holder():
    """A machine whose plan holds 30 covered shares, stop at 95."""
    machine = PathMachine()
    machine.begin(on_partial="held", on_cancel="dies", is_limit=False, is_open=True)
    yield machine
    machine.loop.close()


def live_through_a_restart(machine, lost):
    """Die in the middle of a move to 97, look around, then take a slice."""
    machine.do(machine.path.request(MoveStopRequest("p1", Decimal(97), SEEN, "break even")))
    machine.the_program_dies(lost)
    for _ in range(4):
        machine.time_passes(1.0)
        machine.settle()
        machine.an_outsider_objects_to_nothing()
    assert not machine.broker.inbox, "nothing is to be changed"
    machine.do(machine.path.request(ScaleOutRequest("p1", 10, SEEN, "slice")))
    machine.come_to_rest()


@pytest.mark.parametrize(("lost", "rests_at"), [(0, 97), (1, 95)])
def test_a_restart_in_a_stop_move_loosens_and_replaces_nothing(holder, lost, rests_at):
    live_through_a_restart(holder, lost)
    assert holder.path.holding("p1").stop_price == rests_at
    assert holder.broker.position() == 20
    changes = holder.store.changes
    assert [change for change in changes if isinstance(change, IntentRefused)] == []
    assert [c for c in changes if isinstance(c, Noted) and c.kind == "order_cancel"] == []
    roles = [known.row.role for known in holder.store.orders.values()]
    assert roles.count(OrderRole.STOP) == 1


def test_a_stop_that_an_exit_took_before_a_restart_is_back_after_one_read(holder, monkeypatch):
    """Cover waits for the books to be read, not for another read after that."""
    holder.do(holder.path.request(ExitRequest("p1", SEEN, "out")))
    holder.broker.read_one()
    holder.broker.finish_cancels()
    holder.broker.deliver_all()
    while holder.facts:
        holder.do(holder.path.on_fact(holder.facts.popleft()))
    assert not holder.broker.live(OrderRole.STOP)
    reads = []
    monkeypatch.setattr(
        OrderLink,
        "take_snapshot",
        lambda link, take=OrderLink.take_snapshot: reads.append(1) or take(link),
    )
    holder.the_program_dies(0)
    assert holder.broker.inbox, "a new stop is under way"
    assert len(reads) == 1
    holder.come_to_rest()


def test_books_that_miss_a_lost_fact_are_not_compared_with_positions(holder):
    """A full mailbox refuses the stop's fill: two reads of that are no gap, the fill is booked."""
    stop = holder.broker.live(OrderRole.STOP)[0]
    holder.broker.fill(stop, 30)
    holder.link.attach(lambda fact: not isinstance(fact, ExecutionFact) and holder.take(fact))
    holder.broker.deliver_all()
    for _ in range(3):
        holder.clock.advance(5.0)
        holder.do(holder.link.take_snapshot())
        while holder.facts:
            holder.do(holder.path.on_fact(holder.facts.popleft()))
    assert holder.link.state is LinkState.SYNCING
    assert holder.path.book.quarantined == {}
    holder.link.attach(holder.take)
    holder.settle()
    assert holder.path.book.quarantined == {}
    assert holder.path.holding("p1").position == 0
    holder.come_to_rest()


def test_without_the_ratchet_a_restart_in_a_stop_move_is_noticed(holder, monkeypatch):
    monkeypatch.setattr(DESK, "_ratchet", lambda _: None)
    with pytest.raises(AssertionError):
        live_through_a_restart(holder, 0)


def leave_as_a_halt_begins(machine):
    """An exit that waits for its first step, and prices that tell of a halt meanwhile."""
    desk = machine.path._desks["p1"]
    desk.denied(procedures.Look("held up"), machine.clock.now())
    machine.do(machine.path.request(ExitRequest("p1", SEEN, "out")))
    assert machine.path.is_busy("p1")
    machine.trading_is_halted(is_told=True)
    for _ in range(4):
        machine.time_passes(1.0)
        machine.settle()
        machine.an_outsider_objects_to_nothing()
    assert not machine.path.is_busy("p1")
    assert machine.path.holding("p1").covered
    machine.come_to_rest()


def test_an_exit_that_waits_as_a_halt_begins_leaves_the_stop_alone(holder):
    leave_as_a_halt_begins(holder)
    assert holder.broker.position() == 30


def test_a_desk_that_is_deaf_to_halts_is_noticed(holder, monkeypatch):
    deaf = property(lambda _: lambda: False, lambda *_: None)
    monkeypatch.setattr(DESK, "is_halted", deaf, raising=False)
    with pytest.raises(AssertionError):
        leave_as_a_halt_begins(holder)


def take_the_exit_back(machine):
    """All is sold; the broker busts that, its statuses still count it; then a restart."""
    machine.do(machine.path.request(ExitRequest("p1", SEEN, "out")))
    for _ in range(6):
        while machine.broker.inbox:
            machine.broker.read_one()
        machine.broker.finish_cancels()
        machine.broker.deliver_all()
        machine.settle()
        machine.time_passes(1.0)
    assert machine.broker.position() == 0
    (sold,) = machine.broker.reduced()
    machine.broker.amend(sold, 0)
    machine.broker.deliver_all()
    machine.settle()
    machine.the_program_dies(0)
    machine.come_to_rest()
    assert machine.broker.position() == 30
    machine.do(machine.path.request(ExitRequest("p1", SEEN, "out")))
    machine.come_to_rest()


def test_shares_of_a_busted_exit_are_covered_and_leave_whatever_its_status_counts(holder):
    take_the_exit_back(holder)
    assert holder.broker.position() == 0


def test_without_amendments_a_busted_exit_is_waited_for_and_noticed(holder, monkeypatch):
    settled = property(lambda record: record.booked >= record.row.filled)
    monkeypatch.setattr(OrderRecord, "is_settled", settled)
    with pytest.raises(AssertionError):
        take_the_exit_back(holder)


@pytest.mark.parametrize("on_cancel", ["dies", "shrinks", "arms"])
@pytest.mark.parametrize("leaves", [False, True])
def test_a_partly_filled_entry_is_cancelled_with_a_child_that_fits(on_cancel, leaves):
    """A broker that arms the child of a cancelled parent as it is must find it shrunk."""
    machine = PathMachine()
    machine.begin(on_partial="held", on_cancel=on_cancel, is_limit=False, is_open=False)
    while machine.broker.inbox:
        machine.broker.read_one()
    machine.entry_fills(shares=7)
    machine.broker.deliver_all()
    machine.settle()
    if leaves:
        machine.do(machine.path.request(ExitRequest("p1", SEEN, "out")))
    for _ in range(40):
        machine.time_passes(seconds=1.0)
        machine.settle()
        while machine.broker.inbox:
            machine.broker.read_one()
        machine.broker.finish_cancels()
        machine.an_outsider_objects_to_nothing()
        machine.broker.deliver_all()
        machine.settle()
    held = machine.path.holding("p1")
    assert (held.position, held.stop_quantity) == ((0, 0) if leaves else (7, 7))
    machine.teardown()


@pytest.mark.parametrize("on_cancel", ["dies", "shrinks", "arms"])
def test_a_fill_that_is_heard_of_while_the_cancel_is_under_way_is_fitted(on_cancel):
    machine = PathMachine()
    machine.begin(on_partial="held", on_cancel=on_cancel, is_limit=True, is_open=False)
    while machine.broker.inbox:
        machine.broker.read_one()
    machine.broker.deliver_all()
    machine.settle()
    machine.plan_asks(wish="cancel", n=1)
    machine.entry_fills(shares=16)
    machine.broker.deliver_all()
    machine.settle()
    while machine.broker.inbox:
        machine.broker.read_one()
    machine.broker.finish_cancels()
    assert machine.broker.faults() == []
    machine.teardown()
    assert machine.broker.position() == 16


@pytest.mark.parametrize(("on_partial", "waits_s"), [("held", 2), ("armed_part", 10)])
def test_a_bare_part_of_an_entry_waits_shorter_than_a_covered_one(on_partial, waits_s):
    """By the defaults: what no armed stop covers has it within 5 s, however slow the rest is."""
    machine = PathMachine()
    machine.begin(on_partial=on_partial, on_cancel="arms", is_limit=True, is_open=False)
    while machine.broker.inbox:
        machine.broker.read_one()
    machine.entry_fills(shares=7)
    machine.broker.deliver_all()
    machine.settle()
    bare_s = asked_s = 0.0
    for _ in range(60):
        machine.time_passes(seconds=0.25)
        machine.settle()
        notes = [one.kind for one in machine.store.changes if isinstance(one, Noted)]
        asked_s += 0 if "order_cancel" in notes else 0.25
        while machine.broker.inbox:
            machine.broker.read_one()
        machine.broker.finish_cancels()
        machine.an_outsider_objects_to_nothing()
        machine.broker.deliver_all()
        machine.settle()
        bare_s += 0 if machine.path.holding("p1").covered else 0.25
    held = machine.path.holding("p1")
    assert (held.position, held.stop_quantity) == (7, 7)
    assert abs(asked_s - waits_s) < 1
    assert bare_s < (5 if on_partial == "held" else 1)
    machine.teardown()


def test_what_looks_like_a_split_is_left_to_a_person(holder, monkeypatch):
    """Another number of shares at the broker, and a price far through a stop that did not fill."""
    path = holder.path
    desk = path._desks["p1"]
    stop = procedures.PlaceStop(Side.SELL, 30, Decimal(126), "cover")
    desk.stop_level = Decimal(126)
    leave = ExitRequest("p1", SEEN, "out")
    assert path._sender.reduction_fault(desk, leave) is None
    monkeypatch.setitem(path._book.quarantined, "AAPL", "AAPL: the broker holds 60, the books 30")
    assert path._sender.reduction_fault(desk, leave).check == "split"
    assert holder.do(path._sender.reduce(desk, stop)).check == "split"
    desk.stop_level = Decimal(124)
    assert path._sender.reduction_fault(desk, leave) is None


def test_a_storm_of_entries_sets_the_kill_switch_and_exits_still_leave(tmp_path, monkeypatch):
    machine = PathMachine()
    machine.begin(on_partial="held", on_cancel="dies", is_limit=False, is_open=True)
    kill = KillSwitch(tmp_path / "KILL")
    monkeypatch.setattr(machine.path._sender, "_kill", kill)
    machine.path._sender._buckets = Buckets(10, 120, 2000)
    sent = machine.link.sent_messages
    for number in range(1000):
        symbol = f"S{number}"
        known = replace(INSTRUMENTS["MSFT"], symbol=symbol, con_id=10_000 + number)
        monkeypatch.setitem(INSTRUMENTS, symbol, known)
        machine.do(machine.path.request(enter(f"p{number + 2}", quantity=1, symbol=symbol)))
    assert kill.is_set()
    assert (tmp_path / "KILL").exists()
    assert machine.link.sent_messages - sent <= 10
    before = len(machine.broker.inbox)
    machine.do(machine.path.request(ExitRequest("p1", SEEN, "out")))
    assert len(machine.broker.inbox) == before + 1
    machine.loop.close()
