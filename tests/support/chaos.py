"""Faults put into a trading run, one by one, each with the time until all is well again.

Rules of this file:
- well means: the victim's successor runs, both links are CLEAN, PostgreSQL equals the gateway's
  ledger, every position has exactly one stop of its size, and no order was sent twice.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.books import books_agree, is_clean, settled, uncovered
from support.run_bench import DEADLINE_S, Bench, Run, eventually
from tradebox.supervision.control import ask_control
from tradebox.supervision.launch_errors import ControlUnreachable

POLL_S = 0.005
RESULTS = "CHAOS_RESULTS"
"""Where a summary of every fault and its recovery time is kept, where set."""


@dataclass
class Chaos:
    """One run under plans, and what was done to it."""

    box: Bench
    run: Run
    piece: str
    told: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def started(
        cls, box: Bench, speed: str, piece: str, symbols: Sequence[str] = ("SPY",)
    ) -> "Chaos":
        """Start a run that holds positions in these on both accounts."""
        run = box.run("--speed", speed, TRADEBOX_LAUNCHER_DEATHS_MAX="1000").ready()
        for symbol in symbols:
            for account in ("live", "paper"):
                box.keep_a_plan(run, account, symbol)
        is_clean(run)
        return cls(box, run, piece)

    # --- questions ---

    def ask(self, question: str, **data: object) -> dict[str, Any] | None:
        """Return the engine's answer, None while there is none."""
        path = self.box.socket_dir / "control" / "control.sock"
        request = {"ask": "forward", "to": question, "data": data}
        try:
            return ask_control(path, request, DEADLINE_S).get("answer")
        except ControlUnreachable:
            return None

    def actor(self, name: str) -> dict[str, Any]:
        """Return the row of an actor, {} while nobody knows it."""
        return self.ask("actor", name=name) or {}

    def header(self) -> dict[str, Any]:
        """Return what the engine last told of itself."""
        path = self.box.socket_dir / "control" / "control.sock"
        answer = ask_control(path, {"ask": "status"}, DEADLINE_S)
        return dict(answer["engine"]["blob"]["header"])

    def when_running(self, name: str) -> None:
        """Wait until an actor runs: an engine that is giving up may be on its way out."""
        _wait(lambda: self.actor(name).get("state") == "running", f"{name} runs")

    def actors(self) -> list[str]:
        """Return the name of every worker."""
        shown = self.run.when(lambda status: status["actors"], "the engine told its tree")
        return [row["name"] for row in shown["actors"] if row["type"] == "worker"]

    def engine_pid(self) -> int:
        shown = self.run.when(lambda status: status["pid"], "there is an engine")
        return int(shown["pid"])

    def server_pid(self, name: str) -> int | None:
        rows = {row["name"]: row for row in self.box.status().get("servers", [])}
        row = rows.get(name, {})
        return row.get("pid") if row.get("state") == "ready" else None

    # --- faults ---

    def harm(self, how: str, *names: str) -> None:
        """Harm actors and wait until successors run and all is well."""
        for name in names:
            self.when_running(name)
        pid, before = self.engine_pid(), {}
        began_s = time.monotonic()
        for name in names:
            answer = eventually(lambda at=name: self.ask("harm", actor=at, how=how), how)
            before[name] = answer["incarnation"]

        def is_back(name: str) -> bool:
            row = self.actor(name)
            is_new = row.get("incarnation") != before[name] or self.engine_pid() != pid
            return is_new and row.get("state") == "running"

        self._until_well(f"{how} {' and '.join(names)}", began_s, lambda: all(map(is_back, names)))

    def _sigkill_engine(self) -> int:
        """Kill the engine that runs now; return its pid.

        One that was told of may have ended since: a starved machine costs an engine its leash.
        """

        def killed() -> int | None:
            pid = self.engine_pid()
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return None
            return pid

        return int(eventually(killed, "an engine to kill"))

    def kill_engine(self) -> None:
        began_s = time.monotonic()
        pid = self._sigkill_engine()
        self._until_well("SIGKILL engine", began_s, lambda: self._is_ready_after(pid))

    def _is_ready_after(self, pid: int) -> bool:
        return self.box.status().get("pid") not in (None, pid) and bool(self.actor("root"))

    def kill_server(self, name: str, *, engine_too: bool = False) -> None:
        """Kill a store; with `engine_too` the engine has to come back without it."""
        pid = eventually(lambda: self.server_pid(name), f"{name} runs")
        began_s = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        engine = self._sigkill_engine() if engine_too else None

        def is_back() -> bool:
            is_other = self.server_pid(name) not in (None, pid)
            return is_other and (engine is None or self._is_ready_after(engine))

        what = f"SIGKILL {name}" + (" and engine" if engine_too else "")
        self._until_well(what, began_s, is_back)

    def _until_well(self, fault: str, began_s: float, is_back: Callable[[], bool]) -> None:
        _wait(is_back, f"back after {fault}")
        back_s = time.monotonic() - began_s
        is_clean(self.run)
        settled(self.box, fault)
        well_s = time.monotonic() - began_s
        self.told.append(
            {"fault": fault, "back_ms": round(back_s * 1000, 1), "well_ms": round(well_s * 1000)}
        )
        self._keep({"faults": self.told})

    def _keep(self, told: dict[str, Any]) -> None:
        """Put this piece's summary beside those of the others."""
        if not os.environ.get(RESULTS):
            return
        path = Path(os.environ[RESULTS])
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**known, self.piece: told}, indent=2) + "\n")

    # --- the end ---

    def finish(self) -> dict[str, Any]:
        """Stop in order and return the summary, every fault with its recovery time in it."""
        shown = self.run.when(lambda status: status["ticks"], "the engine told its figures")
        assert books_agree(self.box)
        assert uncovered(self.box) == []
        summary = self.run.stop()
        assert self.box.processes() == []
        whole = {
            "faults": self.told,
            "ticks": shown["ticks"],
            "ticks_per_s": round(shown["ticks"]["received"] / shown["uptime_s"], 1),
            "uptime_s": round(shown["uptime_s"], 1),
            "orders_sent": summary["orders_sent"],
            "fills_booked": summary["fills_booked"],
            "restarts": summary["restarts"],
        }
        self._keep(whole)
        return whole


def _wait(holds: Callable[[], bool], what: str) -> None:
    until_s = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < until_s, f"never happened: {what}"
        time.sleep(POLL_S)


def told_lines(told: list[dict[str, Any]]) -> Iterator[str]:
    """Return the summary as lines for a person."""
    for each in told:
        yield f"{each['fault']:<50} back {each['back_ms']:>9.1f} ms  well {each['well_ms']:>7} ms"
