"""Starting, watching and reaping processes by pidfd, never waiting for any of them.

Rules of this file:
1. One thread: a fork with a second one is refused, because its locks would be copied held.
2. Signals are blocked over the fork, so a child can never answer a signal with its
   parent's handlers.
3. A child ends with its parent (PR_SET_PDEATHSIG) unless it was asked to outlive it; the
   parent is looked at again after the call, because it may have died just before.
4. Who ends a child ends its whole session: its own children go with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from tradebox.supervision.launch_errors import ThreadFound

EXEC_FAILED: Final = 127
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: by exit code or by signal."""

    code: int | None
    signal: int | None

    def __str__(self) -> str:
        if self.signal is None:
            return f"exit code {self.code}"
        try:
            return f"signal {signal.Signals(self.signal).name}"
        except ValueError:
            return f"signal {self.signal}"


@dataclass(slots=True)
class Process:
    """A process held by its pidfd. Units: started_ns on the monotonic clock."""

    pid: int
    pidfd: int
    ends_session: bool
    started_ns: int
    exit: Exit | None = field(default=None)

    @property
    def is_open(self) -> bool:
        """Whether the pidfd is still held."""
        return self.pidfd >= 0

    def send(self, signum: int) -> None:
        """Signal the process; harmless when it is gone."""
        if self.is_open:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signum)

    def kill_session(self) -> None:
        """End the process and, where it leads a session, its whole group."""
        self.send(signal.SIGKILL)
        if self.ends_session and self.is_open:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Give the pidfd back."""
        if self.is_open:
            os.close(self.pidfd)
            self.pidfd = -1


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """What a new process is given. Descriptors below 0 mean /dev/null.

    `terminal_fd` puts the child into a group of its own in the foreground of that terminal;
    any other child leads a session of its own, which ends with it unless `leaves_servers`.
    """

    argv: Sequence[str]
    environ: Mapping[str, str]
    stdin: int = -1
    stdout: int = -1
    stderr: int = -1
    death_signal: int | None = signal.SIGTERM
    terminal_fd: int | None = None
    leaves_servers: bool = False


def set_death_signal(signum: int | None, parent_pid: int) -> None:
    """Ask for `signum` when the parent dies; ends at once when it has died already."""
    if signum is None:
        return
    if _libc.prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:
        os._exit(EXEC_FAILED)


def become_subreaper() -> None:
    """Adopt the orphans below us, so that none of them stays behind as a zombie."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def thread_count() -> int:
    """Return how many threads this process has."""
    return len(list(Path("/proc/self/task").iterdir()))


def assert_one_thread() -> None:
    """Refuse to go on with a second thread. Raises: ThreadFound."""
    threads = thread_count()
    if threads != 1:
        raise ThreadFound(threads)


def reset_signals() -> None:
    """In a child: default action for every signal, none blocked, nobody woken."""
    signal.set_wakeup_fd(-1)
    for signum in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(signum) not in (signal.SIG_DFL, None):
            signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


class Processes:
    """The children of this process, as far as somebody here waits for them."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._held: set[int] = set()

    @property
    def held(self) -> frozenset[int]:
        """The numbers of those who are waited for here."""
        return frozenset(self._held)

    def fork(self, child: Callable[[], NoReturn], *, ends_session: bool) -> Process:
        """Run `child` in a new process, its signals still blocked when it begins."""
        assert_one_thread()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                _run_child(child)
            self._held.add(pid)
            pidfd = os.pidfd_open(pid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return Process(pid, pidfd, ends_session, self._now_ns())

    def spawn(self, plan: ChildPlan) -> Process:
        """Start a program; a program that cannot be started ends with code 127."""
        parent_pid = os.getpid()
        ends_session = plan.terminal_fd is None and not plan.leaves_servers
        process = self.fork(lambda: _exec(plan, parent_pid), ends_session=ends_session)
        if plan.terminal_fd is not None:
            # Parent and child both do it, so it is done before either of them goes on.
            with contextlib.suppress(OSError):
                os.setpgid(process.pid, process.pid)
        return process

    def adopt(self, pid: int) -> Process | None:
        """Hold a process that somebody else started, None when it is gone."""
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            return None
        return Process(pid, pidfd, ends_session=False, started_ns=self._now_ns())

    def reap(self, process: Process) -> Exit | None:
        """Return how the process ended and forget it, None while it runs.

        What is left of its session is ended before its number can be given away.
        """
        if process.exit is not None:
            return process.exit
        if not _is_over(process.pidfd):
            return None
        how = os.WEXITED | os.WNOHANG
        try:
            seen = os.waitid(os.P_PIDFD, process.pidfd, how | os.WNOWAIT)
            assert seen is not None, "a readable pidfd is a dead process"
            if process.ends_session:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
            os.waitid(os.P_PIDFD, process.pidfd, how)
        except ChildProcessError:
            # Not a child of ours (an adopted server): its end is all that can be known.
            process.exit = Exit(None, None)
        else:
            is_exit = seen.si_code == os.CLD_EXITED
            status = seen.si_status
            process.exit = Exit(status, None) if is_exit else Exit(None, status)
        self._held.discard(process.pid)
        return process.exit

    def reap_orphans(self) -> bool:
        """Reap the dead that nobody holds; returns True when a held one hides the others."""
        while True:
            try:
                seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return False
            if seen is None:
                return False
            if seen.si_pid in self._held:
                return True
            os.waitid(os.P_PID, seen.si_pid, os.WEXITED | os.WNOHANG)


def _is_over(pidfd: int) -> bool:
    look = select.poll()
    look.register(pidfd, select.POLLIN)
    return bool(look.poll(0))


def _run_child(child: Callable[[], NoReturn]) -> NoReturn:
    try:
        child()
    except BaseException as fault:  # noqa: BLE001 - nothing may return into the parent's code
        with contextlib.suppress(OSError):
            os.write(2, f"{type(fault).__name__}: {fault}\n".encode())
    finally:
        os._exit(EXEC_FAILED)


def _exec(plan: ChildPlan, parent_pid: int) -> NoReturn:
    if plan.terminal_fd is None:
        os.setsid()
    else:
        os.setpgid(0, 0)
        # SIGTTOU is blocked still: a group in the background may take the terminal so.
        os.tcsetpgrp(plan.terminal_fd, os.getpid())
    set_death_signal(plan.death_signal, parent_pid)
    place_stdio(plan.stdin, plan.stdout, plan.stderr)
    reset_signals()
    os.execvpe(plan.argv[0], list(plan.argv), dict(plan.environ))  # noqa: S606 - no shell meant


def place_stdio(stdin: int, stdout: int, stderr: int) -> None:
    """In a child: put these descriptors at 0, 1 and 2; below 0 means /dev/null."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for target, wanted in enumerate((stdin, stdout, stderr)):
        source = wanted if wanted >= 0 else nothing
        if source == target:
            os.set_inheritable(target, True)
        else:
            os.dup2(source, target)
    if nothing > 2:
        os.close(nothing)
