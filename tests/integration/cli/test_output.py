"""Where a command's output goes: a reader that leaves, a full disk, a Ctrl-C before it began."""

import subprocess
import sys
from pathlib import Path

import pytest

from tradebox import __main__ as entry

COMMANDS = (["--help"], ["gateway", "config"], ["data", "list"], ["config", "show"])


def run(tmp_path: Path, arguments: list[str], output: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tradebox", *arguments],
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={"TRADEBOX_HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path), "PATH": "/bin"},
    )


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_full_disk_behind_the_output_is_named(tmp_path: Path, arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = run(tmp_path, arguments, full)
    assert (done.returncode, done.stderr.count("\n")) == (5, 1), done.stderr
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_reader_that_has_gone_is_no_failure(tmp_path: Path, arguments: list[str]) -> None:
    reader = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE)
    reader.wait()
    assert reader.stdin is not None
    done = run(tmp_path, arguments, reader.stdin)
    reader.stdin.close()
    assert (done.returncode, done.stderr) == (0, "")


def test_a_ctrl_c_before_the_commands_are_loaded_is_quiet(monkeypatch) -> None:
    class Impatient:
        def find_spec(self, name: str, _path: object, _target: object = None) -> None:
            if name == "tradebox.cli.bug":
                raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["tradebox", "orders"])
    monkeypatch.setattr(sys, "meta_path", [Impatient(), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "tradebox.cli.bug", raising=False)
    with pytest.raises(SystemExit) as left:
        entry.main()
    assert left.value.code == 0
