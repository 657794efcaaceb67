"""The pauses between the starts of a server that keeps failing: they grow, and are forgiven."""

import pytest

from tradebox.supervision.poller import Poller
from tradebox.supervision.server_child import (
    BACKOFF_NS_MAX,
    BACKOFF_NS_MIN,
    STEADY_NS,
    ServerChild,
    ServerState,
)
from tradebox.supervision.servers import ServerSpec
from tradebox.supervision.spawn import Exit

FAILED = Exit(1, None)
KEY = ("server", "one again")


class HandPoller(Poller):
    """Time by hand; timers fire when told to."""

    ns = 1_000

    def now_ns(self):
        return self.ns

    def pause_ns(self):
        return self._timers[KEY][0] - self.ns

    def go_on(self):
        self.ns, callback = self._timers.pop(KEY)
        callback()


class Owner:
    def server_environ(self, spec):
        del spec
        return {}

    def server_ready(self, child):
        """Nothing depends on it."""

    def server_down(self, child, how):
        """Nobody asks."""


class NoProcesses:
    """A box where nothing can be started."""

    def spawn(self, plan):
        raise OSError(11, "no more processes")


class Console:
    def take_back(self):
        """There is none."""


@pytest.fixture
def child():
    spec = ServerSpec(name="one", argv=["nothing"], required=False)
    return ServerChild(spec, HandPoller(), NoProcesses(), Owner(), Console())


def test_pauses_double_up_to_their_limit(child):
    child.start()
    pauses = []
    for _ in range(9):
        assert child.state is ServerState.BACKOFF
        pauses.append(child._poller.pause_ns())
        child._poller.go_on()
    assert pauses[0] == BACKOFF_NS_MIN
    assert pauses == [min(BACKOFF_NS_MIN << turn, BACKOFF_NS_MAX) for turn in range(9)]
    assert pauses[-1] == BACKOFF_NS_MAX
    assert child.restarts == 9


@pytest.mark.parametrize(("steady_ns", "is_forgiven"), [(STEADY_NS, True), (STEADY_NS - 1, False)])
def test_only_who_was_steady_begins_with_the_shortest_pause_again(child, steady_ns, is_forgiven):
    child.start()
    for _ in range(3):
        child._poller.go_on()
    child._became_ready({})
    child._poller.ns += steady_ns
    child._went_down(FAILED)
    expected = BACKOFF_NS_MIN if is_forgiven else BACKOFF_NS_MIN << 4
    assert child._poller.pause_ns() == expected
