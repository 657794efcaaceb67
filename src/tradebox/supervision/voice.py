"""What the launcher says to people: lines, errors, and the last line of all.

Rules of this file:
1. While the console has the terminal nothing is written over it: lines are dropped (the log
   files have them), errors wait until the console is gone.
2. The summary is the very last line of stdout.
"""

from __future__ import annotations

from typing import Final

from tradebox.supervision.launch_options import LauncherOptions
from tradebox.supervision.output import Output
from tradebox.supervision.poller import Poller
from tradebox.supervision.terminal import LEAVE_FULL_SCREEN

LAST_FLUSH_MS: Final = 2_000
ERRORS_KEPT_MAX: Final = 100


class Voice:
    """Writes to stdout and stderr without ever waiting, the last flush excepted."""

    def __init__(self, poller: Poller, options: LauncherOptions) -> None:
        self._options = options
        self._out = Output(poller, 1)
        self._err = Output(poller, 2)
        self._is_muted = False
        self._kept: list[str] = []

    def tell(self, event: str, **fields: object) -> None:
        """Say what happened, as the composition root words it."""
        try:
            text = self._options.render(event, fields)
        except Exception as fault:  # noqa: BLE001 - a wording must not end the run
            text = f"{event} {fields} (cannot be worded: {fault!r})"
        if text is not None:
            self.line(text)

    def line(self, text: str) -> None:
        """Write a line to stdout."""
        if not self._is_muted:
            self._out.line(text)

    def aside(self, text: str) -> None:
        """Write a line to stderr that may be lost."""
        if not self._is_muted:
            self._err.line(text)

    def error(self, text: str) -> None:
        """Write a line to stderr, after the console if there is one."""
        if not self._is_muted:
            self._err.line(text, is_last_word=True)
        elif len(self._kept) < ERRORS_KEPT_MAX:
            self._kept.append(text)

    def mute(self) -> None:
        """The console has the terminal."""
        self._is_muted = True

    def unmute(self, *, is_broken: bool) -> None:
        """The terminal is ours again; a console that broke has not cleaned up."""
        if self._is_muted and is_broken:
            self._out.line(LEAVE_FULL_SCREEN)
        self._is_muted = False
        for text in self._kept:
            self.error(text)
        self._kept.clear()

    def finish(self, summary: str | None) -> None:
        """Write what is left, the summary last."""
        self.unmute(is_broken=False)
        self._err.finish(LAST_FLUSH_MS)
        if summary is not None:
            self._out.line(summary, is_last_word=True)
        self._out.finish(LAST_FLUSH_MS)
