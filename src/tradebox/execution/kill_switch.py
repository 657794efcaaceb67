"""The kill switch: a file, a row and a flag; any one of them stops entries.

Rules of this file:
- it stops entries only: exits and stops go on;
- what cannot be read counts as set.
"""

from pathlib import Path
from typing import Final

SWITCH_NAME: Final = "kill"
_OFF: Final = frozenset({"", "off", "false", "0"})


class KillSwitch:
    """One per engine; shared by both accounts."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._row: str | None = ""
        self.reason = ""

    def set(self, reason: str) -> None:
        """Stop entries until the program ends or `clear` is called."""
        self.reason = self.reason or reason

    def clear(self) -> None:
        """Take the flag back; file and row stay as they are."""
        self.reason = ""

    def read_row(self, switches: dict[str, str] | None) -> None:
        """Take over the switches of PostgreSQL; None: it could not be read."""
        if switches is not None:
            self._row = switches.get(SWITCH_NAME, "")

    def is_set(self) -> bool:
        """Return whether entries are stopped."""
        if self.reason or (self._row or "").lower() not in _OFF:
            return True
        try:
            return self._file.exists()
        except OSError:
            return True
