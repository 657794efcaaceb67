"""What the fault matrix keeps of its rows: one whole run, and rows that were played again."""

import json

import pytest
from bench import fault_matrix


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(fault_matrix, "RESULTS", tmp_path)
    return tmp_path


def told(**rows):
    return {number: {"passed": passed} for number, passed in rows.items()}


def test_a_row_failed_as_it_was_played_last(results):
    whole = fault_matrix.keep(told(**{"01": True, "02": False, "03": False}), 9, is_whole=True)
    assert (whole["failed"], whole["still_failed"]) == (["02", "03"], ["02", "03"])
    again = fault_matrix.keep(told(**{"01": False, "02": True}), 1, is_whole=False)
    assert again["failed"] == ["02", "03"], "the whole run stands as it was"
    assert again["still_failed"] == ["01", "03"]
    (path,) = results.iterdir()
    measured = json.loads(path.read_text())["measured"]
    assert set(measured["rows"]) == {"01", "02", "03"}
    assert set(measured["played_again"]) == {"01", "02"}
