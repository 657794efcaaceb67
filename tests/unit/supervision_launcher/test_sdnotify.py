"""Words for systemd."""

import os
import socket

import pytest

from tradebox.supervision.sdnotify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        if request.param == "path":
            address = str(tmp_path / "n")
            link.bind(address)
        else:
            address = f"@tradebox-test-{os.getpid()}"
            link.bind("\0" + address[1:])
        link.setblocking(False)
        yield link, address


def test_words_travel_in_one_datagram(manager):
    link, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address}, 1)
    assert notifier.send(READY="1", STATUS="two\nlines")
    assert link.recv(4096) == b"READY=1\nSTATUS=two lines"
    assert notifier.watchdog_ns is None
    notifier.close()
    assert not notifier.send(READY="1")


@pytest.mark.parametrize(
    ("environ", "period_ns"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 1_000_000_000),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "77"}, 1_000_000_000),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "78"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_for_the_process_it_names(manager, environ, period_ns):
    notifier = Notifier({"NOTIFY_SOCKET": manager[1], **environ}, 77)
    assert notifier.watchdog_ns == period_ns
    notifier.close()


@pytest.mark.parametrize("address", ["", "relative", "/no/such/socket"])
def test_without_a_manager_nothing_happens(address):
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000"}, 1)
    assert not notifier.send(READY="1")
    assert notifier.watchdog_ns is None
    notifier.close()


def test_a_manager_that_does_not_listen_costs_words_not_time(manager):
    _, address = manager
    notifier = Notifier({"NOTIFY_SOCKET": address}, 1)
    sent = [notifier.send(STATUS="x" * 10_000) for _ in range(2000)]
    assert sent[0]
    assert not sent[-1]
    notifier.close()
