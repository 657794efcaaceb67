"""What a bug ends a command with: its traceback, or with --json an object and a log of the home.

Rules of this file:
- a bug is never taken for a refusal: the exit code is 1, and the words say what it is;
- its traceback is in the home's log, secrets masked, or in the object where there is no such log;
- nothing is made for it: a home that is not there stays away.
"""

import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import orjson

from tradebox.config import Home, find_home
from tradebox.errors import EXIT_CODE_MEANINGS, ExitCode

LOG_NAME: Final = "bugs.log"
LOG_BYTES_MAX: Final = 1_000_000
LOG_FILES: Final = 2


def tell_bugs_as_json(arguments: Sequence[str]) -> None:
    """Have an exception that nobody took end this command as --json asks for."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, Exception):
            sys.__excepthook__(kind, error, trace)
            return
        said = told(error, _home_of(arguments), " ".join(arguments))
        print(orjson.dumps(said).decode(), file=sys.stderr)

    sys.excepthook = hook


def told(error: BaseException, home: Home, command: str) -> dict[str, object]:
    """Return what is said of a bug; its traceback goes to the home's log, if that takes it."""
    from tradebox.adapters.logs import Redactor

    masked = Redactor().text
    lines = "".join(traceback.format_exception(error))
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    text = masked(f"{at} tradebox {command}\n{lines}")
    summary = masked("".join(traceback.format_exception_only(error)).strip())
    return {
        "error": f"a bug: {summary}",
        "exit_code": int(ExitCode.FAILED),
        "meaning": EXIT_CODE_MEANINGS[ExitCode.FAILED],
        **_kept(text, home),
    }


def _kept(text: str, home: Home) -> dict[str, object]:
    from tradebox.adapters.logs.writer import RotatingFile

    log = RotatingFile(home.logs_dir / LOG_NAME, LOG_BYTES_MAX, LOG_FILES)
    try:
        if not home.logs_dir.is_dir():
            return {"traceback": text}
        log.write(text)
        log.flush()
    except OSError:
        return {"traceback": text}
    finally:
        log.close()
    return {"log": str(log.path)}


def _home_of(arguments: Sequence[str]) -> Home:
    """Return the home that a command line names, whatever else is wrong with it."""
    for place, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name == "--home":
            given = value if equals else next(iter(arguments[place + 1 :]), "")
            return find_home(Path(given) if given else None)
    return find_home()
