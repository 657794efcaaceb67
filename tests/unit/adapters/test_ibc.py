"""IBC: a sound configuration, and its command server on loopback."""

import socket
import threading

import pytest

from tradebox.adapters.ibkr.ibc import IbcOptions, ibc_config, send_command
from tradebox.errors import ConfigInvalid, NotRunning


def keys(text):
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_the_configuration_is_sound():
    found = keys(ibc_config(IbcOptions(mode="live", api_port=4001, restart_at="23:45")))
    assert found["TradingMode"] == "live"
    assert found["OverrideTwsApiPort"] == "4001"
    assert found["AutoRestartTime"] == "11:45 PM"
    assert found["AcceptIncomingConnectionAction"] == "reject"
    assert found["AllowBlindTrading"] == "no"
    assert found["ReadOnlyApi"] == "no"
    assert found["BindAddress"] == "127.0.0.1"
    assert found["CommandServerPort"] == "7462"
    assert found["ResetOrderIdsAtStart"] == "no"
    assert found["ExistingSessionDetectedAction"] == "primary"
    assert (found["IbLoginId"], found["IbPassword"]) == ("", "")


@pytest.mark.parametrize(
    ("at", "said"), [("00:05", "12:05 AM"), ("12:00", "12:00 PM"), ("09:30", "09:30 AM")]
)
def test_times_are_told_in_halves_of_a_day(at, said):
    assert keys(ibc_config(IbcOptions(restart_at=at)))["AutoRestartTime"] == said


@pytest.mark.parametrize(
    "options",
    [
        IbcOptions(restart_at="25:00"),
        IbcOptions(restart_at="9:30"),
        IbcOptions(mode="paper", api_port=4001),
        IbcOptions(mode="live", api_port=4002),
    ],
)
def test_what_cannot_be_is_refused(options):
    with pytest.raises(ConfigInvalid):
        ibc_config(options)


@pytest.fixture
def server():
    """Answers one command with OK; what it heard is in `heard`."""
    listener = socket.create_server(("127.0.0.1", 0))
    heard = []

    def serve():
        link, _ = listener.accept()
        with link:
            heard.append(link.recv(100))
            link.sendall(b"OK accepted\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1], heard
    thread.join(5)
    listener.close()


def test_a_command_is_sent_and_answered(server):
    port, heard = server
    assert send_command("127.0.0.1", port, "restart") == "OK accepted"
    assert heard == [b"RESTART\r\n"]


def test_unknown_words_and_far_peers_are_refused():
    with pytest.raises(ConfigInvalid):
        send_command("127.0.0.1", 7462, "FORMAT")
    with pytest.raises(ConfigInvalid):
        send_command("10.0.0.1", 7462, "STOP")


def test_nobody_listening_is_said():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotRunning):
        send_command("127.0.0.1", port, "STOP")
