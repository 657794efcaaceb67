"""Turning this process into the console."""

import os
import sys
from typing import NoReturn

from tradebox.config import Home


def become_console(home: Home, screen: str) -> NoReturn:
    """Replace this process by the console of a home."""
    command = [sys.executable, "-m", "tradebox_tui", "--home", str(home.root), "--screen", screen]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter and module
