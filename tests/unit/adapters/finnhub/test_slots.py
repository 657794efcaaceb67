"""Who holds a connection's places: need first, the rest in turn."""

from hypothesis import given
from hypothesis import strategies as st

from tradebox.adapters.finnhub.slots import Slots

NAMES = [f"S{number}" for number in range(12)]


def test_where_all_fit_all_are_in():
    assert Slots(2, 60).target(NAMES[:5], 5, 0.0) == tuple(NAMES[:5])


def test_the_needed_are_always_in_and_the_rest_take_turns():
    slots, seen = Slots(2, 60), set()
    for turn in range(6):
        target = slots.target(NAMES[:8], 5, turn * 60.0)
        assert target[:3] == ("S0", "S1", "S2")
        assert len(target) == 5
        seen |= set(target[3:])
    assert seen == set(NAMES[3:8])


def test_a_place_is_kept_for_its_time():
    slots = Slots(2, 60)
    first = slots.target(NAMES[:8], 5, 0.0)
    assert slots.target(NAMES[:8], 5, 59.0) == first
    assert slots.due_s == 60.0
    assert slots.target(NAMES[:8], 5, 60.0) != first


def test_who_falls_out_of_the_needed_keeps_a_free_place():
    slots = Slots(2, 60)
    held = NAMES[:5]
    moved = ["S9", "S8", "S7", "S5", "S6", "S3", "S4"]
    assert slots.target(moved, 5, 0.0, held) == ("S9", "S8", "S7", "S3", "S4")


def test_a_symbol_that_nobody_wants_leaves_at_once():
    slots = Slots(2, 60)
    slots.target(NAMES[:8], 5, 0.0)
    assert slots.target(NAMES[:3], 5, 1.0) == tuple(NAMES[:3])
    assert slots.due_s is None


@given(
    steps=st.lists(
        st.tuples(
            st.lists(st.sampled_from(NAMES), unique=True, max_size=12),
            st.integers(1, 8),
            st.floats(0, 100),
        ),
        max_size=30,
    ),
    rotating=st.integers(0, 6),
)
def test_holds_at_most_the_cap_each_once_all_wanted_the_needed_in(steps, rotating):
    slots, now_s, held = Slots(rotating, 30.0), 0.0, ()
    for wanted, cap, passed in steps:
        now_s += passed
        target = slots.target(wanted, cap, now_s, held)
        assert len(target) == len(set(target)) == min(len(wanted), len(target)) <= cap
        assert set(target) <= set(wanted)
        fixed = cap - min(rotating, cap - 1)
        assert set(wanted[:fixed]) <= set(target)
        if rotating and len(wanted) > cap:
            assert len(target) == cap
        held = target


@given(count=st.integers(6, 30), cap=st.integers(2, 10), rotating=st.integers(1, 5))
def test_everyone_who_waits_gets_a_place_in_the_end(count, cap, rotating):
    wanted = [f"W{number}" for number in range(count)]
    slots, seen = Slots(rotating, 10.0), set()
    for turn in range(count + 2):
        seen |= set(slots.target(wanted, cap, turn * 10.0))
    assert seen == set(wanted)
