import os
import stat

import pytest

from tradebox.adapters.embedded.folders import usable
from tradebox.adapters.spool import Spool
from tradebox.adapters.yahoo.history import COLUMNS, HistoryStore, Series
from tradebox.backtest.data.arraystore import ArrayWriter
from tradebox.backtest.scheduler_around import held
from tradebox.cli.main import run_command_line
from tradebox.config import Home, private_dir
from tradebox.errors import HomeUnusable
from tradebox.execution.kill_switch import write_kill_file
from tradebox.sim.home import SimHome


@pytest.mark.parametrize("kind", ["a file", "a link to itself", "no place for folders"])
def test_a_home_that_cannot_be_made_is_one_refusal_that_names_it(tmp_path, kind):
    place = tmp_path / "home"
    if kind == "a file":
        place.write_text("")
    elif kind == "a link to itself":
        place.symlink_to(place)
    else:
        place = tmp_path.parents[-1] / "proc" / "nowhere"
    home = Home(place)
    with pytest.raises(HomeUnusable) as caught, usable(home):
        private_dir(home.root / "run")
    assert str(place) in caught.value.message
    assert "choose another" in caught.value.message


def test_no_folder_that_is_made_is_open_to_others(tmp_path):
    before = os.umask(0o022)
    try:
        private_dir(tmp_path / "new" / "home" / "run")
    finally:
        os.umask(before)
    for made in ("new", "new/home", "new/home/run"):
        assert stat.S_IMODE((tmp_path / made).stat().st_mode) == 0o700


def keep_history(home):
    store = HistoryStore(home.history_dir, "yahoo", 60.0)
    store.write("SPY", "1y", Series((), dict.fromkeys(COLUMNS, ()), "USD"), 0.0)


def open_bars(home):
    with ArrayWriter(home.bars_dir):
        pass


def begin_a_run(home):
    with held(home, "0" * 12):
        pass


def mint_a_world(home):
    SimHome(home.sim_dir).close()


FIRST_COMERS = {
    "the kill switch": lambda home: write_kill_file(home.kill_file, "enough"),
    "the spool": lambda home: Spool(home, "paper").pending(),
    "fetched history": keep_history,
    "bars": open_bars,
    "a backtest": begin_a_run,
    "the stand-in world": mint_a_world,
    "the settings": lambda home: run_command_line(["config", "init", "--home", str(home.root)]),
}


@pytest.mark.parametrize("make", FIRST_COMERS.values(), ids=FIRST_COMERS)
def test_whoever_makes_the_home_closes_it_to_others(tmp_path, make):
    home = Home(tmp_path / "new" / "home")
    before = os.umask(0o022)
    try:
        make(home)
    finally:
        os.umask(before)
    open_to_others = [
        path
        for path in (home.root.parent, home.root, *home.root.rglob("*"))
        if path.is_dir() and stat.S_IMODE(path.stat().st_mode) != 0o700
    ]
    assert home.root.is_dir()
    assert open_to_others == []
