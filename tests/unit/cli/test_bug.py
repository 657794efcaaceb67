"""A bug with --json: one object on stderr, exit code 1, its traceback where a person finds it."""

import json
import os
import stat
import subprocess
import sys

import pytest

from tradebox.config import Home

PASSWORD = "hunter2-and-more"
BUGGY = f"""
import sys
from tradebox.cli import tree
from tradebox.__main__ import main
def ask(*_):
    raise KeyError("postgresql://trade:{PASSWORD}@host/x")
tree.ask = ask
sys.argv = ["tradebox", *sys.argv[1:]]
main()
"""


def ended(*words):
    path = os.pathsep.join(part for part in sys.path if part)
    return subprocess.run(
        [sys.executable, "-c", BUGGY, *words],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("form", ["two words", "one word"])
def test_a_bug_is_an_object_and_its_traceback_is_in_the_log(tmp_path, form):
    home = Home(tmp_path / "home")
    home.logs_dir.mkdir(parents=True)
    place = ["--home", str(home.root)] if form == "two words" else [f"--home={home.root}"]
    done = ended("tree", "--json", *place)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    told = json.loads(line)
    assert told["error"].startswith("a bug: KeyError: ")
    assert (told["exit_code"], "bug" in told["meaning"]) == (1, True)
    log = home.logs_dir / "bugs.log"
    assert told["log"] == str(log)
    text = log.read_text()
    assert "tradebox tree --json" in text
    assert "Traceback (most recent call last)" in text
    assert PASSWORD not in text + done.stderr
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_without_a_log_the_traceback_rides_along_and_no_home_is_made(tmp_path):
    done = ended("tree", "--json", "--home", str(tmp_path / "home"))
    assert done.returncode == 1
    told = json.loads(done.stderr)
    assert "Traceback (most recent call last)" in told["traceback"]
    assert "log" not in told
    assert list(tmp_path.iterdir()) == []


def test_for_a_person_a_bug_ends_with_its_traceback(tmp_path):
    done = ended("tree", "--home", str(tmp_path / "home"))
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last)")
