"""Properties of the mailbox, the restart window, the plans, the backoff and the gate."""

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tradebox.supervision.errors import MailboxFull
from tradebox.supervision.gate import EpochGate, Fenced, compose_epoch
from tradebox.supervision.intensity import RestartWindow
from tradebox.supervision.mailbox import IDLE, Mailbox, Overflow
from tradebox.supervision.reasons import Crash, Killed, Normal, Shutdown
from tradebox.supervision.spec import AutoShutdown, Backoff, RestartScope, RestartType
from tradebox.supervision.strategy import (
    AfterExit,
    ChildView,
    after_exit,
    ends_supervisor,
    plan_restart,
)

SETTINGS = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
HUNT = settings(SETTINGS, phases=[Phase.generate], derandomize=True, report_multiple_bugs=False)


class MailboxMachine(RuleBasedStateMachine):
    """Against a plain list: what a mailbox of each policy accepts, keeps and delivers."""

    box = None

    @initialize(policy=st.sampled_from(Overflow), capacity=st.integers(1, 5))
    def make(self, policy, capacity):
        self.box = Mailbox(capacity, policy, lambda message: message[0] or None)
        self.lost, self.refused = [], 0
        self.box.on_drop = self.lost.append
        self.policy, self.capacity = policy, capacity
        self.waiting, self.control = [], []
        self.next, self.overflowed = 0, False
        self.tally = Counter()

    @rule(key=st.integers(0, 3))
    def put(self, key):
        self.next += 1
        message = (key, self.next)
        taken = self.box.put_nowait(message)
        keys = [each[0] for each in self.waiting]
        if self.policy is Overflow.CONFLATE and key and key in keys:
            self.waiting[keys.index(key)] = message
            self.tally["conflated"] += 1
        elif len(self.waiting) < self.capacity:
            self.waiting.append(message)
        elif self.policy is Overflow.DROP_OLDEST:
            lost = self.waiting.pop(0)
            assert self.lost.pop() == lost
            self.waiting.append(message)
            self.tally["dropped"] += 1
        else:
            self.overflowed |= self.policy is Overflow.ERROR
            self.tally["refused"] += 1
            assert taken is False
            return
        self.tally["accepted"] += 1
        assert taken is True

    @rule()
    def put_control(self):
        self.next += 1
        message = ("control", self.next)
        assert self.box.put_control(message)
        self.control.append(message)

    @rule()
    def get(self):
        if self.control:
            assert self.box.get_nowait() == self.control.pop(0)
        elif self.overflowed:
            with pytest.raises(MailboxFull):
                self.box.get_nowait()
            self.overflowed = False
        elif self.waiting:
            assert self.box.get_nowait() == self.waiting.pop(0)
            self.tally["delivered"] += 1
        else:
            assert self.box.get_nowait() is IDLE

    @rule()
    def close(self):
        assert self.box.close() == self.waiting
        assert self.box.put_nowait((1, 0)) is False
        assert self.box.put_control("x") is False
        assert self.box.put_beyond((1, 0)) is False
        assert self.box.put_unkeyed((1, 0)) is False
        self.make(self.policy, self.capacity)

    @precondition(lambda self: self.box is not None)
    @invariant()
    def the_figures_agree(self):
        box = self.box
        assert len(box) == len(self.waiting) <= self.capacity
        assert box.control_depth == len(self.control)
        assert box.accepted == box.delivered + len(box) + box.dropped + box.conflated
        for name in ("accepted", "delivered", "dropped", "refused", "conflated"):
            assert getattr(box, name) == self.tally[name], name


def test_a_mailbox_behaves_as_its_policy_says():
    run_state_machine_as_test(MailboxMachine, settings=SETTINGS)


def lose_the_newest(self):
    self.dropped += 1
    self.on_drop(self._queue.pop())
    return True


def move_to_the_end(self, message, slot, box):
    if slot in box:
        self.conflated += 1
        del box[slot]
    elif len(box) >= self.capacity:
        self.refused += 1
        return False
    box[slot] = message
    self.accepted += 1
    return True


def messages_first(self):
    if self._queue:
        self.delivered += 1
        return self._queue.popleft()
    return GET(self)


GET = Mailbox.get_nowait


@pytest.mark.parametrize(
    ("name", "mutant"),
    [
        ("_make_room", lose_the_newest),
        ("_put_conflated", move_to_the_end),
        ("get_nowait", messages_first),
    ],
)
def test_a_planted_bug_of_the_mailbox_is_caught(monkeypatch, name, mutant):
    monkeypatch.setattr(Mailbox, name, mutant)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(MailboxMachine, settings=HUNT)


@pytest.mark.asyncio
async def test_a_waiting_reader_wakes_for_a_message_a_control_and_a_poke():
    box = Mailbox()
    for wake, expected in [
        (lambda: box.put_nowait("m"), "m"),
        (lambda: box.put_control("c"), "c"),
        (box.poke, IDLE),
    ]:
        reading = asyncio.ensure_future(box.get())
        await asyncio.sleep(0)
        assert box.waiting
        assert wake()
        assert await reading == expected
    assert box.poke() is False
    reading = asyncio.ensure_future(box.get())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.sleep(0)
    assert not box.waiting
    box.put_nowait("kept")
    assert await box.get() == "kept"


@given(
    st.integers(0, 4),
    st.floats(0.1, 10.0),
    st.lists(st.floats(0.0, 3.0), max_size=40),
)
@SETTINGS
def test_the_window_agrees_with_counting_all_stamps(intensity, period, steps):
    window, now, stamps = RestartWindow(intensity, period), 0.0, []
    for step in steps:
        now += step
        stamps.append(now)
        window, exceeded = window.add(now)
        recent = [at for at in stamps if at >= now - period]
        assert exceeded is (len(recent) > intensity)
        assert len(window.stamps) <= intensity + 1
        assert window.count(now) == min(len(recent), intensity + 1)


views = st.lists(
    st.builds(
        ChildView,
        id=st.uuids().map(str),
        restart=st.sampled_from(RestartType),
        running=st.booleans(),
        significant=st.booleans(),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda view: view.id,
)


@given(views, st.sampled_from(RestartScope), st.data())
@SETTINGS
def test_a_plan_keeps_order_and_covers_what_its_scope_says(children, scope, data):
    at = data.draw(st.integers(0, len(children) - 1))
    ids = [child.id for child in children]
    failed = children[at]
    plan = plan_restart(scope, children, failed.id)
    covered = {
        RestartScope.ONE_FOR_ONE: {failed.id},
        RestartScope.REST_FOR_ONE: set(ids[at:]),
        RestartScope.ONE_FOR_ALL: set(ids),
    }[scope]
    places = [ids.index(each) for each in plan.stop]
    assert places == sorted(places, reverse=True)
    starts = [ids.index(each) for each in plan.start]
    assert starts == sorted(starts)
    assert {*plan.start, *plan.forget} == covered
    assert set(plan.stop) == {c.id for c in children if c.running and c.id in covered}
    temporary = {c.id for c in children if c.restart is RestartType.TEMPORARY}
    assert set(plan.start) & temporary <= {failed.id}
    if scope is not RestartScope.ONE_FOR_ALL:
        assert plan.start[0] == failed.id


reasons = st.sampled_from([Normal(), Shutdown(), Killed(), Crash(ValueError())])


@given(st.sampled_from(RestartType), reasons)
@SETTINGS
def test_what_follows_an_end_depends_on_type_and_reason_alone(kind, reason):
    what = after_exit(kind, reason)
    assert (what is AfterExit.FORGET) is (kind is RestartType.TEMPORARY)
    if kind is not RestartType.TEMPORARY:
        permanent = kind is RestartType.PERMANENT
        assert (what is AfterExit.RESTART) is (permanent or not reason.expected)


@given(st.sampled_from(AutoShutdown), views)
@SETTINGS
def test_only_a_significant_end_ends_the_supervisor(mode, children):
    ended, others = children[0], children[1:]
    ends = ends_supervisor(mode, ended, others)
    if not ended.significant or mode is AutoShutdown.NEVER:
        assert ends is False
    elif mode is AutoShutdown.ANY_SIGNIFICANT:
        assert ends is True
    else:
        assert ends is not any(other.significant and other.running for other in others)


@given(
    st.floats(0.001, 10.0),
    st.floats(1.0, 100.0),
    st.floats(0.0, 1.0),
    st.integers(1, 10_000),
    st.integers(),
)
@SETTINGS
def test_a_delay_stays_between_its_bounds(initial, factor, jitter, attempt, seed):
    backoff = Backoff(initial, initial * factor, jitter)
    delay = backoff.delay_s(attempt, random.Random(seed))
    assert initial * (1 - jitter) * 0.999 <= delay <= initial * factor
    plain = Backoff(initial, initial * factor, 0.0)
    rng = random.Random(seed)
    assert plain.delay_s(attempt, rng) <= plain.delay_s(attempt + 1, rng)


parts = st.tuples(st.integers(0, 2**20 - 1), st.integers(0, 2**12 - 1), st.integers(0, 2**20 - 1))


@given(parts, parts)
@SETTINGS
def test_epochs_are_ordered_as_their_parts_and_exact_as_doubles(one, other):
    first, second = compose_epoch(*one), compose_epoch(*other)
    assert (first < second) is (one < other)
    assert int(float(first)) == first < 2**53


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30))
@SETTINGS
def test_only_the_last_epoch_passes(owners):
    gate = EpochGate(boot=1, generation=1)
    epochs = [gate.acquire(owner) for owner in owners]
    assert epochs == sorted(set(epochs))
    assert gate.check(epochs[-1]) is None
    assert all(isinstance(gate.check(epoch), Fenced) for epoch in epochs[:-1])
    assert gate.owner == owners[-1]
