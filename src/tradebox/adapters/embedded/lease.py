"""Who uses the embedded servers: each command by a shared lock, and the last one out stops them.

Rules of this file:
- a user of the stores holds `lease.lock` shared; stopping needs it exclusive, so it is never done
  beneath a user;
- `tradebox run` holds the engine lock instead: while it does, nobody but its own stop ends them;
- a run that ends while commands still work leaves the servers to them, by the file `stores.left`;
- a command or a run that is killed has a last word: what it alone used is stopped behind it.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tradebox.adapters.embedded import postgres, valkey
from tradebox.adapters.embedded.addresses import StoreAddresses, store_addresses
from tradebox.adapters.embedded.folders import remove_socket_dir, usable
from tradebox.adapters.embedded.last_word import LastWord
from tradebox.adapters.embedded.locks import wait_for
from tradebox.config import Home, Settings, private_dir
from tradebox.errors import StoreUnavailable
from tradebox.supervision.locks import LockHeld, hold_exclusive, hold_shared

LEASE_WAIT_S_MAX = 30.0
STOP_TRY_S = 0.5
SERVERS = ("postgres", "valkey")


def _left_file(home: Home) -> Path:
    return home.lease_lock.with_name("stores.left")


def _shared(home: Home) -> LockHeld:
    return wait_for(home, home.lease_lock, hold_shared, LEASE_WAIT_S_MAX)


@contextlib.contextmanager
def barrier(home: Home) -> Iterator[None]:
    """Start the servers of a run inside: never while a last one out is stopping them."""
    with _shared(home):
        _left_file(home).unlink(missing_ok=True)
        yield


@contextlib.contextmanager
def stores(home: Home, settings: Settings) -> Iterator[StoreAddresses]:
    """Give a command the stores: started, adopted or external; the last one out stops ours.

    Raises: HomeUnusable, StoreUnavailable, ConfigInvalid.
    """
    if settings.postgres.url is not None and settings.redis.url is not None:
        yield store_addresses(home, settings)
        return
    with LastWord(home):
        lease = _shared(home)
        try:
            yield _started(home, settings)
        finally:
            _leave(home, lease)


def _started(home: Home, settings: Settings) -> StoreAddresses:
    folders: dict[str, Path] = {}
    if settings.postgres.url is None:
        running = postgres.start(home, settings.postgres.memory_mb)
        folders["postgres_folder"] = running.socket_dir
    if settings.redis.url is None:
        folders["redis_folder"] = valkey.start(home, settings.redis.memory_mb).socket_dir
    return store_addresses(home, settings, **folders)


def revive(home: Home, settings: Settings) -> None:
    """Start again what died beneath a holder of the lease; a run's launcher does that itself.

    Raises: HomeUnusable, StoreUnavailable.
    """
    if not _engine_runs(home):
        _started(home, settings)


def _leave(home: Home, lease: LockHeld) -> None:
    """Give the lease back; stop the servers when nobody else uses them."""
    if not lease.last_out():
        return
    with lease:
        _stop_unused(home)


def sweep(home: Home) -> list[str] | None:
    """Stop what a killed command left behind; None = others use it and stop it later."""
    if not home.lease_lock.exists():
        return []
    lease = hold_exclusive(home.lease_lock)
    if lease is None:
        return None
    with lease:
        stopped = _stop_unused(home)
        _remove_control(home)
        return stopped


def _remove_control(home: Home) -> None:
    """Remove the control socket of a run that was killed."""
    lock = hold_exclusive(home.engine_lock)
    if lock is not None:
        with lock:
            remove_socket_dir(home, home.control_socket.parent)


def _stop_unused(home: Home) -> list[str]:
    """Stop the servers unless a run uses them; only for who holds the lease exclusively."""
    if not _left_file(home).exists() and _engine_runs(home):
        return []
    stopped = stop_servers(home, SERVERS)
    _left_file(home).unlink(missing_ok=True)
    return stopped


def _engine_runs(home: Home) -> bool:
    lock = hold_shared(home.engine_lock)
    if lock is None:
        return True
    lock.release()
    return False


def stop_servers(home: Home, names: Sequence[str]) -> list[str]:
    """Stop the named servers and return those that ran."""
    stops = {"postgres": postgres.stop, "valkey": valkey.stop}
    return [name for name in names if stops[name](home)]


def stop_unless_leased(home: Home, names: Sequence[str]) -> list[str] | None:
    """Stop the servers of a run that ends; None = commands still use them and stop them later."""
    with usable(home):
        private_dir(home.lease_lock.parent)
        _left_file(home).touch(mode=0o600)
    try:
        lease = wait_for(home, home.lease_lock, hold_exclusive, STOP_TRY_S)
    except StoreUnavailable:
        return None
    with lease:
        return stop_servers(home, names)
