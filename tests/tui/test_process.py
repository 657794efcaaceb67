"""The console as a process on a terminal of its own."""

import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl

import pytest

from tradebox.config import Home

DEADLINE_S = 30.0
ENTER_SCREEN, LEAVE_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"
HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"


class Terminal:
    """A console on a pty; `read_until` collects what it draws."""

    def __init__(self, home, *arguments):
        self.master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.mode_before = self.mode()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tradebox_tui", "--home", str(home), *arguments],
            stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self.seen = b""

    def read_until(self, words):
        deadline = time.monotonic() + DEADLINE_S
        while words not in self.seen:
            assert time.monotonic() < deadline, self.seen[-2000:]
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.master, 65536)
                except OSError:
                    break
        assert words in self.seen, self.seen[-2000:]

    def mode(self):
        """Return how the terminal treats what is typed: echo, lines, signals."""
        return termios.tcgetattr(self.master)[:4]

    def end(self):
        deadline = time.monotonic() + DEADLINE_S
        while self.process.poll() is None or select.select([self.master], [], [], 0)[0]:
            assert time.monotonic() < deadline
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.master, 65536)
                except OSError:
                    break
        return self.process.wait(DEADLINE_S)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal(tmp_path):
    made = Terminal(tmp_path)
    yield made
    made.close()


def test_it_opens_at_once_without_a_run_and_says_what_it_waits_for(terminal):
    terminal.read_until(b"nothing has run on this home yet")
    assert len(terminal.seen) <= 32 * 1024
    os.write(terminal.master, b"q")
    assert terminal.end() == 0


def test_control_c_leaves_with_130(terminal):
    terminal.read_until(b"nothing has run")
    os.write(terminal.master, b"\x03")
    assert terminal.end() == 130


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signals_leave_in_order_and_the_terminal_as_it_was(terminal, number, code):
    terminal.read_until(b"nothing has run")
    assert terminal.mode() != terminal.mode_before
    terminal.process.send_signal(number)
    assert terminal.end() == code
    assert terminal.mode() == terminal.mode_before
    assert terminal.seen.rindex(LEAVE_SCREEN) > terminal.seen.rindex(ENTER_SCREEN)
    assert terminal.seen.rindex(SHOW_CURSOR) > terminal.seen.rindex(HIDE_CURSOR)


def test_a_terminal_that_is_gone_ends_it(tmp_path):
    made = Terminal(tmp_path)
    try:
        made.read_until(b"nothing has run")
    finally:
        os.close(made.master)
    assert made.process.wait(DEADLINE_S) == 129


def test_without_a_terminal_it_says_so(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tradebox_tui", "--home", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.DEVNULL, capture_output=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert b"needs a terminal" in done.stderr


def test_nothing_is_left_in_the_home(terminal, tmp_path):
    terminal.read_until(b"nothing has run")
    assert not Home(tmp_path).console_file.exists()
    assert list(tmp_path.iterdir()) == []
