"""Real PostgreSQL and Valkey for tests: one pair per worker, a fresh database per test.

Rules of this file:
- everything lives in one temporary home per worker, gone at the session's end;
- a guard process ends the servers also when the worker is killed.
"""

import asyncio
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tradebox.adapters.embedded import postgres, valkey
from tradebox.adapters.embedded.addresses import (
    REDIS_SOCKET,
    postgres_dsn,
    redis_url,
    superuser_dsn,
)
from tradebox.adapters.embedded.secrets import Login, password, role_passwords
from tradebox.adapters.postgres.connect import connected
from tradebox.adapters.postgres.migrate import migrate
from tradebox.adapters.postgres.roles import harden_database
from tradebox.config import Home, Settings

MEMORY_MB = 32
SETTINGS = Settings()
_GUARD = """
cat >/dev/null
for home in "$1"/*; do
    [ -d "$home" ] && "$0" -m tradebox.adapters.embedded stop --home "$home" --force
done
rm -rf "$1"
"""


SHARED_MEMORY = Path("/dev/shm")
ROOM_BYTES_MIN = 2_000_000_000


def make_place() -> Path:
    """Return a new folder; in memory where there is room, a cluster is a thousand files."""
    place = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    if place is not None and shutil.disk_usage(place).free < ROOM_BYTES_MIN:
        place = None
    return Path(tempfile.mkdtemp(prefix="tradebox-test-", dir=place))


def make_home() -> Home:
    """Return a new empty home, for tests that start no server in it."""
    return Home(make_place())


def in_thread(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine beside whatever loop this thread has."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


def in_database(dsn: str, name: str) -> str:
    """Return the URL with another database."""
    head, _, tail = dsn.partition("/tradebox?")
    assert tail, "the URL is an embedded server's"
    return f"{head}/{quote(name)}?{tail}"


def dsn_of(home: Home, login: Login, name: str = "tradebox") -> str:
    return in_database(postgres_dsn(home, SETTINGS, login), name)


def stop_all(home: Home) -> None:
    postgres.stop(home)
    valkey.stop(home)


class Stores:
    """The servers of one worker, started when first asked for."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.place = make_place()
        self.home = self.make_home("shared")
        self._has_postgres = False
        self._has_valkey = False
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, sys.executable, str(self.place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )

    def close(self) -> None:
        try:
            stop_all(self.home)
        finally:
            shutil.rmtree(self.place, ignore_errors=True)
            self._guard.communicate()

    def make_home(self, name: str | None = None) -> Home:
        """Return a new empty home that is guarded; who asked stops what runs in it."""
        path = self.place / (name or f"home{next(self.numbers)}")
        path.mkdir(mode=0o700)
        return Home(path)

    def need_postgres(self) -> None:
        """Start PostgreSQL and make the migrated template, once."""
        if not self._has_postgres:
            postgres.start(self.home, MEMORY_MB, durable=False)
            in_thread(migrate(superuser_dsn(self.home), role_passwords(self.home)))
            self._has_postgres = True

    def need_valkey(self) -> None:
        if not self._has_valkey:
            valkey.start(self.home, 64)
            self._has_valkey = True

    def make_database(self) -> str:
        """Return the name of a new migrated database."""
        self.need_postgres()
        name = f"t{next(self.numbers)}"
        in_thread(self._make_database(name))
        return name

    async def _make_database(self, name: str) -> None:
        async with connected(superuser_dsn(self.home, database="postgres")) as connection:
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE tradebox STRATEGY FILE_COPY")
        async with connected(superuser_dsn(self.home, database=name)) as connection:
            await harden_database(connection)

    def drop_database(self, name: str) -> None:
        in_thread(self._drop_database(name))

    async def _drop_database(self, name: str) -> None:
        async with connected(superuser_dsn(self.home, database="postgres")) as connection:
            await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def redis(self, login: Login) -> str:
        self.need_valkey()
        return redis_url(self.home, SETTINGS, login)

    def flush_redis(self) -> None:
        self.need_valkey()
        redis_command(self.home, "FLUSHALL")


def redis_command(home: Home, *words: str) -> bytes:
    """Send one command as the owner and return the raw answer."""
    login = ("AUTH", "owner", password(home, Login.REDIS_OWNER))
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(5)
        peer.connect(str(home.socket_dir / "valkey" / REDIS_SOCKET))
        for command in (login, words):
            text = f"*{len(command)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in command)
            peer.sendall(text.encode())
            answer = peer.recv(65536)
            assert not answer.startswith(b"-"), answer
    return answer
