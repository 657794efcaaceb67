"""One server in the launcher's hands: starting, ready, broken, starting again, stopping.

Rules of this file:
1. Every wait is a timer or a descriptor; the states below are all there are.
2. A start that fails before the server was ever ready is told to the owner as a failure;
   later it is a reason to try again, with pauses that grow.
3. A server with a stop command is judged by that command and never killed; any other is.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from tradebox.supervision.lines import LineReader, decode
from tradebox.supervision.poller import READABLE, Poller
from tradebox.supervision.servers import ServerSpec
from tradebox.supervision.spawn import ChildPlan, Exit, Process, Processes
from tradebox.supervision.terminal import Terminal

TAIL_LINES: Final = 20
LAST_CHUNKS: Final = 64
BACKOFF_NS_MIN: Final = 100_000_000
BACKOFF_NS_MAX: Final = 5_000_000_000
STEADY_NS: Final = 30_000_000_000
STARTER_STOP_SHARE: Final = 3
_SECOND: Final = 1_000_000_000


class ServerState(Enum):
    """Where a server is."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    DONE = "done"
    BACKOFF = "backoff"
    FAILED = "failed"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class StartFailure:
    """Why a server is not ready; `how` is None when it was too slow."""

    name: str
    why: str
    how: Exit | None
    last_lines: tuple[str, ...]


class ServerOwner(Protocol):
    """Who hears of a server."""

    def server_environ(self, spec: ServerSpec) -> Mapping[str, str]:
        """Return the environment for a start or a stop command."""
        ...

    def server_ready(self, child: ServerChild) -> None:
        """The server is ready, or its one shot is done; `child.ready_line` says how."""

    def server_failed(self, child: ServerChild, failure: StartFailure) -> None:
        """The server was never ready and will not be."""

    def server_down(self, child: ServerChild, how: Exit) -> None:
        """A server that was ready has ended."""

    def server_stopped(self, child: ServerChild) -> None:
        """Nothing of it is left to wait for."""


class _Output:
    """Both streams of a process: whole lines in, the last of them kept."""

    def __init__(self, poller: Poller, on_json: Callable[[], None]) -> None:
        self._poller = poller
        self._on_json = on_json
        self._readers: list[LineReader] = []
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.last_json: dict[str, object] | None = None

    def open(self, *, is_stdout: bool) -> int:
        """Return the writing end for the child; the caller closes it after the start."""
        fd, child_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(fd, False)
        reader = LineReader(fd, self._on_stdout if is_stdout else self._keep)
        self._readers.append(reader)
        self._poller.watch(fd, READABLE, lambda _events: self._on_ready(reader))
        return child_fd

    def _on_ready(self, reader: LineReader) -> None:
        if not reader.read():
            self._poller.forget(reader.fd)

    def _on_stdout(self, line: bytes) -> None:
        message = decode(line)
        if message is None:
            self._keep(line)
        else:
            self.last_json = message
            self._on_json()

    def _keep(self, line: bytes) -> None:
        self.tail.append(line.decode("utf-8", "replace"))

    def clear(self) -> None:
        """Forget what was read before a new start."""
        self.tail.clear()
        self.last_json = None

    def close(self) -> None:
        """Read what is left and close our ends."""
        for reader in self._readers:
            reader.read(LAST_CHUNKS)
            self._poller.forget(reader.fd)
            os.close(reader.fd)
        self._readers.clear()


class ServerChild:
    """Runs one `ServerSpec`."""

    def __init__(
        self,
        spec: ServerSpec,
        poller: Poller,
        processes: Processes,
        owner: ServerOwner,
        terminal: Terminal,
    ) -> None:
        self.spec = spec
        self.state = ServerState.WAITING
        self.ready_line: dict[str, object] = {}
        self.restarts = 0
        self.was_ready = False
        self.stop_trouble = ""
        self._poller = poller
        self._processes = processes
        self._owner = owner
        self._terminal = terminal
        self._process: Process | None = None  # the server, or its starter
        self._is_starter = False
        self._stopper: Process | None = None
        self._output = _Output(poller, self._on_json)
        self._backoff_ns = BACKOFF_NS_MIN
        self._ready_ns = 0
        self._stop_ns = 0

    @property
    def pid(self) -> int | None:
        """The server's process, None when there is none."""
        return self._process.pid if self._process else None

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last lines it wrote that were not for us."""
        return tuple(self._output.tail)

    def _key(self, what: str) -> tuple[str, str]:
        return ("server", f"{self.spec.name} {what}")

    def send(self, signum: int) -> None:
        """Pass a signal on to the server."""
        if self._process is not None:
            self._process.send(signum)

    # --- start ----------------------------------------------------------------------------

    def start(self) -> None:
        """Start the server; the owner hears what becomes of it."""
        self.state = ServerState.STARTING
        self._output.clear()
        try:
            environ = self._owner.server_environ(self.spec)
            if self.spec.tty:
                self._start_on_terminal(environ)
            else:
                self._start_with_pipes(environ)
        except Exception as fault:  # noqa: BLE001 - its environment, or no process to be had
            self._output.close()
            self._terminal.take_back()
            self._fail(f"cannot be started: {fault!r}", None)
            return
        if self.spec.tty:
            self._became_ready({})
            return
        due = self._poller.now_ns() + int(self.spec.start_deadline_s * _SECOND)
        self._poller.call_at(self._key("start"), due, self._too_slow)

    def _start_with_pipes(self, environ: Mapping[str, str]) -> None:
        outlives = self.spec.outlives
        with contextlib.ExitStack() as theirs:
            stdout, stderr = (self._output.open(is_stdout=is_out) for is_out in (True, False))
            theirs.callback(os.close, stdout)
            theirs.callback(os.close, stderr)
            plan = ChildPlan(
                self.spec.argv,
                environ,
                stdout=stdout,
                stderr=stderr,
                death_signal=None if outlives else self.spec.death_signal,
                leaves_servers=outlives,
            )
            self._is_starter = outlives
            self._hold(self._processes.spawn(plan))

    def _start_on_terminal(self, environ: Mapping[str, str]) -> None:
        self._terminal.lend()
        plan = ChildPlan(
            self.spec.argv,
            environ,
            stdin=0,
            stdout=1,
            stderr=2,
            death_signal=self.spec.death_signal,
            terminal_fd=self._terminal.fd,
        )
        self._hold(self._processes.spawn(plan))
        if self._process is not None:
            self._terminal.give_to(self._process.pid)

    def _hold(self, process: Process) -> None:
        self._process = process
        self._poller.watch(process.pidfd, READABLE, lambda _events: self._on_end())

    def _on_json(self) -> None:
        line = self._output.last_json
        is_waited_for = self.state is ServerState.STARTING and self.spec.mode == "foreground"
        if is_waited_for and line is not None:
            self._became_ready(line)

    def _became_ready(self, line: dict[str, object]) -> None:
        self._poller.call_off(self._key("start"))
        self.ready_line = line
        self.was_ready = True
        self._ready_ns = self._poller.now_ns()
        is_done = self.spec.mode == "oneshot"
        self.state = ServerState.DONE if is_done else ServerState.READY
        self._owner.server_ready(self)

    def _too_slow(self) -> None:
        if self.state is ServerState.STARTING and self._process is not None:
            self._process.kill_session()
            self._fail(f"not ready within {self.spec.start_deadline_s:g} s", None)

    # --- the end of a process -------------------------------------------------------------

    def _on_end(self) -> None:
        process = self._process
        assert process is not None, "the pidfd is forgotten with its process"
        how = self._processes.reap(process)
        if how is None:
            return
        self._let_go()
        self._output.close()
        if self.spec.tty:
            self._terminal.take_back()
        if self.state is ServerState.STOPPING:
            self._ended_while_stopping()
        elif self.state is ServerState.STARTING:
            self._ended_while_starting(how)
        elif self.state is ServerState.READY:
            self._went_down(how)

    def _let_go(self) -> None:
        if self._process is not None:
            self._poller.forget(self._process.pidfd)
            self._process.close()
            self._process = None

    def _ended_while_starting(self, how: Exit) -> None:
        if self.spec.mode == "foreground" or how.code != 0:
            self._fail(f"ended before it was ready: {how}", how)
            return
        line = self._output.last_json or {}
        if self.spec.mode == "detached" and not self._adopt(line):
            self._fail("its starter named no running process", how)
            return
        self._became_ready(line)

    def _adopt(self, line: Mapping[str, object]) -> bool:
        pid = line.get("pid")
        if not isinstance(pid, int) or pid <= 1:
            return False
        process = self._processes.adopt(pid)
        if process is None:
            return False
        self._is_starter = False
        self._hold(process)
        return True

    def _fail(self, why: str, how: Exit | None) -> None:
        self._poller.call_off(self._key("start"))
        may_retry = self.was_ready or (self.spec.restart and not self.spec.required)
        if may_retry and not self.spec.tty:
            self._start_later()
            return
        self.state = ServerState.FAILED
        self._owner.server_failed(self, StartFailure(self.spec.name, why, how, self.last_lines))

    def _went_down(self, how: Exit) -> None:
        if self._poller.now_ns() - self._ready_ns >= STEADY_NS:
            self._backoff_ns = BACKOFF_NS_MIN
        if self.spec.restart and not self.spec.tty:
            self._start_later()
        else:
            self.state = ServerState.STOPPED
        self._owner.server_down(self, how)

    def _start_later(self) -> None:
        self.state = ServerState.BACKOFF
        due = self._poller.now_ns() + self._backoff_ns
        self._backoff_ns = min(self._backoff_ns * 2, BACKOFF_NS_MAX)
        self._poller.call_at(self._key("again"), due, self._start_again)

    def _start_again(self) -> None:
        # The process that was too slow may still be on its way out.
        if self._process is not None:
            self._start_later()
            return
        self.restarts += 1
        self.start()

    # --- stop -----------------------------------------------------------------------------

    def stop(self, wait_ns: int) -> None:
        """End the server within `wait_ns`; the owner hears when it is done."""
        if self.state in (ServerState.STOPPING, ServerState.STOPPED):
            return
        before, self.state = self.state, ServerState.STOPPING
        for what in ("start", "again"):
            self._poller.call_off(self._key(what))
        self._stop_ns = self._poller.now_ns() + wait_ns
        if self.spec.outlives:
            self._stop_detached(before, wait_ns)
        elif self._process is None:
            self._stopped()
        elif isinstance(self.spec.stop, signal.Signals) or self.spec.stop is None:
            self._process.send(self.spec.stop or signal.SIGTERM)
            self._poller.call_at(self._key("kill"), self._stop_ns, self._kill)
        else:
            self._run_stopper()
            self._poller.call_at(self._key("kill"), self._stop_ns, self._kill)

    def hasten(self, wait_ns: int) -> None:
        """Shorten a stop that is under way."""
        if self.state is not ServerState.STOPPING:
            return
        due = min(self._stop_ns, self._poller.now_ns() + wait_ns)
        if not self.spec.outlives or isinstance(self.spec.stop, signal.Signals):
            self._poller.call_at(self._key("kill"), due, self._kill)

    def _stop_detached(self, before: ServerState, wait_ns: int) -> None:
        if before is ServerState.STARTING and self._process is not None:
            # The starter is given a moment, so that no half-started server stays behind.
            due = self._poller.now_ns() + wait_ns // STARTER_STOP_SHARE
            self._poller.call_at(self._key("kill"), due, self._kill_starter)
        elif before in (ServerState.WAITING, ServerState.DONE) or self.spec.stop is None:
            self._leave()
        elif isinstance(self.spec.stop, signal.Signals):
            self._signal_detached(self.spec.stop)
        else:
            self._run_stopper()

    def _kill_starter(self) -> None:
        if self._process is not None:
            self._process.kill_session()

    def _signal_detached(self, signum: signal.Signals) -> None:
        if self._process is None:
            self._stopped()
            return
        self._process.send(signum)
        self._poller.call_at(self._key("kill"), self._stop_ns, self._kill)

    def _run_stopper(self) -> None:
        command = self.spec.stop
        assert command is not None, "a command stops it"
        assert not isinstance(command, signal.Signals), "a command stops it"
        environ = self._owner.server_environ(self.spec)
        plan = ChildPlan(command, environ, death_signal=None, leaves_servers=True)
        try:
            stopper = self._processes.spawn(plan)
        except OSError as fault:
            self.stop_trouble = f"its stop command cannot be started: {fault}"
            self._leave() if self.spec.outlives else self._kill()
            return
        self._stopper = stopper
        self._poller.watch(stopper.pidfd, READABLE, lambda _events: self._on_stopper_end())
        self._poller.call_at(self._key("stopper"), self._stop_ns, self._stopper_too_slow)

    def _on_stopper_end(self) -> None:
        how = None if self._stopper is None else self._processes.reap(self._stopper)
        if how is None:
            return
        self._drop_stopper()
        if how.code != 0:
            self.stop_trouble = f"its stop command ended with {how}"
        if self.spec.outlives or self._process is None:
            # The command has decided: the server is gone, or others still use it.
            self._leave()

    def _stopper_too_slow(self) -> None:
        self.stop_trouble = "its stop command was too slow"
        self._drop_stopper()
        if self.spec.outlives:
            self._leave()

    def _drop_stopper(self) -> None:
        self._poller.call_off(self._key("stopper"))
        if self._stopper is not None:
            self._poller.forget(self._stopper.pidfd)
            self._stopper.close()
            self._stopper = None

    def _ended_while_stopping(self) -> None:
        self._poller.call_off(self._key("kill"))
        if self._is_starter:
            self._starter_ended_while_stopping()
        elif self._stopper is None:
            self._stopped()

    def _starter_ended_while_stopping(self) -> None:
        is_adopted = self._adopt(self._output.last_json or {})
        if isinstance(self.spec.stop, signal.Signals) and is_adopted:
            self._signal_detached(self.spec.stop)
        elif self.spec.stop is None or isinstance(self.spec.stop, signal.Signals):
            self._leave()
        else:
            self._run_stopper()

    def abandon(self) -> None:
        """Stop waiting for a server that cannot be killed."""
        if self.state is not ServerState.STOPPED:
            self._drop_stopper()
            self._leave()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill_session()

    def _leave(self) -> None:
        self._let_go()
        self._output.close()
        self._stopped()

    def _stopped(self) -> None:
        for what in ("kill", "stopper"):
            self._poller.call_off(self._key(what))
        self.state = ServerState.STOPPED
        self._owner.server_stopped(self)
