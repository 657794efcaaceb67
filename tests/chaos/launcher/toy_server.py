"""A toy server: `toy_server.py FOLDER NAME WHAT`; every act leaves a line in FOLDER/trace."""

import json
import os
import signal
import sys
import time
from pathlib import Path

folder, name, what = Path(sys.argv[1]), sys.argv[2], sys.argv[3]


def trace(word: str) -> None:
    with (folder / "trace").open("a") as file:
        file.write(f"{name} {word}\n")


def ready(**more: object) -> None:
    print(json.dumps({"name": name, "pid": os.getpid(), **more}), flush=True)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def serve(wanted: set[int]) -> None:
    ready(env=os.environ.get("TOY", ""), notify=os.environ.get("NOTIFY_SOCKET", ""))
    trace("ready")
    signal.sigwait(wanted)
    trace("stop")


def detached() -> None:
    file = folder / f"{name}.pid"
    if file.exists() and alive(int(file.read_text())):
        trace("adopted")
        print(json.dumps({"pid": int(file.read_text())}), flush=True)
        return
    pid = os.fork()
    if pid == 0:
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            os.dup2(nothing, fd)
        trace("ready")
        signal.sigwait({signal.SIGTERM})
        trace("stop")
        os._exit(0)
    file.write_text(str(pid))
    print(json.dumps({"pid": pid}), flush=True)


def stop_detached() -> None:
    pid = int((folder / f"{name}.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    while alive(pid):
        time.sleep(0.005)
    trace("stopped by command")


def console(how: str) -> None:
    """On the terminal: `q` leaves, `x` breaks, Ctrl-C is the kernel's."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    trace(f"console up {os.getpid()}")
    os.write(1, b"CONSOLE\n")
    if how == "raw130":
        # The way of a full-screen program: Ctrl-C is a key, told by exit code 130.
        import tty

        tty.setraw(0)
        os.write(1, b"\x1b[?1049hRAW\n")
    while True:
        key = os.read(0, 1)
        if key == b"q":
            sys.exit(0)
        if key == b"x":
            sys.exit(9)
        if key == b"\x03":
            sys.exit(130)
        if key == b"":
            sys.exit(1)


trace("start")
if what == "ok":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    serve({signal.SIGTERM})
elif what == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready()
    while True:
        time.sleep(60)
elif what == "silent":
    print("nothing to say", file=sys.stderr, flush=True)
    while True:
        time.sleep(60)
elif what == "parent":
    # A server with a child of its own, which must not outlive it.
    child = os.fork()
    if child == 0:
        while True:
            time.sleep(60)
    ready(child=child)
    while True:
        time.sleep(60)
elif what == "scatter":
    # An orphan in a session of its own, which ends when the test has looked at it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    if os.fork() == 0:
        os.setsid()
        orphan = os.fork()
        if orphan == 0:
            signal.sigwait({signal.SIGTERM})
            os._exit(0)
        (folder / "orphan").write_text(str(orphan))
        os._exit(0)
    os.wait()
    serve({signal.SIGTERM})
elif what.startswith("fail"):
    print("first word", file=sys.stderr)
    print(f"cannot start: {what}", file=sys.stderr, flush=True)
    sys.exit(int(what.removeprefix("fail")))
elif what == "detached":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    detached()
elif what == "stop":
    stop_detached()
elif what == "oneshot":
    print("some words")
    print(json.dumps({"result": 42}), flush=True)
    trace("done")
elif what.startswith("console"):
    console(what.removeprefix("console"))
