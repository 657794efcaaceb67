"""Harms one actor of a running tree on purpose, to see that the tree stands it.

Rules of this file:
1. A harm runs inside the victim's own receive loop, as a bug of its own would.
2. Nothing here is reachable unless its caller offers it.
"""

from __future__ import annotations

import asyncio
import enum
import time
from typing import Any, Final

from tradebox.supervision.cell import Cell
from tradebox.supervision.kernel import Kernel

BURN_S: Final = 0.05


class Harm(enum.Enum):
    """What is done to the victim."""

    CRASH = "crash"
    KILL = "kill"
    HANG = "hang"
    DEAF = "deaf"
    BUSY = "busy"
    BURN = "burn"


class Harmed(Exception):
    """The bug that a harmed actor has."""


class _Strike:
    """Control: not a message of any actor, so it reaches `handle`."""


def harm(kernel: Kernel, name: str, kind: Harm) -> int | None:
    """Do it to the actor of this name; return its incarnation, None where nobody has the name.

    CRASH raises in its handler, KILL ends it from outside, HANG waits for ever, DEAF waits for
    ever and swallows every cancellation, BUSY never gives the loop back, BURN takes 50 ms of CPU
    for each message before it does what it should.
    """
    ref = kernel.registry.whereis(name)
    if ref is None:
        return None
    cell = ref._cell  # noqa: SLF001 - same package
    if kind is Harm.KILL:
        kernel.kill(cell)
    else:
        _strike(cell, kind)
    return cell.incarnation


def _strike(cell: Cell, kind: Harm) -> None:
    serve = cell.actor.handle

    async def handle(msg: Any) -> None:
        if kind is not Harm.BURN:
            await _suffer(kind)
        _burn()
        if not isinstance(msg, _Strike):
            await serve(msg)

    cell.actor.handle = handle
    cell.mailbox.put_control(_Strike())


def _burn() -> None:
    until_s = time.thread_time() + BURN_S
    while time.thread_time() < until_s:
        pass


async def _suffer(kind: Harm) -> None:
    if kind is Harm.CRASH:
        raise Harmed(kind.value)
    while kind is Harm.BUSY:
        pass
    never = asyncio.get_running_loop().create_future()
    while True:
        try:
            await asyncio.shield(never)
        except asyncio.CancelledError:
            if kind is not Harm.DEAF:
                raise
