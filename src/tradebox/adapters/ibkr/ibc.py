"""IBC, which logs a gateway in and restarts it: a sound configuration, and its command server.

Rules of this file:
- the configuration holds no name and no password, and says why it says what it says;
- the command server is spoken to on loopback alone: it knows no password.
Source: IBC's config.ini (3.2x): its keys and their values.
"""

import re
import socket
from dataclasses import dataclass
from typing import Final

from tradebox.errors import ConfigInvalid, NotRunning

COMMANDS: Final = (
    "STOP",
    "RESTART",
    "PAUSE",
    "ENABLEAPI",
    "RECONNECTDATA",
    "RECONNECTACCOUNT",
    "EXIT",
)
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
ANSWER_S: Final = 5.0
ANSWER_BYTES_MAX: Final = 4096
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class IbcOptions:
    """What differs between installations. restart_at: local time, HH:MM, 24 hours."""

    mode: str = "paper"
    api_port: int = 4002
    restart_at: str = "23:45"
    command_port: int = 7462


def ibc_config(options: IbcOptions) -> str:
    """Return the text of a config.ini. Raises ConfigInvalid."""
    if _TIME.fullmatch(options.restart_at) is None:
        raise ConfigInvalid(f"--restart-at={options.restart_at}: write it like 23:45")
    wrong = {"paper": 4001, "live": 4002}.get(options.mode)
    if options.api_port == wrong:
        raise ConfigInvalid(
            f"--mode={options.mode} with port {wrong}: that is the other gateway's port",
            field="port",
            value=wrong,
        )
    lines: list[str] = []
    for why, keys in _keys(options):
        lines += ["", f"# {why}", *(f"{key}={value}" for key, value in keys.items())]
    head = f"# IBC configuration for the {options.mode} gateway, written by tradebox."
    return "\n".join([head, *lines]) + "\n"


def _keys(options: IbcOptions) -> list[tuple[str, dict[str, object]]]:
    hours, minutes = (int(part) for part in options.restart_at.split(":"))
    half = "AM" if hours < 12 else "PM"
    restart = f"{(hours + 11) % 12 + 1:02d}:{minutes:02d} {half}"
    return [
        (
            "Name and password: leave them empty and type them, or keep this file 0600.",
            {"IbLoginId": "", "IbPassword": "", "TradingMode": options.mode},
        ),
        (
            "A daily restart keeps the login until Sunday 01:00 New York; then one by hand.",
            {"AutoRestartTime": restart, "AutoLogoffTime": "", "ColdRestartTime": "07:05"},
        ),
        (
            "A login that waits for a second factor tries again, and ends where nobody answers.",
            {
                "SecondFactorDevice": "",
                "SecondFactorAuthenticationTimeout": 180,
                "ReloginAfterSecondFactorAuthenticationTimeout": "yes",
                "SecondFactorAuthenticationExitInterval": 60,
                "LoginDialogDisplayTimeout": 60,
            },
        ),
        (
            "Another login of the same user must not take the session over.",
            {"ExistingSessionDetectedAction": "primary"},
        ),
        (
            "The API: its own port, orders allowed, unknown peers refused without a question.",
            {
                "OverrideTwsApiPort": options.api_port,
                "ReadOnlyApi": "no",
                "ReadOnlyLogin": "no",
                "AcceptIncomingConnectionAction": "reject",
                "TrustedTwsApiClientIPs": "127.0.0.1",
            },
        ),
        (
            "No orders while market data are away, and order ids go on where they were.",
            {"AllowBlindTrading": "no", "ResetOrderIdsAtStart": "no"},
        ),
        (
            "Dialogs that would wait for ever.",
            {
                "AcceptNonBrokerageAccountWarning": "yes",
                "AcceptBidAskLastSizeDisplayUpdateNotification": "accept",
                "ConfirmOrderIdReset": "confirm",
                "DismissPasswordExpiryWarning": "no",
                "DismissNSEComplianceNotice": "yes",
                "SaveTwsSettingsAt": "",
                "MinimizeMainWindow": "no",
            },
        ),
        (
            "The command server: loopback alone, for it asks for no password.",
            {
                "CommandServerPort": options.command_port,
                "BindAddress": "127.0.0.1",
                "ControlFrom": "",
                "CommandPrompt": "",
                "SuppressInfoMessages": "yes",
            },
        ),
    ]


def send_command(host: str, port: int, word: str) -> str:
    """Send one command and return the first line of the answer, "" where none came.

    Raises:  ConfigInvalid for an unknown command or a peer that is not loopback; NotRunning.
    """
    command = word.strip().upper()
    if command not in COMMANDS:
        raise ConfigInvalid(f"{word}: unknown command: one of {', '.join(COMMANDS)}")
    if host not in LOOPBACK:
        raise ConfigInvalid(f"--host={host}: IBC is spoken to on loopback alone")
    try:
        with socket.create_connection((host, port), ANSWER_S) as link:
            link.settimeout(ANSWER_S)
            link.sendall(f"{command}\r\n".encode("ascii"))
            return _first_line(link)
    except OSError as error:
        raise NotRunning(f"no IBC command server at {host}:{port}: {error}") from error


def _first_line(link: socket.socket) -> str:
    held = b""
    try:
        while b"\n" not in held and len(held) < ANSWER_BYTES_MAX:
            part = link.recv(ANSWER_BYTES_MAX)
            if not part:
                break
            held += part
    except TimeoutError:
        pass
    return held.partition(b"\n")[0].decode("ascii", "replace").strip()
