"""The launcher's side of the engine: fork it, hold it on the leash, end it, tell how it died.

Rules of this file:
1. States go ABSENT → STARTING → READY → (DUMPING →) ENDING → ABSENT; nothing here waits.
2. A hung engine gets one signal to write its stacks, a moment to do so, then SIGKILL.
3. A dead engine's pipes are read to their end before anybody hears of the death.
4. What to do about a death is the launcher's decision, not this file's.
"""

from __future__ import annotations

import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from tradebox.supervision.engine import (
    STACK_SIGNAL,
    Engine,
    EngineContext,
    EngineStart,
    begin_engine,
)
from tradebox.supervision.leash import Leash
from tradebox.supervision.lines import LineReader, LineWriter, decode, encode
from tradebox.supervision.link import EngineLink
from tradebox.supervision.poller import READABLE, WRITABLE, Poller
from tradebox.supervision.postmortem import Death, process_state, read_stacks
from tradebox.supervision.shm import LOOP_SLOT, SharedCounters, SharedSlots, SlotReading
from tradebox.supervision.spawn import Process, Processes

TAIL_LINES: Final = 40
ASKS_MAX: Final = 32
ASK_NS: Final = 10_000_000_000
HELD_BYTES_MAX: Final = 1 << 20
LINK_BYTES: Final = 1 << 20
END_CHUNKS_MAX: Final = 64
_MS: Final = 1_000_000

Done = Callable[[Mapping[str, object]], None]


class EngineState(Enum):
    """Where an engine is in its life."""

    ABSENT = "absent"
    STARTING = "starting"
    READY = "ready"
    DUMPING = "dumping"
    ENDING = "ending"


class EngineOwner(Protocol):
    """Who hears of the engine."""

    def engine_reported(self, kind: str, data: dict[str, object]) -> None:
        """A report came: ready, status, line, summary, stop, or any other word."""

    def engine_wrote(self, line: str) -> None:
        """The engine wrote a line to its stdout or stderr."""

    def engine_died(self, death: Death) -> None:
        """The engine is gone and reaped."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How long an engine may take. Units: nanoseconds."""

    leash_ns: int
    dump_ns: int
    start_ns: int
    quorum: tuple[str, ...] = ()


@dataclass(slots=True)
class _Life:
    """What belongs to one engine process."""

    process: Process
    link: socket.socket
    stack_fd: int
    output_fd: int
    reader: LineReader
    output: LineReader
    writer: LineWriter
    cause: str = ""
    state_seen: str = ""
    stack_bytes: int = 0
    dump_until_ns: int = 0
    slots_seen: tuple[SlotReading, ...] | None = None
    seen_ns: int = 0


class EngineHost:
    """Owns at most one engine process at a time."""

    def __init__(
        self,
        poller: Poller,
        processes: Processes,
        owner: EngineOwner,
        limits: EngineLimits,
        run: Engine,
        boot_epoch: int,
    ) -> None:
        self._poller = poller
        self._processes = processes
        self._owner = owner
        self._limits = limits
        self._run = run
        self._boot_epoch = boot_epoch
        self._leash = Leash(limits.leash_ns, limits.quorum)
        self._life: _Life | None = None
        self._asks: dict[int, Done] = {}
        self._ask_number = 0
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.slots = SharedSlots()
        self.counters = SharedCounters()
        self.state = EngineState.ABSENT
        self.generation = 0
        self.forked_ns = 0

    @property
    def pid(self) -> int | None:
        """The engine's process, None while there is none."""
        return self._life.process.pid if self._life else None

    @property
    def late_turns(self) -> int:
        """How often the launcher itself was not on time."""
        return self._leash.late_turns

    def loop_age_ns(self, now_ns: int) -> int | None:
        """Return the age of the loop's last check-in, None before the first."""
        for reading in self.slots.read():
            if reading.name == LOOP_SLOT and reading.last_ns:
                return max(0, now_ns - reading.last_ns)
        return None

    def turned(self, now_ns: int, planned_ns: int) -> None:
        """Note that the launcher is awake; see Leash."""
        self._leash.turned(now_ns, planned_ns)

    def fork(self, ready: Mapping[str, dict[str, object]]) -> None:
        """Start the next engine. Raises: ThreadFound, OSError."""
        assert self._life is None, "one engine at a time"
        self.generation += 1
        self.slots.wipe()
        self._leash.forget()
        self._tail.clear()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        for end in (ours, theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LINK_BYTES)
        stack_fd = os.memfd_create("stacks", os.MFD_CLOEXEC)
        output_fd, stderr_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(output_fd, False)
        context = EngineContext(
            ready=dict(ready),
            slots=self.slots,
            counters=self.counters,
            link=EngineLink(theirs),
            generation=self.generation,
            boot_epoch=self._boot_epoch,
            leash_s=self._limits.leash_ns / 1e9,
        )
        start = EngineStart(self._run, context, theirs.fileno(), stack_fd, stderr_fd, os.getpid())
        process = self._processes.fork(lambda: begin_engine(start), ends_session=True)
        theirs.close()
        os.close(stderr_fd)
        self._life = _Life(
            process,
            ours,
            stack_fd,
            output_fd,
            LineReader(ours.fileno(), self._on_message),
            LineReader(output_fd, self._on_output),
            LineWriter(ours.fileno(), HELD_BYTES_MAX),
        )
        self.forked_ns = process.started_ns
        self.state = EngineState.STARTING
        self._poller.watch(process.pidfd, READABLE, self._on_end)
        self._poller.watch(output_fd, READABLE, self._on_output_ready)
        self._watch_link()
        self._poller.call_at("engine start", self.forked_ns + self._limits.start_ns, self._too_slow)
        self._look()

    # --- the line to the engine -----------------------------------------------------------

    def _watch_link(self) -> None:
        life = self._life
        if life is not None and not life.reader.is_ended:
            mask = READABLE | (WRITABLE if life.writer.held else 0)
            self._poller.watch(life.link.fileno(), mask, self._on_link_ready)

    def _on_link_ready(self, events: int) -> None:
        life = self._life
        assert life is not None, "the link is forgotten with its engine"
        if events & WRITABLE:
            life.writer.flush()
        if events & ~WRITABLE and not life.reader.read():
            self._poller.forget(life.link.fileno())
        self._watch_link()

    def _on_message(self, line: bytes) -> None:
        message = decode(line)
        if message is None:
            return
        number = message.get("id")
        if isinstance(number, int):
            self._answered(number, message)
            return
        data = message.get("data")
        kind = str(message.get("kind"))
        if kind == "ready" and self.state is EngineState.STARTING:
            self.state = EngineState.READY
            self._poller.call_off("engine start")
        self._owner.engine_reported(kind, data if isinstance(data, dict) else {})

    def _on_output_ready(self, _events: int) -> None:
        life = self._life
        assert life is not None, "the pipe is forgotten with its engine"
        if not life.output.read():
            self._poller.forget(life.output_fd)

    def _on_output(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace")
        self._tail.append(text)
        self._owner.engine_wrote(text)

    def _send(self, message: Mapping[str, object]) -> bool:
        life = self._life
        if life is None or life.reader.is_ended:
            return False
        is_taken = life.writer.offer(encode(message))
        self._watch_link()
        return is_taken

    def notice(self, name: str, data: Mapping[str, object]) -> bool:
        """Tell the engine something that needs no answer."""
        return self._send({"notice": name, "data": dict(data)})

    def ask(self, name: str, data: Mapping[str, object], done: Done) -> None:
        """Ask the engine; `done` gets {"answer": …} or {"error": …}, now or within 10 s."""
        if len(self._asks) >= ASKS_MAX:
            done({"error": "too many questions are open"})
            return
        self._ask_number += 1
        number = self._ask_number
        if not self._send({"id": number, "ask": name, "data": dict(data)}):
            done({"error": "the engine is not there"})
            return
        self._asks[number] = done
        self._poller.call_at(
            ("engine ask", number),
            self._poller.now_ns() + ASK_NS,
            lambda: self._answered(number, {"error": "the engine did not answer in time"}),
        )

    def _answered(self, number: int, message: Mapping[str, object]) -> None:
        done = self._asks.pop(number, None)
        self._poller.call_off(("engine ask", number))
        if done is not None:
            done({key: message[key] for key in ("answer", "error") if key in message})

    # --- the leash ------------------------------------------------------------------------

    def _look(self) -> None:
        """Judge the check-ins, and come back when one could be overdue."""
        if self.state not in (EngineState.STARTING, EngineState.READY):
            return
        now = self._poller.now_ns()
        readings = self.slots.read()
        late = self._leash.overdue(readings)
        if late is not None:
            age_ms, limit_ms = late.age_ns / _MS, late.limit_ns / _MS
            self._dump(f"hung: {late.name} silent for {age_ms:.0f} ms, limit {limit_ms:.0f} ms")
            return
        soonest = self._leash.next_look_ns(readings)
        step = self._limits.leash_ns // 4
        due = now + step if soonest is None else max(soonest, now + _MS)
        self._poller.call_at("engine look", min(due, now + self._limits.leash_ns), self._look)

    def _too_slow(self) -> None:
        if self.state is EngineState.STARTING:
            self._dump(f"not ready within {self._limits.start_ns / 1e9:.1f} s")

    def _dump(self, cause: str) -> None:
        life = self._life
        assert life is not None, "a state other than ABSENT has an engine"
        life.cause = cause
        life.seen_ns = self._poller.now_ns()
        life.slots_seen = tuple(self.slots.read())
        life.state_seen = process_state(life.process.pid)
        life.dump_until_ns = life.seen_ns + self._limits.dump_ns
        self.state = EngineState.DUMPING
        life.process.send(STACK_SIGNAL)
        self._await_stacks()

    def _await_stacks(self) -> None:
        life = self._life
        if life is None or self.state is not EngineState.DUMPING:
            return
        size = os.fstat(life.stack_fd).st_size
        is_whole = 0 < size == life.stack_bytes
        life.stack_bytes = size
        now = self._poller.now_ns()
        if is_whole or now >= life.dump_until_ns:
            self._kill()
        else:
            self._poller.call_at("engine stacks", now + _MS, self._await_stacks)

    def _kill(self) -> None:
        if self._life is not None:
            self.state = EngineState.ENDING
            self._life.process.kill_session()

    # --- the end --------------------------------------------------------------------------

    def stop(self, wait_ns: int) -> None:
        """Ask the engine to stop; it is killed, stacks first, when it has not within `wait_ns`."""
        life = self._life
        if life is None:
            return
        if self.state in (EngineState.STARTING, EngineState.READY):
            self.state = EngineState.ENDING
            life.process.send(signal.SIGTERM)
        self._poller.call_at("engine stop", self._poller.now_ns() + wait_ns, self._stop_too_slow)

    def _stop_too_slow(self) -> None:
        if self.state is EngineState.ENDING:
            self._dump("did not stop in time")

    def kill(self) -> None:
        """End the engine now."""
        self._kill()

    def abandon(self) -> None:
        """Stop waiting for an engine that cannot be killed."""
        if self._life is not None:
            self._bury(self._life)

    def _on_end(self, _events: int) -> None:
        life = self._life
        assert life is not None, "the pidfd is forgotten with its engine"
        now = self._poller.now_ns()
        slots = tuple(self.slots.read()) if life.slots_seen is None else life.slots_seen
        how = self._processes.reap(life.process)
        if how is None:
            return
        for reader in (life.reader, life.output):
            reader.read(END_CHUNKS_MAX)
        death = Death(
            generation=self.generation,
            pid=life.process.pid,
            cause=life.cause or "ended by itself",
            how=how,
            process_state=life.state_seen or "gone",
            died_ns=life.seen_ns or now,
            lived_s=(now - life.process.started_ns) / 1e9,
            slots=slots,
            stacks=read_stacks(life.stack_fd),
            last_lines=tuple(self._tail),
        )
        self._bury(life)
        self._owner.engine_died(death)

    def _bury(self, life: _Life) -> None:
        for key in ("engine start", "engine look", "engine stacks", "engine stop"):
            self._poller.call_off(key)
        for fd in (life.process.pidfd, life.link.fileno(), life.output_fd):
            self._poller.forget(fd)
        life.process.close()
        life.link.close()
        os.close(life.stack_fd)
        os.close(life.output_fd)
        self._life = None
        self.state = EngineState.ABSENT
        for number in list(self._asks):
            self._answered(number, {"error": "the engine ended before it answered"})
