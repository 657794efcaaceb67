"""What a run of the launcher remembers, and how it is told to who asks on the control socket.

Rules of this file:
1. State is plain data: the launcher writes it, the desk reads it.
2. The engine's status is an opaque blob; only its age is ours.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from tradebox.errors import ExitCode
from tradebox.supervision.control import Reply
from tradebox.supervision.engine_host import EngineHost
from tradebox.supervision.poller import Poller
from tradebox.supervision.server_child import ServerChild


class Phase(Enum):
    """Where a run is."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


@dataclass(slots=True)
class RunState:
    """One run. Units: nanoseconds of the monotonic clock; None: not yet."""

    started_ns: int
    phase: Phase = Phase.STARTING
    code: ExitCode = ExitCode.OK
    ready_ns: int | None = None
    asked_ns: int = 0
    stop_until_ns: int = 0
    is_loaded: bool = False
    is_hastened: bool = False
    engine_deaths: int = 0
    summary: dict[str, object] | None = None
    blob: dict[str, object] | None = None
    blob_ns: int = 0


class Desk:
    """Answers ping, status and forward."""

    def __init__(
        self,
        poller: Poller,
        state: RunState,
        engine: EngineHost,
        children: Mapping[str, ServerChild],
    ) -> None:
        self._poller = poller
        self._state = state
        self._engine = engine
        self._children = children

    def answer(self, request: dict[str, object], reply: Reply) -> None:
        """Answer one request, now or when the engine has."""
        what = request.get("ask")
        name = request.get("to")
        if what == "ping":
            reply({"pid": os.getpid()})
        elif what == "status":
            reply({"launcher": self._launcher(), "engine": self._blob()})
        elif what == "forward" and isinstance(name, str):
            data = request.get("data")
            self._engine.ask(name, data if isinstance(data, dict) else {}, reply)
        else:
            reply({"error": "ask ping, status, or forward with a name in `to`"})

    def _since_s(self, then_ns: int | None) -> float | None:
        return None if then_ns is None else (self._poller.now_ns() - then_ns) / 1e9

    def _blob(self) -> dict[str, object]:
        if self._state.blob is None:
            return {"blob": None, "age_s": None}
        return {"blob": self._state.blob, "age_s": self._since_s(self._state.blob_ns)}

    def _launcher(self) -> dict[str, object]:
        age_ns = self._engine.loop_age_ns(self._poller.now_ns())
        return {
            "pid": os.getpid(),
            "phase": self._state.phase.value,
            "uptime_s": self._since_s(self._state.started_ns),
            "ready_s": self._since_s(self._state.ready_ns),
            "engine_pid": self._engine.pid,
            "engine_state": self._engine.state.value,
            "generation": self._engine.generation,
            "engine_deaths": self._state.engine_deaths,
            "beat_age_ms": None if age_ns is None else age_ns / 1e6,
            "late_turns": self._engine.late_turns,
            "counters": self._engine.counters.values(),
            "servers": [
                {
                    "name": name,
                    "state": child.state.value,
                    "pid": child.pid,
                    "restarts": child.restarts,
                }
                for name, child in self._children.items()
            ],
        }
