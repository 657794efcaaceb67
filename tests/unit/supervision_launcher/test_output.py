"""Output to readers that do not read, never waiting for them."""

import os
import pty
import socket
import termios
import tty

import pytest

from tradebox.supervision import output as output_module
from tradebox.supervision.output import HELD_BYTES_MAX, Output
from tradebox.supervision.poller import Poller


def pipe_ends() -> tuple[int, int]:
    return os.pipe()


def socket_ends() -> tuple[int, int]:
    reading, writing = socket.socketpair()
    return reading.detach(), writing.detach()


def terminal_ends() -> tuple[int, int]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    return master, slave


KINDS = {"pipe": pipe_ends, "socket": socket_ends, "terminal": terminal_ends}


@pytest.fixture(params=KINDS)
def ends(request):
    reading, writing = KINDS[request.param]()
    yield reading, writing
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("may_open_again", [True, False])
def test_a_reader_that_sleeps_costs_lines_not_time(ends, may_open_again, monkeypatch):
    if not may_open_again:
        monkeypatch.setattr(output_module, "_open_again", lambda _fd: None)
    reading, writing = ends
    poller = Poller()
    output = Output(poller, writing)
    count = 0
    while not output.dropped:
        output.line(f"{count} " + "x" * 500)
        count += 1
    assert count > HELD_BYTES_MAX // 2 // 600
    output.line("last word", is_last_word=True)
    os.set_blocking(reading, False)
    got = b""
    while not got.endswith(b"last word\n"):
        poller.call_at("turn", poller.now_ns() + 1_000_000, lambda: None)
        poller.turn(lambda _now, _planned: None)
        try:
            got += os.read(reading, 65536)
        except BlockingIOError:
            continue
    numbers = [int(line.split()[0]) for line in got.splitlines()[:-1]]
    assert numbers == list(range(count - 1))
    assert os.get_blocking(writing)  # the descriptor that others share is as it was
    output.finish(100)


def test_a_stopped_terminal_does_not_stop_us():
    master, slave = pty.openpty()
    output = Output(Poller(), slave)
    termios.tcflow(slave, termios.TCOOFF)
    output.line("held back by Ctrl-S")
    output.finish(20)
    termios.tcflow(slave, termios.TCOON)
    os.close(slave)
    os.close(master)


def test_a_reader_that_left_is_no_error():
    reading, writing = os.pipe()
    output = Output(Poller(), writing)
    os.close(reading)
    output.line("nobody hears this")
    output.line("nor this")
    output.finish(10)
    assert output.dropped == 1
    os.close(writing)


def test_a_file_gets_every_line(tmp_path):
    path = tmp_path / "out"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    output = Output(Poller(), fd)
    for number in range(100):
        output.line(str(number))
    output.finish(10)
    os.close(fd)
    assert path.read_text() == "".join(f"{number}\n" for number in range(100))
