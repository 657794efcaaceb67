"""Servers and starters killed at any moment: the next start serves the same data, once."""

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.stores import SETTINGS, in_thread, redis_command
from tradebox.adapters.embedded import postgres, valkey
from tradebox.adapters.embedded.addresses import postgres_dsn, superuser_dsn
from tradebox.adapters.embedded.processes import servers_in
from tradebox.adapters.embedded.secrets import Login
from tradebox.adapters.postgres.connect import connected
from tradebox.supervision.locks import hold_exclusive

WAIT_S = 20.0


def start(home):
    return postgres.start(home, 32, durable=False)


def until(condition):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.005)


async def run(dsn, statement):
    async with connected(dsn) as connection:
        return await connection.fetchval(statement)


def postmasters(home):
    found = servers_in(home.postgres_dir, "postgres")
    parents = {pid: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2] for pid in found}
    return [pid for pid in found if int(parents[pid].split()[1]) not in found]


def serves_every_role(home):
    logins = (Login.POSTGRES, Login.TRADE, Login.RESEARCH, Login.CONSOLE)
    said = [
        in_thread(run(postgres_dsn(home, SETTINGS, login), "SELECT current_user::text"))
        for login in logins
    ]
    return said == [login.value for login in logins]


@pytest.mark.parametrize("victims", ["postmaster", "everything", "a backend"])
def test_committed_rows_outlive_a_kill(home, victims):
    start(home)
    dsn = superuser_dsn(home)
    in_thread(run(dsn, "CREATE TABLE kept (x int)"))
    for turn in range(3):
        in_thread(run(dsn, f"INSERT INTO kept VALUES ({turn})"))
        pids = servers_in(home.postgres_dir, "postgres")
        if victims != "everything":
            pids = pids[:1] if victims == "postmaster" else pids[-1:]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        start(home)
        assert len(postmasters(home)) == 1
        until(lambda: in_thread(answers(dsn)))
        assert in_thread(run(dsn, "SELECT count(*) FROM kept")) == turn + 1


async def answers(dsn):
    try:
        return await run(dsn, "SELECT 1") == 1
    except Exception:  # noqa: BLE001 - a server that recovers refuses for a moment
        return False


@pytest.fixture
def starter(home):
    """A function that begins a start in another process; killed at the end if still there."""
    processes = []

    def begin(server):
        processes.append(begin_start(home, server))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def begin_start(home, server):
    path = os.pathsep.join(part for part in sys.path if part)
    place = ("--home", str(home.root), "--memory-mb", "32")
    return subprocess.Popen(
        [sys.executable, "-m", "tradebox.adapters.embedded", "start", server, *place],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


LANDMARKS = [
    lambda home: (home.postgres_dir.parent / "postgres.initialising").exists(),
    lambda home: (home.postgres_dir / "PG_VERSION").exists(),
    lambda home: (home.postgres_dir / "global" / "pg_control").exists(),
    lambda home: (home.postgres_dir / "postmaster.pid").exists(),
    lambda home: (home.socket_dir / "pg" / ".s.PGSQL.5432").exists(),
    lambda home: postgres.find(home) is not None,
]


@pytest.mark.parametrize("seed", range(6))
def test_a_starter_killed_anywhere_is_followed_by_one_good_server(home, starter, seed):
    reached, extra_s = LANDMARKS[seed], random.Random(seed).uniform(0, 0.15)
    process = starter("postgres")
    until(lambda: reached(home) or process.poll() is not None)
    process_deadline = time.monotonic() + extra_s
    while time.monotonic() < process_deadline and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    process.wait()
    running = start(home)
    assert postmasters(home) == [running.pid]
    assert serves_every_role(home)
    assert not (home.postgres_dir.parent / "postgres.initialising").exists()


def test_a_start_waits_for_the_initdb_of_a_killed_starter(home, starter):
    process = starter("postgres")
    until(lambda: servers_in(home.postgres_dir, "initdb"))
    orphan, *_ = servers_in(home.postgres_dir, "initdb")
    os.kill(orphan, signal.SIGSTOP)
    process.kill()
    process.wait()
    lock = home.root / "run" / "postgres.lock"
    assert hold_exclusive(lock) is None
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(start, home)
        assert not starting.done()
        os.kill(orphan, signal.SIGCONT)
        running = starting.result()
    assert postmasters(home) == [running.pid]
    assert serves_every_role(home)


@pytest.mark.parametrize("seed", range(3))
def test_a_valkey_starter_killed_anywhere_is_followed_by_one_good_server(home, starter, seed):
    process = starter("valkey")
    until(lambda: (home.redis_dir / "valkey.conf").exists() or process.poll() is not None)
    time.sleep(random.Random(seed).uniform(0, 0.03))
    process.kill()
    process.wait()
    running = valkey.start(home)
    assert servers_in(home.redis_dir, "valkey-server") == [running.pid]
    assert redis_command(home, "PING") == b"+PONG\r\n"


@pytest.mark.parametrize("server", [postgres, valkey])
def test_a_server_about_to_begin_is_waited_for(home, server):
    start(home)
    valkey.start(home)
    server.stop(home)
    with ThreadPoolExecutor(1) as pool:
        with hold_exclusive(server.server_of(home).alive_lock):
            starting = pool.submit(server.start, home)
            with pytest.raises(TimeoutError):
                starting.result(timeout=0.2)
            assert server.find(home) is None
        assert starting.result().pid == server.find(home)


def test_a_half_made_cluster_is_made_anew(home):
    start(home)
    postgres.stop(home)
    (home.postgres_dir.parent / "postgres.initialising").write_text("")
    (home.postgres_dir / "global" / "pg_control").unlink()
    start(home)
    assert serves_every_role(home)


def test_a_killed_valkey_is_replaced_and_a_hung_one_too(home, monkeypatch):
    monkeypatch.setattr(valkey, "ANSWER_S_MAX", 0.1)
    monkeypatch.setattr(valkey, "ADOPT_S_MAX", 0.3)
    first = valkey.start(home)
    os.kill(first.pid, signal.SIGKILL)
    second = valkey.start(home)
    assert not second.adopted
    os.kill(second.pid, signal.SIGSTOP)
    third = valkey.start(home)
    assert (third.adopted, third.pid == second.pid) == (False, False)
    assert servers_in(home.redis_dir, "valkey-server") == [third.pid]
    assert valkey.start(home).adopted


def test_a_shutting_down_server_is_waited_for_and_replaced(home):
    first = start(home)
    os.kill(first.pid, signal.SIGTERM)
    second = start(home)
    assert serves_every_role(home)
    assert postmasters(home) == [second.pid]


def test_two_homes_never_meet(home, stores):
    stores.need_postgres()
    stores.need_valkey()
    other = postgres.find(stores.home), valkey.find(stores.home)
    start(home)
    valkey.start(home)
    postgres.stop(home)
    valkey.stop(home)
    assert (postgres.find(stores.home), valkey.find(stores.home)) == other
    assert None not in other
