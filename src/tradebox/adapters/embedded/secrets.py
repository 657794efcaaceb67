"""The passwords of the home: one file each, 0600, made once at random.

Rules of this file:
- a password is written whole or not at all, and never changed once written;
- nothing here prints, logs or returns a password beside its name.
"""

import contextlib
import os
import secrets
from enum import StrEnum
from pathlib import Path

from tradebox.adapters.embedded.folders import sync_dir, usable
from tradebox.config import Home, private_dir


class Login(StrEnum):
    """Who may log in; the value names the secret's file."""

    POSTGRES = "postgres"
    TRADE = "trade_rw"
    RESEARCH = "research_rw"
    CONSOLE = "console_ro"
    REDIS_OWNER = "redis_owner"
    REDIS_ENGINE = "redis_engine"
    REDIS_CONSOLE = "redis_console"


PASSWORD_BYTES = 24


def password(home: Home, login: Login) -> str:
    """Return the password of a login, making it when there is none.

    Holds:   the same password for every caller, also for two that come at once.
    Raises:  HomeUnusable.
    """
    with usable(home):
        path = private_dir(home.secrets_dir) / login.value
        try:
            return path.read_text(encoding="ascii")
        except FileNotFoundError:
            return _make(path)


def _make(path: Path) -> str:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(PASSWORD_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another made it first: theirs is the password
            os.link(draft, path)
        sync_dir(path.parent)
    finally:
        draft.unlink(missing_ok=True)
    return path.read_text(encoding="ascii")


def role_passwords(home: Home) -> dict[str, str]:
    """Return the passwords of the three PostgreSQL roles by role name."""
    return {
        login.value: password(home, login) for login in (Login.TRADE, Login.RESEARCH, Login.CONSOLE)
    }
