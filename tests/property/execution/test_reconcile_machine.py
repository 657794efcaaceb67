"""Any broker against any book: reconciling converges, says things once, and touches nobody else's.

Rules of this file:
- the broker here is the truth, and what we hear of it is a choice: any fact may be lost, any day
  may end, a person may trade beside us, an order may fork;
- books change by appended changes alone, and are read back from them at any moment;
- `Intake` has no way to the wire, so that nothing is touched is its type; what is checked is that
  nothing of others is booked, and that its symbol is held.
"""

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from support.order_world import MemoryStore
from tradebox.domain.order_table import TERMINAL
from tradebox.domain.orders import AccountName, OrderRole, OrderState, OrderType, Side, Tif
from tradebox.execution import intake as intake_module
from tradebox.execution.intake import Intake
from tradebox.execution.order_book import OrderBook, stem_of
from tradebox.execution.order_copies import Copies
from tradebox.execution.reconcile import ENDED_UNFILLED, Findings, examine
from tradebox.ports.order_store import (
    Batch,
    FillSeen,
    OrderMoved,
    OrderRecorded,
    OrderRow,
    PositionAdjusted,
    SymbolQuarantined,
)
from tradebox.ports.orders import (
    BrokerSnapshot,
    CompletedOrderFact,
    ExecutionFact,
    LinkInfo,
    OpenOrderFact,
    OrderStatusFact,
    PositionFact,
    SnapshotTaken,
)
from tradebox.supervision.clock import ManualClock

ACCOUNT, OURS, THEIRS = "SIM1234567P", 11, 0
GAP_S = 3.0
SYMBOLS = ["AAPL", "MSFT", "SPY"]
CON_IDS = {symbol: number for number, symbol in enumerate(SYMBOLS, start=1)}
ROLES = [OrderRole.ENTRY, OrderRole.STOP, OrderRole.EXIT]
DEAD = ("Filled", "Cancelled", "Inactive")
AT_NS = 1_749_045_600_000_000_000


@dataclass
class BrokerOrder:
    """One order at the broker. shown_s: from when its lists know it."""

    ref: str
    perm_id: int
    client_id: int
    order_id: int
    symbol: str
    side: Side
    quantity: int
    is_stop: bool
    shown_s: float
    filled: int = 0
    status: str = "Submitted"

    @property
    def is_live(self) -> bool:
        return self.status not in DEAD


@dataclass
class Broker:
    """What is so, whoever knows it."""

    clock: ManualClock
    orders: list[BrokerOrder] = field(default_factory=list)
    completed: list[BrokerOrder] = field(default_factory=list)
    executions: dict[str, ExecutionFact] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SYMBOLS, 0))
    perms: int = 1000
    fills: int = 0

    def open(self, ref, client_id, order_id, symbol, side, quantity, *, is_stop=False, lag_s=0.0):
        self.perms += 1
        order = BrokerOrder(
            ref, self.perms, client_id, order_id, symbol, side, quantity, is_stop,
            self.clock.now() + lag_s,
        )  # fmt: skip
        self.orders.append(order)
        return order

    def live(self) -> list[BrokerOrder]:
        return [order for order in self.orders if order.is_live]

    def end(self, order: BrokerOrder, status: str) -> None:
        order.status = status
        if status != "Inactive":
            self.completed.append(order)

    def fill(self, order: BrokerOrder, shares: int) -> ExecutionFact:
        order.filled += shares
        self.held[order.symbol] += order.side.sign * shares
        self.fills += 1
        stem = f"0000.{self.fills:04x}.{self.perms:04x}.{order.perm_id}"
        fact = ExecutionFact(
            order.order_id, order.client_id, order.perm_id, order.ref, ACCOUNT, order.symbol,
            CON_IDS[order.symbol], order.side, Decimal(shares), Decimal(100), f"{stem}.01", AT_NS,
            True,
        )  # fmt: skip
        self.executions[stem] = fact
        if order.filled >= order.quantity:
            self.end(order, "Filled")
        return fact

    def correct(self, stem: str, shares: int) -> ExecutionFact:
        old = self.executions[stem]
        order = next((one for one in self.orders if one.perm_id == old.perm_id), None)
        if order is not None:
            shares = min(shares, int(old.quantity) + order.quantity - order.filled)
            order.filled += shares - int(old.quantity)
            if order.is_live and order.filled >= order.quantity:
                self.end(order, "Filled")
        self.held[old.symbol] += old.side.sign * (shares - int(old.quantity))
        version = int(old.exec_id.rpartition(".")[2]) + 1
        fact = replace(old, quantity=Decimal(shares), exec_id=f"{stem}.{version:02}")
        self.executions[stem] = fact
        return fact

    def open_fact(self, order: BrokerOrder) -> OpenOrderFact:
        kind = "STP" if order.is_stop else "LMT"
        return OpenOrderFact(
            order.order_id, order.client_id, order.perm_id, order.ref, ACCOUNT, order.symbol,
            CON_IDS[order.symbol], order.side, Decimal(order.quantity), kind, None,
            Decimal(95) if order.is_stop else None, "GTC", 0, "", 0, False, order.status,
        )  # fmt: skip

    def status_fact(self, order: BrokerOrder) -> OrderStatusFact:
        return OrderStatusFact(
            order.order_id, order.client_id, order.perm_id, 0, order.status, Decimal(order.filled),
            Decimal(order.quantity - order.filled), Decimal(100), "",
        )  # fmt: skip

    def shown(self) -> list[BrokerOrder]:
        return [
            order
            for order in self.orders
            if order.shown_s <= self.clock.now() and (order.is_live or order.status == "Inactive")
        ]

    def completed_facts(self) -> list[CompletedOrderFact]:
        return [
            CompletedOrderFact(
                order.perm_id, order.ref, ACCOUNT, order.symbol, order.side, Decimal(order.filled),
                order.status, "",
            )
            for order in self.completed
        ]  # fmt: skip

    def position_facts(self) -> list[PositionFact]:
        return [
            PositionFact(ACCOUNT, symbol, CON_IDS[symbol], Decimal(shares), Decimal(0))
            for symbol, shares in self.held.items()
        ]


class StillLink:
    """The link as Intake sees it; it can send nothing."""

    account_id, client_id = ACCOUNT, OURS
    breaks = 1
    info = LinkInfo((ACCOUNT,), 1, 178, "127.0.0.1", 5000)

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.looks = 0

    def mono_ns(self) -> int:
        return int(self._clock.now() * 1_000_000_000)

    def want_look(self, reason: str, *, is_pressing: bool = False) -> None:
        self.looks += 1


class ReconcileMachine(RuleBasedStateMachine):
    """A book, a broker, a person beside us, and lost messages."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock(1000.0)
        self.broker = Broker(self.clock)
        self.store = MemoryStore()
        self.alarms: list[object] = []
        self.sent = 0
        self.unheard: set[str] = set()
        self.known = 0
        self.shown: set[object] = set()
        self.told: set[int] = set()
        """permIds that an openOrder showed at work, since the program began."""
        self.disturbed: set[str] = set()
        """Symbols in which something happened that no fact of ours explains."""
        self.start_anew()

    def start_anew(self) -> None:
        self.told, self.shown = set(), set()
        self.book = OrderBook()
        self.intake = Intake(self.book, StillLink(self.clock), self.clock, GAP_S)
        load = self.store.load(AccountName.PAPER, OURS)
        try:
            load.send(None)
        except StopIteration as loaded:
            self.book.load(loaded.value)

    # the journal

    def commit(self, changes) -> None:
        if not changes:
            return
        name = str(len(self.store.batches))
        batch = Batch(name, AccountName.PAPER, "run", 1, AT_NS, tuple(changes))
        written = self.store.commit(batch)
        with pytest.raises(StopIteration):
            written.send(None)
        over = {record.ref for record in self.book.orders.values() if record.is_over}
        self.book.apply(changes)
        for change in changes:
            if isinstance(change, OrderMoved) and change.cause.startswith("two complete reads"):
                live = [order for order in self.broker.live() if order.ref == change.order_ref]
                assert not live, "an order that lives was called absent"
            is_end = isinstance(change, OrderMoved) and change.state in TERMINAL
            if is_end and change.order_ref not in over:
                told = {order.perm_id for order in self.broker.live()} & self.told
                copies = {order.perm_id for order in self.broker.orders
                          if order.ref == change.order_ref}  # fmt: skip
                assert not told & copies, "a copy that was shown at work was ended by another"
            if isinstance(change, PositionAdjusted):
                assert change.plan_id is not None, "shares of others were booked"
            if isinstance(change, FillSeen):
                assert change.fill.order_ref in self.store.orders, "a fill of others was booked"

    def hear(self, fact):
        if isinstance(fact, OpenOrderFact) and fact.status not in DEAD:
            self.told.add(fact.perm_id)
        is_known = self.intake.knows(fact)
        learnt = self.intake.learn(fact)
        assert not (is_known and (learnt.changes or learnt.alarms)), "the link kept it back"
        self.known += is_known
        self.commit(learnt.changes)
        self.alarms += learnt.alarms
        return learnt

    # what happens

    @rule(
        symbol=st.sampled_from(SYMBOLS),
        role=st.sampled_from(ROLES),
        side=st.sampled_from(Side),
        quantity=st.integers(1, 9),
        arrives=st.sampled_from([True, True, False]),
        lag_s=st.sampled_from([0.0, 0.5, 2.9]),
    )
    def we_send(self, symbol, role, side, quantity, arrives, lag_s):
        self.sent += 1
        ref, is_stop = f"tbp-{self.sent}", role is OrderRole.STOP
        row = OrderRow(
            order_ref=ref,
            plan_id=f"plan-{symbol}",
            account=AccountName.PAPER,
            account_id=ACCOUNT,
            symbol=symbol,
            con_id=CON_IDS[symbol],
            role=role,
            side=side,
            quantity=quantity,
            order_type=OrderType.STOP if is_stop else OrderType.LIMIT,
            limit_price=None,
            stop_price=Decimal(95) if is_stop else None,
            tif=Tif.GTC,
            parent_ref=None,
            client_id=OURS,
            order_id=self.sent,
            state=OrderState.SENDING,
        )
        self.commit([OrderRecorded(row)])
        self.book.orders[ref].sent_s = self.clock.now()
        if arrives:
            self.broker.open(
                ref, OURS, self.sent, symbol, side, quantity, is_stop=is_stop, lag_s=lag_s
            )

    def pick(self, number: int) -> BrokerOrder:
        live = self.broker.live()
        return live[number % len(live)]

    @precondition(lambda self: self.broker.live())
    @rule(number=st.integers(0, 50), shares=st.integers(1, 9), heard=st.sampled_from("afs-"))
    def broker_fills(self, number, shares, heard):
        """heard: all of it, the fill alone, the status alone, nothing."""
        order = self.pick(number)
        fact = self.broker.fill(order, min(shares, order.quantity - order.filled))
        if heard in "af":
            self.hear(fact)
        else:
            self.unheard.add(order.symbol)
        if heard in "as":
            self.hear(self.broker.status_fact(order))

    @precondition(lambda self: self.broker.live())
    @rule(
        number=st.integers(0, 50),
        status=st.sampled_from(["Cancelled", "Inactive"]),
        heard=st.booleans(),
    )
    def broker_ends(self, number, status, heard):
        order = self.pick(number)
        self.broker.end(order, status)
        if heard:
            self.hear(self.broker.status_fact(order))

    @precondition(lambda self: self.broker.live())
    @rule(number=st.integers(0, 50))
    def broker_echoes(self, number):
        order = self.pick(number)
        self.hear(self.broker.open_fact(order))
        self.hear(self.broker.status_fact(order))

    @precondition(lambda self: any(order.ref for order in self.broker.live()))
    @rule(number=st.integers(0, 50), heard=st.booleans())
    def an_order_forks(self, number, heard):
        ours = [order for order in self.broker.live() if order.ref]
        order = ours[number % len(ours)]
        twin = self.broker.open(
            order.ref, OURS, order.order_id, order.symbol, order.side, order.quantity,
            is_stop=order.is_stop,
        )  # fmt: skip
        self.disturbed.add(order.symbol)
        if heard:
            self.hear(self.broker.open_fact(twin))

    @precondition(lambda self: self.broker.executions)
    @rule(number=st.integers(0, 50), shares=st.integers(0, 9), heard=st.booleans())
    def an_execution_is_corrected(self, number, shares, heard):
        stems = list(self.broker.executions)
        fact = self.broker.correct(stems[number % len(stems)], shares)
        if heard:
            self.hear(fact)
        else:
            self.unheard.add(fact.symbol)

    @rule(symbol=st.sampled_from(SYMBOLS), side=st.sampled_from(Side), quantity=st.integers(1, 9))
    def a_person_orders(self, symbol, side, quantity):
        order = self.broker.open("", THEIRS, 0, symbol, side, quantity)
        self.disturbed.add(symbol)
        self.hear(self.broker.open_fact(order))

    @rule(symbol=st.sampled_from(SYMBOLS), shares=st.integers(-9, 9))
    def shares_come_or_go(self, symbol, shares):
        self.broker.held[symbol] += shares
        if shares:
            self.disturbed.add(symbol)

    @rule()
    def the_day_ends(self):
        """The broker's lists begin anew; what was not heard by then is told by positions alone."""
        self.broker.executions.clear()
        self.broker.completed.clear()
        self.broker.orders = [o for o in self.broker.orders if o.is_live or o.status == "Inactive"]
        self.disturbed |= self.unheard

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 10.0]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    @rule()
    def the_program_dies(self):
        self.start_anew()

    @rule(races=st.booleans())
    def one_look(self, races):
        """Read the account once; an order may fill between two lists of the same read."""
        self.look(races=races)

    def look(self, *, races=False, is_whole=True):
        started_ns = int(self.clock.now() * 1_000_000_000)
        shown = self.broker.shown()
        opened = [self.broker.open_fact(order) for order in shown]
        statuses = [self.broker.status_fact(order) for order in shown]
        if races and shown and shown[0].is_live:
            order = shown[0]
            self.broker.fill(order, order.quantity - order.filled)
        completed = self.broker.completed_facts() if is_whole else []
        executions = list(self.broker.executions.values()) if is_whole else []
        snapshot = BrokerSnapshot(
            tuple(opened), tuple(statuses), tuple(completed), tuple(executions),
            tuple(self.broker.position_facts()), started_ns, is_whole,
        )  # fmt: skip
        changes, facts = 0, deque([*opened, *statuses, *completed, *executions])
        while facts:
            changes += len(self.hear(facts.popleft()).changes)
        if is_whole:
            self.unheard.clear()
        fact = SnapshotTaken(snapshot, 1, started_ns)
        learnt = self.hear(fact)
        if is_whole:
            self.intake.reconciled(fact)
            self.shown = self.differences()
        return changes + len(learnt.changes), learnt

    @rule()
    def glance(self):
        """Read what is open and what is held alone: it changes nothing, and asks for more."""
        looks = self.intake._link.looks
        _changes, learnt = self.look(is_whole=False)
        assert learnt.changes == []
        assert learnt.alarms == []
        if self.differences() - self.shown:
            assert learnt.is_news, "an exit would go by it"
        assert not learnt.is_news or self.intake._link.looks > looks

    def differences(self):
        """Return where books and broker are apart: shares, and orders that one of them has live."""
        held = {(s, q, self.book.position(s)) for s, q in self.broker.held.items()}
        shown = {order.ref for order in self.broker.shown() if order.is_live and order.ref}
        live = {order.ref for order in self.broker.live()}
        records = self.book.orders
        back = {ref for ref in shown if records[ref].state in ENDED_UNFILLED}
        gone = {ref for ref, record in records.items() if record.is_live and ref not in live}
        return {one for one in held if one[1] != one[2]} | back | gone

    @rule()
    def reconcile(self):
        """Look until two reads agree, then once more: nothing is left to say or to do."""
        self.clock.advance(GAP_S)
        for _ in range(3):
            self.look()
            self.clock.advance(GAP_S + 0.1)
        before = len(self.alarms)
        count, learnt = self.look()
        assert count == 0, "a second diff is empty"
        assert len(self.alarms) == before, "what was said is not said again"
        self.judge(learnt.findings)

    def judge(self, findings: Findings) -> None:
        assert not findings.missing
        assert not findings.inactive
        held_back = set(self.book.quarantined)
        assert {one.symbol for one in findings.external} <= held_back
        assert {one.record.row.symbol for one in findings.forked} <= held_back
        assert {one.symbol for one in findings.gaps} <= held_back
        copies = Counter(order.ref for order in self.broker.shown() if order.ref and order.is_live)
        twice = {order.symbol for order in self.broker.live() if copies[order.ref] > 1}
        assert twice <= held_back, "an order that works twice is nobody's plan"
        assert held_back <= self.disturbed, "the rest trades on"
        for symbol in SYMBOLS:
            is_equal = self.book.position(symbol) == self.broker.held[symbol]
            assert is_equal or symbol in held_back, symbol
        for order in self.broker.live():
            if order.ref == "":
                assert order.symbol in held_back
            else:
                assert self.book.orders[order.ref].is_live, (
                    "a copy works on, and the books ended it"
                )
        live = {order.ref for order in self.broker.live()}
        for record in self.book.open_orders():
            assert record.ref in live, "an order that is over works on in the books"
        ours = {s: f for s, f in self.broker.executions.items() if f.order_ref}
        for stem, fact in ours.items():
            booked = self.book.fills[stem]
            assert (booked.exec_id, booked.quantity) == (fact.exec_id, int(fact.quantity))

    @invariant()
    def books_are_what_was_appended(self):
        again = OrderBook()
        load = self.store.load(AccountName.PAPER, OURS)
        with pytest.raises(StopIteration) as loaded:
            load.send(None)
        again.load(loaded.value.value)
        assert again.positions() == self.book.positions()
        assert again.quarantined == self.book.quarantined
        states = {record.ref: record.row for record in self.book.orders.values()}
        assert {record.ref: record.row for record in again.orders.values()} == states

    def teardown(self):
        self.reconcile()


EXAMPLES = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
ReconcileMachine.TestCase.settings = EXAMPLES
TestReconcile = ReconcileMachine.TestCase


def nothing_external(book, snapshot, account_id):
    """Mutant: what others ordered is not seen."""
    return replace(examine(book, snapshot, account_id), external=())


def nothing_forked(book, snapshot, account_id):
    """Mutant: an order that lives twice is one order."""
    return replace(examine(book, snapshot, account_id), forked=())


def nothing_missing(book, snapshot, account_id):
    """Mutant: an order that nobody knows works on."""
    return replace(examine(book, snapshot, account_id), missing=())


def books_the_gap(self, gap, _started_ns, learnt):
    """Mutant: books are made to fit, whoever traded."""
    learnt.changes.append(PositionAdjusted(gap.symbol, gap.broker - gap.books, "made to fit"))


def says_it_without_doing_it(self, learnt, symbol, kind, text, key):
    """Mutant: an alarm, and the symbol trades on."""
    self._tell(learnt, "critical", kind, text, key)


def says_it_every_time(self, learnt, severity, kind, text, key):
    """Mutant: an alarm at every read."""
    learnt.alarms.append((severity, kind, text))


def believes_one_read(self, record, started_ns, learnt):
    """Mutant: absent from one read is absent."""
    record.absent_ns = started_ns - self._gap_ns
    MISSING(self, record, started_ns, learnt)


def adds_corrections(book, fact):
    """Mutant: a corrected execution is one more."""
    return LEARN(book, replace(fact, exec_id=f"{fact.exec_id}.01"))


def holds_everything_back(self, learnt, symbol, kind, text, key):
    """Mutant: one symbol's trouble stops all of them."""
    learnt.changes += [SymbolQuarantined(s, text) for s in SYMBOLS]
    self._tell(learnt, "critical", kind, text, key)


def ends_with_any_copy(self, perm_id, move, *, is_over=False):
    """Mutant: the end of one copy of an order ends the order."""
    return move


def takes_half_for_the_whole(self, fact):
    """Mutant: what is not open is nowhere."""
    if isinstance(fact, SnapshotTaken):
        fact = replace(fact, snapshot=replace(fact.snapshot, is_whole=True))
    return LEARN_FACT(self, fact)


def sees_nothing(self, started_ns):
    """Mutant: a brief read that differs is taken for one that agrees."""
    return set()


def knows_by_stem(self, fact):
    """Mutant: a correction says nothing new."""
    return isinstance(fact, ExecutionFact) and stem_of(fact.exec_id)[0] in self.fills


MISSING, LEARN, LEARN_FACT = Intake._missing, OrderBook.learn_execution, Intake.learn
MUTANTS = {
    "external orders are not seen": (intake_module, "examine", nothing_external),
    "forks are not seen": (intake_module, "examine", nothing_forked),
    "what is missing works on": (intake_module, "examine", nothing_missing),
    "books are made to fit": (Intake, "_confirmed", books_the_gap),
    "an alarm is all": (Intake, "_quarantine", says_it_without_doing_it),
    "an alarm each time": (Intake, "_tell", says_it_every_time),
    "one read proves absence": (Intake, "_missing", believes_one_read),
    "a correction is one more": (OrderBook, "learn_execution", adds_corrections),
    "half of the lists proves an absence": (Intake, "learn", takes_half_for_the_whole),
    "a glance sees no news": (Findings, "strange", sees_nothing),
    "a correction is known": (OrderBook, "knows", knows_by_stem),
    "one copy's end is all copies' end": (Copies, "hear", ends_with_any_copy),
    "nothing trades on": (Intake, "_quarantine", holds_everything_back),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_of_reconcile_is_caught(name, monkeypatch):
    monkeypatch.setattr(*MUTANTS[name])
    with pytest.raises((AssertionError, KeyError, ExceptionGroup)):
        run_state_machine_as_test(
            ReconcileMachine,
            settings=settings(
                EXAMPLES,
                max_examples=300,
                database=None,
                derandomize=True,
                report_multiple_bugs=False,
                phases=(Phase.generate,),
            ),
        )


def test_a_twin_that_outlives_its_order_holds_its_symbol_back():
    """The first copy's cancel is heard before anyone has looked; the second copy still works."""
    machine = ReconcileMachine()
    machine.we_send("AAPL", OrderRole.ENTRY, Side.BUY, 5, arrives=True, lag_s=0.0)
    machine.broker_echoes(0)
    machine.an_order_forks(0, heard=True)
    machine.broker_ends(0, "Cancelled", heard=True)
    machine.reconcile()
    assert "AAPL" in machine.book.quarantined


def test_the_end_of_one_copy_ends_no_order_whose_other_copy_works():
    """Else its cover is placed a second time, and more is for sale than is held."""
    for number in (0, 1):
        machine = ReconcileMachine()
        machine.we_send("AAPL", OrderRole.STOP, Side.SELL, 5, arrives=True, lag_s=0.0)
        machine.broker_echoes(0)
        machine.an_order_forks(0, heard=True)
        machine.broker_ends(number, "Cancelled", heard=True)
        assert machine.book.orders["tbp-1"].remaining == 5
        machine.broker_ends(0, "Cancelled", heard=True)
        assert machine.book.orders["tbp-1"].is_over


def test_a_copy_that_nobody_told_of_calls_its_order_back():
    """The first copy was cancelled, or filled, before the second was seen: it works on."""
    machine = ReconcileMachine()
    machine.we_send("AAPL", OrderRole.STOP, Side.SELL, 5, arrives=True, lag_s=0.0)
    machine.broker_echoes(0)
    machine.an_order_forks(0, heard=False)
    machine.broker_ends(0, "Cancelled", heard=True)
    assert machine.book.orders["tbp-1"].is_over
    machine.the_program_dies()
    machine.look()
    assert machine.book.orders["tbp-1"].remaining == 5
    machine.broker_fills(0, 5, heard="a")
    machine.reconcile()
    assert machine.book.orders["tbp-1"].state is OrderState.FILLED


def test_a_permid_of_another_order_keeps_no_order_at_work():
    machine = ReconcileMachine()
    for _ in range(2):
        machine.we_send("AAPL", OrderRole.ENTRY, Side.BUY, 5, arrives=True, lag_s=0.0)
    machine.broker_echoes(0)
    first, second = machine.broker.orders
    machine.hear(replace(machine.broker.open_fact(second), perm_id=first.perm_id))
    machine.broker_echoes(1)
    machine.broker_ends(1, "Cancelled", heard=True)
    assert machine.book.orders["tbp-2"].is_over
    machine.broker_ends(0, "Cancelled", heard=True)
    assert machine.book.orders["tbp-1"].is_over


def test_a_permid_that_no_list_knows_keeps_an_order_only_until_the_lists_were_read():
    machine = ReconcileMachine()
    machine.we_send("AAPL", OrderRole.ENTRY, Side.BUY, 5, arrives=True, lag_s=0.0)
    (order,) = machine.broker.orders
    machine.disturbed.add("AAPL")
    machine.hear(replace(machine.broker.open_fact(order), perm_id=order.perm_id - 1))
    machine.broker_echoes(0)
    machine.broker_ends(0, "Cancelled", heard=True)
    assert not machine.book.orders["tbp-1"].is_over
    machine.reconcile()
    assert machine.book.orders["tbp-1"].state is OrderState.CANCELLED


def test_a_copy_that_is_inactive_does_not_end_the_one_that_works():
    """Else each look ends the order and brings it back."""
    machine = ReconcileMachine()
    machine.we_send("AAPL", OrderRole.ENTRY, Side.BUY, 1, arrives=True, lag_s=0.0)
    machine.an_order_forks(0, heard=False)
    machine.broker_ends(0, "Inactive", heard=False)
    machine.reconcile()
    assert not machine.book.orders["tbp-1"].is_over
