"""An audit hook that keeps the console harmless even if its code were not.

Rules of this file:
- it may connect to its two stores and to nobody else, by any call;
- it may start or end no process, and open neither the trading secrets (the settings file may hold
  some), nor the stand-in world's identity, nor what another process was given;
- nothing of the home may be made, changed, moved or linked: a moved secret would be no secret;
- paths that an open folder completes (dir_fd) are refused whole: an event does not tell the folder;
- C functions are not called by name, for they tell nobody. A hook is a seat belt, no sandbox: what
  bounds the console are its logins;
- a hook cannot be taken off again: `Guard.install` is for the console's own process, once.
"""

import os
import re
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
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
CHANGERS: Final = frozenset(
    {
        "os.chflags",
        "os.chmod",
        "os.chown",
        "os.link",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.setxattr",
        "os.symlink",
        "os.truncate",
        "os.utime",
    }
)
ENDERS: Final = frozenset({"os.kill", "os.killpg"})
BY_NAME: Final = frozenset({"ctypes.dlopen", "ctypes.dlsym", "ctypes.dlsym/handle"})
WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CALLERS: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
OF_OTHERS: Final = re.compile(r"/proc/\d+/(?:.*/)?(?:environ|mem|maps|cmdline)")
"""Where a process keeps what it was given, passwords among it."""
LISTENERS: Final = frozenset({"socket.bind"})


class Refused(PermissionError):
    """The console tried what it must not do."""


class Guard:
    """Refuses audit events; `allow` says who the two stores are."""

    def __init__(self, home: Home) -> None:
        self._root = os.path.realpath(home.root)
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
            self._check_open(*arguments)
        elif event in CHANGERS:
            self._check_change(event, arguments)
        elif event in ENDERS:
            if arguments[0] != os.getpid():
                self._refuse(event, "the console ends no process")
        elif event in BY_NAME:
            if any(isinstance(name, str | bytes) for name in arguments):
                self._refuse(event, "the console calls no C function by its name")
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

    def _check_open(self, path: object, mode: object, flags: object) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        name = os.fsdecode(path)
        if mode is None and not Path(name).is_absolute():
            self._refuse("open", "the console opens by whole paths")
        real = os.path.realpath(name)
        if isinstance(flags, int) and flags & WRITING and self._is_of_home(real):
            self._refuse("open", "the console writes nothing into the home")
        if OF_OTHERS.fullmatch(real) and not real.startswith(f"/proc/{os.getpid()}/"):
            self._refuse("open", "the console looks into no other process")
        for closed in self._closed:
            if real == closed or real.startswith(closed + os.sep):
                self._refuse("open", "the console reads no secret")

    def _check_change(self, event: str, arguments: tuple[Any, ...]) -> None:
        for path in arguments:
            if not isinstance(path, str | bytes | os.PathLike):
                continue
            name = Path(os.fsdecode(path))
            place = name.parent.resolve() / name.name
            if not name.is_absolute() or self._is_of_home(str(place)):
                self._refuse(event, "the console changes nothing of the home")

    def _is_of_home(self, real: str) -> bool:
        return real == self._root or real.startswith(self._root + os.sep)

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
