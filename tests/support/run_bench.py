"""Starts `tradebox` as a person does: a process with a session, HOME and TMPDIR of its own.

Rules of this file:
- a bench has one home and one short temporary folder, both gone at its end;
- whatever a run leaves is found by the bench's HOME in its environment, and ended by pid.
"""

import contextlib
import json
import os
import pty
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from support.stores import in_thread, make_home
from tradebox.adapters.embedded.addresses import (
    DATABASE,
    POSTGRES_FOLDER,
    postgres_dsn,
    superuser_dsn,
)
from tradebox.adapters.embedded.secrets import Login
from tradebox.adapters.postgres.connect import connected
from tradebox.cli.status import compose
from tradebox.config import Home, Settings
from tradebox.supervision.control import ask_control
from tradebox.supervision.launch_errors import ControlUnreachable

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0
KEPT_PLAN = """
symbol = "{symbol}"
side = "long"
size = {{ quantity = 40 }}
entry = {{ type = "market", valid_until = 300 }}
stop = {{ percent = 20 }}
"""
STEPS = ("entry", "break_even", "scale_out", "exit")


def eventually(look: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Return the first true value of `look`. Raises AssertionError once the deadline is over."""
    until = time.monotonic() + deadline_s
    while not (seen := look()):
        assert time.monotonic() < until, f"never happened: {what}"
        time.sleep(0.05)
    return seen


def process_state(pid: int) -> str:
    """Return the letter of a process's state, "" once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    return process_state(pid) not in ("", "Z")


def python_path() -> str:
    """Return this tree, and whatever this interpreter was told beside it."""
    told = os.environ.get("PYTHONPATH", "")
    return os.pathsep.join([str(ROOT / "src"), str(ROOT / "tui"), *([told] if told else [])])


class Bench:
    """One home, and the commands that are run on it."""

    def __init__(self, home: str = "", uid: int | None = None) -> None:
        """Make the folders.

        home: below a new folder, where given; uid: who runs the commands, None = who tests.
        """
        self.root = make_home().root
        self.home = self.root / home
        self.uid = uid
        self.folder = Path(tempfile.mkdtemp(prefix="tb-", dir="/tmp"))
        self.tmp = self.folder / "t"
        self.tmp.mkdir()
        self.user_home = self.folder / "user"
        self.user_home.mkdir()
        self.runs: list[Run] = []
        self.terminals: list[TerminalRun] = []
        if uid is not None:
            for path in (self.root, self.folder, self.tmp, self.user_home):
                os.chown(path, uid, uid)

    def environ(self, **more: str) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TRADEBOX_", "PYTHON", "XDG_", "COV"))
        }
        own = {
            "HOME": str(self.user_home),
            "TMPDIR": str(self.tmp),
            "XDG_RUNTIME_DIR": str(self.tmp),
            "PYTHONPATH": python_path(),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return {**kept, **own, "TRADEBOX_POSTGRES_MEMORY_MB": "32", **more}

    def user(self) -> dict[str, Any]:
        """Return what subprocess needs to start something as the bench's user."""
        return {} if self.uid is None else {"user": self.uid, "group": self.uid, "extra_groups": []}

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tradebox", *arguments, "--home", str(self.home)]

    def command(
        self, *arguments: str, text: str | None = None, deadline_s: float = DEADLINE_S, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            self.argv(*arguments),
            env=self.environ(**env),
            **self.user(),
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            timeout=deadline_s,
            check=False,
            start_new_session=True,
        )

    def json(self, *arguments: str, **env: str) -> Any:
        """Return what a command prints with --json; it must succeed."""
        done = self.command(*arguments, "--json", **env)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def run(self, *arguments: str, prefix: Sequence[str] = (), **env: str) -> "Run":
        """Start `tradebox run` with --no-tui --json beside this process."""
        made = Run(self, ["run", "--no-tui", "--json", *arguments], prefix, env)
        self.runs.append(made)
        return made

    def keep_a_plan(self, run: "Run", account: str, symbol: str = "SPY") -> str:
        """Open a position of 40 shares whose stop is far away; return the plan's id."""
        file = self.folder / "kept.toml"
        file.write_text(KEPT_PLAN.format(symbol=symbol))
        plan_id: str = self.json("plan", "add", str(file), "--account", account)["plan_id"]
        run.wait_event("PlanStepTaken", plan_id=plan_id, kind="entry")
        return plan_id

    def on_terminal(self, *arguments: str, **env: str) -> "TerminalRun":
        """Start `tradebox run` on a terminal, under a shell as `make` is one."""
        made = TerminalRun(self, ["run", *arguments], env)
        self.terminals.append(made)
        return made

    def status(self) -> dict[str, Any]:
        """Return the status of what runs on this home, {} while nothing answers."""
        path = self.socket_dir / "control" / "control.sock"
        try:
            answer = ask_control(path, {"ask": "status"}, DEADLINE_S)
        except ControlUnreachable:
            return {}
        return compose(answer, Home(self.home))

    def processes(self) -> list[int]:
        """Return every process of this bench and what they started, zombies excepted."""
        marks = (f"HOME={self.user_home}".encode(), f"TMPDIR={self.tmp}".encode())
        found, parents = set(), {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal() or int(entry.name) == os.getpid():
                continue
            pid = int(entry.name)
            try:
                words = (entry / "environ").read_bytes().split(b"\0")
                line = (entry / "cmdline").read_bytes()
                parents[pid] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if any(mark in words for mark in marks) or os.fsencode(self.home) in line:
                found.add(pid)
        while more := {pid for pid, parent in parents.items() if parent in found} - found:
            found |= more
        return sorted(pid for pid in found if is_alive(pid))

    def processes_of_run(self) -> list[int]:
        """Return the processes of this bench but the shells of its terminals."""
        shells = {run.shell_pid for run in self.terminals}
        return [pid for pid in self.processes() if pid not in shells]

    def kill_all(self) -> list[int]:
        """Kill -9 everything of this bench at once and wait until it is gone; return the pids."""
        killed: set[int] = set()
        while left := self.processes():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed.update(left)
            for run in self.runs:
                run.popen.poll()
            time.sleep(0.02)
        return sorted(killed)

    def close(self) -> None:
        self.kill_all()
        for run in self.runs:
            run.popen.wait(DEADLINE_S)
        for run in self.terminals:
            run.close()
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- what the home knows ---

    @property
    def socket_dir(self) -> Path:
        """Where this bench's processes have their sockets: theirs is another TMPDIR."""
        ours = Home(self.home).socket_dir.name
        uid = os.getuid() if self.uid is None else self.uid
        return self.tmp / ours.replace(f"-{os.getuid()}-", f"-{uid}-", 1)

    def dsn(self, login: Login = Login.TRADE, database: str = DATABASE) -> str:
        """Return a login's URL of the embedded PostgreSQL."""
        folder = self.socket_dir / POSTGRES_FOLDER
        if login is Login.POSTGRES:
            return superuser_dsn(Home(self.home), folder, database)
        return postgres_dsn(Home(self.home), Settings(), login, folder)

    def rows(self, query: str, *arguments: object) -> list[dict[str, Any]]:
        """Return what PostgreSQL answers to the trading role."""

        async def ask() -> list[dict[str, Any]]:
            async with connected(self.dsn()) as connection:
                return [dict(row) for row in await connection.fetch(query, *arguments)]

        return in_thread(ask())

    def secrets(self) -> dict[str, str]:
        """Return every secret value of the home by the file that keeps it."""
        folder = self.home / "secrets"
        kept = {path.name: path.read_text().strip() for path in folder.iterdir() if path.is_file()}
        identity = json.loads((self.home / "sim" / "identity.json").read_text())
        return {**kept, "finnhub_key": identity["finnhub_key"]}


class Run:
    """One `tradebox run` with its stdout and stderr in files."""

    def __init__(
        self, bench: Bench, arguments: list[str], prefix: Sequence[str], env: dict[str, str]
    ) -> None:
        self.bench = bench
        number = len(bench.runs)
        self.out_file = bench.folder / f"out{number}"
        self.err_file = bench.folder / f"err{number}"
        with self.out_file.open("wb") as out, self.err_file.open("wb") as err:
            self.popen = subprocess.Popen(
                [*prefix, *bench.argv(*arguments)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=bench.environ(**env),
                **bench.user(),
                start_new_session=True,
            )
        self.pid = self.popen.pid

    @property
    def out(self) -> str:
        return self.out_file.read_text()

    @property
    def err(self) -> str:
        return self.err_file.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """Return every whole line of stdout so far; each must be a JSON object."""
        whole = self.out.rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def events(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        return [
            line
            for line in self.lines()
            if line.get("event") == name
            and all(line.get(key) == value for key, value in fields.items())
        ]

    def wait_event(self, name: str, *, count: int = 1, **fields: Any) -> dict[str, Any]:
        """Wait until an event was printed so often; return the last of them."""

        def look() -> dict[str, Any] | None:
            found = self.events(name, **fields)
            if len(found) >= count:
                return found[-1]
            assert self.popen.poll() is None, f"{name} {fields}: {self.out[-2000:]}\n{self.err}"
            return None

        return eventually(look, f"{name} {fields}")

    def ready(self, generation: int = 1) -> "Run":
        self.wait_event("engine_ready", generation=generation)
        return self

    def steps(self) -> dict[str, list[str]]:
        """Return the kinds of step seen so far, by plan."""
        seen: dict[str, list[str]] = {}
        for line in self.events("PlanStepTaken"):
            seen.setdefault(line["plan_id"], []).append(line["kind"])
        return seen

    def status(self) -> dict[str, Any]:
        return self.bench.json("status")

    def when(self, holds: Callable[[dict[str, Any]], Any], what: str) -> dict[str, Any]:
        """Return the first status for which something holds."""

        def look() -> dict[str, Any] | None:
            shown = self.bench.status()
            return shown if shown and holds(shown) else None

        return eventually(look, what)

    def send(self, signum: int) -> None:
        self.popen.send_signal(signum)

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        return self.popen.wait(deadline_s)

    def stop(self, signum: int = signal.SIGTERM) -> dict[str, Any]:
        """End the run in order and return its summary line."""
        self.send(signum)
        assert self.wait() == 0, self.err
        return self.lines()[-1]


class TerminalRun:
    """`tradebox run` on a pseudo-terminal of 160 columns."""

    def __init__(self, bench: Bench, arguments: list[str], env: dict[str, str]) -> None:
        self.bench = bench
        self.seen = b""
        line = (
            f"trap : INT; stty cols 160 rows 48; {shlex.join(bench.argv(*arguments))}; echo rc=$?"
        )
        environ = bench.environ(TERM="xterm-256color", **env)
        self.shell_pid, self._master = pty.fork()
        if self.shell_pid == 0:
            os.execve("/bin/sh", ["sh", "-c", line], environ)
        os.set_blocking(self._master, False)

    def read(self) -> bytes:
        while self._master >= 0 and select.select([self._master], [], [], 0)[0]:
            try:
                chunk = os.read(self._master, 65536)
            except OSError:
                break
            if not chunk:
                break
            self.seen += chunk
        return self.seen

    def shows(self, text: bytes) -> None:
        """Wait until the terminal has received a text."""

        def look() -> bool:
            return text in self.read()

        try:
            eventually(look, f"{text!r} on the terminal")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.seen[-3000:]!r}") from None

    def ready(self) -> dict[str, Any]:
        """Wait until the engine tells its status; return that."""

        def look() -> dict[str, Any] | None:
            self.read()
            shown = self.bench.status()
            return shown if shown.get("actors") else None

        return eventually(look, "the engine's status")

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def hang_up(self) -> None:
        """Close the terminal: the kernel sends SIGHUP."""
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        """End the shell; the bench has ended what it started."""
        if self._master >= 0:
            self.read()
            self.hang_up()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.shell_pid, signal.SIGKILL)
        os.waitpid(self.shell_pid, 0)


@contextlib.contextmanager
def bench(home: str = "", uid: int | None = None) -> Iterator[Bench]:
    made = Bench(home, uid)
    try:
        yield made
    finally:
        made.close()
