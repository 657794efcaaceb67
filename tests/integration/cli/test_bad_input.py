"""Bad input: a clear message, the right exit code, and nothing half-written."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest

from support.run_bench import Bench, bench
from tradebox.errors import ExitCode

pytestmark = [pytest.mark.xdist_group("bad-input"), pytest.mark.timeout(180)]

QUIET = {"TRADEBOX_SIM_DEMO_PLANS": "false"}
GOOD = {
    "symbol": "SPY",
    "side": "long",
    "size": {"quantity": 10},
    "entry": {"type": "limit", "price": 150},
    "stop": {"price": 140},
}
PLANS = {
    "malformed": ("symbol = ", "plan"),
    "no text": (b"\xff\xfe\x00", "plan"),
    "not a plan": ("[1]", "plan"),
    "unknown key": ({**GOOD, "sise": 1}, "sise"),
    "unknown symbol": ({**GOOD, "symbol": "ZZZZ"}, "symbol"),
    "no symbol": ({**GOOD, "symbol": "spy!"}, "symbol"),
    "stop on the wrong side": ({**GOOD, "stop": {"price": 160}}, "stop.price"),
    "stop on the wrong side of a short": ({**GOOD, "side": "short"}, "stop.price"),
    "size 0": ({**GOOD, "size": {"quantity": 0}}, "size.quantity"),
    "no size": ({**GOOD, "size": {}}, "size"),
    "negative size": ({**GOOD, "size": {"quantity": -5}}, "size.quantity"),
    "half a share": ({**GOOD, "size": {"quantity": 1.5}}, "size.quantity"),
    "NaN": (json.dumps(GOOD).replace("140", "NaN"), "stop.price"),
    "infinity": (json.dumps(GOOD).replace("140", "Infinity"), "stop.price"),
    "fractions beyond 1": (
        {
            **GOOD,
            "steps": [
                {"at": {"r": 1}, "take": {"fraction": 0.6}},
                {"at": {"r": 2}, "take": {"fraction": 0.6}},
            ],
        },
        "steps",
    ),
    "too long": ("#" * 70_000, "plan"),
}


@pytest.fixture(scope="module")
def box() -> Iterator[Bench]:
    """A home on which a run is up and trades nothing."""
    with bench() as made:
        made.run(**QUIET).ready()
        yield made


@pytest.fixture
def idle() -> Iterator[Bench]:
    """An empty home on which nothing runs."""
    with bench() as made:
        yield made


def refused(done: subprocess.CompletedProcess, code: ExitCode) -> str:
    """Return the message of a refusal in JSON."""
    assert (done.returncode, done.stdout) == (code, ""), done.stdout + done.stderr
    told = json.loads(done.stderr)
    assert told["exit_code"] == code
    assert told["meaning"]
    assert "Traceback" not in told["error"]
    return told["error"]


@pytest.mark.parametrize("name", PLANS)
def test_a_bad_plan_is_refused_and_nothing_is_stored(box: Bench, name: str) -> None:
    content, field = PLANS[name]
    file = box.folder / "plan"
    if isinstance(content, dict):
        content = json.dumps(content)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    message = refused(
        box.command("plan", "add", str(file), "--account", "paper", "--json"), ExitCode.REFUSED
    )
    assert field in message
    assert box.rows("SELECT plan_id FROM trade.plan") == []
    assert box.rows("SELECT plan_id FROM trade.plan_version") == []


def test_unknown_ids_and_files_are_named(box: Bench) -> None:
    assert "P-1" in refused(box.command("plan", "show", "P-1", "--json"), ExitCode.NOT_RUNNING)
    gone = box.command("plan", "cancel", "P-1", "--account", "paper", "--json")
    assert "P-1" in refused(gone, ExitCode.NOT_RUNNING)
    missing = box.command("plan", "add", "/nowhere", "--account", "paper", "--json")
    assert "/nowhere" in refused(missing, ExitCode.REFUSED)
    unknown = box.command("plan", "cancel", "P-1", "--account", "cash", "--json")
    assert "--account=cash" in refused(unknown, ExitCode.CONFIG)


def test_faults_are_listed_set_and_cleared(box: Bench) -> None:
    names = {row["name"] for row in box.json("sim", "fault", "list")["finnhub"]}
    assert "half_open" in names
    assert box.json("sim", "fault", "set", "finnhub.half_open", "count=3")["finnhub"] == {
        "half_open": [{"count": 3, "hits": 0}]
    }
    assert "SET count=3" in box.command("sim", "fault", "list").stdout
    assert box.command("sim", "fault", "clear", "finnhub.half_open").stdout == "no fault is set\n"
    for words in (
        ("finnhub.none",),
        ("finnhub.half_open", "count"),
        ("finnhub.half_open", "count=x"),
    ):
        refused(box.command("sim", "fault", "set", *words, "--json"), ExitCode.CONFIG)


def test_a_taken_port_is_refused(idle: Bench) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = idle.command("sim", "--ports", f"{port},0,0,0", "--json")
    assert str(port) in refused(done, ExitCode.ADDRESS)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("postgresql://who:hunter2secret@127.0.0.1:1/x", ExitCode.STORE),
        ("http://who:hunter2secret@127.0.0.1/x", ExitCode.CONFIG),
    ],
)
def test_a_wrong_postgres_url_ends_the_run_without_its_password(
    idle: Bench, url: str, code: ExitCode
) -> None:
    done = idle.command("run", "--no-tui", "--json", "--for", "5", TRADEBOX_POSTGRES_URL=url)
    assert done.returncode == code, done.stdout + done.stderr
    assert "127.0.0.1" in done.stderr or "postgres.url" in done.stderr
    logs = "".join(path.read_text() for path in idle.home.rglob("*.log"))
    assert "hunter2secret" not in done.stdout + done.stderr + logs
    assert (idle.processes(), list(idle.tmp.iterdir())) == ([], [])


def test_nothing_runs_is_told(idle: Bench) -> None:
    assert "nothing runs" in refused(idle.command("status", "--json"), ExitCode.NOT_RUNNING)
    faults = idle.command("sim", "fault", "list", "--json")
    assert "no simulator" in refused(faults, ExitCode.NOT_RUNNING)


# --- homes that cannot be written ---


def mounted(box: Bench, options: str) -> list[str]:
    """Return what puts a small file system over the home for one command only."""
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("needs root and unshare: no small file system can be mounted here")
    script = f'mount -t tmpfs -o {options} none "$0" && exec "$@"'
    prefix = ["unshare", "-m", "sh", "-c", script, str(box.home)]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounts are not allowed here")
    return prefix


@pytest.mark.parametrize("options", ["size=4k", "size=128k", "size=12m", "ro"])
def test_a_full_or_read_only_home_is_told(idle: Bench, options: str) -> None:
    prefix = mounted(idle, options)
    run = idle.run("--for", "5", prefix=prefix, **QUIET)
    assert run.wait() == ExitCode.HOME, run.out + run.err
    word = "read-only" if options == "ro" else "full"
    assert word in run.err
    assert "Traceback" not in run.err + run.out
    assert (idle.processes(), list(idle.tmp.iterdir())) == ([], [])


def test_a_home_of_another_user_is_told(idle: Bench) -> None:
    idle.home.chmod(0o500)
    if os.access(idle.home, os.W_OK):
        pytest.skip("this user may write anywhere; the read-only file system shows the same")
    message = refused(idle.command("run", "--no-tui", "--json"), ExitCode.HOME)
    assert "cannot be written" in message
