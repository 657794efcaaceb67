"""The count of imports."""

import importlib
import sys

import pytest

from tradebox.supervision.import_watch import NAMES_MAX, ImportWatch


@pytest.fixture
def watch():
    made = ImportWatch()
    made.start()
    yield made
    made.stop()


def test_a_module_that_is_loaded_counts_once(watch, tmp_path, monkeypatch):
    (tmp_path / "seen_for_the_first_time.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("seen_for_the_first_time")
    assert importlib.import_module("seen_for_the_first_time") is module
    assert (watch.count, watch.names) == (1, ["seen_for_the_first_time"])
    del sys.modules["seen_for_the_first_time"]


def test_a_loaded_module_does_not_count(watch):
    importlib.import_module("json")
    assert watch.count == 0


def test_a_module_that_is_not_there_counts_too_and_names_are_limited(watch):
    for number in range(NAMES_MAX + 5):
        with pytest.raises(ImportError):
            importlib.import_module(f"nowhere_to_be_found_{number}")
    assert watch.count == NAMES_MAX + 5
    assert len(watch.names) == NAMES_MAX


def test_it_stands_once_and_leaves_nothing():
    watch = ImportWatch()
    watch.start()
    watch.start()
    assert sys.meta_path.count(watch) == 1
    watch.stop()
    watch.stop()
    assert watch not in sys.meta_path
