"""`tradebox sim` and `python -m tradebox.sim` take the same options and pass them on alike."""

import re

import pytest
from typer.main import get_command

from tradebox.cli import sim
from tradebox.sim import __main__ as alone
from tradebox.sim import runner

GIVEN = [
    *("--speed", "5", "--seed", "3", "--ports", "0,0,0,0", "--json", "--symbols", "2"),
    *("--variant", "market_depth=walks", "--day", "2016-03-01", "--master-client-id", "7"),
]


def test_both_take_the_same_options(capsys):
    with pytest.raises(SystemExit):
        alone.main(["--help"])
    told = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    known = {name for one in get_command(sim.app).params for name in one.opts}
    assert told == {name for name in known if not name.endswith("-completion")}


def test_both_pass_them_on(tmp_path, monkeypatch):
    taken = []

    def take(options):
        taken.append(options)
        return 0

    monkeypatch.setattr(runner, "run_sim", take)
    monkeypatch.setattr(alone, "run_sim", take)
    alone.main(["--home", str(tmp_path), *GIVEN])
    get_command(sim.app).main(["--home", str(tmp_path), *GIVEN], standalone_mode=False)
    assert taken[0] == taken[1]
    assert (taken[0].master_client_id, taken[0].symbols) == (7, 2)
