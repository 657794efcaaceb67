"""What rows do to PostgreSQL, Redis and actors of a run, from outside the engine.

Rules of this file:
- whatever is done is undone at the end of its block, also when the row fails;
- PostgreSQL is harmed by its owner's session and by signals to its processes.
"""

import asyncio
import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
from redis import Redis

from chaos.matrix.harness import World
from support.run_bench import DEADLINE_S, Bench, eventually
from tradebox.adapters.embedded.addresses import REDIS_FOLDER, redis_url
from tradebox.adapters.embedded.secrets import Login
from tradebox.config import Home, Settings
from tradebox.readmodel.quotes import told
from tradebox.supervision.control import ask_control
from tradebox.supervision.launch_errors import ControlUnreachable

SESSIONS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'trade_rw'"


class Owner:
    """One session of the database's owner, in a thread of its own."""

    def __init__(self, box: Bench) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._connection = self._do(asyncpg.connect(box.dsn(Login.POSTGRES)))

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(_finish(work), self._loop).result(DEADLINE_S)

    def do(self, query: str) -> list[Any]:
        """Run one statement."""
        return list(self._do(self._connection.fetch(query)))

    def close(self) -> None:
        self._do(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DEADLINE_S)
        self._loop.close()


async def _finish(work: Any) -> Any:
    return await work


@contextlib.contextmanager
def owner(world: World) -> Iterator[Owner]:
    """Lend a session of the database's owner."""
    made = Owner(world.box)
    try:
        yield made
    finally:
        made.close()


def until_replayed(world: World) -> None:
    """Wait until PostgreSQL is used again and no spool holds anything."""
    for account in ("paper", "live"):
        world.until_entries(account)
    spools = list((world.box.home / "spool").rglob("*"))
    files = [path for path in spools if path.is_file()]
    eventually(lambda: sum(path.stat().st_size for path in files) == 0, "empty spools")


@contextlib.contextmanager
def postgres_away(world: World) -> Iterator[None]:
    """End every session and let the server answer nobody."""
    pid = world.server_pid("postgres")
    with world.span("store_away"):
        os.kill(pid, signal.SIGSTOP)
        try:
            for backend in _backends(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(backend, signal.SIGTERM)
            yield
        finally:
            os.kill(pid, signal.SIGCONT)
        until_replayed(world)


def _backends(postmaster: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == postmaster and b"[local]" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


@contextlib.contextmanager
def commits_held(world: World, table: str = "trade.event") -> Iterator[None]:
    """Let every commit that writes a table wait."""
    with world.span("store_away"), owner(world) as session:
        session.do("BEGIN")
        try:
            session.do(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
        finally:
            session.do("ROLLBACK")
        until_replayed(world)


@contextlib.contextmanager
def read_only(world: World) -> Iterator[None]:
    """Let PostgreSQL refuse every write, as a standby or a full disk does."""
    with world.span("store_away"), owner(world) as session:
        session.do("ALTER ROLE trade_rw SET default_transaction_read_only = on")
        try:
            session.do(SESSIONS)
            yield
        finally:
            session.do("ALTER ROLE trade_rw RESET default_transaction_read_only")
            session.do(SESSIONS)
        until_replayed(world)


@contextlib.contextmanager
def commits_unanswered(world: World) -> Iterator[None]:
    """Let commits be made and their sessions die before they say so.

    They wait for a standby that is not there; whoever waits is ended, which takes nothing back.
    """
    with world.span("store_away"), owner(world) as session:
        session.do("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        session.do("SELECT pg_reload_conf()")
        stop = threading.Event()
        waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event="

        def end_waiting() -> None:
            while not stop.wait(0.05):
                session.do(f"{waiting}'SyncRep'")

        thread = threading.Thread(target=end_waiting)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            session.do("ALTER SYSTEM RESET synchronous_standby_names")
            session.do("SELECT pg_reload_conf()")
        until_replayed(world)


def flush_redis(world: World) -> None:
    """FLUSHALL."""
    folder = world.box.socket_dir / REDIS_FOLDER
    url = redis_url(Home(world.box.home), Settings(), Login.REDIS_OWNER, folder)
    with contextlib.closing(Redis.from_url(url)) as client:
        client.flushall()


def ask_engine(world: World, question: str, **data: object) -> dict[str, Any]:
    """Return the engine's answer, {} while there is none."""
    path = world.box.socket_dir / "control" / "control.sock"
    request = {"ask": "forward", "to": question, "data": data}
    try:
        return dict(ask_control(path, request, DEADLINE_S).get("answer") or {})
    except ControlUnreachable:
        return {}


def actor(world: World, name: str) -> dict[str, Any]:
    """Return the row of an actor."""
    return ask_engine(world, "actor", name=name)


def harm(world: World, how: str, name: str) -> int:
    """Harm a running actor; return the incarnation that was harmed."""
    eventually(lambda: actor(world, name).get("state") == "running", f"{name} runs")
    answer = eventually(lambda: ask_engine(world, "harm", actor=name, how=how), f"{how} {name}")
    return int(answer["incarnation"])


def hits(world: World, name: str) -> int:
    """Return how often a fault that is set has come to bear."""
    board, _, fault = name.partition(".")
    rows = {row["name"]: row for row in world.sim("/faults")[board]}
    return sum(int(one["hits"]) for one in rows[fault]["active"])


def is_set(world: World, name: str) -> bool:
    """Say whether a fault is still set: one with a count ends with its last hit."""
    board, _, fault = name.partition(".")
    rows = {row["name"]: row for row in world.sim("/faults")[board]}
    return bool(rows[fault]["active"])


def ready_line(world: World) -> dict[str, Any]:
    """Return where everything of the stand-in world is."""
    return dict(json.loads((world.box.home / "sim" / "ready.json").read_text()))


def logged(world: World, event: str, since_s: float, **fields: object) -> list[dict[str, Any]]:
    """Return the engine's log lines of an event later than a wall time."""
    found = []
    for line in (world.box.home / "logs" / "engine.jsonl").read_text().splitlines():
        row = json.loads(line)
        is_it = row.get("event") == event and all(row.get(k) == v for k, v in fields.items())
        if is_it and _wall_s(row["at"]) >= since_s:
            found.append(row)
    return found


def quality_of(world: World, symbol: str) -> str:
    """Return what a symbol's price is worth, as a console is told: a quality, or why it waits."""
    word = asyncio.run(told(Home(world.box.home).console_file, time.monotonic_ns()))
    row = word.prices.get(symbol, {})
    return str(row.get("waits") or row.get("quality") or "")


def _wall_s(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def wall_s() -> float:
    """Return the wall time that log lines are stamped with."""
    return time.time()
