"""Finding, starting and ending server processes without trusting a stored pid.

Rules of this file:
- a process is a server of ours when its command and its working folder say so;
- it is signalled through a pidfd opened before it was recognised, so a recycled pid is never hit;
- a server is started in a session of its own and outlives the starter.
"""

import contextlib
import os
import select
import signal
from collections.abc import Sequence
from pathlib import Path

_INHERITED_FD = 9
_CLEAN = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")


def clean_environment() -> dict[str, str]:
    """Return an environment without the caller's PG* variables, locale and secrets."""
    kept = {name: os.environ[name] for name in _CLEAN if name in os.environ}
    return {"PATH": os.defpath, **kept, "LC_ALL": "C", "TZ": "UTC"}


def _stat(pid: int) -> tuple[str, str, int] | None:
    """Return (command, state, parent pid), or None where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    head, _, tail = text.rpartition(")")
    state, parent = tail.split()[:2]
    return head.partition("(")[2], state, int(parent)


def is_server(pid: int, command: str, folder: Path) -> bool:
    """Tell whether this pid is a living `command` that works in `folder`."""
    found = _stat(pid)
    if found is None or found[0] != command or found[1] == "Z":
        return False
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder.resolve()
    except OSError:
        return False


def servers_in(folder: Path, command: str) -> list[int]:
    """Return the pids of every `command` that works in `folder`, parents before children."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    ours = {pid for pid in pids if is_server(pid, command, folder)}
    parents = {pid: found[2] for pid in ours if (found := _stat(pid)) is not None}
    return sorted(parents, key=lambda pid: (parents[pid] in ours, pid))


def start_detached(argv: Sequence[str], log: Path, inherited: int) -> int:
    """Start a server in its own session, its output appended to `log`; return its pid.

    inherited: the one descriptor that the server gets of us, beside its output.
    """
    log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        argv[0],
        list(argv),
        clean_environment(),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), log_flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, inherited, _INHERITED_FD),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP),
    )


def reap(pid: int) -> bool:
    """Collect an ended child of ours; True when it has ended (or is no child and is gone)."""
    try:
        done, _ = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        found = _stat(pid)
        return found is None or found[1] == "Z"
    return done == pid


def stop_server(
    pid: int, command: str, folder: Path, ladder: Sequence[tuple[signal.Signals, float]]
) -> None:
    """Signal a server of ours, rung by rung (signal, seconds to wait), until it is gone.

    Holds:   no process other than a `command` working in `folder` is ever signalled.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        for rung, wait_s in ladder:
            if not is_server(pid, command, folder):
                break
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, rung)
            if poller.poll(int(wait_s * 1000)):
                break
    finally:
        os.close(handle)
    reap(pid)


def rotate(log: Path, bytes_max: int) -> None:
    """Move a grown log aside, keeping one old one."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > bytes_max:
            log.replace(log.with_name(f"{log.name}.1"))


def tail(log: Path, from_byte: int = 0, bytes_max: int = 2000) -> str:
    """Return the last lines of a log, for an error message."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(from_byte, end - bytes_max))
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""
