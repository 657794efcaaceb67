"""A real `tradebox run` as a subprocess on a temporary home, for benches that measure the whole.

Rules of this file:
- profile sim, demo plans off: what trades is what the bench asks for;
- the home goes with the run, and so does every process in it: all are ended by their id.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tradebox.adapters.embedded.lease import SERVERS, stop_servers
from tradebox.cli.status import ask, compose
from tradebox.config import Home
from tradebox.errors import NotRunning
from tradebox.supervision.control import ask_control
from tradebox.supervision.launch_errors import ControlUnreachable

ROOT = Path(__file__).resolve().parents[1]
READY_S_MAX = 60.0
STOP_S_MAX = 20.0
POLL_S = 0.02
ANSWER_S = 10.0
T = TypeVar("T")

BASE_CONFIG: dict[str, dict[str, Any]] = {
    "sim": {"demo_plans": False},
    "launcher": {"deaths_max": 1000},
}


def wait_for(look: Callable[[], T | None], what: str, within_s: float) -> T:
    """Return what `look` finds. Raises TimeoutError naming what was waited for."""
    until_s = time.monotonic() + within_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > until_s:
            raise TimeoutError(f"never happened within {within_s:.0f} s: {what}")
        time.sleep(POLL_S)


def environ() -> dict[str, str]:
    """Return an environment in which children find the source tree, and no settings of a user."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TRADEBOX_")}
    paths = [str(ROOT / "src"), str(ROOT / "tui"), str(ROOT)]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}


class LiveRun:
    """A run that was started and is trading."""

    def __init__(self, home: Home, process: subprocess.Popen[bytes]) -> None:
        self.home = home
        self.process = process

    def status(self) -> dict[str, Any] | None:
        """Return what `tradebox status --json` would say, None while nothing answers."""
        try:
            return compose(ask(self.home, "status"), self.home)
        except NotRunning:
            return None

    def launcher(self) -> dict[str, Any]:
        """Return the launcher's own view."""
        return dict(ask(self.home, "status")["launcher"])

    def forward(self, question: str, **data: object) -> dict[str, Any] | None:
        """Return the engine's answer to a question, None while there is none."""
        request = {"ask": "forward", "to": question, "data": data}
        try:
            answer = ask_control(self.home.control_socket, request, ANSWER_S)
        except ControlUnreachable:
            return None
        found = answer.get("answer")
        return dict(found) if isinstance(found, dict) else None

    def blob(self) -> dict[str, Any]:
        """Return what the engine last told of itself. Raises TimeoutError without one."""
        look = lambda: (ask(self.home, "status")["engine"] or {}).get("blob")  # noqa: E731
        return dict(wait_for(look, "the engine's status", READY_S_MAX))

    def is_clean(self) -> bool:
        """Say whether every account's link is CLEAN."""
        shown = self.status() or {}
        accounts = shown.get("accounts") or []
        return bool(accounts) and all(one["link"] == "CLEAN" for one in accounts)

    def wait_clean(self) -> None:
        """Wait until orders can be sent. Raises TimeoutError, RuntimeError if the run ended."""

        def look() -> bool | None:
            if self.process.poll() is not None:
                raise RuntimeError(f"the run ended with exit code {self.process.returncode}")
            return self.is_clean() or None

        wait_for(look, "both links CLEAN", READY_S_MAX)

    def ledger(self) -> Iterator[dict[str, Any]]:
        """Yield the gateway's rows."""
        return _json_lines(self.home.sim_dir / "ledger.jsonl")

    def log(self) -> Iterator[dict[str, Any]]:
        """Yield the engine's log lines, those of rotated files first."""
        newest = self.home.logs_dir / "engine.jsonl"
        older = newest.parent.glob(f"{newest.name}.*")
        for path in sorted(older, key=lambda one: -int(one.suffix[1:])):
            yield from _json_lines(path)
        yield from _json_lines(newest)


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open() as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def _toml(config: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for section, values in config.items():
        lines.append(f"[{section}]")
        lines.extend(f"{name} = {json.dumps(value)}" for name, value in values.items())
    return "\n".join(lines) + "\n"


@contextmanager
def live_run(config: Mapping[str, Mapping[str, Any]] | None = None) -> Iterator[LiveRun]:
    """Start a run on a fresh home, yield it when it trades, and end it with all it started."""
    folder = Path(tempfile.mkdtemp(prefix="tradebox-bench-"))
    home = Home(folder / "h")
    home.root.mkdir(mode=0o700)
    merged = {**BASE_CONFIG, **(config or {})}
    home.config_file.write_text(_toml(merged))
    command = [sys.executable, "-m", "tradebox", "run", "--home", str(home.root)]
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(
            [*command, "--no-tui", "--json"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environ(),
            start_new_session=True,
        )
    run = LiveRun(home, process)
    try:
        run.wait_clean()
        yield run
    except BaseException:
        print((folder / "out").read_text()[-2000:], file=sys.stderr)
        raise
    finally:
        _end(process, home)
        shutil.rmtree(folder, ignore_errors=True)


def _end(process: subprocess.Popen[bytes], home: Home) -> None:
    """End the launcher in order; it ends the rest. Killed where it does not listen."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        stop_servers(home, SERVERS)
