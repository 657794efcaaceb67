"""The launcher: one thread, no loop but poll(), that starts the servers and forks the engine.

Order of a run: the console at once, servers by their needs, modules loaded meanwhile → engine
forked once the required servers are ready → READY → `run_s` → stop: console and engine first, then
each server when nobody needs it any more → the summary as the last line of stdout.

Rules of this file:
1. Nothing here waits: descriptors and timers call back (the last flush of output excepted).
2. A dead or hung engine is forked again at once; servers stay. Too many deaths end the run.
3. The first SIGINT or SIGTERM stops in order, a second one hastens; SIGHUP ends the console only.
4. The launcher stays in the terminal's session, to lend the terminal and to hear its Ctrl-C;
   everything it starts, the console excepted, has a session of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from tradebox.errors import ExitCode
from tradebox.supervision import preload as loading
from tradebox.supervision import sdnotify
from tradebox.supervision.control import ControlServer
from tradebox.supervision.engine import Engine, EngineContext
from tradebox.supervision.engine_host import EngineHost, EngineLimits, EngineState
from tradebox.supervision.intensity import RestartWindow
from tradebox.supervision.launch_options import LauncherOptions, RunFacts
from tradebox.supervision.launch_state import Desk, Phase, RunState
from tradebox.supervision.poller import READABLE, Poller
from tradebox.supervision.postmortem import Death, describe, process_state, write_post_mortem
from tradebox.supervision.server_child import ServerChild, ServerState, StartFailure
from tradebox.supervision.servers import ServerSpec, can_start, can_stop, check_servers
from tradebox.supervision.spawn import Exit, Processes, become_subreaper
from tradebox.supervision.terminal import Terminal
from tradebox.supervision.voice import Voice

__all__ = ["EngineContext", "Launcher", "LauncherOptions", "RunFacts"]

SAME_PRESS_NS: Final = 250_000_000
"""Two signals closer than this are one wish told twice (to a group and to its leader)."""

HASTE_NS: Final = 500_000_000
GIVE_UP_NS: Final = 1_000_000_000
FORK_AGAIN_NS: Final = 100_000_000
CTRL_C_EXIT: Final = 130
_S: Final = 1_000_000_000
_HANDLED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
_IGNORED: Final = (signal.SIGTTOU, signal.SIGTTIN, signal.SIGPIPE)


class Launcher:
    """Runs servers and an engine until asked to stop, or until it must give up.

    `engine(context)` runs in a forked child and returns an exit code; see EngineContext.
    Raises: ServersImpossible.
    """

    def __init__(
        self,
        servers: Sequence[ServerSpec],
        engine: Engine,
        preload: Sequence[str],
        options: LauncherOptions,
    ) -> None:
        check_servers(servers)
        self._specs = tuple(servers)
        self._preload = tuple(preload)
        self._options = options
        self._poller = Poller()
        self._processes = Processes(self._poller.now_ns)
        self._terminal = Terminal()
        self._state = RunState(started_ns=self._poller.now_ns())
        limits = EngineLimits(
            leash_ns=options.leash_ms * 1_000_000,
            dump_ns=options.dump_ms * 1_000_000,
            start_ns=int(options.engine_start_s * _S),
            quorum=options.quorum,
        )
        self._engine = EngineHost(
            self._poller, self._processes, self, limits, engine, options.boot_epoch
        )
        self._children = {
            spec.name: ServerChild(spec, self._poller, self._processes, self, self._terminal)
            for spec in self._specs
        }
        self._ready: dict[str, dict[str, object]] = {}
        self._deaths = RestartWindow(options.deaths_max, options.deaths_period_s)
        self._has_orphans = False

    # --- the run --------------------------------------------------------------------------

    def run(self) -> int:
        """Run until the end and return the exit code; once, in the main thread.

        The process is the launcher's from then on: signals stay ignored after the end.
        Raises: OSError, PathTooLong when the control socket cannot be made; nothing runs then.
        """
        _fill_stdio()
        sys.stdout.flush()
        sys.stderr.flush()
        loading.limit_threads()
        loading.raise_fence(self._options.fenced)
        control = self._open_control()
        self._open()
        try:
            self._start_what_can()
            self._load()
            while not self._is_over():
                self._poller.turn(self._engine.turned)
                self._after_turn()
            self._voice.finish(self._summary_text())
        finally:
            if control is not None:
                control.close()
            self._close()
        return int(self._state.code)

    def _open_control(self) -> ControlServer | None:
        path = self._options.control_path
        if path is None:
            return None
        desk = Desk(self._poller, self._state, self._engine, self._children)
        return ControlServer(self._poller, path, desk.answer)

    def _open(self) -> None:
        self._voice = Voice(self._poller, self._options)
        self._notifier = sdnotify.Notifier(os.environ, os.getpid())
        sdnotify.drop_variables()
        become_subreaper()
        self._signals, self._wakeup = socket.socketpair()
        for end in (self._signals, self._wakeup):
            end.setblocking(False)
        self._poller.watch(self._signals.fileno(), READABLE, self._on_signals)
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        for signum in _HANDLED:
            signal.signal(signum, _noted)
        for signum in _IGNORED:
            signal.signal(signum, signal.SIG_IGN)
        self._beat_watchdog()

    def _load(self) -> None:
        try:
            loading.load(self._preload)
        except ImportError as fault:
            self._give_up(ExitCode.FAILED, f"a module cannot be loaded: {fault}")
        loading.freeze()
        self._state.is_loaded = True
        self._start_what_can()

    def _after_turn(self) -> None:
        if self._has_orphans:
            self._has_orphans = self._processes.reap_orphans()
        if self._state.phase is Phase.STOPPING:
            self._stop_servers()

    def _is_over(self) -> bool:
        is_empty = self._engine.state is EngineState.ABSENT and all(
            child.state is ServerState.STOPPED for child in self._children.values()
        )
        return self._state.phase is Phase.STOPPING and is_empty

    def _summary_text(self) -> str | None:
        facts = RunFacts(
            exit_code=int(self._state.code),
            generation=self._engine.generation,
            engine_deaths=self._state.engine_deaths,
            server_restarts=sum(c.restarts for c in self._children.values()),
            counters=self._engine.counters.values(),
        )
        try:
            return self._options.render_summary(self._state.summary, facts)
        except Exception as fault:  # noqa: BLE001 - a wording must not change how a run ends
            self._voice.error(f"{self._options.name}: the summary cannot be worded: {fault!r}")
            return None

    def _close(self) -> None:
        for signum in _HANDLED:
            signal.signal(signum, signal.SIG_IGN if signum != signal.SIGCHLD else signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        self._terminal.take_back()
        self._notifier.close()
        for end in (self._signals, self._wakeup):
            self._poller.forget(end.fileno())
            end.close()

    # --- servers --------------------------------------------------------------------------

    def _start_what_can(self) -> None:
        for child in self._children.values():
            if child.state is ServerState.WAITING and self._may_start(child.spec):
                if child.spec.tty:
                    self._voice.tell("console_opens")
                child.start()
        is_time = all(spec.name in self._ready for spec in self._specs if spec.required)
        if is_time and self._state.is_loaded and self._engine.generation == 0:
            self._fork()

    def _may_start(self, spec: ServerSpec) -> bool:
        if self._state.phase is Phase.STOPPING:
            return False
        if spec.tty:
            return self._terminal.is_ours
        return can_start(spec, self._ready)

    def server_environ(self, spec: ServerSpec) -> Mapping[str, str]:
        """Return our environment with what the spec adds."""
        added = spec.env(self._ready) if spec.env is not None else {}
        return {**os.environ, **added}

    def server_ready(self, child: ServerChild) -> None:
        """A server is ready: others may start; an engine that runs is told."""
        if child.spec.tty:
            self._voice.mute()
            return
        self._ready[child.spec.name] = child.ready_line
        self._voice.tell(
            "server_ready", name=child.spec.name, pid=child.pid, restarts=child.restarts
        )
        self._notice(child, "ready")
        self._start_what_can()

    def server_failed(self, child: ServerChild, failure: StartFailure) -> None:
        """A server never got ready: the end of the run when it is required."""
        for line in failure.last_lines:
            self._voice.error(f"{failure.name}: {line}")
        self._voice.tell("server_failed", name=failure.name, why=failure.why)
        if child.spec.required:
            code = failure.how.code if failure.how is not None else None
            self._give_up(_refusal(code) or ExitCode.FAILED, f"{failure.name}: {failure.why}")

    def server_down(self, child: ServerChild, how: Exit) -> None:
        """A server that was ready ended; it starts again by itself."""
        if child.spec.tty:
            self._console_left(how)
            return
        self._voice.tell(
            "server_down", name=child.spec.name, how=str(how), last_lines=child.last_lines
        )
        self._notice(child, "down")

    def server_stopped(self, child: ServerChild) -> None:
        """A server is gone, or left to others."""
        if child.spec.tty:
            self._voice.unmute(is_broken=True)
        elif child.stop_trouble:
            self._voice.tell("server_stop_trouble", name=child.spec.name, why=child.stop_trouble)

    def _notice(self, child: ServerChild, state: str) -> None:
        data = {"name": child.spec.name, "state": state, "ready": child.ready_line}
        self._engine.notice("server", data)

    # --- the console ----------------------------------------------------------------------

    def _consoles(self) -> list[ServerChild]:
        return [child for child in self._children.values() if child.spec.tty]

    def _console_left(self, how: Exit) -> None:
        self._voice.unmute(is_broken=how.code != 0)
        self._voice.tell("console_left", how=str(how))
        if how.code == CTRL_C_EXIT or how.signal == signal.SIGINT:
            self._stop(ExitCode.OK, "Ctrl-C in the console")

    def _end_suspended_console(self) -> None:
        # A console stopped by Ctrl-Z would keep the terminal, and nobody could continue it.
        for console in self._consoles():
            if console.pid is not None and process_state(console.pid) == "T":
                console.send(signal.SIGTERM)
                console.send(signal.SIGCONT)

    # --- the engine -----------------------------------------------------------------------

    def _fork(self) -> None:
        if self._state.phase is Phase.STOPPING:
            return
        self._state.blob = None
        self._state.summary = None
        try:
            self._engine.fork(self._ready)
        except OSError as fault:
            self._voice.error(f"{self._options.name}: cannot be forked: {fault}")
            again_ns = self._poller.now_ns() + FORK_AGAIN_NS
            self._poller.call_at("fork", again_ns, self._fork)

    def engine_reported(self, kind: str, data: dict[str, object]) -> None:
        """A report came from the engine; kinds that are not ours are dropped."""
        if kind == "ready":
            self._engine_ready()
        elif kind == "status":
            self._state.blob = data
            self._state.blob_ns = self._poller.now_ns()
        elif kind == "line":
            self._voice.line(str(data.get("text", "")))
        elif kind == "summary":
            self._state.summary = data
        elif kind == "stop":
            self._stop(_known_code(data.get("code")), str(data.get("why", "the engine asked")))

    def _engine_ready(self) -> None:
        now = self._poller.now_ns()
        took_ms = round((now - self._engine.forked_ns) / 1e6, 1)
        self._voice.tell("engine_ready", generation=self._engine.generation, took_ms=took_ms)
        if self._state.phase is not Phase.STARTING:
            return
        self._state.phase = Phase.RUNNING
        self._state.ready_ns = now
        self._notifier.send(READY="1", STATUS=f"engine {self._engine.pid} is ready")
        if self._options.run_s is not None:
            due = now + int(self._options.run_s * _S)
            self._poller.call_at("run", due, lambda: self._stop(ExitCode.OK, "the time is over"))
        self._start_what_can()

    def engine_wrote(self, line: str) -> None:
        """The engine wrote to its stdout or stderr: unexpected, so shown."""
        self._voice.aside(f"{self._options.name}: {line}")

    def engine_died(self, death: Death) -> None:
        """The engine is gone: fork the next one, then keep what is known of this one."""
        if self._state.phase is Phase.STOPPING:
            self._engine_stopped(death)
            return
        refusal = _refusal(death.how.code)
        if self._state.phase is Phase.STARTING and refusal is not None:
            self._give_up(refusal, f"refused to start: {death.how}")
            return
        self._state.engine_deaths += 1
        self._deaths, is_too_many = self._deaths.add(self._poller.now_ns() / 1e9)
        if is_too_many:
            limit, period_s = self._options.deaths_max, self._options.deaths_period_s
            self._keep(death)
            self._give_up(ExitCode.CRASH_LOOP, f"died {limit + 1} times within {period_s:g} s")
            return
        self._fork()
        self._keep(death)

    def _engine_stopped(self, death: Death) -> None:
        is_clean = death.how.code == 0 or death.how.signal == signal.SIGTERM
        if is_clean or self._state.is_hastened:
            return
        self._keep(death)
        if self._state.code is ExitCode.OK:
            self._state.code = _known_code(death.how.code, ExitCode.FAILED)

    def _keep(self, death: Death) -> None:
        folder, name = self._options.post_mortem_folder, self._options.name
        text = describe(death, self._engine.counters.values())
        path = write_post_mortem(folder, name, death, text)
        self._voice.tell(
            "engine_died",
            generation=death.generation,
            cause=death.cause,
            how=str(death.how),
            beat_age_ms=death.beat_age_ms,
            post_mortem=None if path is None else str(path),
        )

    # --- stop -----------------------------------------------------------------------------

    def _give_up(self, code: ExitCode, why: str) -> None:
        self._voice.error(f"{self._options.name}: {why}")
        self._stop(code, why)

    def _stop(self, code: ExitCode, why: str) -> None:
        state = self._state
        if state.phase is Phase.STOPPING:
            return
        state.phase = Phase.STOPPING
        state.code = code
        state.asked_ns = self._poller.now_ns()
        state.stop_until_ns = state.asked_ns + int(self._options.stop_s_max * _S)
        self._voice.tell("stopping", why=why)
        self._notifier.send(STOPPING="1", STATUS=f"stopping: {why}")
        for timer in ("run", "fork"):
            self._poller.call_off(timer)
        engine_ns = int(self._options.engine_stop_s * _S)
        for console in self._consoles():
            console.stop(engine_ns)
        self._engine.stop(engine_ns)
        self._poller.call_at("give up", state.stop_until_ns + GIVE_UP_NS, self._abandon)

    def _hasten(self) -> None:
        now = self._poller.now_ns()
        self._state.is_hastened = True
        self._state.stop_until_ns = min(self._state.stop_until_ns, now + HASTE_NS)
        self._voice.tell("hastened")
        self._engine.kill()
        for child in self._children.values():
            child.hasten(HASTE_NS)

    def _stop_servers(self) -> None:
        """Stop each server that nobody needs any more, once engine and console are gone."""
        consoles_gone = all(c.state is ServerState.STOPPED for c in self._consoles())
        if self._engine.state is not EngineState.ABSENT or not consoles_gone:
            return
        left_ns = max(self._state.stop_until_ns - self._poller.now_ns(), HASTE_NS)
        is_moving = True
        while is_moving:
            is_moving = False
            stopped = frozenset(
                name for name, c in self._children.items() if c.state is ServerState.STOPPED
            )
            for child in reversed(self._children.values()):
                is_up = child.state not in (ServerState.STOPPING, ServerState.STOPPED)
                if is_up and can_stop(child.spec, self._specs, stopped):
                    child.stop(left_ns)
                    is_moving = is_moving or child.state is ServerState.STOPPED

    def _abandon(self) -> None:
        """Somebody cannot even be killed (a disk that does not answer): leave it and end."""
        self._voice.error(f"{self._options.name}: gave up waiting for the end")
        if self._state.code is ExitCode.OK:
            self._state.code = ExitCode.FAILED
        self._engine.abandon()
        for child in self._children.values():
            child.abandon()

    # --- signals and the watchdog ---------------------------------------------------------

    def _on_signals(self, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            for signum in self._signals.recv(4096):
                self._on_signal(signum)

    def _on_signal(self, signum: int) -> None:
        if signum == signal.SIGCHLD:
            self._has_orphans = True
            self._end_suspended_console()
        elif signum == signal.SIGHUP:
            for console in self._consoles():
                console.send(signal.SIGHUP)
        elif self._state.phase is not Phase.STOPPING:
            self._stop(ExitCode.OK, signal.Signals(signum).name)
        elif self._poller.now_ns() - self._state.asked_ns > SAME_PRESS_NS:
            self._hasten()

    def _beat_watchdog(self) -> None:
        """Tell systemd that we live, while the engine does or is being brought back in time."""
        period_ns = self._notifier.watchdog_ns
        if period_ns is None:
            return
        now = self._poller.now_ns()
        age_ns = self._engine.loop_age_ns(now)
        budget_ns = int(self._options.engine_start_s * _S)
        is_alive = age_ns is not None and age_ns <= self._options.leash_ms * 1_000_000
        is_coming = age_ns is None and now - self._engine.forked_ns <= budget_ns
        if is_alive or is_coming or self._state.phase is not Phase.RUNNING:
            self._notifier.send(WATCHDOG="1")
        self._poller.call_at("watchdog", now + period_ns, self._beat_watchdog)


def _refusal(code: int | None) -> ExitCode | None:
    """Return our code for "this cannot work", None for any other end."""
    if code is None or not ExitCode.CONFIG <= code <= ExitCode.ADDRESS:
        return None
    return ExitCode(code)


def _known_code(code: object, default: ExitCode = ExitCode.OK) -> ExitCode:
    return ExitCode(code) if isinstance(code, int) and code in list(ExitCode) else default


def _noted(_signum: int, _frame: object) -> None:
    """The wakeup descriptor carries the news."""


def _fill_stdio() -> None:
    """Have something at 0, 1 and 2, so that nothing of ours lands there."""
    while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
