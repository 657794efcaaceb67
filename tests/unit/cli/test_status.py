"""`tradebox status` meets whatever speaks on the control socket with one refusal, never a crash."""

import socket
import threading
from contextlib import contextmanager

import pytest

from tradebox.cli.status import ask
from tradebox.config import Home
from tradebox.errors import NotRunning


@contextmanager
def answering(path, answer):
    """Somebody on a socket who reads a question, says this, and hangs up."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen(1)

        def serve():
            link, _ = server.accept()
            with link:
                link.recv(65536)
                link.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            thread.join()


@pytest.fixture
def home(tmp_path_factory):
    return Home(tmp_path_factory.mktemp("h"))


@pytest.mark.parametrize("answer", [b"", b"[1]\n", b"no json\n", b"\xff\n", b'{"half": '])
def test_an_answer_that_is_none_is_refused(home, answer):
    with (
        answering(home.control_socket, answer),
        pytest.raises(NotRunning, match="does not answer"),
    ):
        ask(home, "status")


def test_an_answer_is_given_back(home):
    with answering(home.control_socket, b'{"launcher": {}}\n'):
        assert ask(home, "status") == {"launcher": {}}


def test_without_a_socket_nothing_runs(home):
    with pytest.raises(NotRunning, match="nothing runs"):
        ask(home, "status")
