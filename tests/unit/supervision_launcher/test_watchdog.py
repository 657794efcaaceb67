"""When the launcher speaks for the run to systemd, and when it falls silent on purpose."""

import pytest

from tradebox.supervision.launch_options import LauncherOptions
from tradebox.supervision.launch_state import Phase
from tradebox.supervision.launcher import Launcher

PERIOD_NS = 100_000_000
S = 1_000_000_000


class Manager:
    """systemd's end."""

    watchdog_ns = PERIOD_NS

    def __init__(self):
        self.heard = []

    def send(self, **words):
        self.heard.append(words)


class Engine:
    """An engine whose loop was heard so long ago; None: not yet since its fork."""

    def __init__(self, age_ns, forked_ns):
        self._age_ns, self.forked_ns = age_ns, forked_ns

    def loop_age_ns(self, now_ns):
        del now_ns
        return self._age_ns


@pytest.fixture
def launcher(tmp_path):
    options = LauncherOptions(post_mortem_folder=tmp_path, leash_ms=1000, engine_start_s=20.0)
    made = Launcher([], lambda _: 0, [], options)
    made._notifier = Manager()
    made._state.phase = Phase.RUNNING
    return made


def beats(launcher, age_ns, since_fork_ns):
    launcher._engine = Engine(age_ns, launcher._poller.now_ns() - since_fork_ns)
    launcher._beat_watchdog()
    return launcher._notifier.heard == [{"WATCHDOG": "1"}]


@pytest.mark.parametrize(
    ("age_ns", "since_fork_ns", "speaks"),
    [
        (0, 100 * S, True),
        (999_000_000, 100 * S, True),
        (1_001_000_000, 100 * S, False),
        (60 * S, 100 * S, False),
        (None, 1 * S, True),
        (None, 19 * S, True),
        (None, 21 * S, False),
    ],
)
def test_it_speaks_while_the_loop_beats_or_a_restart_is_in_time(
    launcher, age_ns, since_fork_ns, speaks
):
    assert beats(launcher, age_ns, since_fork_ns) is speaks
    assert launcher._poller._timers["watchdog"], "it looks again, whatever it said"


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.STOPPING])
def test_start_and_stop_have_limits_of_their_own(launcher, phase):
    launcher._state.phase = phase
    assert beats(launcher, 60 * S, 100 * S)


def test_without_a_watchdog_nothing_is_said(launcher):
    launcher._notifier.watchdog_ns = None
    assert not beats(launcher, 0, S)
    assert "watchdog" not in launcher._poller._timers
