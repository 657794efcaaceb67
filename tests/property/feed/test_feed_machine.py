"""F1 to F11 on the real slot, gate and feeds, under any order of faults."""

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from support.feed_world import NAMES, FeedWorld
from tradebox.actors import feed as feed_module
from tradebox.actors.feed_slot import AdmissionGate, FeedMemory, FeedSlot, Outbox
from tradebox.domain import feed_pair
from tradebox.supervision.gate import EpochGate

RUN = settings(
    max_examples=60,
    stateful_step_count=50,
    derandomize=True,
    database=None,
    deadline=None,
    report_multiple_bugs=False,
)
HUNT = settings(RUN, max_examples=2000, phases=[Phase.generate])
names = st.sampled_from(NAMES)


def flap(world, rounds):
    """Let each new active hang as soon as the pair is whole again."""
    for _ in range(rounds):
        active = world.slot.active
        if active is None or not world.healthy(but=active):
            return
        world.hang(active)
        world.send(2)
        world.run(world.slot.pair.partner(active), 1000)
        for _ in range(60):
            world.pass_time(0.05)
            for name in NAMES:
                world.start(name)
                world.run(name, 1000)
        world.wake_zombies()


class FeedMachine(RuleBasedStateMachine):
    """Vendors send, feeds run, crash, hang and wake, time passes, the bus comes and goes."""

    def __init__(self):
        super().__init__()
        self.world = FeedWorld()

    @rule(count=st.integers(1, 6))
    def vendor_sends(self, count):
        self.world.send(count)

    @rule()
    def vendor_reconnects(self):
        self.world.reconnect()

    @rule(name=names, turns=st.integers(1, 4))
    def feed_runs(self, name, turns):
        self.world.run(name, turns)

    @rule()
    def everybody_runs(self):
        for name in self.world.slot.order():
            self.world.run(name, 1000)

    @rule(name=names, after=st.integers(0, 3))
    def feed_crashes(self, name, after):
        if self.world.healthy(but=name):
            self.world.crash(name, after)

    @rule(name=names)
    def feed_starts(self, name):
        self.world.start(name)

    @rule(name=names)
    def feed_hangs(self, name):
        if self.world.healthy(but=name):
            self.world.hang(name)

    @rule(name=names, data=st.integers(0, 9))
    def both_fail(self, name, data):
        if data == 0:
            self.world.crash(name)

    @rule(seconds=st.sampled_from([0.001, 0.003, 0.01, 0.1, 2.0]))
    def time_passes(self, seconds):
        self.world.pass_time(seconds)

    @rule(seconds=st.sampled_from([0.003, 0.05, 1.0]))
    def loop_stalls(self, seconds):
        self.world.stall(seconds + 0.003)

    @rule()
    def person_swaps(self):
        self.world.swap()

    @rule()
    def zombies_wake(self):
        self.world.wake_zombies()

    @rule(is_lost=st.booleans())
    def publisher_writes(self, is_lost):
        self.world.publish(is_lost=is_lost)

    @rule(count=st.integers(1, 3), is_stalled=st.booleans())
    def active_hangs_under_load(self, count, is_stalled):
        """The usual course of a hang: the standby gets ahead, the watch goes off, maybe late."""
        active = self.world.slot.active
        if active is None or not self.world.healthy(but=active):
            return
        self.world.hang(active)
        self.world.send(count)
        self.world.run(self.world.slot.pair.partner(active), 1000)
        if is_stalled:
            self.world.stall(0.06)
        else:
            self.world.pass_time(0.06)

    @rule(rounds=st.integers(4, 8))
    def each_new_active_hangs(self, rounds):
        flap(self.world, rounds)

    @invariant()
    def promises_hold(self):
        self.world.check()

    def teardown(self):
        self.world.settle()
        self.world.wake_zombies()


def test_the_pair_keeps_f1_to_f11():
    run_state_machine_as_test(FeedMachine, settings=RUN)


# --- mutants ------------------------------------------------------------------------------------

push, put, promote = AdmissionGate.push, Outbox.put, FeedSlot._promote
suspected = feed_pair._suspected


def give_both_the_epoch(slot, action):
    promote(slot, action)
    old = slot._members.get(action.old)
    if old is not None:
        old.epoch = slot.gate.epoch


def push_unfenced(gate, epoch, outcome):
    del epoch
    return push(gate, gate.epoch, outcome)


def settle_later(gate, epoch, outcome):
    """Forget a key now and then: what the old active settled comes twice."""
    result = push(gate, epoch, outcome)
    if outcome.key % 2 == 0:
        gate._settled[outcome.source] = outcome.key - 2
    return result


def same_epoch(gate, owner):
    gate._owner = owner
    return gate.epoch


def put_any(box, one):
    put(box, one)
    box._box[one.symbol] = (box.admitted, one)
    box.committed = box.admitted + 1


def forgetful_copy(memory):
    return FeedMemory({}, dict(memory.keys), memory.seq)


def suspect_blindly(state, event, now_s):
    calm = feed_pair.Suspected(event.member, event.cause, 0.0, event.limit_s)
    return suspected(state, calm, now_s)


MUTANTS = [
    ("F1", FeedSlot, "_promote", give_both_the_epoch),
    ("F2", AdmissionGate, "push", push_unfenced),
    ("F3", AdmissionGate, "push", settle_later),
    ("F4", feed_module.Feed, "_keep", lambda *_: None),
    ("F5", AdmissionGate, "push", push_unfenced),
    ("F6", EpochGate, "acquire", same_epoch),
    ("F7", Outbox, "put", put_any),
    ("F8", FeedMemory, "copy", forgetful_copy),
    ("F9", feed_pair, "FLAP_SUPPRESS", 1e9),
    ("F10", feed_pair, "_suspected", suspect_blindly),
]


# A world that a mutant broke off in the midst of a turn leaves coroutines to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("promise", "owner", "name", "mutant"), MUTANTS, ids=[case[0] for case in MUTANTS]
)
def test_a_mutant_is_caught(promise, owner, name, mutant, monkeypatch):
    """Each promise catches its own mutant, with every other one looking away."""
    monkeypatch.setattr(FeedWorld, "judged", {promise})
    monkeypatch.setattr(owner, name, mutant)
    with pytest.raises(AssertionError, match=rf"^{promise}\b"):
        run_state_machine_as_test(FeedMachine, settings=HUNT)


def test_flapping_is_damped_and_the_pair_comes_back():
    world = FeedWorld()
    flap(world, 12)
    for name in NAMES:
        world.crash(name)
    world.settle()
