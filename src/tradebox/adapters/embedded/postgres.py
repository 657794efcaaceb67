"""PostgreSQL 18 under the home: start or adopt the server, stop it.

Rules of this file:
- Unix socket only, scram-sha-256 for every login, the superuser's and the socket's included;
- a server that runs on the data folder and takes our password is adopted, else it is stopped;
- one starter or stopper at a time, by a lock that the kernel frees when its holder dies.
"""

import asyncio
import signal
import time
from enum import Enum, auto
from pathlib import Path

from tradebox.adapters.embedded import userns
from tradebox.adapters.embedded.addresses import (
    DATABASE,
    POSTGRES_FOLDER,
    SUPERUSER,
    superuser_dsn,
)
from tradebox.adapters.embedded.binaries import postgres_binary
from tradebox.adapters.embedded.cluster import (
    check_version,
    complete,
    ensure_cluster,
    initialising,
    start_failure,
)
from tradebox.adapters.embedded.folders import (
    check_socket_dir,
    home_unusable,
    socket_dir,
    usable,
)
from tradebox.adapters.embedded.locks import locked
from tradebox.adapters.embedded.secrets import Login, role_passwords
from tradebox.adapters.embedded.server import Running, Server
from tradebox.adapters.embedded.sizes import default_memory_mb
from tradebox.adapters.postgres.connect import connected
from tradebox.adapters.postgres.roles import (
    ensure_database,
    ensure_roles,
    harden_database,
    harden_template,
)
from tradebox.config import Home, private_dir
from tradebox.errors import HomeUnusable, StoreUnavailable
from tradebox.supervision.locks import LockHeld

SOCKET_NAME = ".s.PGSQL.5432"
READY_S_MAX = 60.0
CONNECTIONS_MAX = 60
POLL_S = 0.01

STOP_LADDER = ((signal.SIGINT, 3.0), (signal.SIGQUIT, 1.0), (signal.SIGKILL, 1.0))
"""Fast shutdown, then immediate, then force: within the 5 s that a run may take to stop."""


def server_of(home: Home) -> Server:
    """Return the PostgreSQL of this home, running or not."""
    return Server(home, "postgres", "postgres", home.postgres_dir, STOP_LADDER)


def find(home: Home) -> int | None:
    """Return the pid of the server that works on this home's data, or None."""
    return server_of(home).find()


def start(home: Home, memory_mb: int | None = None, *, durable: bool = True) -> Running:
    """Return a server that answers: the one that runs, or a new one.

    Units:   memory_mb: shared buffers; None = a quarter of the machine, at most 2 GB.
    durable: False gives up safety at a power cut, for throw-away data only.
    Raises:  HomeUnusable, StoreUnavailable.
    """
    with usable(home), locked(home, "postgres") as lock:
        private_dir(home.postgres_dir.parent)
        private_dir(home.logs_dir)
        adopted = _adopt(home)
        if adopted is not None:
            return adopted
        check_socket_dir(home, f"{POSTGRES_FOLDER}/{SOCKET_NAME}.lock")
        try:
            return _start_new(home, lock, memory_mb or default_memory_mb(), durable=durable)
        except BaseException:
            _stop(home)
            raise


def _start_new(home: Home, lock: LockHeld, memory_mb: int, *, durable: bool) -> Running:
    binary = postgres_binary("postgres")
    made = ensure_cluster(home, lock)
    check_version(home)
    way = userns.choose(home, home.postgres_dir, binary)
    running = _launch(home, way, memory_mb, durable=durable)
    try:
        asyncio.run(_settle(home, running.socket_dir, is_new=made))
    except StoreUnavailable as error:
        raise (_locked_out(home) if error.fields.get("is_refused") else error) from error
    if made:
        complete(home)
    return running


def stop(home: Home) -> bool:
    """End the server in order and remove its socket folder; True when one ran.

    Raises: HomeUnusable, StoreUnavailable when it cannot be ended.
    """
    with usable(home), locked(home, "postgres"):
        return _stop(home)


def _stop(home: Home) -> bool:
    return server_of(home).end(_socket_dir_of(home))


def _pid_file(home: Home) -> list[str]:
    try:
        return (home.postgres_dir / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []


def _socket_dir_of(home: Home) -> Path:
    """Return the folder the running (or last) server was told; TMPDIR may differ since."""
    lines = _pid_file(home)
    recorded = lines[4] if len(lines) > 4 else ""
    return Path(recorded) if recorded else home.socket_dir / POSTGRES_FOLDER


def _is_ready(home: Home, pid: int) -> bool:
    lines = _pid_file(home)
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


def _adopt(home: Home) -> Running | None:
    """Return the running server if it is ours and answers; end whatever else is left over.

    Raises: HomeUnusable when it refuses our password; StoreUnavailable when it answers but is
            overloaded: it may serve a run, so it is left alone.
    """
    if initialising(home).exists():
        _stop(home)
        return None
    server, deadline = server_of(home), time.monotonic() + READY_S_MAX
    while not server.is_gone() and time.monotonic() < deadline:
        pid, folder = server.find(), _socket_dir_of(home)
        found = _login(home, folder) if pid and _is_ready(home, pid) else _Login.NOT_YET
        if found is _Login.DONE and pid is not None:
            return Running(pid, folder, adopted=True)
        if found is _Login.NEVER:
            break
        time.sleep(POLL_S)
    _stop(home)
    return None


class _Login(Enum):
    """How a login as the superuser ended."""

    DONE = auto()
    NOT_YET = auto()
    NEVER = auto()


def _login(home: Home, folder: Path) -> _Login:
    """Try to log in as the superuser; NEVER means that nobody can reach this server any more."""
    try:
        asyncio.run(_log_in(home, folder))
    except StoreUnavailable as error:
        if error.fields.get("is_passing") or isinstance(error.__cause__, TimeoutError):
            return _Login.NOT_YET
        if isinstance(error.__cause__, OSError):
            return _Login.NEVER
        if error.fields.get("is_refused"):
            raise _locked_out(home) from error
        raise
    return _Login.DONE


async def _log_in(home: Home, folder: Path) -> None:
    async with connected(superuser_dsn(home, folder)) as connection:
        await connection.fetchval("SELECT 1")


def _locked_out(home: Home) -> HomeUnusable:
    return home_unusable(
        home,
        f"holds a cluster that refuses the password in {home.secrets_dir / Login.POSTGRES.value}",
        "restore the secrets folder that belongs to this cluster, or choose another home",
        path=str(home.secrets_dir),
    )


async def _settle(home: Home, folder: Path, *, is_new: bool) -> None:
    """Set roles, passwords and rights to what they must be."""
    passwords = role_passwords(home)
    if is_new:
        async with connected(superuser_dsn(home, folder, "template1")) as connection:
            await ensure_roles(connection, passwords)
            await harden_template(connection)
        async with connected(superuser_dsn(home, folder, SUPERUSER)) as connection:
            await ensure_database(connection, DATABASE)
    async with connected(superuser_dsn(home, folder)) as connection:
        await (harden_database(connection) if is_new else ensure_roles(connection, passwords))


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
        "synchronous_commit": "on",
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
    folder = socket_dir(home, POSTGRES_FOLDER, owner=way.uid)
    for left in folder.iterdir():
        left.unlink(missing_ok=True)
    argv = [str(postgres_binary("postgres")), "-D", str(home.postgres_dir)]
    for name, value in _settings(folder, memory_mb, durable=durable).items():
        argv += ["-c", f"{name}={value}"]
    pid = server_of(home).launch(
        way.argv(argv),
        lambda pid: _is_ready(home, pid),
        lambda said: start_failure(home, "postgres", said),
        READY_S_MAX,
    )
    return Running(pid, folder, adopted=False)


def _clear_left_overs(home: Home) -> None:
    """Forget the pid file of a killed server, whose pid may be someone else's now.

    PostgreSQL itself trusts the pid in postmaster.pid and would refuse to start beside a stranger
    that was given the same number; it is removed only while no process of the cluster is left.
    """
    if server_of(home).is_gone():
        (home.postgres_dir / "postmaster.pid").unlink(missing_ok=True)
