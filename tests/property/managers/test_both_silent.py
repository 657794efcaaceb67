"""M4: with both managers silent or gone the launcher has the process replaced, and never before.

A machine over the launcher's real judgement, with time by hand.
"""

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tradebox.supervision.leash import Leash
from tradebox.supervision.shm import LOOP_SLOT, SlotReading

RUN = settings(
    max_examples=60, stateful_step_count=60, derandomize=True, database=None, deadline=None
)
HUNT = settings(RUN, max_examples=400, phases=[Phase.generate], report_multiple_bugs=False)
MS = 1_000_000
TURN_MS, LIMIT_MS, LEASH_MS = 100, 2000, 1000
NAMES = ("managers.manager_a", "managers.manager_b")
names = st.sampled_from(NAMES)


class SilenceMachine(RuleBasedStateMachine):
    """Managers beat, fall silent, end and come back; the launcher turns every 100 ms."""

    def __init__(self):
        super().__init__()
        self.leash = Leash(LEASH_MS * MS, NAMES)
        self.now_ms = 10_000
        self.slots = dict.fromkeys(NAMES, self.now_ms)
        self.heard_ms = self.now_ms
        self.silent = set()
        self.verdict = None
        self.turn()

    def turn(self):
        self.now_ms += TURN_MS
        for name in self.slots.keys() - self.silent:
            if self.slots[name] is not None:
                self.slots[name] = self.heard_ms = self.now_ms
        self.leash.turned(self.now_ms * MS, TURN_MS * MS)
        loop = SlotReading(LOOP_SLOT, self.now_ms * MS, 0, 1)
        self.verdict = self.leash.overdue(
            [
                loop,
                *(
                    SlotReading(name, at_ms * MS, LIMIT_MS * MS, 1)
                    for name, at_ms in self.slots.items()
                    if at_ms is not None
                ),
            ]
        )

    @rule(count=st.sampled_from([1, 5, 20, 45]))
    def time_passes(self, count):
        for _ in range(count):
            self.turn()
            self.promise_holds()

    @rule(name=names)
    def falls_silent(self, name):
        self.silent.add(name)

    @rule(name=names)
    def ends(self, name):
        self.slots[name] = None

    @rule(name=names)
    def comes_back(self, name):
        self.silent.discard(name)
        self.slots[name] = self.now_ms
        self.turn()

    @rule()
    def the_process_is_replaced(self):
        self.leash.forget()
        for name in NAMES:
            self.comes_back(name)

    @invariant()
    def promise_holds(self):
        age_ms = self.now_ms - self.heard_ms
        if age_ms > LIMIT_MS * 2 + TURN_MS:
            assert self.verdict is not None, "M4: both are silent and nobody acts"
        if self.verdict is not None:
            both = self.verdict.name == " and ".join(NAMES)
            assert not both or age_ms > LIMIT_MS, "M4: one of them was heard"


def test_both_silent_is_the_end_of_the_process_and_one_is_not():
    run_state_machine_as_test(SilenceMachine, settings=RUN)


def nobody_asks(leash, readings, now_ns):
    del leash, readings, now_ns


def the_absent_do_not_count(leash, readings, now_ns):
    present = {reading.name for reading in readings} & set(NAMES)
    return JUDGE(leash, readings, now_ns) if present else None


def the_first_decides(leash, readings, now_ns):
    return JUDGE(leash, [one for one in readings if one.name != NAMES[1]], now_ns)


JUDGE = Leash._quorum_overdue


@pytest.mark.parametrize("mutant", [nobody_asks, the_absent_do_not_count, the_first_decides])
def test_a_mutant_is_caught(mutant, monkeypatch):
    monkeypatch.setattr(Leash, "_quorum_overdue", mutant)
    with pytest.raises(AssertionError, match=r"^M4"):
        run_state_machine_as_test(SilenceMachine, settings=HUNT)
