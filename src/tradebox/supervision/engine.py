"""The engine's side of the fork: what a new engine is given and how it begins and ends.

Rules of this file:
1. A new engine keeps descriptors 0 to 2, its link and its stack file; every other one is
   closed, locks included.
2. It dies with the launcher (SIGKILL), stops on SIGTERM, and writes all stacks on SIGUSR2.
3. It never returns into the launcher's code: it ends by os._exit.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from tradebox.supervision import sdnotify
from tradebox.supervision.link import EngineLink
from tradebox.supervision.shm import LOOP_SLOT, SharedCounters, SharedSlots
from tradebox.supervision.spawn import place_stdio, reset_signals, set_death_signal

STACK_SIGNAL: Final = signal.SIGUSR2
BEATS_A_LEASH: Final = 8
FLUSH_S: Final = 1.0
FAILED: Final = 1


@dataclass(frozen=True, slots=True)
class EngineContext:
    """All that an engine gets from its launcher.

    ready       each server's ready line, by name
    slots       check-ins that the launcher reads; wiped for each engine
    counters    numbers that outlive an engine
    link        asks and notices from the launcher; see link.py
    generation  1 for the first engine of this launcher, one more for each restart
    boot_epoch  the number of this launcher's start, given by its options
    Units: leash_s is how long the loop may be silent.
    """

    ready: Mapping[str, dict[str, object]]
    slots: SharedSlots
    counters: SharedCounters
    link: EngineLink
    generation: int
    boot_epoch: int
    leash_s: float

    def report(self, kind: str, data: Mapping[str, object]) -> bool:
        """Tell the launcher: ready, status, line, summary, stop; False when it was dropped."""
        return self.link.report(kind, data)

    def start_heartbeat(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let this loop check in from now on; from the first time on the leash is judged."""
        slot = self.slots.open(LOOP_SLOT, self.generation, self.leash_s)
        assert slot is not None, "the first slot of an empty table"
        period_s = max(self.leash_s / BEATS_A_LEASH, 0.001)

        def beat() -> None:
            slot.write(time.monotonic())
            loop.call_later(period_s, beat)

        beat()


Engine = Callable[[EngineContext], int]


@dataclass(frozen=True, slots=True)
class EngineStart:
    """What the launcher prepares for one engine before the fork."""

    run: Engine
    context: EngineContext
    link_fd: int
    stack_fd: int
    stderr_fd: int
    launcher_pid: int


def begin_engine(start: EngineStart) -> NoReturn:
    """Run in the fresh child: become an engine, run, and end the process."""
    os.setsid()
    set_death_signal(signal.SIGKILL, start.launcher_pid)
    place_stdio(-1, start.stderr_fd, start.stderr_fd)
    _close_others(frozenset({0, 1, 2, start.link_fd, start.stack_fd}))
    sdnotify.drop_variables()
    faulthandler.enable(file=start.stack_fd, all_threads=True)
    faulthandler.register(STACK_SIGNAL, file=start.stack_fd, all_threads=True, chain=False)
    _reseed()
    reset_signals()
    # A peer that dies while we write is an error to handle, not the end of the engine.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        code = int(start.run(start.context))
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else FAILED
    except BaseException:  # noqa: BLE001 - the end of the process: told, then ended
        traceback.print_exc()
        code = FAILED
    with contextlib.suppress(Exception):
        start.context.link.close(FLUSH_S)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code & 0xFF)


def _close_others(kept: frozenset[int]) -> None:
    for entry in list(Path("/proc/self/fd").iterdir()):
        if int(entry.name) not in kept:
            with contextlib.suppress(OSError):
                os.close(int(entry.name))


def _reseed() -> None:
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
