"""The embedded PostgreSQL: started, adopted, stopped, and refused with a clear message."""

import asyncio
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import asyncpg
import pytest

from support.stores import SETTINGS, in_thread, redis_command, stop_all
from tradebox.adapters.embedded import postgres, userns, valkey
from tradebox.adapters.embedded.addresses import postgres_dsn, redis_url, superuser_dsn
from tradebox.adapters.embedded.binaries import postgres_binary
from tradebox.adapters.embedded.processes import servers_in
from tradebox.adapters.embedded.secrets import Login, password
from tradebox.adapters.embedded.sizes import default_memory_mb, machine_memory_mb
from tradebox.adapters.postgres.connect import connected
from tradebox.config import Home
from tradebox.errors import ExitCode, HomeUnusable

MEMORY_MB = 32
ROLES = (Login.TRADE, Login.RESEARCH, Login.CONSOLE)
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs and can do this")


def start(home):
    return postgres.start(home, MEMORY_MB, durable=False)


async def ask(dsn, query):
    async with connected(dsn) as connection:
        return await connection.fetchval(query)


def answer(dsn, query="SELECT current_user || '@' || current_database()"):
    return in_thread(ask(dsn, query))


def names_in_temp():
    return {path.name for path in Path(tempfile.gettempdir()).iterdir()}


def modes_above(path):
    return {str(parent): stat.S_IMODE(parent.stat().st_mode) for parent in path.parents}


def test_a_cold_start_an_adoption_and_a_stop(home):
    before, listing = modes_above(home.root), names_in_temp()
    users = Path("/etc/passwd").read_bytes()
    first = start(home)
    assert not first.adopted
    again = start(home)
    assert again.adopted
    assert (again.pid, again.socket_dir) == (first.pid, first.socket_dir)
    for login in (Login.POSTGRES, *ROLES):
        assert answer(postgres_dsn(home, SETTINGS, login)) == f"{login.value}@tradebox"
    assert not list(home.postgres_dir.parent.glob("*.initialising"))
    assert postgres.stop(home)
    assert not postgres.stop(home)
    assert servers_in(home.postgres_dir, "postgres") == []
    assert not home.socket_dir.exists()
    assert modes_above(home.root) == before
    left = {n for n in names_in_temp() - listing if home.socket_dir.name in n}
    assert not left
    assert Path("/etc/passwd").read_bytes() == users


def test_the_server_listens_on_no_port_and_keeps_its_promises(home):
    postgres.start(home, MEMORY_MB)
    dsn = superuser_dsn(home)
    expected = {
        "listen_addresses": "",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "shared_buffers": "32MB",
        "password_encryption": "scram-sha-256",
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "TimeZone": "UTC",
    }
    found = {name: answer(dsn, f"SELECT current_setting('{name}')") for name in expected}
    assert found == expected
    assert answer(dsn, "SELECT current_setting('server_version_num')::int / 10000") == 18
    methods = "SELECT string_agg(DISTINCT auth_method, ',') FROM pg_hba_file_rules"
    assert answer(dsn, methods) == "scram-sha-256"
    assert stat.S_IMODE(postgres.find(home) and home.socket_dir.stat().st_mode) == 0o700
    for path in home.secrets_dir.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(home.secrets_dir.stat().st_mode) == 0o700


@pytest.mark.parametrize("secret", [None, "", "wrong", "md5" + "0" * 32])
def test_no_login_without_its_password(stores, secret):
    stores.need_postgres()
    for login in (Login.POSTGRES, *ROLES):
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
            in_thread(
                asyncpg.connect(
                    host=str(stores.home.socket_dir / "pg"),
                    user=login.value,
                    password=secret,
                    database="tradebox",
                    passfile=stores.home.root / "none",
                )
            )


def test_no_role_enters_the_maintenance_databases(stores):
    stores.need_postgres()
    for login in ROLES:
        for database in ("postgres", "template1"):
            dsn = postgres_dsn(stores.home, SETTINGS, login).replace("/tradebox?", f"/{database}?")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                answer(dsn)


def test_a_home_path_of_two_hundred_characters_serves(home):
    deep = Home(home.root / ("a" * 100) / ("b" * 110))
    assert len(str(deep.root)) > 200
    try:
        start(deep)
        valkey.start(deep)
        assert answer(postgres_dsn(deep, SETTINGS, Login.TRADE)) == "trade_rw@tradebox"
        assert redis_command(deep, "PING") == b"+PONG\r\n"
    finally:
        stop_all(deep)


@pytest.mark.parametrize("name", ["with space, dollar$x", 'quote\'d "both" ünï'])
def test_a_home_with_odd_letters_serves(home, name):
    odd = Home(home.root / name)
    try:
        start(odd)
        valkey.start(odd)
        assert answer(postgres_dsn(odd, SETTINGS, Login.CONSOLE)) == "console_ro@tradebox"
        assert redis_command(odd, "PING") == b"+PONG\r\n"
    finally:
        stop_all(odd)


def test_another_process_with_the_recorded_pid_is_left_alone(home):
    start(home)
    lines = (home.postgres_dir / "postmaster.pid").read_text().splitlines()
    postgres.stop(home)
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        lines[0] = str(stranger.pid)
        (home.postgres_dir / "postmaster.pid").write_text("\n".join(lines) + "\n")
        running = start(home)
        assert not running.adopted
        assert answer(superuser_dsn(home)) == "postgres@tradebox"
        postgres.stop(home)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_server_whose_socket_folder_was_swept_is_started_anew(home):
    first = start(home)
    shutil.rmtree(home.socket_dir)
    second = start(home)
    assert not second.adopted
    assert second.pid != first.pid
    assert answer(superuser_dsn(home)) == "postgres@tradebox"


def test_a_server_found_under_another_temp_folder_is_adopted(home, monkeypatch, tmp_path):
    first, cache = start(home), valkey.start(home)
    short = Path(tempfile.mkdtemp(prefix="tb"))
    try:
        monkeypatch.setattr(tempfile, "tempdir", str(short))
        again, cache_again = start(home), valkey.start(home)
        assert (again.pid, again.socket_dir) == (first.pid, first.socket_dir)
        assert (cache_again.pid, cache_again.socket_dir) == (cache.pid, cache.socket_dir)
        stop_all(home)
        assert not first.socket_dir.exists()
        assert not cache.socket_dir.exists()
        assert list(short.iterdir()) == []
    finally:
        short.rmdir()


def test_a_cluster_of_another_version_is_refused_and_kept(home):
    home.postgres_dir.mkdir(parents=True)
    (home.postgres_dir / "PG_VERSION").write_text("17\n")
    with pytest.raises(HomeUnusable, match=r"PostgreSQL 17 .* PostgreSQL 18"):
        start(home)
    assert (home.postgres_dir / "PG_VERSION").read_text() == "17\n"


def test_a_folder_that_is_no_cluster_is_refused_and_kept(home):
    home.postgres_dir.mkdir(parents=True)
    (home.postgres_dir / "thesis.txt").write_text("precious")
    with pytest.raises(HomeUnusable, match="no PostgreSQL cluster"):
        start(home)
    assert (home.postgres_dir / "thesis.txt").read_text() == "precious"


def test_lost_secrets_are_named_and_the_data_kept(home):
    start(home)
    secret = home.secrets_dir / Login.POSTGRES.value
    kept = secret.read_text()
    secret.write_text("another")
    with pytest.raises(HomeUnusable, match="refuses the password"):
        start(home)
    postgres.stop(home)
    with pytest.raises(HomeUnusable, match="refuses the password"):
        start(home)
    assert postgres.find(home) is None
    secret.write_text(kept)
    start(home)


def test_a_socket_folder_that_is_a_link_is_refused(home, tmp_path):
    home.socket_dir.symlink_to(tmp_path)
    try:
        for begin in (start, valkey.start):
            with pytest.raises(HomeUnusable, match="is a link") as caught:
                begin(home)
            assert caught.value.fields["field"] == "TMPDIR"
        assert list(tmp_path.iterdir()) == []
    finally:
        home.socket_dir.unlink()


@is_root
def test_a_socket_folder_of_another_user_is_refused(home):
    home.socket_dir.mkdir()
    os.chown(home.socket_dir, 65534, 65534)
    with pytest.raises(HomeUnusable, match="belongs to uid 65534"):
        valkey.start(home)
    home.socket_dir.rmdir()


def test_a_temp_folder_too_long_for_a_socket_is_refused(home, monkeypatch, tmp_path):
    deep = tmp_path / ("x" * 90)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    for begin in (start, valkey.start):
        with pytest.raises(HomeUnusable, match="too long for a Unix socket") as caught:
            begin(home)
        assert caught.value.fields["field"] == "TMPDIR"
        assert caught.value.exit_code is ExitCode.HOME


def test_a_file_where_the_home_should_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for begin in (start, valkey.start):
        with pytest.raises(HomeUnusable, match="file where a folder must be"):
            begin(Home(tmp_path / "file"))


@pytest.fixture
def mounted(tmp_path):
    """A function that mounts a small tmpfs; skips where that is not allowed."""
    mounts = []

    def mount(options):
        place = tmp_path / f"mount{len(mounts)}"
        place.mkdir()
        argv = ["mount", "-t", "tmpfs", "-o", options, "none", str(place)]
        done = subprocess.run(argv, capture_output=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"no tmpfs can be mounted here: {done.stderr.decode().strip()}")
        mounts.append(place)
        return place

    yield mount
    for place in mounts:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("size", ["1m", "24m"])
def test_a_full_home_is_refused_and_serves_once_there_is_room(mounted, size):
    place = mounted(f"size={size}")
    home = Home(place / "home")
    with pytest.raises(HomeUnusable, match=r"is full.*free space") as caught:
        start(home)
    assert caught.value.exit_code is ExitCode.HOME
    assert postgres.find(home) is None
    assert not home.socket_dir.exists()
    subprocess.run(["mount", "-o", "remount,size=300m", str(place)], check=True)
    try:
        start(home)
        assert answer(superuser_dsn(home)) == "postgres@tradebox"
    finally:
        stop_all(home)


def test_a_read_only_home_is_refused(mounted):
    place = mounted("size=1m")
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    for begin in (start, valkey.start):
        with pytest.raises(HomeUnusable, match="is read-only"):
            begin(Home(place / "home"))


@is_root
@pytest.mark.parametrize("refused", ["in_namespace", "as_nobody"])
def test_root_has_two_ways_and_either_serves(home, monkeypatch, refused):
    monkeypatch.setattr(userns, refused, lambda: None)
    before = modes_above(home.root)
    start(home)
    assert answer(superuser_dsn(home)) == "postgres@tradebox"
    server = Path(f"/proc/{postgres.find(home)}/status").read_text()
    uid = server.split("Uid:")[1].split()[0]
    assert (uid == "0") == (refused == "as_nobody")
    assert modes_above(home.root) == before
    postgres.stop(home)


@is_root
def test_a_home_goes_from_one_way_to_the_other_and_back(home, monkeypatch):
    start(home)
    postgres.stop(home)
    with monkeypatch.context() as patched:
        patched.setattr(userns, "in_namespace", lambda: None)
        start(home)
        postgres.stop(home)
    start(home)
    assert answer(superuser_dsn(home)) == "postgres@tradebox"


@is_root
def test_root_without_any_way_is_refused_with_both_reasons(home, monkeypatch):
    monkeypatch.setattr(userns, "in_namespace", lambda: None)
    monkeypatch.setattr(userns, "as_nobody", lambda: None)
    with pytest.raises(HomeUnusable, match="unshare is not installed; setpriv is not installed"):
        start(home)


PLAIN = """
import sys
from pathlib import Path
from tradebox.adapters.embedded import postgres, valkey
from tradebox.adapters.embedded.addresses import superuser_dsn
from tradebox.adapters.postgres.connect import connected
from tradebox.config import Home
import asyncio, os
assert os.geteuid() == 65534
home = Home(Path(sys.argv[1]) / "home")
async def ask():
    async with connected(superuser_dsn(home)) as connection:
        return await connection.fetchval("SELECT 6 * 7")
try:
    postgres.start(home, 32, durable=False)
    valkey.start(home)
    assert postgres.start(home, 32).adopted and valkey.start(home).adopted
    print(asyncio.run(ask()), home.socket_dir)
finally:
    postgres.stop(home)
    valkey.stop(home)
assert not home.socket_dir.exists()
"""


@is_root
def test_a_plain_user_runs_both_directly():
    place = tempfile.mkdtemp(prefix="tradebox-plain-")
    try:
        os.chown(place, 65534, 65534)
        way = userns.RunAs("plain", ("setpriv", "--reuid=65534", "--regid=65534"), 65534)
        path = os.pathsep.join(part for part in sys.path if part)
        environment = {"PATH": os.defpath, "PYTHONPATH": path}

        def as_plain(*argv):
            return subprocess.run(
                [*way.prefix, "--clear-groups", "--", *argv],
                env=environment,
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
            )

        imports = as_plain(sys.executable, "-c", "import asyncpg, tradebox.config")
        if imports.returncode or as_plain(postgres_binary("postgres"), "--version").returncode:
            pytest.skip("the installed packages stand where a plain user may not go")
        done = as_plain(sys.executable, "-c", PLAIN, place)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("42 ")
    finally:
        shutil.rmtree(place)


def test_a_password_is_made_once_whoever_asks(home):
    async def many():
        return await asyncio.gather(
            *(asyncio.to_thread(password, home, Login.TRADE) for _ in range(20))
        )

    assert len(set(in_thread(many()))) == 1
    assert len(password(home, Login.TRADE)) >= 32
    assert [path.name for path in home.secrets_dir.iterdir()] == ["trade_rw"]


def test_default_memory_is_a_quarter_and_bounded():
    assert 32 <= default_memory_mb() <= 2048
    assert default_memory_mb() <= max(32, machine_memory_mb() // 4)


def test_the_socket_of_valkey_needs_a_login_beyond_ping(home):
    valkey.start(home)
    assert not [line for line in Path("/proc/net/tcp").read_text() if "valkey" in line]
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(5)
        peer.connect(str(home.socket_dir / "valkey" / "valkey.sock"))
        peer.sendall(b"PING\r\n")
        assert peer.recv(99) == b"+PONG\r\n"
        peer.sendall(b"GET md:q:SPY\r\n")
        assert peer.recv(99).startswith(b"-NOPERM")
    assert redis_url(home, SETTINGS, Login.REDIS_ENGINE).startswith("unix://engine:")
