"""The kill switch: a file, a row and a flag; any one of them stops entries.

Rules of this file:
- it stops entries only: exits and stops go on;
- what cannot be read counts as set, but withdraws nothing;
- it is one for all, or of one symbol; a pause is the same for one account. Each has a name, and by
  it a file, a row and a flag of its own.
"""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from tradebox.config import private_dir
from tradebox.domain.orders import AccountName

SWITCH_NAME: Final = "kill"
PAUSE_NAME: Final = "pause"
OFF: Final = frozenset({"", "off", "false", "0"})
_SYMBOL: Final = re.compile(r"[A-Z][A-Z0-9.\-]{0,11}")


def kill_name(symbol: str = "") -> str:
    """Return the name of the kill switch, or of one symbol's, among the switches."""
    return f"{SWITCH_NAME}.{symbol}" if symbol else SWITCH_NAME


def pause_name(account: AccountName) -> str:
    """Return the name of an account's pause among the switches."""
    return f"{PAUSE_NAME}.{account.value}"


def drill_name(account: AccountName) -> str:
    """Return the name of the switch that holds the symbol of a drill under way."""
    return f"drill.{account.value}"


def is_symbol(text: str) -> bool:
    """Say whether a switch may be named after it: what is no symbol could name any file."""
    return _SYMBOL.fullmatch(text) is not None


def switch_file(kill_file: Path, name: str) -> Path:
    """Return the file of a switch: KILL, KILL.AAPL, PAUSE.paper."""
    word, dot, whose = name.partition(".")
    begins = kill_file.name if word == SWITCH_NAME else word.upper()
    return kill_file.with_name(f"{begins}{dot}{whose}")


class KillSwitch:
    """One per engine; shared by both accounts."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._rows: dict[str, str] = {}
        self._flags: dict[str, str] = {}
        """Reasons by the switches' names."""

    @property
    def reason(self) -> str:
        """Why all entries were stopped by the flag; "" = they are not."""
        return self._flags.get(SWITCH_NAME, "")

    def set(self, reason: str, symbol: str = "") -> bool:
        """Stop entries in memory and by the file, until a person resumes; False if it was set."""
        return self._stop(kill_name(symbol), reason)

    def clear(self, symbol: str = "") -> None:
        """Take flag and file back; the row stays, and a file that cannot go still stops."""
        self._lift(kill_name(symbol))

    def pause(self, account: AccountName, reason: str) -> None:
        """Stop the entries of one account."""
        self._stop(pause_name(account), reason or "paused")

    def resume(self, account: AccountName) -> None:
        """Let an account enter again, as far as its pause goes."""
        self._lift(pause_name(account))
        self._rows.pop(pause_name(account), None)

    def read_row(self, switches: dict[str, str] | None) -> None:
        """Take over the switches of PostgreSQL; None: they could not be read."""
        if switches is not None:
            self._rows = dict(switches)

    def drilled(self, account: AccountName) -> str:
        """Return the symbol that a drill uses now, or ""."""
        return self._rows.get(drill_name(account), "")

    def is_set(self, account: AccountName | None = None, symbol: str = "") -> bool:
        """Return whether entries are stopped: all, those of one account, or of one symbol."""
        return bool(self.stopped_by(account, symbol))

    def withdraws(self, symbol: str) -> bool:
        """Return whether entries that rest are to go: a disk that hiccups ends no plan."""
        return any(self.is_on(name, if_unread=False) for name in (SWITCH_NAME, kill_name(symbol)))

    def stopped_by(self, account: AccountName | None = None, symbol: str = "") -> str:
        """Return the name of a switch that stops an entry, or ""."""
        names = [SWITCH_NAME]
        if account is not None:
            names.append(pause_name(account))
        if symbol:
            names.append(kill_name(symbol))
        return next((name for name in names if self.is_on(name)), "")

    def is_on(self, name: str, *, if_unread: bool = True) -> bool:
        """Return whether flag, row or file of a switch is there."""
        if name in self._flags or self._rows.get(name, "").lower() not in OFF:
            return True
        try:
            os.stat(switch_file(self._file, name))  # noqa: PTH116 - on the way of every entry
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return if_unread
        return True

    def _stop(self, name: str, reason: str) -> bool:
        if name in self._flags:
            return False
        self._flags[name] = reason
        write_kill_file(switch_file(self._file, name), reason)
        return True

    def _lift(self, name: str) -> None:
        self._flags.pop(name, None)
        with suppress(OSError):
            switch_file(self._file, name).unlink()


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
