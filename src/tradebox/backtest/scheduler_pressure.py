"""Whether the controller that trades on this home is short of the machine.

Rules of this file:
- the kernel is asked first: how long the engine waited for a core while it wanted to run;
- an engine that says nothing for seconds, or whose loop lagged further than before, is short too;
- no engine, no pressure; a question never takes longer than its deadline.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tradebox.supervision.control import ask_control
from tradebox.supervision.launch_errors import ControlUnreachable

ANSWER_S_MAX: Final = 0.5
SILENT_S_MAX: Final = 4.0
LAG_STEP_MS: Final = 50.0
"""A new worst lag of the engine's loop counts when it is this much worse than the last."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """What was found. wait_share: of the last period, in which the engine waited for a core."""

    runs: bool = False
    is_high: bool = False
    wait_share: float = 0.0
    why: str = ""


class LivePressure:
    """Watches the engine of one home."""

    def __init__(
        self,
        control_socket: Path,
        wait_share_max: float,
        *,
        ask: Callable[[Path], dict[str, Any]] | None = None,
        proc: Path = Path("/proc"),
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._socket = control_socket
        self._wait_share_max = wait_share_max
        self._ask = ask or _ask
        self._proc = proc
        self._clock_ns = clock_ns
        self._last: tuple[int, int, int] | None = None
        self._lag_ms: float | None = None

    def look(self) -> Pressure:
        """Ask once; call it from a thread, about once a second."""
        if not self._socket.exists():
            return self._gone()
        try:
            answer = self._ask(self._socket)
        except ControlUnreachable:
            return self._gone()
        engine = answer.get("engine") or {}
        launcher = answer.get("launcher") or {}
        pid = launcher.get("engine_pid")
        if not isinstance(pid, int):
            return self._gone()
        share = self._waited(pid)
        why = ""
        if share > self._wait_share_max:
            why = f"the engine waited {share:.0%} of the time for a core"
        elif float(engine.get("age_s") or 0.0) > SILENT_S_MAX:
            why = "the engine has told nothing for seconds"
        elif self._lagged(engine):
            why = "the engine's loop lagged"
        return Pressure(runs=True, is_high=bool(why), wait_share=share, why=why)

    def _gone(self) -> Pressure:
        self._last = self._lag_ms = None
        return Pressure()

    def _waited(self, pid: int) -> float:
        """Return the share of the time since the last look that the engine's threads waited."""
        waited_ns = 0
        for stat in (self._proc / str(pid) / "task").glob("*/schedstat"):
            try:
                waited_ns += int(stat.read_text().split()[1])
            except (OSError, IndexError, ValueError):
                continue
        now_ns, before = self._clock_ns(), self._last
        self._last = (pid, waited_ns, now_ns)
        if before is None or before[0] != pid or now_ns <= before[2]:
            return 0.0
        return max(0.0, (waited_ns - before[1]) / (now_ns - before[2]))

    def _lagged(self, engine: dict[str, Any]) -> bool:
        vitals = ((engine.get("blob") or {}).get("header") or {}).get("vitals") or {}
        lag_ms = float(vitals.get("lag_max_ms") or 0.0)
        before, self._lag_ms = self._lag_ms, lag_ms
        return before is not None and lag_ms > before + LAG_STEP_MS


def _ask(path: Path) -> dict[str, Any]:
    return ask_control(path, {"ask": "status"}, ANSWER_S_MAX)
