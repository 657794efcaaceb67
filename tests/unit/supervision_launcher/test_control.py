"""The control socket's own limits, on a poller in this process."""

import socket
import threading
from pathlib import Path

import pytest

from tradebox.supervision.control import ControlServer, ask_control
from tradebox.supervision.launch_errors import ControlUnreachable, PathTooLong
from tradebox.supervision.poller import Poller


def test_a_path_that_does_not_fit_is_refused(tmp_path):
    path = tmp_path / ("x" * 120)
    with pytest.raises(PathTooLong):
        ControlServer(Poller(), path, lambda _request, _reply: None)
    with pytest.raises(PathTooLong):
        ask_control(path, {}, 1)


def test_nobody_there_is_told(tmp_path):
    path = short(tmp_path)
    with pytest.raises(ControlUnreachable):
        ask_control(path, {}, 1)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with pytest.raises(ControlUnreachable):
        ask_control(path, {}, 1)


def test_a_server_that_stays_silent_is_told(tmp_path):
    path = short(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with pytest.raises(ControlUnreachable):
            ask_control(path, {}, 0.05)


def short(tmp_path: Path) -> Path:
    return tmp_path / "c"


def test_a_left_over_socket_is_replaced_and_answers_come(tmp_path):
    path = short(tmp_path)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    poller = Poller()
    server = ControlServer(poller, path, lambda request, reply: reply({"echo": request}))
    answers: list[dict] = []
    client = threading.Thread(
        target=lambda: answers.append(ask_control(path, {"é": [1, None]}, 10))
    )
    client.start()
    while client.is_alive() or server.clients:
        poller.call_at("turn", poller.now_ns() + 1_000_000, lambda: None)
        poller.turn(lambda _now, _planned: None)
    client.join()
    server.close()
    server.close()
    assert answers == [{"echo": {"é": [1, None]}}]
    assert not path.exists()


class OutOfDescriptors:
    """A listener that cannot accept, as with EMFILE."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.tries = 0

    def accept(self):
        self.tries += 1
        raise OSError(24, "Too many open files")

    def __getattr__(self, name):
        return getattr(self._listener, name)


def test_without_descriptors_it_pauses_instead_of_spinning_and_listens_again(tmp_path):
    poller, path = Poller(), short(tmp_path)
    server = ControlServer(poller, path, lambda _request, reply: reply({"pid": 1}))
    real = server._listener
    server._listener = broken = OutOfDescriptors(real)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        poller.turn(lambda _now, _planned: None)
        assert broken.tries == 1
        assert real.fileno() not in poller._fds
        server._listener = real
        while server.clients == 0:
            poller.turn(lambda _now, _planned: None)
    server.close()
