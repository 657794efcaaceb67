"""The progress of a command that takes longer than a moment, on stderr.

Rules of this file:
- on a terminal one line in place, five times a second; elsewhere a line each few seconds, with
  --json an object a line;
- stdout stays the answer's alone.
"""

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

import orjson

LINE_S = 5.0
LINE_TERMINAL_S = 0.2


class Tells(Protocol):
    """What can say how far it is."""

    def figures(self) -> dict[str, Any]:
        """Return it as plain values."""

    def line(self) -> str:
        """Return one line for people."""


class ProgressLine:
    """Where a command tells how far it is. json: notes are left to the answer."""

    def __init__(self, *, json: bool) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._json = json and not self._is_terminal
        self._every_s = LINE_TERMINAL_S if self._is_terminal else LINE_S
        self._told_s = time.monotonic() if not self._is_terminal else 0.0
        self._columns = 0

    def tell(self, progress: Tells) -> None:
        """Show how far it is, if it is time to."""
        now_s = time.monotonic()
        if now_s - self._told_s < self._every_s:
            return
        self._told_s = now_s
        if self._is_terminal:
            line = progress.line()
            print(f"\r{line:<{self._columns}}", end="", file=sys.stderr, flush=True)
            self._columns = len(line)
        elif self._json:
            line = orjson.dumps({"progress": progress.figures()}).decode()
            print(line, file=sys.stderr, flush=True)
        else:
            print(progress.line(), file=sys.stderr, flush=True)

    def steps(self, what: str) -> Callable[[int, int], None]:
        """Return what is called with (done, total) as steps are done."""
        from tradebox.backtest.progress import Steps

        steps = Steps(what)

        def told(done: int, total: int) -> None:
            steps.mark(time.monotonic(), done, total)
            self.tell(steps)

        return told

    def note(self, text: str) -> None:
        """Say something once."""
        if not self._json:
            self.end()
            print(f"tradebox: {text}", file=sys.stderr)

    def end(self) -> None:
        """Leave the line."""
        if self._columns:
            self._columns = 0
            print(file=sys.stderr)
