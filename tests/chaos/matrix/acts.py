"""Registers what each row does, plays it on a run, and has the judge look.

Rules of this file:
- rows of one kind share a run while it lasts; a row that failed takes its run with it;
- every row is judged by all invariants on the whole ledger of its run;
- where FAULT_MATRIX_RESULTS names a file, what each row took and showed is kept there.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.matrix.harness import World
from chaos.matrix.rows import ROWS
from support.judge import COVER_S_MAX
from support.run_bench import bench

RESULTS = "FAULT_MATRIX_RESULTS"
SHARED = "shared"
OWN = "own"


@dataclass(frozen=True)
class Act:
    """What a row does. settings: of World.started; rows with equal ones share a run, unless own."""

    number: int
    play: Callable[[World], Any]
    is_own: bool
    settings: tuple[tuple[str, Any], ...]
    excused: tuple[str, ...]
    may_moan: bool


class Acts:
    """The rows of one module."""

    def __init__(self) -> None:
        self._acts: dict[int, Act] = {}

    def row(
        self,
        number: int,
        *,
        own: bool = False,
        excused: tuple[str, ...] = (),
        may_moan: bool = False,
        **settings: Any,
    ) -> Callable[[Callable[[World], Any]], Callable[[World], Any]]:
        """Register a row.

        own: it has a run of its own; excused: invariants that the fault itself breaks;
        may_moan: its run may write to stderr;
        settings: what World.started takes.
        """

        def keep(play: Callable[[World], Any]) -> Callable[[World], Any]:
            assert number not in self._acts, number
            assert play.__name__.startswith(f"row_{number:02d}_"), play.__name__
            self._acts[number] = Act(
                number, play, own, tuple(sorted(settings.items())), tuple(excused), may_moan
            )
            return play

        return keep

    def numbers(self) -> list[int]:
        """Return the numbers of all rows here."""
        return sorted(self._acts)

    def quick(self) -> list[int]:
        """Return the numbers of those that belong to `make test`."""
        return [number for number in self.numbers() if ROWS[number].is_quick]

    def play(self, number: int, runs: "Runs") -> None:
        """Play a row and judge it."""
        act, began_s = self._acts[number], time.monotonic()
        result: dict[str, Any] = {"title": ROWS[number].title, "passed": False}
        try:
            with runs.lent(act) as world:
                at_ns = time.monotonic_ns()
                shown = act.play(world)
                violations = world.judged(*act.excused)
                seen = [one for one in world.windows() if one.to_ns >= at_ns]
                result["uncovered_s_max"] = round(max((w.lasted_s for w in seen), default=0.0), 3)
                result["uncovered"] = _by_cause(seen)
                result["violations"] = [f"{v.rule} {v.subject}: {v.text}" for v in violations]
                if isinstance(shown, dict):
                    result["shown"] = shown
                assert violations == [], violations
            result["passed"] = True
        finally:
            result["took_s"] = round(time.monotonic() - began_s, 1)
            _keep(number, result)


def _by_cause(windows: list[Any]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for window in windows:
        row = found.setdefault(window.cause, {"count": 0, "total_s": 0.0, "longest_s": 0.0})
        row["count"] += 1
        row["total_s"] = round(row["total_s"] + window.lasted_s, 3)
        row["longest_s"] = round(max(row["longest_s"], window.lasted_s), 3)
    return found


def _keep(number: int, result: dict[str, Any]) -> None:
    name = os.environ.get(RESULTS)
    if not name:
        return
    path = Path(name)
    known = json.loads(path.read_text()) if path.exists() else {}
    known[f"{number:02d}"] = result
    path.write_text(json.dumps(dict(sorted(known.items())), indent=2) + "\n")


class Runs:
    """Runs that rows share, by their settings."""

    def __init__(self) -> None:
        self._shared: dict[tuple[tuple[str, Any], ...], tuple[World, ExitStack]] = {}

    @contextmanager
    def lent(self, act: Act) -> Iterator[World]:
        """Lend a run to a row; a failure ends it."""
        if act.is_own:
            with started(dict(act.settings), may_moan=act.may_moan) as world:
                yield world
            return
        known = self._shared.get(act.settings)
        if known is not None and known[0].is_worn:
            self._end(act.settings)
            known = None
        if known is None:
            stack = ExitStack()
            known = (stack.enter_context(started(dict(act.settings))), stack)
            self._shared[act.settings] = known
        try:
            yield known[0]
        except BaseException:
            self._end(act.settings)
            raise

    def _end(self, settings: tuple[tuple[str, Any], ...]) -> None:
        _, stack = self._shared.pop(settings)
        stack.close()

    def close(self) -> None:
        """End every run."""
        for settings in list(self._shared):
            self._end(settings)


@contextmanager
def started(settings: dict[str, Any], *, may_moan: bool = False) -> Iterator[World]:
    """Start a run, end it in order, and see that it left nothing behind.

    may_moan: the interpreter itself, dying, may say so on a person's terminal.
    """
    with bench() as box:
        world = World.started(box, **settings)
        try:
            yield world
        finally:
            world.close()
        if world.run.popen.poll() is None:
            world.run.send(signal.SIGTERM)
            assert world.run.wait() == 0, world.run.out[-3000:]
            said = world.run.err
            assert may_moan or said == "", f"told by events alone, not by {said[-3000:]}"
        assert box.processes() == []


__all__ = ["COVER_S_MAX", "Act", "Acts", "Runs", "started"]
