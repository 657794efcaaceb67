"""A profile that costs next to nothing: where the interpreter stands, asked every few milliseconds.

Rules of this file:
- a signal of the CPU timer interrupts Python between two instructions: time in C counts for the
  line that called it;
- shares are of samples, not of calls.
"""

import signal
from collections import Counter
from pathlib import PurePath
from types import FrameType
from typing import Any, Self

PERIOD_S = 0.002
TOP = 15


class Sampler:
    """Counts the innermost function of ours at each sample, and every file on the stack once."""

    def __init__(self, package: str = "tradebox") -> None:
        self._package = package
        self._own: Counter[str] = Counter()
        self._parts: Counter[str] = Counter()
        self.samples = 0

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, PERIOD_S, PERIOD_S)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, self._before)

    def _look(self, _signum: int, frame: FrameType | None) -> None:
        self.samples += 1
        seen: set[str] = set()
        is_inner = True
        while frame is not None:
            code = frame.f_code
            path = PurePath(code.co_filename)
            if self._package in path.parts:
                at = path.parts.index(self._package)
                name = "/".join(path.parts[at + 1 :]).removesuffix(".py")
                if is_inner:
                    self._own[f"{name}.{code.co_name}"] += 1
                    is_inner = False
                seen.add(name)
            frame = frame.f_back
        if is_inner:
            self._own["elsewhere"] += 1
        self._parts.update(seen)

    def told(self) -> dict[str, Any]:
        """Return the share of samples by function of ours, and by module anywhere on the stack."""

        def shares(counted: Counter[str]) -> dict[str, float]:
            top = counted.most_common(TOP)
            return {name: round(count / max(1, self.samples), 3) for name, count in top}

        return {"samples": self.samples, "own": shares(self._own), "on_stack": shares(self._parts)}
