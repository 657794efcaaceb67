"""The kill switch: a file, a row and a flag; any one of them stops entries.

Rules of this file:
- it stops entries only: exits and stops go on;
- what cannot be read counts as set;
- a pause is the same for one account: a row and a flag of its own name.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from tradebox.config import private_dir
from tradebox.domain.orders import AccountName

SWITCH_NAME: Final = "kill"
PAUSE_NAME: Final = "pause"
OFF: Final = frozenset({"", "off", "false", "0"})


def pause_name(account: AccountName) -> str:
    """Return the name of an account's pause among the switches."""
    return f"{PAUSE_NAME}.{account.value}"


def drill_name(account: AccountName) -> str:
    """Return the name of the switch that holds the symbol of a drill under way."""
    return f"drill.{account.value}"


class KillSwitch:
    """One per engine; shared by both accounts."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._rows: dict[str, str] = {}
        self._paused: dict[AccountName, str] = {}
        self.reason = ""

    def set(self, reason: str) -> bool:
        """Stop entries in memory and by the file, until a person resumes; False if it was set."""
        if self.reason:
            return False
        self.reason = reason
        write_kill_file(self._file, reason)
        return True

    def clear(self) -> None:
        """Take flag and file back; the row stays, and a file that cannot go still stops."""
        self.reason = ""
        with suppress(OSError):
            self._file.unlink()

    def pause(self, account: AccountName, reason: str) -> None:
        """Stop the entries of one account."""
        self._paused[account] = reason or "paused"

    def resume(self, account: AccountName) -> None:
        """Let an account enter again, as far as this flag goes."""
        self._paused.pop(account, None)
        self._rows.pop(pause_name(account), None)

    def read_row(self, switches: dict[str, str] | None) -> None:
        """Take over the switches of PostgreSQL; None: they could not be read."""
        if switches is not None:
            self._rows = dict(switches)

    def drilled(self, account: AccountName) -> str:
        """Return the symbol that a drill uses now, or ""."""
        return self._rows.get(drill_name(account), "")

    def is_set(self, account: AccountName | None = None) -> bool:
        """Return whether entries are stopped: all, or those of one account."""
        if self.reason or self._is_on(SWITCH_NAME):
            return True
        if account is not None and (account in self._paused or self._is_on(pause_name(account))):
            return True
        try:
            return self._file.exists()
        except OSError:
            return True

    def _is_on(self, name: str) -> bool:
        return self._rows.get(name, "").lower() not in OFF


def write_kill_file(file: Path, reason: str) -> bool:
    """Make the file that stops entries; False where the disk does not take it."""
    try:
        private_dir(file.parent)
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(reason + "\n")
            opened.flush()
            os.fsync(opened.fileno())
    except OSError:
        return False
    return True
