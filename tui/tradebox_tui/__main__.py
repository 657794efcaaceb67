"""`python -m tradebox_tui --home DIR`: the console's process.

Rules of this file:
- frame rate, animations, scrolling and theme are set before Textual is imported;
- the guard is in place before anything is connected;
- leaves with 0 on q, 130 on Ctrl-C, HUNG_UP on SIGHUP and with its terminal: a thread waits for
  the latter, because a loop that writes to a terminal nobody reads stands still.
"""

import argparse
import locale
import os
import select
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tradebox_tui import HUNG_UP

ENVIRONMENT = {
    "TEXTUAL_FPS": "10",
    "TEXTUAL_ANIMATIONS": "none",
    "TEXTUAL_SMOOTH_SCROLL": "0",
    "TEXTUAL_THEME": "ansi-dark",
    "OPENBLAS_NUM_THREADS": "1",
}


def _leave_with_terminal(descriptor: int) -> None:
    """End this process when its terminal is gone, whatever its loop is doing."""
    poller = select.poll()
    poller.register(descriptor, 0)  # a hang-up is always told
    poller.poll()
    os._exit(HUNG_UP)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the console until a key ends it; return the exit code."""
    parser = argparse.ArgumentParser(prog="tradebox tui", description="The view-only console.")
    parser.add_argument("--home", required=True, type=Path, help="the home of the run to watch")
    parser.add_argument("--screen", default="overview", help="the first screen")
    parser.add_argument("--ascii", action="store_true", help="seven-bit signs only")
    options = parser.parse_args(arguments)
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        sys.stderr.write("tradebox tui needs a terminal; use `tradebox status` elsewhere\n")
        return 2
    os.environ.update(ENVIRONMENT)
    from tradebox.config import Home
    from tradebox.readmodel.reader import Reader
    from tradebox_tui.app import ConsoleApp
    from tradebox_tui.guard import Guard

    home = Home(options.home)
    guard = Guard(home)
    guard.install()
    reader = Reader(home.console_file, on_places=lambda places: guard.allow(places.addresses()))
    ascii_only = options.ascii or "utf" not in locale.getpreferredencoding().lower()
    terminal = sys.stdin.fileno()
    threading.Thread(target=_leave_with_terminal, args=(terminal,), daemon=True).start()
    app = ConsoleApp(reader, first=options.screen, ascii_only=ascii_only)
    app.run()
    return app.return_code or 0


if __name__ == "__main__":
    sys.exit(main())
