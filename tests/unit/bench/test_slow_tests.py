"""What `make matrix` keeps of the rows that its tests told, and the code it ends with."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from bench import fault_matrix, slow_tests, vendor_faults

ROW = {"passed": True}


@pytest.fixture
def played(tmp_path, monkeypatch):
    """Play with a pytest that tells one row of each kind; returns (code, files, command)."""

    def play(*arguments, code=0):
        commands = []

        def run(command, *, env, **_):
            commands.append(command)
            Path(env[fault_matrix.VARIABLE]).write_text(json.dumps({"07": ROW}))
            Path(env[vendor_faults.VARIABLE]).write_text(json.dumps({"finnhub.hold": ROW}))
            return SimpleNamespace(returncode=code)

        for module in (fault_matrix, vendor_faults):
            monkeypatch.setattr(module, "RESULTS", tmp_path)
        monkeypatch.setattr(slow_tests.subprocess, "run", run)
        monkeypatch.setattr(slow_tests.sys, "argv", ["slow_tests", *arguments])
        ended = slow_tests.main()
        files = {
            json.loads(p.read_text())["name"]: json.loads(p.read_text()) for p in tmp_path.iterdir()
        }
        return ended, files, commands[0]

    return play


def test_a_whole_run_keeps_both_tables_and_ends_as_pytest_did(played):
    code, files, command = played(code=1)
    assert code == 1
    assert set(files) == {"fault_matrix", "vendor_faults"}
    assert all(one["measured"]["is_one_run"] for one in files.values())
    assert command[-2:] == ["--timeout", "2400"]


def test_chosen_rows_are_told_as_chosen(played):
    code, files, command = played("-k", "test_row[7]")
    assert code == 0
    assert not any(one["measured"]["is_one_run"] for one in files.values())
    assert command[-2:] == ["-k", "test_row[7]"]
