"""Forks, and the memory of who was forked: each case in a process of its own, with one thread."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[3] / "src"
BEGIN = """
import os, select, signal, time
from tradebox.supervision.spawn import Processes
processes = Processes(time.monotonic_ns)
def wait(process):
    select.select([process.pidfd], [], [], 20)
    return processes.reap(process)
"""


def said(script: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-S", "-c", BEGIN + script],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_child_begins_with_every_signal_blocked_and_the_parent_goes_on_as_before():
    script = """
signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR2})
end, child_end = os.pipe()
def child():
    held = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    missing = signal.valid_signals() - held - {signal.SIGKILL, signal.SIGSTOP}
    os.write(child_end, b"none" if not missing else repr(missing).encode())
    os._exit(0)
process = processes.fork(child, ends_session=False)
os.close(child_end)
print(os.read(end, 4096).decode().replace(" ", ""))
print(*(each.name for each in signal.pthread_sigmask(signal.SIG_BLOCK, [])))
wait(process)
"""
    # Numbers 32 and 33 belong to the C library: Python names them, nobody can block them.
    missing, *kept = said(script)
    assert missing in ("none", "{32,33}", "{32}", "{33}")
    assert kept == ["SIGUSR2"]


def test_a_signal_that_comes_over_the_fork_never_runs_the_parents_handler_in_the_child():
    script = """
main = os.getpid()
def handler(number, frame):
    print("parent" if os.getpid() == main else "CHILD", flush=True)
signal.signal(signal.SIGUSR1, handler)
def child():
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(0)
    os._exit(0)
wait(processes.fork(child, ends_session=False))
os.kill(main, signal.SIGUSR1)
print("end")
"""
    assert said(script) == ["parent", "end"]


@pytest.mark.parametrize("how", ["os._exit(3)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_reaped_child_is_forgotten_so_that_its_number_means_nobody_any_more(how):
    script = f"""
def child():
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    {how}
process = processes.fork(child, ends_session=False)
print(process.pid in processes.held)
how = wait(process)
print(how.code, how.signal, process.pid in processes.held, len(processes.held))
"""
    held, *rest = said(script)
    assert held == "True"
    assert rest[2:] == ["False", "0"]
    assert rest[:2] in (["3", "None"], ["None", "9"])


def test_orphans_are_reaped_around_a_child_that_is_held():
    script = """
from tradebox.supervision.spawn import become_subreaper
become_subreaper()
def parent_of_two():
    for _ in range(2):
        if os.fork() == 0:
            os._exit(0)
    os._exit(0)
process = processes.fork(parent_of_two, ends_session=False)
how = wait(process)
until = time.monotonic() + 20
left = True
while left and time.monotonic() < until:
    processes.reap_orphans()
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        left = False
print(how.code, left)
"""
    assert said(script) == ["0", "False"]
