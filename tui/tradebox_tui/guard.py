"""An audit hook that keeps the console harmless even if its code were not.

Rules of this file:
- it may connect to its two stores and to nobody else, by any call;
- it may start no process, and open neither the trading secrets (the settings file may hold some),
  nor the stand-in world's identity, nor what another process was given;
- a hook cannot be taken off again: `Guard.install` is for the console's own process, once.
"""

import os
import re
import socket
import sys
from collections.abc import Iterable
from typing import Any, Final

from tradebox.config import Home
from tradebox.readmodel import Address

STARTERS: Final = frozenset(
    {
        "subprocess.Popen",
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.startfile",
        "os.system",
        "pty.spawn",
    }
)
CALLERS: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
OF_OTHERS: Final = re.compile(r"/proc/\d+/(?:.*/)?(?:environ|mem|maps|cmdline)")
"""Where a process keeps what it was given, passwords among it."""
LISTENERS: Final = frozenset({"socket.bind"})


class Refused(PermissionError):
    """The console tried what it must not do."""


class Guard:
    """Refuses audit events; `allow` says who the two stores are."""

    def __init__(self, home: Home) -> None:
        self._closed = (
            os.path.realpath(home.secrets_dir),
            os.path.realpath(home.sim_dir / "identity.json"),
            os.path.realpath(home.config_file),
        )
        self._addresses: frozenset[Address] = frozenset()
        self.refusals = 0

    def install(self) -> None:
        """Watch this process from now on."""
        sys.addaudithook(self.check)

    def allow(self, addresses: Iterable[Address]) -> None:
        """Replace the peers that may be connected to."""
        self._addresses = frozenset(addresses)

    def check(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Look at one audit event. Raises Refused."""
        if event == "open":
            self._check_open(arguments[0])
        elif event in STARTERS:
            self._refuse(event, "the console starts no process")
        elif event in CALLERS:
            peer = arguments[1] if len(arguments) > 1 else None
            if peer is not None and not self._is_store(peer):
                self._refuse(event, "the console connects to its two stores only")
        elif event in LISTENERS:
            self._refuse(event, "the console listens nowhere")
        elif event == "socket.getaddrinfo" and not self._is_store_host(arguments[0]):
            self._refuse(event, "the console looks up its two stores only")

    def _check_open(self, path: object) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        real = os.path.realpath(os.fsdecode(path))
        if OF_OTHERS.fullmatch(real) and not real.startswith(f"/proc/{os.getpid()}/"):
            self._refuse("open", "the console looks into no other process")
        for closed in self._closed:
            if real == closed or real.startswith(closed + os.sep):
                self._refuse("open", "the console reads no secret")

    def _is_store(self, peer: object) -> bool:
        if isinstance(peer, str | bytes):
            path = os.fsdecode(peer)
            return any(known.is_unix and known.host == path for known in self._addresses)
        if not isinstance(peer, tuple) or len(peer) < 2:
            return False
        host, port = peer[0], peer[1]
        return any(
            known.port == port and (known.host == host or host in _resolved(known))
            for known in self._addresses
            if not known.is_unix
        )

    def _is_store_host(self, host: object) -> bool:
        name = os.fsdecode(host) if isinstance(host, bytes) else host
        return any(not known.is_unix and known.host == name for known in self._addresses)

    def _refuse(self, event: str, why: str) -> None:
        self.refusals += 1
        raise Refused(f"{event}: {why}")


def _resolved(address: Address) -> frozenset[str]:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError:
        return frozenset()
    return frozenset(str(item[4][0]) for item in found)
