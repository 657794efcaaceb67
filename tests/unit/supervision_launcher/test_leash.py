"""The judgement over silent slots."""

from hypothesis import given
from hypothesis import strategies as st

from tradebox.supervision.leash import Leash
from tradebox.supervision.shm import LOOP_SLOT, SlotReading

MS = 1_000_000
LEASH_NS = 400 * MS


def loop(last_ms: int) -> SlotReading:
    return SlotReading(LOOP_SLOT, last_ms * MS, 0, 1)


def actor(last_ms: int, limit_ms: int) -> SlotReading:
    return SlotReading("actor", last_ms * MS, limit_ms * MS, 1)


def awake(leash: Leash, *turns_ms: int) -> Leash:
    for turn in turns_ms:
        leash.turned(turn * MS, 100 * MS)
    return leash


def test_nobody_is_judged_before_the_first_turn():
    assert Leash(LEASH_NS).overdue([loop(1)]) is None


def test_a_loop_is_overdue_after_the_leash_and_not_before():
    assert awake(Leash(LEASH_NS), 1400).overdue([loop(1000)]) is None
    late = awake(Leash(LEASH_NS), 1401).overdue([loop(1000)])
    assert late is not None
    assert (late.name, late.age_ns, late.limit_ns) == (LOOP_SLOT, 401 * MS, LEASH_NS)


def test_an_actor_is_overdue_after_twice_its_limit():
    assert awake(Leash(LEASH_NS), 1200).overdue([actor(1000, 100)]) is None
    late = awake(Leash(LEASH_NS), 1201).overdue([actor(1000, 100)])
    assert late is not None
    assert late.name == "actor"


def test_the_loop_is_blamed_before_its_actors():
    late = awake(Leash(LEASH_NS), 5000).overdue([actor(1000, 100), loop(1000)])
    assert late is not None
    assert late.name == LOOP_SLOT


def test_who_never_checked_in_or_has_no_limit_is_not_judged():
    leash = awake(Leash(LEASH_NS), 9000)
    assert leash.overdue([loop(0), actor(0, 1), actor(1, 0)]) is None
    assert leash.next_look_ns([loop(0), actor(1, 0)]) is None


def test_after_a_late_turn_everybody_has_one_leash():
    leash = awake(Leash(LEASH_NS), 1000, 5000)
    assert leash.late_turns == 1
    assert leash.overdue([loop(1000)]) is None
    assert leash.next_look_ns([loop(1000)]) == 5400 * MS + 1
    awake(leash, 5100, 5200, 5300, 5399)
    assert leash.overdue([loop(1000)]) is None
    awake(leash, 5401)
    assert leash.overdue([loop(1000)]) is not None


def test_a_launcher_stopped_in_mid_turn_judges_by_the_turns_beginning():
    leash = awake(Leash(LEASH_NS), 1000)
    # Frozen here for seconds; the turn goes on, with slots that nobody could write meanwhile.
    assert leash.overdue([loop(990)]) is None


gaps = st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 1000)), min_size=1, max_size=40)


@given(gaps, st.integers(1, 1000), st.integers(1, 500))
def test_holds_no_judgement_within_a_leash_of_a_late_turn(turns, last_ms, limit_ms):
    leash = Leash(LEASH_NS)
    now, late_at = 1000, None
    leash.turned(now * MS, 0)
    for gap_ms, planned_ms in turns:
        now += gap_ms
        leash.turned(now * MS, planned_ms * MS)
        if gap_ms > planned_ms + 100:
            late_at = now
        late = leash.overdue([loop(last_ms), actor(last_ms, limit_ms)])
        if late_at is not None and now < late_at + 400:
            assert late is None
        elif now - last_ms > 400:
            assert late is not None


@given(gaps, st.integers(0, 400), st.integers(1, 500))
def test_holds_who_checks_in_within_its_limit_is_never_overdue(turns, age_ms, limit_ms):
    leash = Leash(LEASH_NS)
    now = 1000
    for gap_ms, planned_ms in turns:
        now += gap_ms
        leash.turned(now * MS, planned_ms * MS)
        readings = [loop(now - age_ms), actor(now - min(age_ms, 2 * limit_ms), limit_ms)]
        assert leash.overdue(readings) is None


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 500))
def test_holds_the_next_look_is_the_first_moment_somebody_is_overdue(loop_ms, actor_ms, limit_ms):
    readings = [loop(loop_ms), actor(actor_ms, limit_ms)]
    due = Leash(LEASH_NS).next_look_ns(readings)
    assert due is not None
    before, after = Leash(LEASH_NS), Leash(LEASH_NS)
    before.turned(due - 1, 0)
    after.turned(due, 0)
    assert before.overdue(readings) is None
    assert after.overdue(readings) is not None


PAIR = ("a", "b")


def member(name: str, last_ms: int) -> SlotReading:
    return SlotReading(name, last_ms * MS, 1000 * MS, 1)


def watched(*turns_ms: int) -> Leash:
    return awake(Leash(LEASH_NS, PAIR), *turns_ms)


def test_one_of_the_quorum_is_enough():
    leash = watched(2499)
    assert leash.overdue([loop(2490), member("a", 999), member("b", 1001)]) is None


def test_a_silent_quorum_is_overdue_after_one_and_a_half_limits():
    leash = watched(2500)
    slots = [loop(2490), member("a", 1000), member("b", 900)]
    assert leash.overdue(slots) is None
    awake(leash, 2501)
    late = leash.overdue(slots)
    assert late is not None
    assert (late.name, late.limit_ns) == ("a and b", 1500 * MS)


def test_an_absent_quorum_is_overdue_once_it_was_heard():
    leash = watched(1000)
    assert leash.overdue([loop(990)]) is None
    assert leash.overdue([loop(990), member("a", 900)]) is None
    awake(leash, *range(1100, 2401, 100), 2401)
    assert leash.overdue([loop(2390)]) is not None
    leash.forget()
    assert leash.overdue([loop(2390)]) is None
