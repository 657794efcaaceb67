"""The console beside a running engine: it tells what the commands tell, and harms nobody.

The comparison is made in tmux, as a person would look; figures that move are compared until both
sides were seen to agree.
"""

import contextlib
import os
import pty
import random
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl

import pytest

from support.run_bench import Bench, bench, eventually, in_thread
from support.stock_results import batch, run_spec, stock_result
from tradebox.adapters.embedded.secrets import Login
from tradebox.backtest.store import BacktestStore

pytestmark = [pytest.mark.xdist_group("whole-run"), pytest.mark.timeout(400)]

QUIET = {"TRADEBOX_SIM_DEMO_PLANS": "false"}
TMUX = shutil.which("tmux")
KILLS = 100
RUN_IDS = ("20260101-100000-aaaa", "20260102-100000-bbbb")
STATES = r"CLEAN|DOWN|SYNCING|BLIND|WINDOW"


class Tmux:
    """The console in a tmux of its own."""

    def __init__(self, box: Bench) -> None:
        self.box = box
        self.environ = box.environ(TMUX_TMPDIR=str(box.folder), LC_ALL="C.UTF-8", TERM="xterm")
        for name in ("COLUMNS", "LINES"):  # the size is the terminal's, not a test runner's
            self.environ.pop(name, None)
        command = " ".join([sys.executable, "-m", "tradebox", "tui", "--home", str(box.home)])
        self.tell("new-session", "-d", "-s", "console", "-x", "160", "-y", "48", command)

    def tell(self, *words: str) -> str:
        done = subprocess.run(
            [str(TMUX), "-L", "console", "-f", "/dev/null", *words],
            env=self.environ, capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        return done.stdout

    def text(self) -> str:
        return self.tell("capture-pane", "-p", "-t", "console")

    def show(self, key: str, words: str) -> str:
        self.tell("send-keys", "-t", "console", key)
        return eventually(lambda: words in (text := self.text()) and text, f"{words} on {key}")

    def close(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.tell("kill-server")


@pytest.fixture(scope="module")
def box():
    """A run with one position whose stop is far away, at the speed of the real world."""
    with one_position() as made:
        yield made


@pytest.fixture
def calm():
    """The same, of an engine that nobody has ended: a new one tells of its own time alone."""
    with one_position() as made:
        yield made


@contextlib.contextmanager
def one_position():
    with bench() as made:
        run = made.run("--speed", "1", **QUIET).ready()
        run.when(lambda s: all(a["link"] == "CLEAN" for a in s["accounts"]) and s["accounts"],
                 "both links CLEAN")  # fmt: skip
        made.keep_a_plan(run, "paper")
        yield made


def lines_with(text: str, *words: str) -> list[str]:
    return [line for line in text.splitlines() if all(word in line for word in words)]


def agree(look, what):
    """Look again until screen and command agree: figures may move between the two."""
    eventually(look, what, 60.0)


def feeds_agree(eye, box, seen):
    """Each symbol was seen once with the same price on both sides; prices move in between."""
    rows, text = box.json("quotes"), eye.text()
    for row in rows:
        words = (row["symbol"], row["source"], str(row["tier"]), row["quality"], price(row["last"]))
        if lines_with(text, *words):
            seen.add(row["symbol"])
    return rows and f"Feeds {len(rows)} " in text and seen >= {row["symbol"] for row in rows}


def price(last):
    return f"{float(last):,.2f}"


async def store_a_run(box):
    """Store two made-up runs with the login of backtests: grades that differ by run."""
    async with BacktestStore(box.dsn(Login.RESEARCH)) as store:
        for run_id, grades in zip(RUN_IDS, ("AAC", "BDF"), strict=True):
            stocks = [
                stock_result(symbol, grade=grade)
                for symbol, grade in zip(("AAA", "BBB", "CCC"), grades, strict=True)
            ]
            spec = run_spec(run_id, [one.symbol for one in stocks])
            await store.create_run(spec, [spec.symbols])
            await store.save_batch(run_id, batch(0, stocks))
            await store.finish_run(run_id, "done", {"wall_s": 2.5})


def runs_agree(eye, box):
    runs, text = box.json("backtest", "list"), eye.text()
    newest = box.json("backtest", "show", runs[0]["run_id"])["results"]
    graded = {
        run["run_id"]: r"\s+".join(str(run[f"grade_{letter}"]) for letter in "abcdf")
        for run in runs
    }
    return (
        list(graded) == [*reversed(RUN_IDS)]
        and all(
            any(re.search(counts, line) for line in lines_with(text, run_id, "done"))
            for run_id, counts in graded.items()
        )
        and len(newest) == 3
        and all(
            lines_with(text, row["symbol"], f" {row['grade']} ", f" {row['trades']} ",
                       row["strategy"])
            for row in newest
        )
    )  # fmt: skip


@pytest.mark.skipif(TMUX is None, reason="tmux is not installed: no eye to compare with")
def test_each_screen_says_what_the_matching_command_says(calm):
    eye = Tmux(calm)
    try:
        eye.show("1", "stop cover")

        same: set[str] = set()

        def overview():
            before, status, after = eye.text(), calm.json("status"), eye.text()
            covered = [row for row in status["positions"] if row["quantity"] and row["covered"]]
            said = {"cover": f"{len(covered)} of {len(status['positions'])} positions"} | {
                each["account"]: f"{float(each['net_liquidation_usd']):,.2f}"
                for each in status["accounts"]
            }
            same.update(name for name, words in said.items() if words in before + after)
            links = sorted(each["link"] for each in status["accounts"])
            return same >= set(said) and links == sorted(re.findall(STATES, after.splitlines()[0]))

        def positions():
            text = eye.text()
            return all(
                lines_with(text, row["account"][0].upper(), row["symbol"], f" {row['quantity']} ")
                for row in calm.json("positions")
            )

        agree(overview, "overview and status agree")
        agree(positions, "positions agree")
        eye.show("2", "Plans ")
        plans = calm.json("plan", "list")
        assert plans
        agree(
            lambda: all(lines_with(eye.text(), p["symbol"], p["plan_id"][:12]) for p in plans),
            "plans agree",
        )
        eye.show("3", "Orders ")

        def orders():
            rows, text = calm.json("orders"), eye.text()
            shown = f"Orders {len(rows)} · working {len(calm.json('orders', '--working'))}"
            return shown in text and all(
                lines_with(text, row["symbol"], row["role"], f"{row['filled']}/{row['quantity']}",
                           row["state"], str(row["order_id"]))
                for row in rows
            )  # fmt: skip

        agree(orders, "orders agree")
        eye.show("4", "Feeds ")
        still: set[str] = set()
        agree(lambda: feeds_agree(eye, calm, still), "feeds agree")
        eye.show("5", "Tree ")

        def tree():
            rows, text = calm.json("tree")["children"], eye.text()
            restarts = sum(row["restarts"] for row in rows)
            return f"{len(rows)} actors · restarts {restarts}" in text and all(
                lines_with(text, row["name"].rpartition(".")[2], row["state"]) for row in rows
            )

        agree(tree, "trees agree")
        eye.show("6", "no backtest has been stored")
        in_thread(store_a_run(calm))
        eye.show("6", f"Runs {len(RUN_IDS)}")
        agree(lambda: runs_agree(eye, calm), "runs agree")
        eye.show("7", "Journal ")

        def journal():
            newest = calm.json("journal", "--limit", "1")[0]
            return f"to {newest['seq']:,}" in eye.text() and lines_with(
                eye.text(), f"{newest['seq']:,}", newest["kind"]
            )

        agree(journal, "journals agree")
    finally:
        eye.close()


class Console:
    """A console on a pty that nobody reads unless told to."""

    def __init__(self, box: Bench) -> None:
        self.master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tradebox_tui", "--home", str(box.home)],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env=box.environ(LC_ALL="C.UTF-8", TERM="xterm-256color"),
        )  # fmt: skip
        os.close(slave)
        self.seen = b""

    def read(self, for_s: float = 0.1) -> bytes:
        until = time.monotonic() + for_s
        while (left := until - time.monotonic()) > 0:
            if select.select([self.master], [], [], left)[0]:
                try:
                    self.seen += os.read(self.master, 65536)
                except OSError:
                    break
        return self.seen

    def until(self, words: bytes) -> None:
        eventually(lambda: words in self.read(), f"{words!r} on the terminal")
        self.seen = b""

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            os.close(self.master)


@pytest.fixture
def console(box):
    made = Console(box)
    yield made
    made.close()


def test_it_sees_a_new_engine_and_survives_a_resize(box, console):
    console.until(b"stop cover")
    before = box.status()
    ioctl(console.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.kill(console.process.pid, signal.SIGWINCH)
    console.until(b"7 Jrnl")
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: box.status().get("generation") == before["generation"] + 1, "a new engine")
    os.write(console.master, b"5")
    console.until(b"actors")
    assert console.process.poll() is None
    eventually(lambda: all(a["link"] == "CLEAN" for a in box.status()["accounts"]), "links CLEAN")


def test_a_terminal_that_is_stopped_or_gone_is_not_noticed_by_the_engine(box, console):
    console.until(b"stop cover")
    before = box.status()
    for key in b"2345712345712345712345":  # far more than a pty holds, and nobody reads
        with contextlib.suppress(BlockingIOError):
            os.write(console.master, bytes([key]))
        time.sleep(0.05)
    after = box.status()
    assert (after["pid"], after["generation"]) == (before["pid"], before["generation"])
    assert after["age_s"] < 5
    console.until(b"Journal")  # and it goes on when it is read again
    os.close(console.master)
    eventually(lambda: console.process.poll() is not None, "the console ends with its terminal")
    assert box.status()["pid"] == before["pid"]


def test_a_hangup_leaves_the_terminal_as_it_was_and_is_not_noticed_by_the_engine(box, console):
    console.until(b"stop cover")
    before = box.status()
    console.process.send_signal(signal.SIGHUP)
    eventually(lambda: console.read() and console.process.poll() is not None, "the console's end")
    assert console.process.returncode == 129
    assert b"\x1b[?1049l" in console.seen
    assert termios.tcgetattr(console.master)[3] & termios.ICANON
    after = box.status()
    assert (after["pid"], after["generation"]) == (before["pid"], before["generation"])
    assert after["age_s"] < 5


@pytest.mark.skipif(TMUX is None, reason="tmux is not installed: no eye to compare with")
def test_the_days_orders_outlive_the_engine(box):
    before = box.status()

    def some_work_and_some_are_filled():
        return {row["state"] for row in box.json("orders")} >= {"filled", "working"}

    eventually(some_work_and_some_are_filled, "orders that work and orders that are filled")
    os.kill(before["pid"], signal.SIGKILL)
    eventually(lambda: box.status().get("generation") == before["generation"] + 1, "a new engine")
    eye = Tmux(box)
    try:
        eye.show("3", "Orders ")

        def orders():
            rows, text = box.json("orders"), eye.text()
            return f"Orders {len(rows)} " in text and all(
                lines_with(text, row["symbol"], row["role"], f"{row['filled']}/{row['quantity']}",
                           row["state"], str(row["order_id"]))
                for row in rows
            )  # fmt: skip

        agree(orders, "all orders of the day are on the screen")
        entry = lines_with(eye.text(), "entry", "filled")
        assert "→Filled" in entry[0]
    finally:
        eye.close()
    eventually(lambda: all(a["link"] == "CLEAN" for a in box.status()["accounts"]), "links CLEAN")


def test_it_survives_the_loss_of_both_stores(box, console):
    console.until(b"stop cover")
    before = {server["name"]: server["pid"] for server in box.status()["servers"]}
    for name, key in (("redis", b"1"), ("postgres", b"7")):
        os.kill(before[name], signal.SIGKILL)
        eventually(lambda name=name: _pid(box, name) not in (None, before[name]), f"{name} again")
        os.write(console.master, b"5")
        console.until(b"actors")
        os.write(console.master, key)
        console.until(b"stop cover" if key == b"1" else b"following")
    assert console.process.poll() is None


def _pid(box, name):
    return next((s["pid"] for s in box.status().get("servers", []) if s["name"] == name), None)


def connections(box):
    query = "SELECT count(*) AS n FROM pg_stat_activity WHERE usename = 'console_ro'"
    return box.rows(query)[0]["n"]


@pytest.mark.slow
def test_a_hundred_kills_of_the_console_change_nothing(box):
    draw = random.Random(8)
    before = box.status()
    books = (box.json("orders"), box.json("fills"), box.json("positions"))
    for _ in range(KILLS // 4):
        consoles = [Console(box) for _ in range(4)]
        for each in consoles:
            each.read(draw.choice((0.0, 0.3, 0.7)))
            os.write(each.master, draw.choice((b"2", b"7", b"6", b"5")))
            each.read(draw.choice((0.0, 0.1)))
        for each in consoles:
            os.kill(each.process.pid, signal.SIGKILL)
            each.close()
    after = box.status()
    assert (after["pid"], after["launcher_pid"], after["generation"]) == (
        before["pid"], before["launcher_pid"], before["generation"],
    )  # fmt: skip
    restarts = {row["name"]: row["restarts"] for row in before["actors"]}
    assert {row["name"]: row["restarts"] for row in after["actors"]} == restarts
    assert (box.json("orders"), box.json("fills"), box.json("positions")) == books
    eventually(lambda: connections(box) == 0, "no session of a console is left")
