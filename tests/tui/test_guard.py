import os
import socket
import subprocess
import sys
import textwrap

import pytest

from tradebox.config import Home
from tradebox.readmodel import Address
from tradebox_tui.guard import Guard, Refused

STORE = Address("/tmp/stores/valkey.sock", None)
OTHER = Address("127.0.0.1", 6379)


@pytest.fixture
def guard(tmp_path):
    made = Guard(Home(tmp_path))
    made.allow({STORE, OTHER})
    return made


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.connect", (None, ("127.0.0.1", 4001))),
        ("socket.connect", (None, ("10.0.0.1", 6379))),
        ("socket.connect", (None, ("::1", 6379, 0, 0))),
        ("socket.connect", (None, "/tmp/stores/other.sock")),
        ("socket.sendto", (None, ("127.0.0.1", 53))),
        ("socket.sendmsg", (None, ("127.0.0.1", 53))),
        ("socket.bind", (None, ("127.0.0.1", 0))),
        ("socket.getaddrinfo", ("example.org", 443, 0, 0, 0)),
        ("subprocess.Popen", ("true", ["true"], None, None)),
        ("os.exec", ("/bin/true", [], None)),
        ("os.fork", ()),
        ("os.forkpty", ()),
        ("os.posix_spawn", ("/bin/true", [], None)),
        ("os.system", (b"true",)),
        ("pty.spawn", (["sh"],)),
        ("os.kill", (1, 9)),
        ("os.killpg", (0, 15)),
        ("ctypes.dlopen", ("libc.so.6",)),
        ("ctypes.dlsym", (None, "connect")),
        ("open", ("trade_rw", None, os.O_RDONLY)),
        ("os.rename", ("secrets", "elsewhere", 5, -1)),
    ],
)
def test_what_is_refused(guard, event, arguments):
    with pytest.raises(Refused):
        guard.check(event, arguments)
    assert guard.refusals == 1


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.connect", (None, STORE.host)),
        ("socket.connect", (None, STORE.host.encode())),
        ("socket.connect", (None, (OTHER.host, OTHER.port))),
        ("socket.getaddrinfo", (OTHER.host, OTHER.port, 0, 0, 0)),
        ("socket.sendmsg", (None, None)),
        ("open", (3, "r", 0)),
        ("open", ("/etc/hostname", "r", 0)),
        ("import", ("json", None, None, None, None)),
        ("ctypes.dlopen", (None,)),
        ("os.kill", (os.getpid(), 19)),
        ("open", ("/dev/null", None, os.O_RDONLY)),
        ("os.rename", ("/elsewhere/a.pyc.1", "/elsewhere/a.pyc", -1, -1)),
    ],
)
def test_what_is_allowed(guard, event, arguments):
    guard.check(event, arguments)
    assert guard.refusals == 0


def test_secrets_and_the_sims_identity_stay_closed(guard, tmp_path):
    home = Home(tmp_path)
    home.secrets_dir.mkdir()
    home.sim_dir.mkdir()
    (tmp_path / "link").symlink_to(home.secrets_dir)
    for path in (
        home.secrets_dir / "trade_rw",
        home.sim_dir / "identity.json",
        tmp_path / "link" / "trade_rw",
        tmp_path / "run" / ".." / "secrets" / "trade_rw",
        os.fsencode(home.secrets_dir / "trade_rw"),
        home.config_file,
        "/proc/1/environ",
        "/proc/1/task/1/mem",
    ):
        with pytest.raises(Refused):
            guard.check("open", (path, "r", 0))
    guard.check("open", (home.console_file, "r", 0))
    guard.check("open", (f"/proc/{os.getpid()}/maps", "r", 0))
    guard.check("open", (home.root / "secrets-not", "r", 0))


def test_nothing_of_the_home_is_changed(guard, tmp_path):
    home = Home(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    elsewhere = tmp_path.parent / "elsewhere"
    for event, arguments in (
        ("open", (home.kill_file, "w", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)),
        ("open", (tmp_path / "link" / "new", None, os.O_RDWR | os.O_CREAT)),
        ("os.link", (home.secrets_dir / "trade_rw", elsewhere, -1, -1)),
        ("os.rename", (str(home.secrets_dir), str(elsewhere), -1, -1)),
        ("os.rename", (elsewhere, home.config_file, -1, -1)),
        ("os.remove", (os.fsencode(home.console_file), -1)),
        ("os.mkdir", (tmp_path / "link" / "new", 0o700, -1)),
        ("os.truncate", (home.console_file, 0)),
    ):
        with pytest.raises(Refused):
            guard.check(event, arguments)
    guard.check("open", (home.console_file, "r", os.O_RDONLY | os.O_CLOEXEC))
    guard.check("os.remove", (elsewhere, -1))


def test_nobody_is_a_store_until_told(tmp_path):
    with pytest.raises(Refused):
        Guard(Home(tmp_path)).check("socket.connect", (None, STORE.host))


def test_the_hook_holds_in_a_process_of_its_own(tmp_path):
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "trade_rw").write_text("secret")
    program = textwrap.dedent(f"""
        import ctypes, os, socket, subprocess, sys
        from pathlib import Path
        from tradebox.config import Home
        from tradebox.readmodel import Address
        from tradebox_tui.guard import Guard, Refused
        guard = Guard(Home(Path({str(tmp_path)!r})))
        guard.install()
        folder = os.open({str(tmp_path)!r}, os.O_RDONLY)
        def refused(call, *arguments, **named):
            try:
                call(*arguments, **named)
            except Refused:
                return True
            return False
        secret = {str(tmp_path / "secrets" / "trade_rw")!r}
        tries = [
            refused(socket.create_connection, ("127.0.0.1", {port})),
            refused(subprocess.run, ["true"]),
            refused(os.system, "true"),
            refused(os.execv, "/bin/true", ["true"]),
            refused(os.fork),
            refused(open, secret),
            refused(os.open, secret, os.O_RDONLY),
            refused(os.open, "secrets/trade_rw", os.O_RDONLY, dir_fd=folder),
            refused(os.link, secret, secret + "-2"),
            refused(os.rename, os.path.dirname(secret), secret + "-2"),
            refused(os.kill, os.getppid(), 0),
            refused(getattr, ctypes.CDLL(None), "connect"),
            refused(open, f"/proc/{{os.getppid()}}/environ", "rb"),
            refused(os.posix_spawn, "/bin/true", ["true"], {{}}),
            refused(socket.socket(type=socket.SOCK_DGRAM).sendto, b"x", ("127.0.0.1", {port})),
            refused(socket.socket(socket.AF_UNIX).connect, secret),
            refused(socket.getaddrinfo, "example.org", 443),
            refused(socket.socket().connect, ("127.0.0.1", {port})),
        ]
        guard.allow([Address("127.0.0.1", {port})])
        socket.create_connection(("127.0.0.1", {port})).close()
        sys.exit(0 if all(tries) else 1)
    """)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, timeout=30, check=False)
    listener.close()
    assert done.returncode == 0
