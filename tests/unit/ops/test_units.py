"""The systemd unit: what it says, that systemd reads it, and that no name can break it."""

import shlex
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradebox.errors import NotDone
from tradebox.ops.units import NAME, Unit, install, quoted, unit_path, verify

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


@pytest.mark.skipif(not HAS_CHECKER, reason="no systemd-analyze on this machine")
@pytest.mark.parametrize("user", ["root", None])
def test_systemd_finds_no_fault(tmp_path, user):
    path = tmp_path / NAME
    install(path, unit(str(tmp_path / 'a "quoted" %i $HOME é'), user))
    assert verify(path, is_user=user is None) == []


@pytest.mark.skipif(not HAS_CHECKER, reason="no systemd-analyze on this machine")
def test_systemd_finds_a_planted_fault(tmp_path):
    path = tmp_path / NAME
    install(path, unit(user="root").replace("ExecStart=", "ExecStart=nowhere "))
    assert verify(path, is_user=False)


def test_without_systemd_nothing_is_claimed(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert verify(tmp_path / NAME, is_user=False) is None
