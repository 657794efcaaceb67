"""Slots and counters in shared memory."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tradebox.supervision.shm import (
    COUNTERS_MAX,
    NAME_BYTES_MAX,
    SLOTS_MAX,
    SharedCounters,
    SharedSlots,
    SlotReading,
)

names = st.sampled_from(["a", "b", "c.d", "é"])


def test_a_slot_is_read_as_it_was_written():
    slots = SharedSlots()
    slot = slots.open("one", 3, 0.5)
    assert slot is not None
    assert slots.read() == [SlotReading("one", 0, 500_000_000, 3)]
    slot.write(12.25)
    assert slots.read() == [SlotReading("one", 12_250_000_000, 500_000_000, 3)]
    slot.close()
    assert slots.read() == []


def test_a_late_close_leaves_the_successor_its_slot():
    slots = SharedSlots()
    old = slots.open("one", 1, 0.5)
    new = slots.open("one", 2, 0.5)
    assert old is not None
    assert new is not None
    old.close()
    assert [r.incarnation for r in slots.read()] == [2]


def test_there_is_an_end_to_slots_and_names():
    slots = SharedSlots()
    opened = [slots.open(f"n{number}", 1, 1.0) for number in range(SLOTS_MAX)]
    assert all(opened)
    assert slots.open("one more", 1, 1.0) is None
    assert slots.open("x" * (NAME_BYTES_MAX + 1), 1, 1.0) is None
    slots.wipe()
    assert slots.read() == []
    assert slots.open("x" * NAME_BYTES_MAX, 1, 1.0) is not None


def test_there_is_an_end_to_counters():
    counters = SharedCounters()
    for number in range(COUNTERS_MAX):
        counters.add(f"n{number}")
    with pytest.raises(KeyError):
        counters.add("one more")


def test_what_a_child_writes_the_parent_reads():
    slots, counters = SharedSlots(), SharedCounters()
    counters.add("starts", 5)
    pid = os.fork()
    if pid == 0:
        slot = slots.open("child", 1, 1.0)
        assert slot is not None
        slot.write(1.0)
        counters.add("starts", 2)
        counters.add("new", -1)
        os._exit(0)
    os.waitpid(pid, 0)
    assert [r.name for r in slots.read()] == ["child"]
    assert counters.values() == {"starts": 7, "new": -1}


@given(st.lists(st.tuples(names, st.integers(-1000, 1000))))
def test_holds_the_sum_of_all_adds_is_the_value(adds):
    counters = SharedCounters()
    for name, amount in adds:
        counters.add(name, amount)
    sums: dict[str, int] = {}
    for name, amount in adds:
        sums[name] = sums.get(name, 0) + amount
    assert counters.values() == sums


@settings(max_examples=60)
@given(st.lists(st.tuples(names, st.integers(1, 5), st.booleans()), max_size=30))
def test_holds_a_reading_belongs_to_the_last_incarnation_that_opened(acts):
    slots = SharedSlots()
    model: dict[str, list] = {}
    opened = []
    for number, (name, incarnation, is_closing) in enumerate(acts, 1):
        if is_closing and opened:
            known, slot = opened.pop(0)
            slot.write(number)
            if model.get(known, [None])[0] is slot:
                model[known][2] = number * 10**9
                assert {r.name: r.last_ns for r in slots.read()}[known] == number * 10**9
                del model[known]
            slot.close()
        else:
            slot = slots.open(name, incarnation, 1.0)
            assert slot is not None
            opened.append((name, slot))
            model[name] = [slot, incarnation, 0]
    seen = {r.name: (r.incarnation, r.last_ns) for r in slots.read()}
    assert seen == {name: (known[1], known[2]) for name, known in model.items()}
