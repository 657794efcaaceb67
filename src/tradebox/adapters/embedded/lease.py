"""Who uses the embedded servers: each command by a shared lock, and the last one out stops them.

Rules of this file:
- a user of the stores holds `lease.lock` shared; stopping needs it exclusive, so it is never done
  beneath a user;
- `tradebox run` holds the engine lock instead: while it does, nobody but its own stop ends them;
- a run that ends while commands still work leaves the servers to them, by the file `stores.left`.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tradebox.adapters.embedded import postgres, valkey
from tradebox.adapters.embedded.addresses import StoreAddresses, store_addresses
from tradebox.adapters.embedded.folders import usable
from tradebox.adapters.embedded.locks import open_lock, take_lock, try_lock
from tradebox.config import Home, Settings

LEASE_WAIT_S_MAX = 30.0
STOP_TRY_S = 0.5
_POLL_S = 0.01
SERVERS = ("postgres", "valkey")


def _left_file(home: Home) -> Path:
    return home.lease_lock.with_name("stores.left")


@contextlib.contextmanager
def _shared(home: Home) -> Iterator[int]:
    with usable(home):
        handle = open_lock(home.lease_lock)
    try:
        take_lock(handle, "the embedded stores", LEASE_WAIT_S_MAX, shared=True)
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def barrier(home: Home) -> Iterator[None]:
    """Start servers inside: never while a last one out is stopping them."""
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
    with _shared(home) as handle:
        folders: dict[str, Path] = {}
        try:
            if settings.postgres.url is None:
                running = postgres.start(home, settings.postgres.memory_mb)
                folders["postgres_folder"] = running.socket_dir
            if settings.redis.url is None:
                folders["redis_folder"] = valkey.start(home, settings.redis.memory_mb).socket_dir
            yield store_addresses(home, settings, **folders)
        finally:
            _last_one_out(home, handle)


def _last_one_out(home: Home, handle: int) -> None:
    """Stop the servers if nobody else uses them; the caller's lock is given up either way."""
    if not try_lock(handle):
        return
    if _left_file(home).exists() or not _engine_runs(home):
        stop_servers(home, SERVERS)
        _left_file(home).unlink(missing_ok=True)


def _engine_runs(home: Home) -> bool:
    handle = open_lock(home.engine_lock)
    try:
        return not try_lock(handle)
    finally:
        os.close(handle)


def stop_servers(home: Home, names: Sequence[str]) -> list[str]:
    """Stop the named servers and return those that ran."""
    stops = {"postgres": postgres.stop, "valkey": valkey.stop}
    return [name for name in names if stops[name](home)]


def stop_unless_leased(home: Home, names: Sequence[str]) -> list[str] | None:
    """Stop the servers of a run that ends; None = commands still use them and stop them later."""
    with usable(home):
        handle = open_lock(home.lease_lock)
        try:
            _left_file(home).touch(mode=0o600)
            deadline = time.monotonic() + STOP_TRY_S
            while not try_lock(handle):
                if time.monotonic() >= deadline:
                    return None
                time.sleep(_POLL_S)
            return stop_servers(home, names)
        finally:
            os.close(handle)
