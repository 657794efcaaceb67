"""What systemd wants to hear: READY, WATCHDOG, STATUS, STOPPING, one datagram each.

Rules of this file:
1. Without $NOTIFY_SOCKET everything here does nothing.
2. Sending never waits and never raises: a lost word must not harm who speaks.
3. The variables are for the main process only; children are started without them.

Source: sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Final

VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
WATCHDOG_SHARE: Final = 3


class Notifier:
    """Speaks to the service manager named by the environment.

    Units: watchdog_ns is how often WATCHDOG=1 is due, None when nobody waits for it.
    """

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        self._socket: socket.socket | None = None
        self.watchdog_ns: int | None = None
        address = environ.get("NOTIFY_SOCKET", "")
        if address[:1] not in ("/", "@"):
            return
        link = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        link.setblocking(False)
        try:
            link.connect("\0" + address[1:] if address[0] == "@" else address)
        except OSError:
            link.close()
            return
        self._socket = link
        self.watchdog_ns = _watchdog_ns(environ, pid)

    def send(self, **words: str) -> bool:
        """Send the assignments, for instance `send(READY="1", STATUS="two servers up")`."""
        if self._socket is None:
            return False
        lines = [f"{key}={value.replace(chr(10), ' ')}" for key, value in words.items()]
        try:
            self._socket.send("\n".join(lines).encode())
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Give the socket back."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _watchdog_ns(environ: Mapping[str, str], pid: int) -> int | None:
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    period_us = environ.get("WATCHDOG_USEC", "")
    if not period_us.isdecimal() or int(period_us) == 0:
        return None
    return int(period_us) * 1000 // WATCHDOG_SHARE


def drop_variables() -> None:
    """Remove the service manager's variables from this process' environment."""
    for name in VARIABLES:
        os.environ.pop(name, None)
