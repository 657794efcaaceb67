"""The simulator's folder: minted once, kept secret, used by one."""

import json
import os
import stat
from pathlib import Path

import pytest

from tradebox.errors import HomeUnusable
from tradebox.sim.home import SimHome, read_identity


def impatient(_seconds: float) -> None:
    """Do not wait for a lock."""


def test_identity_is_minted_once_and_kept(tmp_path: Path) -> None:
    home = SimHome(tmp_path / "home" / "sim")
    first = home.identity
    home.keep_ports((1, 2, 3, 4))
    home.close()
    again = SimHome(tmp_path / "home" / "sim", seed=9)
    kept = again.identity
    again.close()
    assert (kept.account_paper, kept.account_live) == (first.account_paper, first.account_live)
    assert kept.finnhub_key == first.finnhub_key
    assert (first.seed, kept.seed, kept.ports) == (1, 9, (1, 2, 3, 4))
    assert read_identity(tmp_path / "home" / "sim") == kept


def test_two_homes_are_never_the_same(tmp_path: Path) -> None:
    homes = [SimHome(tmp_path / str(index)) for index in range(3)]
    names = {home.identity.account_paper for home in homes}
    names |= {home.identity.account_live for home in homes}
    assert len(names) == 6
    assert all(name.startswith("SIM") and name[3:].isdecimal() for name in names)
    assert len({home.identity.finnhub_key for home in homes}) == 3
    for home in homes:
        home.close()


def test_secrets_are_for_the_owner_alone(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        home = SimHome(tmp_path / "home" / "sim")
        home.close()
    finally:
        os.umask(previous)
    folder = tmp_path / "home" / "sim"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {"identity.json": 0o600, "lock": 0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700


def test_a_second_simulator_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    first = SimHome(tmp_path)
    with pytest.raises(HomeUnusable, match="another simulator runs"):
        SimHome(tmp_path, pause=impatient)
    waits: list[float] = []

    def end_first(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            first.close()

    SimHome(tmp_path, pause=end_first).close()
    assert len(waits) == 3


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"account_paper": "SIM1"}', "\x00"])
def test_a_damaged_identity_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "identity.json").write_text(text)
    with pytest.raises(HomeUnusable, match="remove the folder"):
        SimHome(tmp_path)
    assert (tmp_path / "identity.json").read_text() == text
    (tmp_path / "identity.json").unlink()
    SimHome(tmp_path).close()


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HomeUnusable, match="cannot be used"):
        SimHome(tmp_path / "file" / "sim")


def test_identity_never_leaves_half_a_file(tmp_path: Path) -> None:
    home = SimHome(tmp_path)
    for port in range(1, 20):
        home.keep_ports((port, port, port, port))
        assert json.loads(home.identity_file.read_text())["ports"][0] == port
    assert {path.name for path in tmp_path.iterdir()} == {"identity.json", "lock"}
    home.close()
