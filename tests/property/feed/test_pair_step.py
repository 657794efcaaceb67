"""The pure pair: no order of events makes two actives or promotes who is not warm."""

import random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tradebox.domain import feed_pair
from tradebox.domain.feed_pair import (
    Cause,
    Exited,
    PairState,
    Promote,
    RaiseAlarm,
    Refused,
    Reported,
    RestartMember,
    Role,
    Started,
    Suspected,
    SwapAsked,
    Warmed,
    step,
)

NAMES = ("a", "b")
RUN = settings(
    max_examples=200, derandomize=True, database=None, deadline=None, report_multiple_bugs=False
)
HUNT = settings(RUN, max_examples=2000, phases=[Phase.generate])
WORDS = ("heal", "heal", "hang", "exit")


def course_of(seed):
    """Return up to sixty (word or event, seconds before it)."""
    rng = random.Random(seed)
    course = []
    for _ in range(rng.randint(1, 60)):
        name = rng.choice(NAMES)
        kind = rng.choice([Started, Warmed, Exited, Reported, Refused])
        late_s = rng.choice([0.0, 0.001, 0.0015, 0.5])
        cause = rng.choice([Cause.HANG, Cause.CHECKIN])
        suspected = Suspected(name, cause, late_s, 0.003, rng.random() < 0.3)
        word = rng.choice([*WORDS, *WORDS, kind(name), suspected, SwapAsked()])
        course.append((word, rng.choice([0.0, 0.1, 1.0, 2.5, 20.0])))
    return course


def hang(member, late_s=0.0, *, quiet=False):
    return Suspected(member, Cause.HANG, late_s, 0.003, quiet)


def events_of(seed):
    """Spell out the short words: heal both, or harm whoever is active."""

    def spell(word, state):
        if word == "heal":
            missing = [name for name in NAMES if state.role(name) in (Role.DOWN, Role.FENCED)]
            return [kind(name) for name in missing for kind in (Started, Warmed)]
        active = state.active or "a"
        return [hang(active) if word == "hang" else Exited(active)]

    state = yield None
    for word, wait_s in course_of(seed):
        spelled = spell(word, state) if isinstance(word, str) else [word]
        for event in spelled:
            state = yield event, wait_s
            wait_s = 0.0  # noqa: PLW2901 - one wait before the whole word


def next_of(events, state):
    try:
        return events.send(state)
    except StopIteration:
        return None


def pair_keeps_its_word(seed):
    state, now_s, last_s = PairState(NAMES), 0.0, float("-inf")
    events = events_of(seed)
    next(events)
    while (found := next_of(events, state)) is not None:
        event, wait_s = found
        now_s += wait_s
        before = state
        state, actions = step(state, event, now_s)
        assert state.roles.count(Role.ACTIVE) <= 1, "F1"
        for action in actions:
            if not isinstance(action, Promote):
                continue
            was = before.role(action.member)
            assert was is Role.WARM or event == Warmed(action.member), "F11"
            assert state.role(action.member) is Role.ACTIVE
            assert state.role(action.old) is not Role.ACTIVE
            if isinstance(event, Suspected):
                assert event.loop_late_s < event.limit_s / 2, "F10: stalled"
                assert not event.is_partner_quiet, "F10: quiet"
                assert event.member == before.active
                assert now_s - last_s >= feed_pair.HOLD_DOWN_S - 1e-9, "F9: held down"
                assert not before.is_suppressed or state.penalty < 3000
            if action.cause is not Cause.START:
                last_s = now_s
        if before.active and not any(isinstance(action, Promote) for action in actions):
            ended = isinstance(event, Exited | Started) and event.member == before.active
            assert state.active == (None if ended else before.active), "roles are sticky"


def hold(run):
    run(given(st.integers(0, 2**32))(pair_keeps_its_word))()


def test_the_pair_keeps_its_word():
    hold(RUN)


REAL = feed_pair._exited


def promote_anyone(state, member, now_s):
    after, actions = REAL(state, member, now_s)
    partner = state.partner(member)
    if state.active == member and not any(isinstance(one, Promote) for one in actions):
        after = after.with_role(partner, Role.ACTIVE)
        return after, (Promote(partner, member, Cause.EXIT),)
    return after, actions


def keep_the_old(state, member, old, cause, now_s):
    del now_s
    return state.with_role(member, Role.ACTIVE), (Promote(member, old, cause),)


def forget_time(state, member, old, cause, now_s):
    return TAKE(state, member, old, cause, now_s - 100.0)


TAKE = feed_pair._take_over


MUTANTS = [
    ("F11", "_exited", promote_anyone),
    ("F1", "_take_over", keep_the_old),
    ("F9", "_take_over", forget_time),
]


@pytest.mark.parametrize(("promise", "name", "mutant"), MUTANTS, ids=[case[0] for case in MUTANTS])
def test_a_mutant_is_caught(promise, name, mutant, monkeypatch):
    monkeypatch.setattr(feed_pair, name, mutant)
    with pytest.raises(AssertionError, match=rf"^{promise}\b"):
        hold(HUNT)


# --- single cases ---------------------------------------------------------------------------------


def whole_pair():
    state = PairState(NAMES)
    for event in (Started("a"), Warmed("a"), Started("b"), Warmed("b")):
        state, _ = step(state, event, 0.0)
    assert state.roles == (Role.ACTIVE, Role.WARM)
    return state


def test_a_hang_moves_the_epoch_then_restarts_the_old():
    state, actions = step(whole_pair(), hang("a"), 10.0)
    assert actions == (Promote("b", "a", Cause.HANG), RestartMember("a", Cause.HANG))
    assert state.roles == (Role.FENCED, Role.ACTIVE)


def test_an_exit_fails_over_even_while_held_down_and_suppressed():
    state = whole_pair()
    for turn in range(8):
        active = state.active
        state, actions = step(state, Exited(active), turn / 10)
        assert isinstance(actions[0], Promote)
        for event in (Started(active), Warmed(active)):
            state, _ = step(state, event, turn / 10)
    assert state.is_suppressed


def test_suppressed_suspicion_is_left_to_the_supervisor():
    state = whole_pair()
    for turn in range(4):
        active = state.active
        state, _ = step(state, Exited(active), turn / 10)
        state, _ = step(state, Started(active), turn / 10)
        state, _ = step(state, Warmed(active), turn / 10)
    state, actions = step(state, hang(state.active), 5.0)
    assert [type(action) for action in actions] == [RaiseAlarm, RestartMember]
    _, actions = step(state, hang(state.active), 60.0)
    assert isinstance(actions[0], Promote)


def test_both_quiet_is_an_alarm_and_no_takeover():
    state, actions = step(whole_pair(), hang("a", quiet=True), 10.0)
    assert state.active == "a"
    assert [action.kind for action in actions] == ["feed_both_quiet"]


def test_without_a_warm_standby_the_active_stays():
    state, _ = step(whole_pair(), Exited("b"), 1.0)
    state, actions = step(state, hang("a"), 10.0)
    assert state.active == "a"
    assert [action.kind for action in actions] == ["feed_no_standby"]


def test_a_swap_needs_a_warm_standby():
    state, actions = step(whole_pair(), SwapAsked(), 1.0)
    assert actions == (Promote("b", "a", Cause.PLANNED),)
    _, actions = step(state, SwapAsked(), 1.0)
    assert [action.kind for action in actions] == ["feed_swap_refused"]


def test_a_hung_standby_is_replaced():
    state, actions = step(whole_pair(), hang("b"), 10.0)
    assert state.active == "a"
    assert actions == (RestartMember("b", Cause.HANG),)
