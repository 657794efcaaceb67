"""Whatever is written, and by whom: no second sees more messages than the gateway takes."""

from hypothesis import given
from hypothesis import strategies as st

from tradebox.execution.pace import (
    KEPT_FOR_LOOKS,
    KEPT_FOR_ORDERS,
    KEPT_FOR_REDUCTIONS,
    KEPT_FROM_PRESSING_LOOKS,
    LOOK_MESSAGES,
    MESSAGES_PER_S_MAX,
    Pace,
)

STEPS = st.lists(
    st.tuples(st.floats(0.0, 0.3), st.sampled_from(["look", "question", "order"])), max_size=200
)


@given(STEPS)
def test_no_second_sees_more_than_the_gateway_takes(steps):
    pace, written, now_s = Pace(), [], 100.0
    for passed_s, what in steps:
        now_s += passed_s
        if what == "order":
            count = min(2, pace.room(now_s))
        else:
            count = LOOK_MESSAGES if what == "look" else 1
            now_s += pace.wait_s(count, now_s, KEPT_FOR_ORDERS)
            assert pace.wait_s(count, now_s, KEPT_FOR_ORDERS) == 0.0
            assert pace.room(now_s) >= count + KEPT_FOR_ORDERS
        for _ in range(count):
            pace.note(now_s)
            written.append(now_s)
    for end in range(len(written)):
        within = [at_s for at_s in written[: end + 1] if written[end] - at_s < 1.0]
        assert len(within) <= MESSAGES_PER_S_MAX


def test_a_look_on_an_idle_connection_waits_for_nothing():
    pace = Pace()
    for _ in range((MESSAGES_PER_S_MAX - KEPT_FOR_ORDERS) // LOOK_MESSAGES):
        assert pace.wait_s(LOOK_MESSAGES, 1.0, KEPT_FOR_ORDERS) == 0.0
        for _ in range(LOOK_MESSAGES):
            pace.note(1.0)
    assert 0.9 < pace.wait_s(LOOK_MESSAGES, 1.1, KEPT_FOR_ORDERS) <= 1.0


def test_a_look_does_not_wait_for_questions_however_many_wait():
    pace, kept = Pace(), KEPT_FOR_ORDERS + KEPT_FOR_LOOKS
    now_s = 1.0
    while not pace.wait_s(1, now_s, kept):
        pace.note(now_s)
    assert pace.wait_s(LOOK_MESSAGES, now_s, KEPT_FOR_ORDERS) == 0.0


def test_a_look_that_an_exit_waits_for_does_not_wait_for_entries_however_many_come():
    pace, now_s = Pace(), 1.0
    while pace.room(now_s) > KEPT_FOR_REDUCTIONS:  # as far as entries go
        pace.note(now_s)
    pace.note(now_s)  # the exit takes its stop off
    assert pace.wait_s(LOOK_MESSAGES, now_s, KEPT_FOR_ORDERS) > 0.0
    assert pace.wait_s(LOOK_MESSAGES, now_s, KEPT_FROM_PRESSING_LOOKS) == 0.0
    for _ in range(LOOK_MESSAGES):
        pace.note(now_s)
    assert pace.room(now_s) >= KEPT_FROM_PRESSING_LOOKS > 0, "and the exit has room to sell"
