"""PostgreSQL 18 under the home: make the cluster, start or adopt the server, stop it.

Rules of this file:
- Unix socket only, scram-sha-256 for every login, the superuser's and the socket's included;
- a cluster is complete when no `postgres.initialising` stands beside it; else it is made anew;
- a server that runs on the data folder and takes our password is adopted, else it is stopped;
- one starter or stopper at a time, by a lock that the kernel frees when its holder dies.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tradebox.adapters.embedded import userns
from tradebox.adapters.embedded.addresses import DATABASE, SUPERUSER, superuser_dsn
from tradebox.adapters.embedded.binaries import postgres_binary
from tradebox.adapters.embedded.folders import (
    home_unusable,
    private_dir,
    remove_socket_dir,
    socket_dir,
    socket_path,
    sync_dir,
    usable,
    write_private,
)
from tradebox.adapters.embedded.locks import locked
from tradebox.adapters.embedded.processes import (
    clean_environment,
    is_server,
    kill_rest,
    reap,
    rotate,
    servers_in,
    start_detached,
    stop_server,
    tail,
)
from tradebox.adapters.embedded.secrets import Login, password, role_passwords
from tradebox.adapters.embedded.sizes import default_memory_mb
from tradebox.adapters.postgres.connect import connected
from tradebox.adapters.postgres.roles import (
    close_maintenance_databases,
    ensure_database,
    ensure_roles,
    harden_database,
)
from tradebox.config import Home
from tradebox.errors import StoreUnavailable

MAJOR = 18
COMMAND = "postgres"
SOCKET_NAME = ".s.PGSQL.5432"
READY_S_MAX = 60.0
ADOPT_S_MAX = 5.0
INITDB_S_MAX = 120.0
CONNECTIONS_MAX = 60
LOG_BYTES_MAX = 10_000_000
POLL_S = 0.01

STOP_LADDER = ((signal.SIGINT, 3.0), (signal.SIGQUIT, 1.0), (signal.SIGKILL, 1.0))
"""Fast shutdown, then immediate, then force: within the 5 s that a run may take to stop."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers: pid, folder of its socket, and whether it ran before."""

    pid: int
    socket_dir: Path
    adopted: bool


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def find(home: Home) -> int | None:
    """Return the pid of the server that works on this home's data, or None."""
    return next(iter(servers_in(home.postgres_dir, COMMAND)), None)


def start(home: Home, memory_mb: int | None = None, *, durable: bool = True) -> Running:
    """Return a server that answers: the one that runs, or a new one.

    Units:   memory_mb: shared buffers; None = a quarter of the machine, at most 2 GB.
    durable: False gives up safety at a power cut, for throw-away data only.
    Raises:  HomeUnusable, StoreUnavailable.
    """
    with usable(home), locked(home, "postgres"):
        private_dir(home.postgres_dir.parent)
        private_dir(home.logs_dir)
        adopted = _adopt(home)
        if adopted is not None:
            return adopted
        binary = postgres_binary("postgres")
        made = _ensure_cluster(home, durable=durable)
        _check_version(home)
        way = userns.choose(home, home.postgres_dir, binary)
        running = _launch(home, way, memory_mb or default_memory_mb(), durable=durable)
        _run(_settle(home, running.socket_dir, is_new=made))
        if made:
            if durable:
                os.sync()
            _initialising(home).unlink()
            sync_dir(home.postgres_dir.parent)
        return running


def stop(home: Home) -> bool:
    """End the server in order and remove its socket folder; True when one ran.

    Raises: HomeUnusable, StoreUnavailable when it cannot be ended.
    """
    with usable(home), locked(home, "postgres"):
        return _stop(home)


def _stop(home: Home) -> bool:
    pid = find(home)
    folder = _socket_dir_of(home)
    if pid is not None:
        gone = stop_server(pid, COMMAND, home.postgres_dir, STOP_LADDER)
        if not gone or not kill_rest(home.postgres_dir, COMMAND, 1.0):
            raise StoreUnavailable(f"the embedded PostgreSQL (pid {pid}) cannot be ended", pid=pid)
    remove_socket_dir(folder)
    return pid is not None


def _initialising(home: Home) -> Path:
    return home.postgres_dir.with_name("postgres.initialising")


def _pid_file(home: Home) -> list[str]:
    try:
        return (home.postgres_dir / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []


def _socket_dir_of(home: Home) -> Path:
    """Return the folder the running (or last) server was told; TMPDIR may differ since."""
    lines = _pid_file(home)
    recorded = lines[4] if len(lines) > 4 else ""
    return Path(recorded) if recorded else home.socket_dir / "pg"


def _is_ready(home: Home, pid: int) -> bool:
    lines = _pid_file(home)
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _adopt(home: Home) -> Running | None:
    """Return the running server if it is ours and answers; end whatever else is left over."""
    if find(home) is None:
        return None
    if _initialising(home).exists():
        _stop(home)
        return None
    deadline = time.monotonic() + ADOPT_S_MAX
    while (pid := find(home)) is not None and time.monotonic() < deadline:
        if _is_ready(home, pid):
            folder = _socket_dir_of(home)
            try:
                _run(_settle(home, folder, is_new=False))
            except StoreUnavailable:
                break
            return Running(pid, folder, adopted=True)
        time.sleep(POLL_S)
    _stop(home)
    return None


async def _settle(home: Home, folder: Path, *, is_new: bool) -> None:
    """Log in as the superuser; set roles, passwords and rights to what they must be."""
    passwords = role_passwords(home)
    if is_new:
        async with connected(superuser_dsn(home, folder, "template1")) as connection:
            await ensure_roles(connection, passwords)
            await harden_database(connection)
            await close_maintenance_databases(connection)
        async with connected(superuser_dsn(home, folder, SUPERUSER)) as connection:
            await ensure_database(connection, DATABASE)
    async with connected(superuser_dsn(home, folder)) as connection:
        await ensure_roles(connection, passwords)
        if is_new:
            await harden_database(connection)


def _ensure_cluster(home: Home, *, durable: bool) -> bool:
    """Make the cluster where there is none or a half-made one; True when it is new."""
    data, flag = home.postgres_dir, _initialising(home)
    if flag.exists():
        shutil.rmtree(data, ignore_errors=True)
    elif (data / "PG_VERSION").exists():
        return False
    elif data.exists() and any(data.iterdir()):
        raise home_unusable(
            home,
            f"holds something in {data} that is no PostgreSQL cluster",
            "move that folder away",
            path=str(data),
        )
    write_private(flag, "this cluster is being made; it is made anew when this file remains\n")
    data.mkdir(mode=0o700, exist_ok=True)
    way = userns.choose(home, data, postgres_binary("initdb"))
    _initdb(home, way, durable=durable)
    return True


def _initdb(home: Home, way: userns.RunAs, *, durable: bool) -> None:
    del durable  # the whole cluster is synced once, when it is complete
    reader, writer = os.pipe()
    try:
        os.write(writer, password(home, Login.POSTGRES).encode() + b"\n")
        os.close(writer)
        done = subprocess.run(
            way.argv(
                [
                    str(postgres_binary("initdb")),
                    f"--pgdata={home.postgres_dir}",
                    f"--username={SUPERUSER}",
                    f"--pwfile=/dev/fd/{reader}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--no-sync",
                    "--no-instructions",
                ]
            ),
            env=clean_environment(),
            cwd=home.postgres_dir,
            pass_fds=(reader,),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=INITDB_S_MAX,
            check=False,
        )
    finally:
        os.close(reader)
    if done.returncode != 0:
        raise _failure(home, "initdb", done.stderr.decode("utf-8", "replace").strip())


def _failure(home: Home, what: str, said: str) -> Exception:
    """Return the error for a server program that gave up, by what it said."""
    lines = said.splitlines()
    last = "; ".join(lines[-3:]) or "it said nothing"
    if "No space left" in said or "Disk quota" in said:
        return home_unusable(home, "is full", "free space on that disk, or choose another home")
    if "Read-only file system" in said:
        return home_unusable(home, "is read-only", "mount it writable, or choose another home")
    return StoreUnavailable(f"the embedded PostgreSQL did not start ({what}): {last}", said=last)


def _check_version(home: Home) -> None:
    found = (home.postgres_dir / "PG_VERSION").read_text(encoding="ascii").strip()
    if found != str(MAJOR):
        raise home_unusable(
            home,
            f"holds a PostgreSQL {found} cluster and this tradebox brings PostgreSQL {MAJOR}",
            f"dump it with PostgreSQL {found} and load it into a new home, or choose another",
            found=found,
            wanted=str(MAJOR),
        )


def _settings(folder: Path, memory_mb: int, *, durable: bool) -> dict[str, str]:
    quoted = str(folder).replace('"', '""')
    safety = "on" if durable else "off"
    return {
        "listen_addresses": "",
        "unix_socket_directories": f'"{quoted}"',
        "unix_socket_permissions": "0700",
        "shared_buffers": f"{memory_mb}MB",
        "dynamic_shared_memory_type": "mmap",
        "max_connections": str(CONNECTIONS_MAX),
        "fsync": safety,
        "synchronous_commit": safety,
        "full_page_writes": safety,
        "password_encryption": "scram-sha-256",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %u@%d ",
        "lc_messages": "C",
    }


def _launch(home: Home, way: userns.RunAs, memory_mb: int, *, durable: bool) -> Running:
    """Start a server and wait until it takes connections."""
    _clear_left_overs(home)
    folder = socket_dir(home, "pg", owner=way.uid)
    socket_path(home, folder, f"{SOCKET_NAME}.lock")
    for left in folder.iterdir():
        left.unlink(missing_ok=True)
    log = home.logs_dir / "postgres.log"
    rotate(log, LOG_BYTES_MAX)
    said_before = log.stat().st_size if log.exists() else 0
    argv = [str(postgres_binary("postgres")), "-D", str(home.postgres_dir)]
    for name, value in _settings(folder, memory_mb, durable=durable).items():
        argv += ["-c", f"{name}={value}"]
    pid = start_detached(way.argv(argv), log)
    deadline = time.monotonic() + READY_S_MAX
    while not _is_ready(home, pid):
        if reap(pid):
            remove_socket_dir(folder)
            raise _failure(home, "postgres", tail(log, said_before))
        if time.monotonic() >= deadline:
            _stop(home)
            raise StoreUnavailable(
                f"the embedded PostgreSQL was not ready within {READY_S_MAX:.0f} s: see {log}",
                limit_s=READY_S_MAX,
            )
        time.sleep(POLL_S)
    return Running(pid, folder, adopted=False)


def _clear_left_overs(home: Home) -> None:
    """End orphans of a killed server, and forget a pid file whose pid is someone else's now.

    PostgreSQL itself trusts the pid in postmaster.pid and would refuse to start beside a stranger
    that was given the same number; it is removed only when no process of the cluster is left.
    """
    if not kill_rest(home.postgres_dir, COMMAND, 2.0):
        raise StoreUnavailable("processes of a killed PostgreSQL cannot be ended")
    lines = _pid_file(home)
    if lines and not is_server(abs(int(lines[0] or 0)), COMMAND, home.postgres_dir):
        (home.postgres_dir / "postmaster.pid").unlink()
