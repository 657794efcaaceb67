"""Starts toy runs of the launcher as processes, and sees that none of them leaves anything."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tradebox.supervision.control import ask_control
from tradebox.supervision.launch_errors import ControlUnreachable

HERE = Path(__file__).parent
SRC = HERE.parents[2] / "src"
DEADLINE_S = 20.0


def eventually(look: Callable, what: str = "what was waited for"):
    until = time.monotonic() + DEADLINE_S
    while not (seen := look()):
        assert time.monotonic() < until, f"never happened: {what}"
        time.sleep(0.01)
    return seen


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def processes_of(folder: Path) -> list[int]:
    """Every process that has the folder on its command line, zombies excepted."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in words:
                found.append(int(entry.name))
    return found


class Run:
    """One launcher under test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pid = 0
        self.master = -1
        self.seen = b""
        self._popen: subprocess.Popen | None = None

    def _scenario(self, scenario: dict) -> list[str]:
        path = self.folder / "scenario.json"
        path.write_text(json.dumps({"folder": str(self.folder), **scenario}))
        return [sys.executable, "-S", str(HERE / "toy_run.py"), str(path)]

    def _environ(self, more: dict[str, str]) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV"))}
        site = [path for path in sys.path if path.endswith("site-packages")]
        return {**kept, "PYTHONPATH": os.pathsep.join([str(SRC), *site]), **more}

    def start(self, *, stdout: int | None = None, environ: dict | None = None, **scenario) -> None:
        argv = self._scenario(scenario)
        with (self.folder / "out").open("wb") as out, (self.folder / "err").open("wb") as err:
            self._popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out if stdout is None else stdout,
                stderr=err,
                env=self._environ(environ or {}),
                start_new_session=True,
            )
        self.pid = self._popen.pid

    def second(self) -> int:
        """Start a second launcher on the same folder and return its exit code."""
        argv = [sys.executable, "-S", str(HERE / "toy_run.py"), str(self.folder / "scenario.json")]
        return subprocess.run(
            argv, env=self._environ({}), timeout=DEADLINE_S, check=False
        ).returncode

    def start_on_terminal(self, **scenario) -> None:
        """Start under a shell that leads the terminal's session, as `make run` would."""
        argv = self._scenario(scenario)
        line = " ".join(argv)
        pid, self.master = pty.fork()
        if pid == 0:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the runner may be deaf to hang-ups
            os.execve(
                "/bin/sh",
                ["sh", "-c", f"{line} 2>{self.folder}/err; echo rc=$?"],
                self._environ({}),
            )
        self.shell_pid = pid
        os.set_blocking(self.master, False)

    def read_terminal(self) -> bytes:
        while select.select([self.master], [], [], 0)[0]:
            try:
                chunk = os.read(self.master, 65536)
            except OSError:
                break
            if not chunk:
                break
            self.seen += chunk
        return self.seen

    def on_terminal(self, text: bytes) -> None:
        eventually(lambda: text in self.read_terminal(), f"{text!r} on the terminal")

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def close_terminal(self) -> None:
        os.close(self.master)
        self.master = -1
        os.waitpid(self.shell_pid, 0)
        self.shell_pid = 0

    # --- looking ---

    eventually = staticmethod(eventually)
    is_alive = staticmethod(is_alive)

    def ask(self, request: dict) -> dict:
        return ask_control(self.folder / "c.sock", request, 10.0)

    def forward(self, name: str, **data) -> dict:
        return self.ask({"ask": "forward", "to": name, "data": data})

    def status(self) -> dict:
        try:
            return self.ask({"ask": "status"})["launcher"]
        except ControlUnreachable:
            return {}

    def ready(self, generation: int = 1) -> dict:
        def look() -> dict | None:
            assert self._popen is None or self._popen.poll() is None, self.err()
            now = self.status()
            is_ready = now.get("engine_state") == "ready" and now["generation"] >= generation
            return now if is_ready else None

        status = eventually(look, f"generation {generation} is ready")
        self.pid = status["pid"]
        return status

    def trace(self) -> list[str]:
        path = self.folder / "trace"
        return path.read_text().splitlines() if path.exists() else []

    def traced(self, word: str) -> None:
        eventually(lambda: any(word in line for line in self.trace()), f"{word} in the trace")

    def out(self) -> str:
        return (self.folder / "out").read_text()

    def err(self) -> str:
        return (self.folder / "err").read_text()

    def dead(self) -> list[str]:
        return [p.read_text() for p in sorted((self.folder / "dead").glob("*.txt"))]

    # --- ending ---

    def kill(self, signum: int) -> None:
        os.kill(self.pid, signum)

    def wait(self) -> int:
        assert self._popen is not None
        return self._popen.wait(DEADLINE_S)

    def gone(self) -> None:
        """Wait for a launcher that a shell waits for."""
        eventually(lambda: not is_alive(self.pid), "the launcher's end")

    def stop(self) -> int:
        self.kill(signal.SIGTERM)
        return self.wait()

    def end(self) -> list[int]:
        """End what is left and return it."""
        if self._popen is not None and self._popen.poll() is None:
            self._popen.kill()
            self._popen.wait()
        if self.master >= 0:
            self.read_terminal()
            self.close_terminal()
        left = [pid for pid in processes_of(self.folder) if is_alive(pid)]
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return left


@pytest.fixture
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("run")
    run = Run(folder)
    yield run
    was_running = run._popen is not None and run._popen.poll() is None
    left = run.end()
    assert not was_running, "the test has ended its launcher"
    assert not left, "nothing outlives a run"
