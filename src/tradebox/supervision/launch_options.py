"""What a run of the launcher is told, and what it tells at the end.

Rules of this file:
1. Values only; words for people come from the two render functions, which the composition
   root chooses. They are called in the launcher and must not wait.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tradebox.supervision.preload import FENCED


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the launcher knows at the end of a run."""

    exit_code: int
    generation: int
    engine_deaths: int
    server_restarts: int
    counters: Mapping[str, int] = field(default_factory=dict)


def render_event(event: str, fields: Mapping[str, object]) -> str | None:
    """Word an event as `event key=value …`."""
    words = [f"{key}={value}" for key, value in fields.items() if value not in (None, ())]
    return " ".join((event, *words))


def render_summary(summary: Mapping[str, object] | None, _facts: RunFacts) -> str | None:
    """Word the summary as JSON; nothing when the engine sent none."""
    return None if summary is None else json.dumps(summary, separators=(",", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class LauncherOptions:
    """The limits and places of one run.

    render          (event, fields) → a line for stdout, or None. Events: server_ready,
                    server_down, server_failed, server_stop_trouble, engine_ready, engine_died,
                    console_left, stopping, hastened
    render_summary  (the engine's last summary or None, facts) → the last line of stdout, or None
    quorum          names of slots of which one at least must check in, or the engine is hung
    Units: in the names. run_s counts from READY; None runs until asked to stop. More than
    deaths_max deaths within deaths_period_s end the run.
    """

    post_mortem_folder: Path
    control_path: Path | None = None
    name: str = "engine"
    boot_epoch: int = 0
    run_s: float | None = None
    leash_ms: int = 1000
    dump_ms: int = 2
    deaths_max: int = 5
    deaths_period_s: float = 30.0
    engine_start_s: float = 30.0
    engine_stop_s: float = 2.5
    stop_s_max: float = 5.0
    fenced: tuple[str, ...] = FENCED
    quorum: tuple[str, ...] = ()
    render: Callable[[str, Mapping[str, object]], str | None] = render_event
    render_summary: Callable[[Mapping[str, object] | None, RunFacts], str | None] = render_summary
