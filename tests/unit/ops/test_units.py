"""The systemd unit: what it says, that systemd reads it, and that no name can break it."""

import json
import shlex
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebox.cli.main import run_command_line
from tradebox.errors import ConfigInvalid, NotDone
from tradebox.ops.units import (
    NAME,
    SCAN_NAME,
    TIMER_NAME,
    Unit,
    check_calendar,
    install,
    quoted,
    unit_path,
    verify,
)

HAS_CHECKER = shutil.which("systemd-analyze") is not None


def unit(home: str = "/srv/box", user: str | None = "trader") -> str:
    return Unit(Path("/usr/bin/env"), Path(home), user).text()


def values(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


@pytest.mark.parametrize("user", ["trader", None])
def test_the_launcher_is_watched_and_always_brought_back(user):
    text = unit(user=user)
    assert values(text, "Type") == ["notify"]
    assert values(text, "NotifyAccess") == ["main"]
    assert values(text, "Restart") == ["always"]
    assert values(text, "RestartSec") == ["0"]
    assert values(text, "KillMode") == ["mixed"]
    assert float(values(text, "WatchdogSec")[0]) > 0
    assert int(values(text, "StartLimitBurst")[0]) > 0


def test_a_refused_configuration_is_not_tried_again():
    assert values(unit(), "RestartPreventExitStatus") == ["2 5 7"]


def test_the_system_unit_runs_as_its_user_and_writes_to_the_home_alone():
    text = unit()
    assert values(text, "User") == ["trader"]
    assert values(text, "ProtectSystem") == ["strict"]
    assert values(text, "ReadWritePaths") == ['"/srv/box" /tmp']
    assert values(text, "CapabilityBoundingSet") == [""]
    assert values(text, "PrivateTmp") == []


def test_the_user_unit_names_no_user_and_asks_for_no_mounts():
    text = unit(user=None)
    assert values(text, "User") == values(text, "ProtectSystem") == []
    assert values(text, "WantedBy") == ["default.target"]


def read_back(word: str) -> str:
    """What systemd makes of a quoted word of ExecStart: unquote, then specifiers, then $$."""
    unquoted = word.replace("\\n", "\n").replace("\\t", "\t") if "\\\\" not in word else word
    return shlex.split(unquoted)[0].replace("%%", "%").replace("$$", "$")


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\\\r"), min_size=1))
def test_a_quoted_word_is_one_line_and_reads_back(word):
    assert "\n" not in quoted(word)
    assert read_back(quoted(word)) == word


def test_a_backslash_is_doubled():
    assert quoted("a\\b") == '"a\\\\b"'


def test_a_unit_is_written_whole_into_its_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = unit_path(is_user=True)
    install(path, unit(user=None))
    assert path == tmp_path / "systemd" / "user" / NAME
    assert [each.name for each in path.parent.iterdir()] == [NAME]
    assert path.read_text() == unit(user=None)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotDone, match="use sudo, or --user"):
        install(tmp_path / "file" / NAME, unit())


def test_a_scan_is_of_the_instances_account_and_waits_for_nobody():
    text = Unit(Path("/usr/bin/env"), Path("/srv/100% box"), "trader").scan_text()
    (command,) = values(text, "ExecStart")
    words = shlex.split(command.replace("%%", "%"))
    assert words == ["/usr/bin/env", "-m", "tradebox", "scan", "--home", "/srv/100% box",
                     "--account", "%i"]  # fmt: skip
    assert '"/srv/100%% box"' in command
    assert (values(text, "Type"), values(text, "Nice")) == (["oneshot"], ["19"])
    assert values(text, "User") == ["trader"]
    assert values(text, "ReadWritePaths") == ['"/srv/100%% box" /tmp']
    assert "tradebox.service" not in text


def test_the_timer_is_by_the_exchanges_clock_and_makes_up_for_a_missed_day():
    text = Unit(Path("/usr/bin/env"), Path("/srv/box"), None).timer_text()
    assert values(text, "OnCalendar") == ["Mon..Fri 18:30 America/New_York"]
    assert values(text, "Persistent") == ["true"]
    assert values(text, "WantedBy") == ["timers.target"]


@pytest.mark.parametrize("text", ["", " ", "a\nExecStart=/bin/sh", "every other moon"])
def test_a_time_that_systemd_does_not_know_is_refused(text):
    if text.isprintable() and text.strip() and not HAS_CHECKER:
        pytest.skip("no systemd-analyze on this machine")
    with pytest.raises(ConfigInvalid, match="--scan-at"):
        check_calendar(text)


def test_the_command_writes_all_units_and_says_how_to_start_them(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    words = ["--user", "--home", str(tmp_path / "home"), "--scan-at", "Mon..Fri 19:00 UTC"]
    assert run_command_line(["service", "install", *words]) == 0
    said = capsys.readouterr().out
    folder = tmp_path / "config" / "systemd" / "user"
    assert {each.name for each in folder.iterdir()} == {NAME, SCAN_NAME, TIMER_NAME}
    assert "enable --now tradebox-scan@paper.timer" in said
    assert "OnCalendar=Mon..Fri 19:00 UTC" in (folder / TIMER_NAME).read_text()
    assert run_command_line(["service", "show", *words, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [each["path"] for each in shown["units"]] == [
        str(folder / name) for name in (NAME, SCAN_NAME, TIMER_NAME)
    ]
    assert all(Path(each["path"]).read_text() == each["unit"] for each in shown["units"])


@pytest.mark.skipif(not HAS_CHECKER, reason="no systemd-analyze on this machine")
@pytest.mark.parametrize("user", ["root", None])
def test_systemd_finds_no_fault(tmp_path, user):
    made = Unit(Path("/usr/bin/env"), tmp_path / 'a "quoted" %i $HOME é', user)
    for name, text in made.files().items():
        install(tmp_path / name, text)
    for name in made.files():
        assert verify(tmp_path / name, is_user=user is None) == []


@pytest.mark.skipif(not HAS_CHECKER, reason="no systemd-analyze on this machine")
def test_systemd_finds_a_planted_fault(tmp_path):
    path = tmp_path / NAME
    install(path, unit(user="root").replace("ExecStart=", "ExecStart=nowhere "))
    assert verify(path, is_user=False)


def test_without_systemd_nothing_is_claimed(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert verify(tmp_path / NAME, is_user=False) is None
