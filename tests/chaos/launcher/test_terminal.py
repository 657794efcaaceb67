"""A terminal: Ctrl-C, the console borrowing it, and its closing, under a shell as `make` is one."""

import os
import signal
import termios

CONSOLE = {"name": "console", "tty": True, "required": False, "what": "console"}


def test_ctrl_c_without_a_console_stops_in_order(run):
    run.start_on_terminal(servers=[{"name": "one"}])
    run.ready()
    run.press(b"\x03")
    run.gone()
    assert run.trace()[-2:] == ["engine stop", "one stop"]


def test_the_console_opens_before_the_servers_are_ready(run):
    run.start_on_terminal(servers=[{"name": "slow", "what": "silent"}, dict(CONSOLE)])
    run.on_terminal(b"CONSOLE")
    assert "engine up" not in " ".join(run.trace())
    run.press(b"\x03")  # and its Ctrl-C ends a run that never was ready
    run.on_terminal(b"rc=0")
    run.gone()


def test_what_ends_a_start_is_told_once_the_console_is_gone(run):
    run.start_on_terminal(servers=[{"name": "bad", "what": "fail1"}, dict(CONSOLE)])
    run.on_terminal(b"rc=1")
    assert "bad: ended before it was ready" in run.err()
    run.gone()


def test_ctrl_c_ends_the_console_then_everything(run):
    run.start_on_terminal(servers=[{"name": "one"}, dict(CONSOLE)])
    run.ready()
    run.on_terminal(b"CONSOLE")
    run.press(b"\x03")
    run.on_terminal(b"rc=0")
    assert run.trace()[-2:] == ["engine stop", "one stop"]
    assert b"console_left how=signal SIGINT" in run.seen


def test_ctrl_c_as_a_key_of_the_console_does_the_same(run):
    run.start_on_terminal(servers=[{**CONSOLE, "what": "consoleraw130"}])
    run.ready()
    run.on_terminal(b"RAW")
    run.press(b"\x03")
    run.on_terminal(b"rc=0")
    # The console left in raw mode and full screen; the terminal is whole again.
    assert b"\x1b[?1049l" in run.seen
    assert b"rc=0\r\n" in run.seen


def test_q_leaves_the_console_and_lines_go_on(run):
    run.start_on_terminal(servers=[dict(CONSOLE)])
    before = run.ready()
    run.on_terminal(b"CONSOLE")
    os.kill(before["engine_pid"], signal.SIGKILL)
    run.ready(2)
    assert b"hello from 2" not in run.read_terminal()  # nothing over the console
    run.press(b"q\n")
    run.on_terminal(b"console_left how=exit code 0")
    os.kill(run.ready(2)["engine_pid"], signal.SIGKILL)
    run.on_terminal(b"hello from 3")
    run.press(b"\x03")
    run.gone()


def test_a_console_that_breaks_is_only_left(run):
    run.start_on_terminal(servers=[dict(CONSOLE)])
    run.ready()
    run.on_terminal(b"CONSOLE")
    run.press(b"x\n")
    run.on_terminal(b"console_left how=exit code 9")
    assert run.status()["phase"] == "running"
    run.kill(signal.SIGTERM)
    run.on_terminal(b"rc=0")


def test_a_suspended_console_is_ended(run):
    run.start_on_terminal(servers=[dict(CONSOLE)])
    run.ready()
    run.on_terminal(b"CONSOLE")
    run.press(b"\x1a")
    run.on_terminal(b"console_left")
    assert run.status()["phase"] == "running"
    run.press(b"\x03")
    run.gone()


def test_a_stop_ends_the_console_and_restores_the_terminal(run):
    run.start_on_terminal(servers=[{**CONSOLE, "what": "consoleraw130"}])
    run.ready()
    run.on_terminal(b"RAW")
    run.kill(signal.SIGTERM)
    run.on_terminal(b"rc=0")
    mode = termios.tcgetattr(run.master)
    assert mode[3] & termios.ICANON


def test_a_hangup_told_to_the_launcher_ends_the_console_only(run):
    run.start_on_terminal(servers=[dict(CONSOLE)])
    before = run.ready()
    run.on_terminal(b"CONSOLE")
    run.kill(signal.SIGHUP)
    run.on_terminal(b"console_left how=signal SIGHUP")
    assert run.status()["engine_pid"] == before["engine_pid"]
    run.kill(signal.SIGTERM)
    run.on_terminal(b"rc=0")


def test_closing_the_terminal_loses_the_console_only(run):
    run.start_on_terminal(servers=[{"name": "one"}, dict(CONSOLE)])
    before = run.ready()
    run.on_terminal(b"CONSOLE")
    console = next(s["pid"] for s in before["servers"] if s["name"] == "console") or next(
        s["pid"] for s in run.status()["servers"] if s["name"] == "console"
    )
    run.close_terminal()
    run.eventually(lambda: not run.is_alive(console))
    run.eventually(lambda: run.status()["servers"][1]["state"] == "stopped")
    after = run.status()
    assert (after["phase"], after["engine_pid"]) == ("running", before["engine_pid"])
    os.kill(before["engine_pid"], signal.SIGKILL)
    run.ready(2)
    run.kill(signal.SIGTERM)
    run.gone()
    assert run.trace()[-1] == "one stop"


def test_closing_the_terminal_without_a_console_loses_nothing(run):
    run.start_on_terminal(servers=[{"name": "one"}])
    before = run.ready()
    run.close_terminal()
    os.kill(before["engine_pid"], signal.SIGKILL)
    run.ready(2)
    run.kill(signal.SIGTERM)
    run.gone()
    assert run.trace()[-1] == "one stop"


def test_without_a_terminal_there_is_no_console(run):
    run.start(servers=[dict(CONSOLE)])
    assert run.ready()["servers"][0]["state"] == "waiting"
    run.kill(signal.SIGHUP)
    assert run.forward("look")["answer"]["generation"] == 1
    assert run.stop() == 0
