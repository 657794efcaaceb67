"""A shell that outlives a command or a launcher: where that is killed, the servers are swept.

Rules of this file:
- the shell waits on a pipe whose other end only the command holds: a word from it means that it
  left in order, the pipe's end that it is gone, however it ended;
- it is no Python until then: the wait costs a megabyte and no CPU;
- what is swept is decided under the lease's lock (`lease.sweep`), never by the shell.
"""

import contextlib
import os
import select
import signal
import sys
from typing import Final, Self

from tradebox.adapters.embedded.processes import reap
from tradebox.config import Home

SCRIPT: Final = 'read -r word || exec "$@"'
LEAVE_S_MAX: Final = 1.0


class LastWord:
    """Waits for our end; use as a context manager around all use of the embedded servers."""

    def __init__(self, home: Home) -> None:
        heard, self._mouth = os.pipe()
        try:
            self._pid = os.posix_spawn(
                "/bin/sh",
                ["/bin/sh", "-c", SCRIPT, "tradebox-last-word", *_sweep_command(home)],
                {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, heard, 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
            )
        except BaseException:
            os.close(self._mouth)
            raise
        finally:
            os.close(heard)

    def leave(self) -> None:
        """Say that we leave in order: nothing is left to be swept."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._mouth, b"left\n")
        os.close(self._mouth)
        try:
            handle = os.pidfd_open(self._pid)
        except ProcessLookupError:
            return
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        poller.poll(int(LEAVE_S_MAX * 1000))
        os.close(handle)
        reap(self._pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


def _sweep_command(home: Home) -> list[str]:
    module = "tradebox.adapters.embedded"
    return [sys.executable, "-m", module, "sweep", "--home", str(home.root)]
