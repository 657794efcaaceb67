"""The worker process as its owner sees it: asked one wish at a time, killed when it is late.

Rules of this file:
- started when first asked; yfinance blocks and cannot be interrupted, so a late answer costs the
  process, never the caller: a fresh one is made for the next wish;
- a worker that keeps dying is started again with pauses that grow;
- it is started by vfork (subprocess), not by the loop's own fork: a large engine would stand still
  for as long as its page tables take to copy; it stays in its owner's session: a niceness counts
  nothing between sessions where the kernel groups them (sched_autogroup);
- neither yfinance nor pandas is imported here.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from tradebox.errors import VendorUnavailable
from tradebox.supervision.clock import Clock

ROUTE_VARIABLE: Final = "_TRADEBOX_YAHOO_ROUTE"
COMMAND: Final = (sys.executable, "-m", "tradebox.adapters.yahoo")
ANSWER_BYTES_MAX: Final = 1 << 24
START_S_MAX: Final = 60.0
PAUSE_S: Final = 0.5
PAUSE_S_MAX: Final = 60.0
REAP_S: Final = 0.005
REAP_S_MAX: Final = 10.0
THREADS: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class _Process:
    """The process and the one socket that is its input and output."""

    child: subprocess.Popen[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.child.kill()


class YahooWorker:
    """Owns one worker process.

    route: "PORT,AUTHORITY" of a stand-in; empty: Yahoo itself.
    Units:   answer_s_max, start_s_max: real seconds; then the process is killed.
    Holds:   at most one process; none is left once `close` has returned.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        route: str = "",
        answer_s_max: float = 10.0,
        start_s_max: float = START_S_MAX,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.started = 0
        self.killed = 0
        self._clock = clock
        self._route = route
        self._answer_s_max = answer_s_max
        self._start_s_max = start_s_max
        self._command = tuple(command)
        self._process: _Process | None = None
        self._one_at_a_time = asyncio.Lock()
        self._folder = ""
        self._number = 0
        self._deaths = 0
        self._not_before_s = 0.0

    @property
    def pid(self) -> int | None:
        """The worker's process; None while there is none."""
        return None if self._process is None else self._process.child.pid

    async def ask(self, **wish: Any) -> dict[str, Any]:
        """Return the worker's answer to a wish.

        Raises: VendorUnavailable where the worker dies, is late, or is not to be started yet.
        """
        async with self._one_at_a_time:
            try:
                return await self._asked(wish)
            except BaseException:
                await self._end()
                raise

    async def close(self) -> None:
        """End the process; a later wish starts another."""
        await self._end()

    # --- one wish -----------------------------------------------------------------------------

    async def _asked(self, wish: dict[str, Any]) -> dict[str, Any]:
        process = self._process or await self._start()
        self._number += 1
        with contextlib.suppress(OSError):  # a dead one is seen where its answer is missing
            process.writer.write(orjson.dumps({**wish, "id": self._number}) + b"\n")
            await process.writer.drain()
        answer = await self._line(process, self._answer_s_max, "gave no answer")
        if answer.get("id") != self._number or not isinstance(answer.get("ok"), dict):
            raise VendorUnavailable("the yahoo worker answered something else")
        self._deaths = 0
        found: dict[str, Any] = answer["ok"]
        return found

    async def _start(self) -> _Process:
        wait_s = self._not_before_s - self._clock.now()
        if wait_s > 0:
            raise VendorUnavailable(f"the yahoo worker died: started again in {wait_s:.0f} s")
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                child = subprocess.Popen(  # noqa: ASYNC220 - see the rules: the loop's own is slower
                    self._command,
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.DEVNULL,
                    env=self._environment(),
                )
            except OSError as error:
                ours.close()
                raise VendorUnavailable(f"the yahoo worker cannot be started: {error}") from error
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=ANSWER_BYTES_MAX)
        self._process = process = _Process(child, reader, writer)
        self.started += 1
        hello = await self._line(process, self._start_s_max, "did not start")
        self._folder = str(hello.get("folder", ""))
        return process

    async def _line(self, process: _Process, wait_s: float, trouble: str) -> dict[str, Any]:
        """Return the next line; a process that is late is killed, which ends its output."""
        is_late = False

        def kill() -> None:
            nonlocal is_late
            is_late = True
            process.kill()

        timer = self._clock.call_at(self._clock.now() + wait_s, kill)
        try:
            line = await process.reader.readline()
            answer = orjson.loads(line) if line else None
        except (ValueError, OSError):  # too long for the reader, no JSON, or reset
            answer = None
        finally:
            timer.cancel()
        if is_late:
            self.killed += 1
            raise VendorUnavailable(f"the yahoo worker {trouble} within {wait_s:g} s: killed")
        if not isinstance(answer, dict):
            raise VendorUnavailable("the yahoo worker ended")
        return answer

    async def _end(self) -> None:
        """Kill the process that is there, and put off the next start.

        What must be done is done before the first wait: who waits here may be given up.
        """
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        _reap_when_ended(process.child)
        process.writer.transport.abort()
        self._deaths += 1
        pause_s = min(PAUSE_S_MAX, PAUSE_S * 2.0 ** (min(self._deaths, 20) - 1))
        self._not_before_s = self._clock.now() + (pause_s if self._deaths > 1 else 0.0)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)  # a killed process leaves it behind
            self._folder = ""
        until_s = self._clock.now() + REAP_S_MAX
        while process.child.poll() is None and self._clock.now() < until_s:
            await self._clock.sleep(REAP_S)

    def _environment(self) -> dict[str, str]:
        ours = str(Path(__file__).parents[3])
        path = os.pathsep.join([ours, *filter(None, [os.environ.get("PYTHONPATH")])])
        known = {name: value for name, value in os.environ.items() if name != ROUTE_VARIABLE}
        led = {ROUTE_VARIABLE: self._route} if self._route else {}
        return {**known, "PYTHONPATH": path, **dict.fromkeys(THREADS, "1"), **led}


def _reap_when_ended(child: subprocess.Popen[bytes]) -> None:
    """Take a killed process's status as soon as there is one, whether anybody waits or not."""
    loop = asyncio.get_running_loop()
    try:
        handle = os.pidfd_open(child.pid)
    except OSError:  # its status was taken already
        return

    def ended() -> None:
        child.poll()
        loop.remove_reader(handle)
        os.close(handle)

    loop.add_reader(handle, ended)
