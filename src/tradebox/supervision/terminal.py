"""Lending the terminal to one child and taking it back in one piece.

Rules of this file:
1. The launcher stays in the terminal's session, because only there can it lend the terminal;
   every child but the borrower has a session of its own and never sees its signals.
2. While the terminal is lent, Ctrl-C reaches the borrower's group alone.
3. Taking it back restores the mode it had, whatever the borrower did; a terminal that is gone
   is no error.
4. Who runs in the background, or without a terminal on both ends, has nothing to lend.
"""

from __future__ import annotations

import contextlib
import os
import termios
from typing import Final

_MODES_OFF: Final = (1000, 1002, 1003, 1004, 1006, 2004, 1049)
LEAVE_FULL_SCREEN: Final = "".join(f"\x1b[?{mode}l" for mode in _MODES_OFF) + "\x1b[?25h\x1b[0m"
"""Mouse, paste and focus reports off, main screen, visible cursor: for a borrower that died."""


class Terminal:
    """The terminal of this process, if it may be lent at all."""

    def __init__(self, stdin: int = 0, stdout: int = 1) -> None:
        self._fd = stdin
        self._stdout = stdout
        self._mode: list[object] | None = None

    @property
    def is_ours(self) -> bool:
        """Whether both ends are a terminal and we are in its foreground."""
        try:
            on_both = os.isatty(self._fd) and os.isatty(self._stdout)
            return on_both and os.tcgetpgrp(self._fd) == os.getpgrp()
        except OSError:
            return False

    @property
    def fd(self) -> int:
        """The descriptor whose foreground group is set."""
        return self._fd

    def lend(self) -> None:
        """Remember the terminal's mode; the borrower then takes the foreground."""
        with contextlib.suppress(termios.error):
            self._mode = termios.tcgetattr(self._fd)

    def give_to(self, group: int) -> None:
        """Put `group` in the foreground."""
        with contextlib.suppress(OSError):
            os.tcsetpgrp(self._fd, group)

    def take_back(self) -> None:
        """Return to the foreground and restore the mode (SIGTTOU is ignored here)."""
        if self._mode is None:
            return
        mode, self._mode = self._mode, None
        with contextlib.suppress(OSError):
            os.tcsetpgrp(self._fd, os.getpgrp())
        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(self._fd, termios.TCSANOW, mode)  # type: ignore[arg-type]
