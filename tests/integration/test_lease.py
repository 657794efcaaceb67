"""The lease on the stores: shared by commands, stopped by the last one out, never beneath a run."""

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.stores import in_thread
from tradebox.adapters.embedded import lease, postgres, valkey
from tradebox.adapters.postgres.connect import connected
from tradebox.adapters.postgres.migrate import load_migrations
from tradebox.backtest.memory import tree_of
from tradebox.config import PostgresSettings, Settings
from tradebox.errors import ExitCode, HomeUnusable, StoreUnavailable
from tradebox.supervision.locks import hold_exclusive, hold_shared

SETTINGS = Settings(postgres=PostgresSettings(memory_mb=32))


async def ask(dsn):
    async with connected(dsn) as connection:
        return await connection.fetchval("SELECT current_user::text")


def running(home):
    return [s for s in (postgres.find(home), valkey.find(home)) if s is not None]


def run_module(home, *arguments, environment=None):
    path = os.pathsep.join(part for part in sys.path if part)
    return subprocess.run(
        [sys.executable, "-m", "tradebox.adapters.embedded", *arguments, "--home", str(home.root)],
        env={**os.environ, "PYTHONPATH": path, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_command_alone_starts_and_stops_both(home):
    with lease.stores(home, SETTINGS) as addresses:
        assert len(running(home)) == 2
        assert in_thread(ask(addresses.postgres_trade)) == "trade_rw"
    assert running(home) == []
    assert not home.socket_dir.exists()


def test_the_servers_stay_until_the_last_one_is_out(home):
    with lease.stores(home, SETTINGS):
        first = running(home)
        with lease.stores(home, SETTINGS):
            assert running(home) == first
        assert running(home) == first
    assert running(home) == []


def test_a_command_that_fails_gives_its_lease_back(home):
    with pytest.raises(RuntimeError, match="boom"), lease.stores(home, SETTINGS):
        raise RuntimeError("boom")
    assert running(home) == []
    with hold_exclusive(home.lease_lock) as free:
        assert free is not None


def test_a_command_leaves_the_servers_of_a_run_alone(home):
    home.engine_lock.parent.mkdir(parents=True)
    with hold_exclusive(home.engine_lock):
        with lease.barrier(home):
            valkey.start(home)
        with lease.stores(home, SETTINGS):
            before = running(home)
        assert running(home) == before
        assert set(lease.stop_unless_leased(home, lease.SERVERS)) == set(lease.SERVERS)
    assert running(home) == []


def test_a_run_that_ends_beneath_a_command_leaves_the_servers_to_it(home):
    home.engine_lock.parent.mkdir(parents=True)
    run = hold_exclusive(home.engine_lock)
    with lease.stores(home, SETTINGS) as addresses:
        assert lease.stop_unless_leased(home, lease.SERVERS) is None
        assert in_thread(ask(addresses.postgres_trade)) == "trade_rw"
    assert running(home) == []
    run.release()


def test_a_new_run_takes_over_what_an_ended_one_left(home):
    home.engine_lock.parent.mkdir(parents=True)
    with lease.stores(home, SETTINGS):
        assert lease.stop_unless_leased(home, lease.SERVERS) is None
        run = hold_exclusive(home.engine_lock)
        with lease.barrier(home):
            pass
    assert len(running(home)) == 2
    run.release()


def test_a_start_waits_for_who_is_stopping(home, monkeypatch):
    home.lease_lock.parent.mkdir(parents=True)
    monkeypatch.setattr(lease, "LEASE_WAIT_S_MAX", 0.05)
    with (
        hold_exclusive(home.lease_lock),
        pytest.raises(StoreUnavailable, match="another process has held"),
        lease.barrier(home),
    ):
        pass
    with hold_shared(home.lease_lock), lease.barrier(home):
        pass


HOLDER = """
import sys, time
from pathlib import Path
from tradebox.adapters.embedded import lease
from tradebox.config import Home, PostgresSettings, Settings
with lease.stores(Home(Path(sys.argv[1])), Settings(postgres=PostgresSettings(memory_mb=32))):
    print("up", flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def held_elsewhere(home):
    """Hold the lease from a process of its own."""
    path = os.pathsep.join(part for part in sys.path if part)
    words = [sys.executable, "-c", HOLDER, str(home.root)]
    environment = {**os.environ, "PYTHONPATH": path}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout.readline() == "up\n"
            yield holder
        finally:
            holder.kill()


def eventually(is_so):
    until_s = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.02)


def test_a_command_that_is_killed_leaves_no_server_behind(home):
    with held_elsewhere(home) as holder:
        assert len(running(home)) == 2
        holder.kill()
        eventually(lambda: not running(home) and not home.socket_dir.exists())


def test_a_command_that_is_killed_leaves_the_servers_to_another(home):
    with lease.stores(home, SETTINGS) as addresses:
        before = running(home)
        with held_elsewhere(home) as holder:
            holder.kill()
        done = run_module(home, "sweep")
        assert json.loads(done.stdout) == {"stopped": [], "left_to_others": True}
        assert running(home) == before
        assert in_thread(ask(addresses.postgres_trade)) == "trade_rw"
    assert running(home) == []


def test_a_sweep_leaves_the_servers_of_a_run_alone_and_no_home_is_none(home):
    assert lease.sweep(home) == []
    home.engine_lock.parent.mkdir(parents=True)
    with hold_exclusive(home.engine_lock):
        with lease.barrier(home):
            valkey.start(home)
        assert lease.sweep(home) == []
        assert valkey.find(home) is not None
    assert lease.sweep(home) == ["valkey"]


def test_a_server_whose_asker_was_killed_meanwhile_does_not_stay(home):
    for asker, is_kept in ((os.getpid(), True), (1, False)):
        done = run_module(home, "start", "valkey", "--asker", str(asker))
        assert done.returncode == 0, done.stderr
        assert (valkey.find(home) is not None) is is_kept


def test_a_command_that_ends_in_order_leaves_no_watch(home):
    with lease.stores(home, SETTINGS):
        watches = last_words()
        assert len(watches) == 1
    assert not last_words()


def last_words():
    """Return the shells below us that wait for our end."""
    words = [Path(f"/proc/{pid}/cmdline") for pid in tree_of(os.getpid())[1:]]
    return [one for one in words if one.exists() and b"tradebox-last-word" in one.read_bytes()]


def test_many_commands_at_once_never_lose_their_server(home):
    rng = random.Random(11)
    turns = [rng.randint(1, 2) for _ in range(6)]

    def command(count):
        for _ in range(count):
            with lease.stores(home, SETTINGS) as addresses:
                assert in_thread(ask(addresses.postgres_console)) == "console_ro"

    with ThreadPoolExecutor(len(turns)) as pool:
        list(pool.map(command, turns))
    assert running(home) == []
    assert not home.socket_dir.exists()


def test_the_commands_speak_json_and_say_no_secret(home):
    started = [run_module(home, "start", s, "--memory-mb", "32") for s in ("postgres", "valkey")]
    migrated = run_module(home, "migrate")
    again = run_module(home, "start", "postgres")
    stopped = run_module(home, "stop", "postgres"), run_module(home, "stop")
    outcomes = [*started, migrated, again, *stopped]
    assert [done.returncode for done in outcomes] == [0] * 6, [d.stderr for d in outcomes]
    lines = [json.loads(done.stdout) for done in outcomes]
    assert [line["adopted"] for line in (*lines[:2], lines[3])] == [False, False, True]
    assert lines[0]["pid"] == lines[3]["pid"]
    assert lines[0]["socket_dir"] == str(home.socket_dir / "pg")
    names = [migration.name for migration in load_migrations()]
    assert lines[2] == {"schema_version": len(names), "applied": names}
    assert [line["stopped"] for line in lines[4:]] == [["postgres"], ["valkey"]]
    secrets = [path.read_text() for path in home.secrets_dir.iterdir()]
    assert len(secrets) == 7
    said = "".join(done.stdout + done.stderr for done in outcomes)
    kept = (home.logs_dir / "postgres.log").read_text() + (home.logs_dir / "valkey.log").read_text()
    assert not [secret for secret in secrets if secret in said + kept]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://me:hunter2@127.0.0.1:1/x", "127.0.0.1:1"),
        ("mysql://me:hunter2@127.0.0.1/x", "begin with postgresql://"),
    ],
)
def test_a_wrong_url_is_one_line_and_a_stable_code(home, url, words):
    done = run_module(home, "migrate", environment={"TRADEBOX_POSTGRES_URL": url})
    expected = ExitCode.CONFIG if "mysql" in url else ExitCode.STORE
    assert done.returncode == expected, done.stderr
    assert done.stdout == ""
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "hunter2" not in done.stderr


def test_a_home_that_cannot_be_made_is_exit_code_5(home):
    (home.root / "data").write_text("")
    for server in ("postgres", "valkey"):
        done = run_module(home, "start", server)
        assert done.returncode == ExitCode.HOME
        assert "file where a folder must be" in done.stderr
    with pytest.raises(HomeUnusable):
        postgres.start(home, 32)


def test_the_servers_do_not_hear_the_terminal(home):
    with lease.stores(home, SETTINGS):
        for pid in running(home):
            assert os.getsid(pid) == pid
            assert os.getsid(pid) != os.getsid(0)
