"""How a run ends, on a terminal and off it, and what it leaves on the machine: nothing."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.run_bench import Bench, bench, eventually, is_alive, python_path
from tradebox.errors import ExitCode

pytestmark = [pytest.mark.xdist_group("endings"), pytest.mark.timeout(240)]

NOBODY = 65534
FULL_SCREEN = b"\x1b[?1049h"
QUIET = {"TRADEBOX_SIM_DEMO_PLANS": "false"}


def modes_above(path: Path) -> dict[str, tuple[int, int, int]]:
    """Return mode and owners of every folder above a path."""
    found = {}
    for parent in path.parents:
        info = parent.stat()
        found[str(parent)] = (stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)
    return found


def user_database() -> dict[str, bytes]:
    files = ("/etc/passwd", "/etc/group", "/etc/shadow")
    return {name: Path(name).read_bytes() for name in files if os.access(name, os.R_OK)}


def is_listening(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as one:
        one.settimeout(2)
        return one.connect_ex((host, int(port))) == 0


def can_be_nobody() -> bool:
    """Whether the interpreter and the sources are within reach of a plain user."""
    if os.geteuid() != 0:
        return False
    try:
        done = subprocess.run(
            [sys.executable, "-c", "import tradebox.app.run, tradebox_tui"],
            env={**os.environ, "PYTHONPATH": python_path(), "PYTHONDONTWRITEBYTECODE": "1"},
            cwd="/",
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            check=False,
        )
    except PermissionError:
        return False
    return done.returncode == 0


@pytest.mark.parametrize("who", ["this user", "nobody"])
def test_a_timed_run_trades_nothing_unasked_and_leaves_nothing(who: str) -> None:
    if who == "nobody" and not can_be_nobody():
        pytest.skip("not root, or a plain user cannot reach the interpreter: nothing to compare")
    with bench(uid=NOBODY if who == "nobody" else None) as box:
        box.home.chmod(0o700)
        modes, users = modes_above(box.home), user_database()
        run = box.run("--for", "4", **QUIET).ready()
        ready = json.loads((box.home / "sim" / "ready.json").read_text())
        gateways = [ready["gateway_paper"], ready["gateway_live"]]
        assert all(is_listening(gateway) for gateway in gateways)
        assert (run.wait(), run.err) == (ExitCode.OK, "")
        summary = run.lines()[-1]
        assert (summary["orders_sent"], summary["fills_booked"]) == (0, 0)
        assert (summary["plans_closed"], summary["positions"]) == ([], [])
        assert box.processes() == []
        assert not any(is_listening(gateway) for gateway in gateways)
        assert [path.name for path in (*box.tmp.iterdir(), *box.user_home.iterdir())] == []
        assert (modes_above(box.home), user_database()) == (modes, users)
        assert stat.S_IMODE(box.home.stat().st_mode) == 0o700
        owners = {path.stat().st_uid for path in box.home.rglob("*")}
        assert owners <= {NOBODY if who == "nobody" else os.geteuid()}
        assert [
            path.name
            for path in (box.home / "secrets").iterdir()
            if stat.S_IMODE(path.stat().st_mode) != 0o600
        ] == []


@pytest.fixture
def box() -> Iterator[Bench]:
    with bench() as made:
        yield made


def gone(pid: int) -> None:
    eventually(lambda: not is_alive(pid), "the launcher's end")


def test_ctrl_c_on_a_terminal_ends_everything_in_order(box: Bench) -> None:
    run = box.on_terminal("--no-tui", **QUIET)
    run.shows(b"engine is ready")
    run.press(b"\x03")
    run.shows(b"rc=0")
    assert b"SIMULATED done: ticks" in run.seen
    assert b"Traceback" not in run.seen
    assert box.processes_of_run() == []


def test_q_leaves_the_console_and_trading_goes_on(box: Bench) -> None:
    run = box.on_terminal(**QUIET)
    before = run.ready()
    run.shows(FULL_SCREEN)
    run.shows(b"CLEAN")
    run.press(b"q")
    run.shows(b"console closed, trading goes on")
    assert box.status()["pid"] == before["pid"]
    assert is_alive(before["pid"])
    run.press(b"\x03")
    run.shows(b"rc=0")
    assert box.processes_of_run() == []


def test_a_closed_terminal_loses_the_console_only(box: Bench) -> None:
    run = box.on_terminal(**QUIET)
    before = run.ready()
    run.shows(FULL_SCREEN)
    run.shows(b"CLEAN")
    run.hang_up()
    eventually(
        lambda: (
            not any(
                server["name"] == "console" and server.get("pid")
                for server in box.status()["servers"]
            )
        ),
        "the console's end",
    )
    assert box.status()["pid"] == before["pid"]
    os.kill(before["launcher_pid"], signal.SIGTERM)
    gone(before["launcher_pid"])
    eventually(lambda: box.processes_of_run() == [], "everything's end")
    assert list(box.tmp.iterdir()) == []


def test_a_long_home_with_odd_letters_works() -> None:
    home = f"{'x' * 60}/{'mit Leerzeichen é 日本 ' * 3}/{'z' * 60}"
    with bench(home) as box:
        assert len(os.fsencode(box.home)) > 200
        run = box.run("--for", "2", **QUIET)
        assert (run.wait(), run.err) == (ExitCode.OK, "")
        assert run.lines()[-1]["orders_sent"] == 0
        assert list(box.tmp.iterdir()) == []
