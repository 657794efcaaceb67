"""Locks on files: one exclusive holder, or many leases."""

import os
import signal
import subprocess
import sys

from tradebox.supervision.locks import hold_exclusive, hold_shared


def test_one_holder_at_a_time(tmp_path):
    path = tmp_path / "lock"
    with hold_exclusive(path) as held:
        assert held is not None
        assert hold_exclusive(path) is None
        assert hold_shared(path) is None
    again = hold_exclusive(path)
    assert again is not None
    again.release()
    again.release()
    assert path.stat().st_mode & 0o777 == 0o600


def test_leases_stand_beside_each_other_and_the_last_one_out_knows(tmp_path):
    path = tmp_path / "lock"
    first, second = hold_shared(path), hold_shared(path)
    assert first is not None
    assert second is not None
    assert hold_exclusive(path) is None
    assert not first.last_out()
    assert second.last_out()
    assert second.is_exclusive
    assert hold_shared(path) is None
    second.release()
    third = hold_exclusive(path)
    assert third is not None
    third.release()


def test_a_program_that_was_started_holds_no_copy(tmp_path):
    path = tmp_path / "lock"
    held = hold_exclusive(path)
    assert held is not None
    program = [sys.executable, "-S", "-c", "import sys; print(1, flush=True); sys.stdin.read()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(program, stdin=pipe, stdout=pipe, close_fds=False) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"1\n"
        held.release()
        again = hold_exclusive(path)
        assert again is not None
        again.release()
        assert child.stdin is not None
        child.stdin.close()


def test_the_lock_ends_with_a_killed_holder(tmp_path):
    path = tmp_path / "lock"
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        held = hold_exclusive(path)
        os.write(writing, b"1" if held else b"0")
        signal.pause()
    assert os.read(reading, 1) == b"1"
    assert hold_exclusive(path) is None
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    again = hold_exclusive(path)
    assert again is not None
    again.release()
    os.close(reading)
    os.close(writing)
