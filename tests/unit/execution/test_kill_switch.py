"""Switches that stop entries: one for all, one for each symbol, one for each account."""

from pathlib import Path

import pytest

from tradebox.domain.orders import AccountName
from tradebox.execution.kill_switch import (
    KillSwitch,
    is_symbol,
    kill_name,
    pause_name,
    switch_file,
    write_kill_file,
)

PAPER, LIVE = AccountName.PAPER, AccountName.LIVE
WAYS = ("flag", "row", "file")


def stopped(file: Path, name: str, way: str) -> KillSwitch:
    """A switch that one of the three ways alone has set."""
    switch = KillSwitch(file)
    if way == "file":
        assert write_kill_file(switch_file(file, name), "enough")
    elif way == "row":
        switch.read_row({name: "on"})
    else:
        word, _, whose = name.partition(".")
        if word == "pause":
            switch.pause(AccountName(whose), "enough")
        else:
            assert switch.set("enough", whose)
        switch_file(file, name).unlink()
    return switch


@pytest.mark.parametrize("way", WAYS)
def test_any_one_of_the_three_stops_a_symbol_and_no_other(tmp_path, way):
    switch = stopped(tmp_path / "KILL", kill_name("AAPL"), way)
    assert switch.stopped_by(PAPER, "AAPL") == switch.stopped_by(LIVE, "AAPL") == "kill.AAPL"
    assert not switch.is_set(PAPER, "MSFT")
    assert not switch.is_set()


@pytest.mark.parametrize("way", WAYS)
def test_any_one_of_the_three_stops_all(tmp_path, way):
    switch = stopped(tmp_path / "KILL", kill_name(), way)
    assert switch.stopped_by() == switch.stopped_by(LIVE, "MSFT") == "kill"
    assert switch.withdraws("MSFT")


@pytest.mark.parametrize("way", WAYS)
def test_any_one_of_the_three_pauses_an_account_and_not_the_other(tmp_path, way):
    switch = stopped(tmp_path / "KILL", pause_name(PAPER), way)
    assert switch.stopped_by(PAPER, "AAPL") == "pause.paper"
    assert not switch.is_set(LIVE, "AAPL")
    assert not switch.withdraws("AAPL"), "a pause leaves what rests"


def test_each_is_lifted_by_itself(tmp_path):
    switch = KillSwitch(tmp_path / "KILL")
    assert switch.set("all")
    assert switch.set("one", "BRK.B")
    switch.pause(PAPER, "")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["KILL", "KILL.BRK.B", "PAUSE.paper"]
    switch.clear()
    assert switch.stopped_by(PAPER, "BRK.B") == "pause.paper"
    switch.resume(PAPER)
    assert switch.stopped_by(PAPER, "BRK.B") == "kill.BRK.B"
    switch.clear("BRK.B")
    assert not switch.is_set(PAPER, "BRK.B")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_looked_for_counts_as_set(tmp_path):
    name = "A" * 300  # no file may have so long a name
    assert KillSwitch(tmp_path / name).is_set()
    assert not KillSwitch(tmp_path / name).withdraws("AAPL"), "entries that rest stay"
    assert not KillSwitch(tmp_path / "KILL" / "below a file or nothing").is_set()


@pytest.mark.parametrize("text", ["", "aapl", "../KILL", "AAPL/..", "A B", "ABCDEFGHIJKLM"])
def test_what_is_no_symbol_names_no_file(text):
    assert not is_symbol(text)
    assert is_symbol("BRK.B")
