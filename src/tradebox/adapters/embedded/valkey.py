"""Valkey 9 under the home: write its configuration, start or adopt the server, stop it.

Rules of this file:
- Unix socket only; the default user may say PING and nothing else;
- nothing is kept on disk: every key has a TTL or is rebuilt;
- a server that runs on the folder and takes the owner's password is adopted, else it is stopped.
"""

import hashlib
import signal
import socket
import time
from pathlib import Path

from tradebox.adapters.embedded.addresses import REDIS_FOLDER, REDIS_SOCKET
from tradebox.adapters.embedded.binaries import valkey_binary
from tradebox.adapters.embedded.folders import (
    check_socket_dir,
    socket_dir,
    usable,
    write_private,
)
from tradebox.adapters.embedded.locks import locked
from tradebox.adapters.embedded.secrets import Login, password
from tradebox.adapters.embedded.server import Running, Server
from tradebox.config import Home, private_dir
from tradebox.errors import StoreUnavailable

MEMORY_MB = 256
READY_S_MAX = 15.0
ADOPT_S_MAX = 10.0
ANSWER_S_MAX = 5.0
POLL_S = 0.005
STOP_LADDER = ((signal.SIGTERM, 2.0), (signal.SIGKILL, 1.0))

ENGINE_RULES = "~md:* ~rm:* resetchannels &md:* &rm:* +@all -@admin -@dangerous +info"
CONSOLE_RULES = (
    "%R~md:* %R~rm:* resetchannels &md:* &rm:* -@all +@connection +@read"
    " +subscribe +psubscribe +unsubscribe +punsubscribe -@dangerous -keys -scan -randomkey"
)


def server_of(home: Home) -> Server:
    """Return the Valkey of this home, running or not."""
    return Server(home, "valkey", "valkey-server", home.redis_dir, STOP_LADDER)


def find(home: Home) -> int | None:
    """Return the pid of the server that works on this home's folder, or None."""
    return server_of(home).find()


def start(home: Home, memory_mb: int = MEMORY_MB) -> Running:
    """Return a server that answers: the one that runs, or a new one.

    Units:   memory_mb: the most that keys may take.
    Raises:  HomeUnusable, StoreUnavailable.
    """
    with usable(home), locked(home, "valkey"):
        private_dir(home.redis_dir)
        private_dir(home.logs_dir)
        adopted = _adopt(home)
        if adopted is not None:
            return adopted
        check_socket_dir(home, f"{REDIS_FOLDER}/{REDIS_SOCKET}")
        try:
            return _launch(home, memory_mb)
        except BaseException:
            _stop(home)
            raise


def stop(home: Home) -> bool:
    """End the server and remove its socket folder; True when one ran.

    Raises: HomeUnusable, StoreUnavailable when it cannot be ended.
    """
    with usable(home), locked(home, "valkey"):
        return _stop(home)


def _stop(home: Home) -> bool:
    return server_of(home).end(_socket_dir_of(home))


def _quoted(text: object) -> str:
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def access_rules(home: Home) -> str:
    """Return the access list: owner, engine and console by hashed password, default for PING."""

    def user(login: Login, rules: str) -> str:
        digest = hashlib.sha256(password(home, login).encode()).hexdigest()
        return f"user {login.value.removeprefix('redis_')} on #{digest} resetkeys {rules}\n"

    return (
        "user default on nopass resetkeys resetchannels -@all +ping\n"
        + user(Login.REDIS_OWNER, "~* resetchannels &* +@all")
        + user(Login.REDIS_ENGINE, ENGINE_RULES)
        + user(Login.REDIS_CONSOLE, CONSOLE_RULES)
    )


def _configuration(home: Home, socket_at: Path, memory_mb: int) -> str:
    lines = (
        "port 0",
        f"unixsocket {_quoted(socket_at)}",
        "unixsocketperm 700",
        f"dir {_quoted(home.redis_dir)}",
        f"aclfile {_quoted(home.redis_dir / 'users.acl')}",
        f"maxmemory {memory_mb}mb",
        "maxmemory-policy allkeys-lru",
        'save ""',
        "appendonly no",
        "daemonize no",
        "loglevel notice",
        "always-show-logo no",
        "shutdown-timeout 0",
        "maxclients 200",
    )
    return "\n".join(lines) + "\n"


def _socket_dir_of(home: Home) -> Path:
    """Return the folder the running (or last) server was told; TMPDIR may differ since."""
    try:
        text = (home.redis_dir / "socket_dir").read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        text = ""
    return Path(text) if text else home.socket_dir / REDIS_FOLDER


def _adopt(home: Home) -> Running | None:
    """Return the running server if it takes our password; end whatever else is left over."""
    server, deadline = server_of(home), time.monotonic() + ADOPT_S_MAX
    folder = _socket_dir_of(home)
    while not server.is_gone() and time.monotonic() < deadline:
        pid = server.find()
        if pid is not None and _answers(home, folder / REDIS_SOCKET):
            return Running(pid, folder, adopted=True)
        time.sleep(POLL_S)
    _stop(home)
    return None


def _answers(home: Home, socket_at: Path) -> bool:
    """Tell whether a server takes the owner's password on this socket."""
    words = ("AUTH", "owner", password(home, Login.REDIS_OWNER))
    request = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    try:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(ANSWER_S_MAX)
            peer.connect(str(socket_at))
            peer.sendall(request.encode())
            return peer.recv(64).startswith(b"+OK")
    except (OSError, ValueError):
        return False


def _launch(home: Home, memory_mb: int) -> Running:
    folder = socket_dir(home, REDIS_FOLDER)
    socket_at = folder / REDIS_SOCKET
    for left in folder.iterdir():
        left.unlink(missing_ok=True)
    write_private(home.redis_dir / "users.acl", access_rules(home))
    write_private(home.redis_dir / "valkey.conf", _configuration(home, socket_at, memory_mb))
    write_private(home.redis_dir / "socket_dir", str(folder))
    pid = server_of(home).launch(
        [str(valkey_binary()), str(home.redis_dir / "valkey.conf")],
        lambda _: _answers(home, socket_at),
        _failure,
        READY_S_MAX,
    )
    return Running(pid, folder, adopted=False)


def _failure(said: str) -> StoreUnavailable:
    last = "; ".join(said.splitlines()[-3:]) or "it said nothing"
    return StoreUnavailable(f"the embedded Valkey did not start: {last}", said=last)
