"""The poll loop: timers, and callbacks called off in the middle of a turn."""

import os

from tradebox.supervision.poller import READABLE, Poller


def turn(poller: Poller) -> None:
    poller.turn(lambda _now, _planned: None)


def test_timers_fire_in_order_once_and_a_key_replaces():
    poller = Poller()
    fired: list[str] = []
    now = poller.now_ns()
    poller.call_at("b", now - 1, lambda: fired.append("b"))
    poller.call_at("a", now - 2, lambda: fired.append("a"))
    poller.call_at("c", now - 3, lambda: fired.append("replaced"))
    poller.call_at("c", now - 3, lambda: fired.append("c"))
    poller.call_at("off", now - 3, lambda: fired.append("off"))
    poller.call_off("off")
    poller.call_off("never set")
    turn(poller)
    poller.call_at("end", now, lambda: fired.append("end"))
    turn(poller)
    assert fired == ["c", "a", "b", "end"]


def test_a_timer_called_off_by_an_earlier_one_does_not_fire():
    poller = Poller()
    fired: list[str] = []
    now = poller.now_ns()
    poller.call_at("first", now - 2, lambda: poller.call_off("second"))
    poller.call_at("second", now - 1, lambda: fired.append("second"))
    turn(poller)
    assert fired == []


def test_a_descriptor_forgotten_in_the_same_turn_is_not_served():
    poller = Poller()
    served: list[int] = []
    pipes = [os.pipe() for _ in range(2)]

    def serve(fd: int) -> None:
        served.append(fd)
        for reading, _ in pipes:
            poller.forget(reading)

    for reading, writing in pipes:
        poller.watch(reading, READABLE, lambda _events, fd=reading: serve(fd))
        os.write(writing, b"x")
    turn(poller)
    assert len(served) == 1
    poller.call_at("end", 0, lambda: None)
    turn(poller)
    assert len(served) == 1
    for ends in pipes:
        for fd in ends:
            os.close(fd)


def test_a_turn_tells_how_long_it_meant_to_wait():
    poller = Poller()
    told: list[int] = []
    poller.call_at("soon", poller.now_ns() + 2_000_000, lambda: None)
    poller.turn(lambda _now, planned: told.append(planned))
    assert 0 <= told[0] <= 2_000_000
