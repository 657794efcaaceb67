"""The engine dies, hangs, refuses, stops; the launcher brings it back or gives up in order."""

import os
import signal
import time
from pathlib import Path

import pytest

from tradebox.errors import ExitCode

SERVER = {"name": "one"}
PATIENT = {"deaths_max": 100}


def test_a_killed_engine_is_back_and_counters_go_on(run):
    run.start(servers=[dict(SERVER)])
    before = run.ready()
    os.kill(before["engine_pid"], signal.SIGKILL)
    after = run.ready(2)
    assert after["engine_pid"] != before["engine_pid"]
    assert after["counters"] == {"starts": 2}
    assert after["servers"] == before["servers"]
    assert "signal SIGKILL" in run.dead()[0]
    assert run.stop() == ExitCode.OK
    assert run.out().splitlines()[-1] == '{"starts":2}'


def test_a_peer_that_dies_while_the_engine_writes_does_not_end_it(run):
    run.start()
    engine_pid = run.ready()["engine_pid"]
    status = Path(f"/proc/{engine_pid}/status").read_text()
    (ignored,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigIgn:")]
    assert int(ignored, 16) & 1 << signal.SIGPIPE - 1
    os.kill(engine_pid, signal.SIGPIPE)
    assert run.ready()["engine_pid"] == engine_pid
    assert run.stop() == ExitCode.OK


@pytest.mark.parametrize("what", ["busy", "sleep"])
def test_a_hung_engine_is_killed_with_its_stacks(run, what):
    run.start(servers=[dict(SERVER)], options=PATIENT)
    run.ready()
    run.forward(what)
    run.ready(2)
    (text,) = run.dead()
    assert "hung: loop silent" in text
    assert f"toy_{what}_hang" in text
    assert "last heartbeat" in text
    assert run.stop() == ExitCode.OK


def test_a_stopped_engine_is_killed(run):
    run.start(options={"dump_ms": 20})
    os.kill(run.ready()["engine_pid"], signal.SIGSTOP)
    run.ready(2)
    assert "process state   T" in run.dead()[0]
    assert run.stop() == ExitCode.OK


def test_an_actor_silent_for_twice_its_limit_ends_the_engine(run):
    run.start()
    run.ready()
    run.forward("actor")
    run.ready(2)
    assert "hung: toy.actor silent" in run.dead()[0]
    assert run.stop() == ExitCode.OK


def test_a_launcher_that_slept_blames_nobody(run):
    run.start()
    before = run.ready()
    # Both sleep, as in a frozen machine; the launcher wakes first.
    os.kill(before["engine_pid"], signal.SIGSTOP)
    run.kill(signal.SIGSTOP)
    time.sleep(2.0)  # twice the leash
    run.kill(signal.SIGCONT)
    os.kill(before["engine_pid"], signal.SIGCONT)
    status = run.ready()
    assert status["late_turns"] >= 1
    assert status["engine_pid"] == before["engine_pid"], run.dead()
    assert run.forward("look")["answer"]["generation"] == 1
    assert run.stop() == ExitCode.OK


def test_too_many_deaths_end_the_run_after_the_servers(run):
    run.start(servers=[dict(SERVER)], always="raise", options={"deaths_max": 3})
    assert run.wait() == ExitCode.CRASH_LOOP
    starts = [line for line in run.trace() if line.startswith("engine start")]
    assert len(starts) == 4
    assert run.trace()[-1] == "one stop"
    assert "RuntimeError: toy failure" in run.err()
    assert "died 4 times within 30 s" in run.err()
    assert all("RuntimeError: toy failure" in text for text in run.dead())


def test_deaths_outside_the_period_are_forgiven(run):
    run.start(options={"deaths_max": 1, "deaths_period_s": 0.001})
    for generation in range(1, 5):
        os.kill(run.ready(generation)["engine_pid"], signal.SIGKILL)
    run.ready(5)
    assert run.stop() == ExitCode.OK


def test_an_engine_that_refuses_to_start_ends_the_run_with_its_code(run):
    run.start(servers=[dict(SERVER)], always="exit6")
    assert run.wait() == ExitCode.STORE
    assert run.trace().count("engine start 1") == 1
    assert run.trace()[-1] == "one stop"


def test_a_refusal_after_ready_is_a_death_like_any_other(run):
    run.start(engine={"2": "exit6"})
    os.kill(run.ready()["engine_pid"], signal.SIGKILL)
    assert run.ready(3)["engine_deaths"] == 2
    assert run.stop() == ExitCode.OK


def test_an_engine_never_ready_is_given_up(run):
    run.start(engine={"1": "never ready"}, options={"engine_start_s": 0.3})
    run.ready(2)
    assert "not ready within 0.3 s" in run.dead()[0]
    assert "toy_sleep_hang" in run.dead()[0]
    assert run.stop() == ExitCode.OK


def test_an_engine_deaf_to_sigterm_is_killed_in_time(run):
    run.start(servers=[dict(SERVER)], always="deaf", options={"engine_stop_s": 0.2})
    run.ready()
    assert run.stop() == ExitCode.FAILED
    assert "did not stop in time" in run.dead()[0]
    assert run.trace()[-1] == "one stop"


def test_a_second_signal_hastens(run):
    deaf = {"name": "two", "what": "deaf"}
    run.start(servers=[deaf], always="deaf", options={"engine_stop_s": 30, "stop_s_max": 60})
    run.ready()
    run.kill(signal.SIGINT)
    run.eventually(lambda: run.status()["phase"] == "stopping")
    time.sleep(0.4)
    run.kill(signal.SIGINT)
    assert run.wait() == ExitCode.OK
    assert "hastened" in run.out()


def test_the_engine_may_ask_for_the_end(run):
    run.start()
    run.ready()
    run.forward("stop", code=int(ExitCode.REFUSED), why="enough")
    assert run.wait() == ExitCode.REFUSED
    assert run.out().splitlines()[-1] == '{"starts":1}'


def test_run_s_counts_from_ready_and_the_summary_is_last(run):
    run.start(servers=[dict(SERVER)], options={"run_s": 0.2})
    assert run.wait() == ExitCode.OK
    lines = run.out().splitlines()
    assert lines[-1] == '{"starts":1}'
    ready = next(n for n, line in enumerate(lines) if line.startswith("engine_ready"))
    stopping = next(n for n, line in enumerate(lines) if line.startswith("stopping"))
    assert ready < stopping
    assert "the time is over" in lines[stopping]


def test_what_an_engine_is_born_with(run):
    run.start(servers=[dict(SERVER)])
    run.ready()
    look = run.forward("look")["answer"]
    assert look["boot_epoch"] == 7
    assert look["ready"]["one"]["name"] == "one"
    assert look["is_fenced"]
    assert look["is_preloaded"]
    assert look["session"]
    assert look["frozen"] > 0
    assert look["blocked"] == []
    assert look["environ"]["OMP_NUM_THREADS"] == "1"
    assert not [name for name in look["files"] if name.startswith(str(run.folder))]
    assert run.stop() == ExitCode.OK


def test_nothing_leaks_over_twenty_restarts(run):
    run.start(servers=[dict(SERVER)], options=PATIENT)
    os.kill(run.ready()["engine_pid"], signal.SIGKILL)
    run.ready(2)

    def open_files() -> int:
        return len(list(Path(f"/proc/{run.pid}/fd").iterdir()))

    before = open_files()  # our last question's connection may be among them
    for generation in range(2, 22):
        os.kill(run.ready(generation)["engine_pid"], signal.SIGKILL)
    run.ready(22)
    run.eventually(lambda: open_files() <= before, "as few open files as before")
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    assert len(children) == 2  # the engine and the server; no zombie
    assert len(run.dead()) == 20  # the newest are kept
    assert run.stop() == ExitCode.OK


def test_a_module_that_cannot_be_loaded_ends_the_run(run):
    run.start(servers=[dict(SERVER)], preload=["no_such_module_at_all"])
    assert run.wait() == ExitCode.FAILED
    assert "no_such_module_at_all" in run.err()
    assert "engine start 1" not in run.trace()
