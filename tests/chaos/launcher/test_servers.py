"""Servers start by their needs, come back, fail with a word, and stop when nobody needs them."""

import os
import signal
from pathlib import Path

from tradebox.errors import ExitCode

from_command = {"what": "detached", "mode": "detached", "stop": "command"}


def ends(trace, word):
    return [line.split()[0] for line in trace if line.split()[1] == word]


def test_starts_and_stops_follow_the_needs(run):
    run.start(
        servers=[
            {"name": "three", "needs": ["two"]},
            {"name": "two", "needs": ["one"]},
            {"name": "one"},
        ]
    )
    run.ready()
    assert run.stop() == ExitCode.OK
    trace = run.trace()
    assert ends(trace, "start") == ["one", "two", "three", "engine"]
    assert ends(trace, "stop") == ["engine", "three", "two", "one"]


def test_servers_without_needs_start_side_by_side(run):
    run.start(servers=[{"name": "one"}, {"name": "slow", "what": "silent", "required": False}])
    run.ready()  # the engine does not wait for one that is not required
    assert run.stop() == ExitCode.OK


def test_a_oneshot_hands_its_result_on(run):
    shot = {"name": "shot", "what": "oneshot", "mode": "oneshot"}
    run.start(servers=[shot, {"name": "one", "needs": ["shot"]}])
    run.ready()
    ready = run.forward("look")["answer"]["ready"]
    assert ready["shot"] == {"result": 42}
    assert '"result": 42' in ready["one"]["env"]
    assert run.stop() == ExitCode.OK


def test_a_dead_server_comes_back_and_the_engine_hears_of_it(run):
    run.start(servers=[{"name": "one"}])
    before = run.ready()
    os.kill(before["servers"][0]["pid"], signal.SIGKILL)

    def look():
        (server,) = run.status()["servers"]
        return server if server["restarts"] == 1 and server["state"] == "ready" else None

    server = run.eventually(look)
    assert server["pid"] != before["servers"][0]["pid"]
    assert run.status()["engine_pid"] == before["engine_pid"]
    told = run.eventually(
        lambda: (n := run.forward("look")["answer"]["notices"]) and len(n) == 2 and n
    )
    assert told == [["one", "down"], ["one", "ready"]]
    assert "server_down name=one how=signal SIGKILL" in run.out()
    assert run.stop() == ExitCode.OK


def test_a_server_without_restart_stays_down(run):
    run.start(servers=[{"name": "one", "restart": False}])
    before = run.ready()
    os.kill(before["servers"][0]["pid"], signal.SIGKILL)
    run.eventually(lambda: run.status()["servers"][0]["state"] == "stopped")
    assert run.stop() == ExitCode.OK


def test_a_required_server_that_fails_ends_the_run_with_its_code(run):
    run.start(servers=[{"name": "one"}, {"name": "two", "what": "fail7", "needs": ["one"]}])
    assert run.wait() == ExitCode.ADDRESS
    assert "two: cannot start: fail7" in run.err()
    assert run.trace()[-1] == "one stop"
    assert "engine start 1" not in run.trace()


def test_a_code_that_is_not_ours_is_a_failure(run):
    run.start(servers=[{"name": "two", "what": "fail93"}])
    assert run.wait() == ExitCode.FAILED


def test_a_server_never_ready_is_killed_and_its_words_are_shown(run):
    run.start(servers=[{"name": "two", "what": "silent", "start_deadline_s": 0.3}])
    assert run.wait() == ExitCode.FAILED
    assert "two: nothing to say" in run.err()
    assert "not ready within 0.3 s" in run.err()


def test_a_program_that_does_not_exist_is_told(run):
    run.start(servers=[{"name": "two", "argv": ["/no/such/program"]}])
    assert run.wait() == ExitCode.FAILED
    assert "exit code 127" in run.err()
    assert "two: FileNotFoundError" in run.err()


def test_an_environment_that_cannot_be_made_is_told(run):
    run.start(servers=[{"name": "one"}, {"name": "two", "needs": ["one"], "what": "unworded"}])
    assert run.wait() == ExitCode.FAILED
    assert "two: cannot be started: KeyError('no such address')" in run.err()
    assert run.trace()[-1] == "one stop"


def test_a_server_that_may_fail_does_not_end_the_run(run):
    run.start(servers=[{"name": "two", "what": "fail3", "required": False, "restart": False}])
    run.ready()
    run.eventually(lambda: run.status()["servers"][0]["state"] == "failed")
    assert run.stop() == ExitCode.OK


def test_a_deaf_server_is_killed_in_time(run):
    run.start(servers=[{"name": "two", "what": "deaf"}], options={"stop_s_max": 0.5})
    run.ready()
    assert run.stop() == ExitCode.OK


def test_a_servers_children_end_with_it(run):
    run.start(servers=[{"name": "two", "what": "parent", "restart": False}])
    server = run.ready()["servers"][0]["pid"]
    child = run.forward("look")["answer"]["ready"]["two"]["child"]
    os.kill(server, signal.SIGKILL)
    run.eventually(lambda: not run.is_alive(child))
    assert run.stop() == ExitCode.OK


def test_orphans_leave_no_zombies(run):
    run.start(servers=[{"name": "two", "what": "scatter"}])
    run.ready()
    orphan = int((run.folder / "orphan").read_text())
    assert f"PPid:\t{run.pid}\n" in Path(f"/proc/{orphan}/status").read_text()
    os.kill(orphan, signal.SIGTERM)
    run.eventually(lambda: not Path(f"/proc/{orphan}").exists())
    assert run.stop() == ExitCode.OK


def test_a_detached_server_survives_the_launcher_and_is_adopted(run):
    servers = [{"name": "store", **from_command}, {"name": "one", "needs": ["store"]}]
    run.start(servers=[dict(s) for s in servers])
    before = run.ready()
    pids = {s["name"]: s["pid"] for s in before["servers"]}
    run.kill(signal.SIGKILL)
    run.wait()
    for pid in (before["engine_pid"], pids["one"]):
        run.eventually(lambda pid=pid: not run.is_alive(pid))
    assert run.is_alive(pids["store"])
    run.start(servers=[dict(s) for s in servers])
    after = run.ready()
    assert {s["name"]: s["pid"] for s in after["servers"]}["store"] == pids["store"]
    assert "store adopted" in run.trace()
    assert run.stop() == ExitCode.OK
    assert run.trace()[-1] == "store stopped by command"
    assert not run.is_alive(pids["store"])


def test_a_dead_detached_server_is_started_again(run):
    run.start(servers=[{"name": "store", **from_command}])
    before = run.ready()["servers"][0]["pid"]
    os.kill(before, signal.SIGKILL)

    def look():
        (server,) = run.status()["servers"]
        return server["state"] == "ready" and server["pid"] != before

    run.eventually(look)
    # It was nobody's child: the launcher has reaped it all the same.
    run.eventually(lambda: not Path(f"/proc/{before}").exists())
    assert run.stop() == ExitCode.OK


def test_a_stop_while_starting_leaves_nothing(run):
    run.start(
        servers=[{"name": "store", **from_command}, {"name": "two", "what": "silent"}],
    )
    run.traced("store ready")
    run.traced("two start")
    assert run.stop() == ExitCode.OK
    assert run.trace()[-1] == "store stopped by command"


def test_a_detached_server_stopped_by_signal(run):
    run.start(servers=[{"name": "store", "what": "detached", "mode": "detached"}])
    run.ready()
    assert run.stop() == ExitCode.OK
    assert run.trace()[-1] == "store stop"
