"""The faults of the launcher and of what talks to it.

SupervisionFault
├── ThreadFound        a fork was asked for while a second thread lives
├── PathTooLong        a socket path does not fit the kernel's address
├── ServersImpossible  the server specs cannot be started in any order
└── ControlUnreachable nobody answers on a control socket
"""

from __future__ import annotations

from tradebox.supervision.errors import SupervisionFault


class ThreadFound(SupervisionFault):
    """A fork would copy a lock that nobody releases. Answer: fix what started the thread."""

    def __init__(self, threads: int) -> None:
        super().__init__(f"{threads} threads live in the launcher; it forks with one only")
        self.threads = threads


class PathTooLong(SupervisionFault):
    """The kernel takes 107 bytes. Answer: choose a shorter folder."""

    def __init__(self, path: str, bytes_max: int) -> None:
        super().__init__(f"socket path {path} is longer than {bytes_max} bytes")
        self.path = path
        self.bytes_max = bytes_max


class ServersImpossible(SupervisionFault):
    """A need is unknown, circular or doubled. Answer: fix the specs."""

    def __init__(self, names: tuple[str, ...], why: str) -> None:
        super().__init__(f"servers {', '.join(names)}: {why}")
        self.names = names
        self.why = why


class ControlUnreachable(SupervisionFault):
    """The control socket is absent, refuses, or stays silent. Answer: say that nothing runs."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"no answer on {path}: {why}")
        self.path = path
        self.why = why
