"""`tradebox run`: takes the home, counts the boot, and hands over to the launcher.

Rules of this file:
- refusals (home, lock, configuration) come before anything is started;
- the lock of the home is held by this process until its end, and inherited by no child;
- a launcher that is killed has a last word: the embedded servers it left are stopped behind it.
"""

import contextlib
import os
import secrets
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tradebox.adapters.embedded.folders import (
    check_socket_dir,
    remove_socket_dir,
    socket_dir,
    usable,
)
from tradebox.adapters.embedded.last_word import LastWord
from tradebox.adapters.embedded.locks import wait_for
from tradebox.app.options import RunOptions
from tradebox.app.places import write_console_places
from tradebox.app.servers import server_specs
from tradebox.app.words import event_renderer
from tradebox.config import Home, Settings, private_dir
from tradebox.errors import HomeUnusable, StoreUnavailable
from tradebox.ports.journal import RunOpened
from tradebox.supervision.launch_options import LauncherOptions
from tradebox.supervision.launcher import Launcher
from tradebox.supervision.locks import LockHeld, hold_exclusive
from tradebox.supervision.preload import FENCED

PRELOAD = (
    "uvloop", "ib_async", "asyncpg", "redis", "httpx", "websockets", "tradebox.app.engine",
    "_strptime", "httpcore._backends.anyio", "anyio._backends._asyncio", "anyio.streams.tls",
    "importlib.readers",
)  # fmt: skip
OPTIONAL = ("sniffio",)
"""Looked for at each request by httpcore, on the disk, though it is not installed."""
CONTROL_FOLDER = "control"
MANAGERS = ("managers.manager_a", "managers.manager_b")
"""One of them must live, or nobody watches the actors that exist once."""

TAKE_S_MAX = 0.5


def run(home: Home, settings: Settings, options: RunOptions) -> int:
    """Run until asked to stop and return the exit code.

    Raises: HomeUnusable, ConfigInvalid before anything is started.
    """
    with usable(home):
        for folder in (home.root, home.root / "run", home.logs_dir, home.secrets_dir):
            private_dir(folder)
    lock = _taken(home)
    try:
        return _run_held(home, settings, options)
    finally:
        lock.release()


def _taken(home: Home) -> LockHeld:
    """Return the lock of the home; a command that leaves looks at it for a moment."""
    try:
        return wait_for(home, home.engine_lock, hold_exclusive, TAKE_S_MAX)
    except StoreUnavailable:
        raise HomeUnusable(
            f"home {home.root}: another `tradebox run` uses it:"
            " stop that one (see `tradebox status`) or choose another --home"
        ) from None


def _run_held(home: Home, settings: Settings, options: RunOptions) -> int:
    """Run with the home in our hands; what was made outside it goes away whatever happens."""
    with usable(home):
        check_socket_dir(home, f"{CONTROL_FOLDER}/{home.control_socket.name}")
        boot_epoch = next_boot_epoch(home.boot_epoch_file)
        folder = socket_dir(home, CONTROL_FOLDER)
    try:
        with usable(home):
            write_console_places(home, settings)
        opened = RunOpened(
            f"{boot_epoch:06d}-{secrets.token_hex(3)}",
            boot_epoch,
            settings.profile,
            product_version(),
        )
        launcher = Launcher(
            server_specs(home, settings, console=options.console),
            _engine(home, settings, options, opened),
            PRELOAD,
            _launcher_options(home, settings, options, boot_epoch, folder),
        )
        is_embedded = settings.postgres.url is None or settings.redis.url is None
        with LastWord(home) if is_embedded else contextlib.nullcontext():
            return launcher.run()
    finally:
        remove_socket_dir(home, folder)


def next_boot_epoch(path: Path) -> int:
    """Count one start of this home and return its number; fsynced before anything uses it.

    Raises: OSError. HomeUnusable where the file is no number.
    """
    try:
        known = int(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        known = 0
    except ValueError as error:
        raise HomeUnusable(
            f"{path}: not a number: restore it from a backup; its number must never go back"
        ) from error
    fresh = path.with_suffix(".new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, str(known + 1).encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    fresh.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return known + 1


def product_version() -> str:
    """Return the installed version, or the source tree's."""
    try:
        return version("tradebox")
    except PackageNotFoundError:
        return "0+source"


def _engine(home: Home, settings: Settings, options: RunOptions, opened: RunOpened) -> Any:
    def engine(context: Any) -> int:
        from tradebox.app.engine import engine_of

        return engine_of(home, settings, options, opened)(context)

    return engine


def _launcher_options(
    home: Home, settings: Settings, options: RunOptions, boot_epoch: int, folder: Path
) -> LauncherOptions:
    from tradebox.app.summary import render_json, render_text

    limits = settings.launcher
    return LauncherOptions(
        post_mortem_folder=home.logs_dir / "post-mortem",
        control_path=folder / home.control_socket.name,
        boot_epoch=boot_epoch,
        run_s=options.run_s,
        leash_ms=limits.leash_ms,
        deaths_max=limits.deaths_max,
        deaths_period_s=limits.deaths_period_s,
        stop_s_max=limits.stop_s_max,
        quorum=MANAGERS,
        fenced=(*FENCED, *OPTIONAL),
        render=event_renderer(settings, as_json=options.as_json),
        render_summary=render_json if options.as_json else render_text,
    )
