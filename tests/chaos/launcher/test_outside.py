"""What stands around the launcher: control clients, systemd, a reader that does not read."""

import json
import os
import signal
import socket
import stat

from tradebox.errors import ExitCode


def connect(run) -> socket.socket:
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(10)
    try:
        link.connect(str(run.folder / "c.sock"))
    except OSError:
        link.close()
        raise
    return link


def test_status_and_ping(run):
    run.start(servers=[{"name": "one"}])
    status = run.ready()
    assert run.ask({"ask": "ping"}) == {"pid": status["pid"]}
    engine = run.ask({"ask": "status"})["engine"]
    assert engine["blob"] == {"generation": 1}
    assert 0 <= engine["age_s"] < 60
    assert status["phase"] == "running"
    assert stat.S_IMODE((run.folder / "c.sock").stat().st_mode) == 0o600
    assert run.stop() == ExitCode.OK
    assert not (run.folder / "c.sock").exists()


def test_strange_asks_are_answered_with_an_error(run):
    run.start()
    run.ready()
    assert "error" in run.ask({"ask": "dance"})
    assert "error" in run.ask({})
    assert run.forward("raise")["error"] == "RuntimeError: a question that breaks"
    assert run.stop() == ExitCode.OK


def test_an_ask_ends_with_the_engine_that_should_have_answered(run):
    run.start()
    before = run.ready()
    with connect(run) as link:
        link.sendall(b'{"ask":"forward","to":"silent"}\n')
        # Same socket, same order: the second answer proves that the first ask was passed on.
        link.sendall(b'{"ask":"ping"}\n')
        with link.makefile() as stream:
            assert json.loads(stream.readline()) == {"pid": before["pid"]}
            os.kill(before["engine_pid"], signal.SIGKILL)
            assert "ended before it answered" in json.loads(stream.readline())["error"]
    run.ready(2)
    assert run.stop() == ExitCode.OK


def test_bad_clients_harm_nobody(run):
    run.start()
    before = run.ready()
    garbage = [b"\x00\xff\n", b"[1,2]\n", b"{" * 5000 + b"\n", b"x" * 200_000]
    links = []
    for data in garbage:
        link = connect(run)
        links.append(link)
        try:
            link.sendall(data)
        except OSError:
            continue
    flood = connect(run)
    links.append(flood)
    flood.setblocking(False)
    try:
        while True:
            flood.send(b'{"ask":"status"}\n' * 1000)  # never reads an answer
    except OSError:
        pass
    run.eventually(lambda: run.status().get("engine_pid") == before["engine_pid"])
    for link in links:
        link.close()
    crowd = []
    for _ in range(40):
        try:
            crowd.append(connect(run))
        except OSError:
            break
    for link in crowd:
        link.close()
    run.eventually(lambda: run.status().get("engine_pid") == before["engine_pid"])
    assert run.stop() == ExitCode.OK


def test_a_reader_that_does_not_read_stops_nobody(run):
    reading, writing = os.pipe()
    run.start(stdout=writing, options={"leash_ms": 30_000})  # it shouts in one turn
    os.close(writing)
    run.ready()
    told = run.forward("shout")["answer"]
    assert told["told"] > 0
    # 10 MB were said into a pipe of 64 kB: the launcher lives, and serves.
    assert run.status()["phase"] == "running"
    assert run.forward("look")["answer"]["generation"] == 1
    run.kill(signal.SIGTERM)
    with os.fdopen(reading, "rb") as stream:
        last = stream.read().splitlines()[-1]
    assert run.wait() == ExitCode.OK
    assert last == b'{"starts":1}'


def test_a_closed_stdout_stops_nobody(run):
    reading, writing = os.pipe()
    os.close(reading)
    run.start(stdout=writing)
    os.close(writing)
    os.kill(run.ready()["engine_pid"], signal.SIGKILL)
    run.ready(2)
    assert run.stop() == ExitCode.OK


def test_systemd_hears_ready_watchdog_and_stopping(run):
    path = run.folder / "n.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(10)
        run.start(
            servers=[{"name": "one"}],
            environ={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "300000"},
        )
        heard = b""
        while b"READY=1" not in heard:
            heard = manager.recv(4096)
        beats = [manager.recv(4096) for _ in range(3)]
        assert beats == [b"WATCHDOG=1"] * 3
        # A hung engine within its leash, or a restart within its budget, is no reason to fall
        # silent; and no child speaks for itself.
        look = run.forward("look")["answer"]
        assert look["environ"]["NOTIFY_SOCKET"] is None
        assert look["environ"]["WATCHDOG_USEC"] is None
        assert look["ready"]["one"]["notify"] == ""
        assert run.stop() == ExitCode.OK
        manager.setblocking(False)
        rest = b""
        try:
            while True:
                rest += manager.recv(4096)
        except BlockingIOError:
            pass
        assert b"STOPPING=1" in rest


def test_a_second_run_is_refused_while_the_lock_is_held(run):
    run.start()
    run.ready()
    assert run.second() == ExitCode.HOME
    # The engine holds no copy of the lock: only the launcher's end frees it.
    run.kill(signal.SIGKILL)
    run.wait()
    run.start()
    run.ready()
    assert run.stop() == ExitCode.OK


def test_words_that_cannot_be_made_change_nothing(run):
    run.start(servers=[{"name": "one"}], is_mute=True)
    os.kill(run.ready()["engine_pid"], signal.SIGKILL)
    run.ready(2)
    assert run.stop() == ExitCode.OK
    assert "cannot be worded" in run.out()
    assert "the summary cannot be worded" in run.err()
