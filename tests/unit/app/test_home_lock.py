"""One run per home: another run is refused, a look at the lock in passing is waited for."""

from importlib import import_module
from threading import Timer

import pytest

from tradebox.config import Home, private_dir
from tradebox.errors import HomeUnusable
from tradebox.supervision.locks import hold_exclusive, hold_shared

run = import_module("tradebox.app.run")


@pytest.fixture
def home(tmp_path):
    made = Home(tmp_path / "home")
    private_dir(made.engine_lock.parent)
    return made


def test_a_command_that_looks_at_the_lock_refuses_no_run(home, monkeypatch):
    monkeypatch.setattr(run, "TAKE_S_MAX", 30.0)
    look = hold_shared(home.engine_lock)
    Timer(0.05, look.release).start()
    with run._taken(home) as lock:
        assert lock.is_exclusive


def test_another_run_is_refused(home, monkeypatch):
    monkeypatch.setattr(run, "TAKE_S_MAX", 0.02)
    with (
        hold_exclusive(home.engine_lock),
        pytest.raises(HomeUnusable, match="another `tradebox run` uses it"),
    ):
        run._taken(home)
