"""The command line without servers: help, version, settings, and how refusals are worded."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tradebox.adapters.postgres.migrate import load_migrations
from tradebox.cli.build import digest
from tradebox.cli.main import app, run_command_line
from tradebox.errors import EXIT_CODE_MEANINGS, ExitCode


def commands(command=None, path=()):
    """Every command of the program, groups included, as words."""
    command = typer.main.get_command(app) if command is None else command
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


COMMANDS = sorted(commands())
GROUPS = {
    ("plan",), ("config",), ("data",), ("db",), ("backtest",), ("sim", "fault"), ("ctl",),
    ("ctl", "failover"), ("service",), ("drill",), ("gateway",),
}  # fmt: skip
PRINTING = [path for path in COMMANDS if path and path != ("tui",) and path not in GROUPS]


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in os.environ:
        if name.startswith("TRADEBOX_"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    monkeypatch.setenv("TRADEBOX_HOME", str(home))
    return home


def called(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run_command_line(words)
    shown = capsys.readouterr()
    return code, shown.out, shown.err


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], path) -> None:
    code, out, err = called(capsys, *path, "--help")
    assert (code, err) == (ExitCode.OK, "")
    assert out.startswith(f"Usage: {' '.join(('tradebox', *path))} ")
    assert all(line.strip() != "" for line in out.splitlines()[2:3])


@pytest.mark.parametrize("path", PRINTING, ids=" ".join)
def test_everything_that_prints_can_print_json(capsys: pytest.CaptureFixture[str], path) -> None:
    assert "--json" in called(capsys, *path, "--help")[1]


def test_the_help_prints_the_table_of_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    out = " ".join(called(capsys, "--help")[1].split())
    assert all(f"{code.value} {meaning}" in out for code, meaning in EXIT_CODE_MEANINGS.items())
    assert "--install-completion" not in out  # a shell's files are outside the home


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = called(capsys, "--version")
    assert code == ExitCode.OK
    assert out.startswith("tradebox 0")
    code, out, _ = called(capsys, "--version", "--json")
    assert code == ExitCode.OK
    told = json.loads(out)
    assert re.fullmatch(r"[0-9a-f]{12}", told["build"])
    assert told["schema"] == max(each.number for each in load_migrations())


def test_the_build_changes_with_the_code(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    before = digest(tmp_path)
    (tmp_path / "a.py").write_text("x = 2\n")
    assert digest(tmp_path) != before
    assert digest(tmp_path, ["more"]) != digest(tmp_path)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_learns_our_words(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    code, out, _ = called(capsys, "completion", shell)
    assert code == ExitCode.OK
    assert "_TRADEBOX_COMPLETE" in out


def test_a_shell_that_asks_is_answered() -> None:
    asked = {"_TRADEBOX_COMPLETE": "complete_bash", "COMP_WORDS": "tradebox po", "COMP_CWORD": "1"}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **asked}
    command = [sys.executable, "-m", "tradebox"]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert done.stdout.split() == [b"positions"]


@pytest.mark.parametrize("words", [(), ("plan",), ("config",), ("db",), ("sim", "fault")])
def test_a_group_without_its_command_shows_its_help(capsys, words) -> None:
    code, out, err = called(capsys, *words)
    assert (code, out) == (ExitCode.CONFIG, "")
    assert err.startswith("Usage: tradebox")


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("run", "--speed", "fast"), "--speed"),
        (("run", "--speed", "1000"), "sim.speed=1000.0"),
        (("run", "--speed", "nan"), "sim.speed=nan"),
        (("run", "--for", "0"), "--for=0.0"),
        (("run", "--for", "-1"), "--for=-1.0"),
        (("run", "--for", "nan"), "--for=nan"),
        (("run", "--for", "inf"), "--for=inf"),
        (("run", "--profile", "demo"), "profile='demo'"),
        (("run", "--bogus"), "--bogus"),
        (("ruin",), "ruin"),
        (("plan", "add"), "Missing"),
        (("sim", "--ports", "1,2"), "ports has 2 numbers"),
        (("sim", "--ports", "4002,0,0,0"), "port 4002"),
    ],
)
def test_a_wrong_command_line_is_refused_in_words_and_in_json(
    capsys: pytest.CaptureFixture[str], own_home: Path, words, match: str
) -> None:
    code, out, err = called(capsys, *words)
    assert (code, out) == (ExitCode.CONFIG, "")
    assert all(line.startswith("tradebox: ") for line in err.splitlines())
    assert match in err
    code, out, err = called(capsys, *words, "--json")
    told = json.loads(err)
    assert (code, out) == (ExitCode.CONFIG, "")
    assert told["exit_code"] == code
    assert told["meaning"] == EXIT_CODE_MEANINGS[ExitCode.CONFIG]
    assert told["error"]
    assert not own_home.exists()


def test_the_console_needs_a_terminal(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    code, _, err = called(capsys, "run", "--tui")
    assert code == ExitCode.CONFIG
    assert "--no-tui" in err


def test_a_settings_file_is_written_once_and_holds(capsys, own_home: Path) -> None:
    code, out, _ = called(capsys, "config", "init", "--json")
    file = own_home / "config.toml"
    assert (code, json.loads(out)) == (ExitCode.OK, {"config_file": str(file)})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(own_home.stat().st_mode) == 0o700
    assert called(capsys, "config", "check")[:2] == (
        ExitCode.OK,
        f"ok: profile sim (SIMULATED), home {own_home}\n",
    )
    kept = file.read_text()
    code, _, err = called(capsys, "config", "init")
    assert code == ExitCode.REFUSED
    assert "--force" in err
    # Uncommented, every line but the unset ones is what is in force already.
    lines = [line for line in kept.splitlines() if not line.endswith("# not set")]
    is_setting = [line.startswith("# ") and " = " in line for line in lines]
    file.write_text(
        "\n".join(line[2:] if mine else line for line, mine in zip(lines, is_setting, strict=True))
    )
    code, out, err = called(capsys, "config", "show", "--json")
    assert (code, err) == (ExitCode.OK, "")
    file.unlink()
    assert json.loads(called(capsys, "config", "show", "--json")[1]) == json.loads(out)


def test_secrets_are_masked_and_typos_named(capsys, own_home: Path, monkeypatch) -> None:
    monkeypatch.setenv("TRADEBOX_FINNHUB_KEY", "k3y-of-mine")
    for words in (("config", "show"), ("config", "show", "--json"), ("config", "check")):
        code, out, err = called(capsys, *words)
        assert code == ExitCode.OK
        assert "k3y-of-mine" not in out + err
    monkeypatch.setenv("TRADEBOX_SIM_SPEEED", "5")
    code, _, err = called(capsys, "config", "check", "--json")
    assert code == ExitCode.CONFIG
    assert "TRADEBOX_SIM_SPEEED" in json.loads(err)["error"]


@pytest.mark.parametrize(
    "words",
    [("status",), ("sim", "fault", "list"), ("sim", "fault", "clear")],
    ids=" ".join,
)
def test_what_needs_a_run_says_that_nothing_runs(capsys, own_home: Path, words) -> None:
    code, out, err = called(capsys, *words, "--json")
    assert (code, out) == (ExitCode.NOT_RUNNING, "")
    assert "tradebox run" in json.loads(err)["error"]
    assert not own_home.exists()


def test_a_plan_from_a_pipe_is_refused_and_does_not_hang(tmp_path, capsys):
    pipe = tmp_path / "plan"
    os.mkfifo(pipe)
    assert run_command_line(["plan", "add", str(pipe), "--account", "paper"]) == ExitCode.REFUSED
    assert "no regular file" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("ctl", "kill"), ("run", "--no-tui"), ("positions",)])
def test_a_home_where_nothing_can_be_made_is_one_line(capsys, words):
    code, _, err = called(capsys, *words, "--home", "/proc/nowhere")
    assert code in {ExitCode.HOME, ExitCode.REFUSED}
    assert len(err.splitlines()) == 1
    assert err.startswith("tradebox: ")


def test_a_run_whose_sockets_find_no_room_is_one_line(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("long" * 30)))
    code, _, err = called(capsys, "run", "--no-tui")
    assert code == ExitCode.HOME
    assert len(err.splitlines()) == 1
    assert "shorter folder" in err
