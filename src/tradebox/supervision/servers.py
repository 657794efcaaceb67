"""What a server is: how it starts, says that it is ready, stops, and whether it comes back.

Modes.
    foreground  prints one JSON line on stdout when it is ready, then serves until it is stopped;
                what it prints besides is kept as its last words only
    detached    a starter prints the JSON line {"pid": …, …} and exits 0; the server lives on
                under that pid, survives the launcher, and is adopted by its starter next time.
                The starter gives the server streams of its own: ours end with the starter.
    oneshot     runs to exit 0; the last JSON line of its stdout is its result
A `tty` server (foreground) borrows the terminal, prints nothing for us, and starts once the
engine is ready. Its end means: exit 0, it was left; exit 130 or SIGINT, Ctrl-C; else it broke.

Rules of this file:
1. A spec is a value; environments are made when the server starts, from the ready lines.
2. The order is made of `needs` alone: what needs nothing unready starts at once.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tradebox.supervision.launch_errors import ServersImpossible

Mode = Literal["foreground", "detached", "oneshot"]
Ready = Mapping[str, dict[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """One server.

    needs         names that must be ready first; they also stop later
    env           variables to add to the launcher's own, made from the ready lines so far
    stop          a signal, or a command that stops it (judged by its own exit), or None: a
                  detached server is then left running
    restart       start it again, with growing pauses, when it ends
    required      the engine waits for it, and its first start must succeed
    death_signal  what the kernel sends it when the launcher is gone; None: it stays
    Units: start_deadline_s from its start to its ready line.
    """

    name: str
    argv: Sequence[str]
    mode: Mode = "foreground"
    needs: tuple[str, ...] = ()
    env: Callable[[Ready], Mapping[str, str]] | None = None
    stop: Sequence[str] | signal.Signals | None = signal.SIGTERM
    restart: bool = True
    start_deadline_s: float = 30.0
    tty: bool = False
    required: bool = True
    death_signal: signal.Signals | None = signal.SIGTERM

    @property
    def outlives(self) -> bool:
        """Whether the server itself is no child of the launcher."""
        return self.mode == "detached"


def check_servers(specs: Sequence[ServerSpec]) -> None:
    """Refuse specs that can never all be ready. Raises: ServersImpossible."""
    names = [spec.name for spec in specs]
    doubled = tuple(sorted({name for name in names if names.count(name) > 1}))
    if doubled:
        raise ServersImpossible(doubled, "the name is given twice")
    for spec in specs:
        unknown = tuple(need for need in spec.needs if need not in names)
        if unknown:
            raise ServersImpossible(unknown, f"needed by {spec.name}, but unknown")
        if spec.tty and (spec.mode != "foreground" or spec.required):
            raise ServersImpossible((spec.name,), "on the terminal: foreground, not required")
    done: set[str] = set()
    while len(done) < len(specs):
        free = {s.name for s in specs if s.name not in done and done.issuperset(s.needs)}
        if not free:
            raise ServersImpossible(tuple(n for n in names if n not in done), "need each other")
        done |= free
    for spec in specs:
        weak = [s.name for s in specs if s.name in spec.needs and not s.required]
        if spec.required and weak:
            raise ServersImpossible(tuple(weak), f"needed by {spec.name}, so required as well")


def can_start(spec: ServerSpec, ready: Ready) -> bool:
    """Return whether everything this server needs is ready."""
    return all(need in ready for need in spec.needs)


def can_stop(spec: ServerSpec, specs: Sequence[ServerSpec], stopped: frozenset[str]) -> bool:
    """Return whether everything that needs this server has stopped."""
    return all(other.name in stopped for other in specs if spec.name in other.needs)
