"""`python -m tradebox` and the `tradebox` command.

Rules of this file:
- `tradebox tui` in its plain forms becomes the console before any command is loaded: the command
  line would cost as much as the console itself; whatever looks unusual goes the common way.
"""

import sys
from collections.abc import Sequence

CONSOLE_OPTIONS = ("--home", "--screen")


def console_options(arguments: Sequence[str]) -> dict[str, str] | None:
    """Return the options of a plain `tui`, None for anything else.

    Example: >>> console_options(["tui", "--screen", "plans"]) -> {"--screen": "plans"}
    """
    if not arguments or arguments[0] != "tui":
        return None
    found: dict[str, str] = {}
    words = iter(arguments[1:])
    for word in words:
        name, equals, value = word.partition("=")
        given = value if equals else next(words, "")
        if name not in CONSOLE_OPTIONS or name in found or not given or given.startswith("-"):
            return None
        found[name] = given
    return found


def main() -> None:
    """Run the command line and leave with its exit code."""
    options = console_options(sys.argv[1:])
    if options is not None:
        from pathlib import Path

        from tradebox.cli.console import become_console
        from tradebox.config import find_home

        home = find_home(Path(options["--home"]) if "--home" in options else None)
        become_console(home, options.get("--screen", "overview"))
    try:
        from tradebox.cli.bug import tell_bugs_as_json
        from tradebox.cli.main import run_command_line
    except KeyboardInterrupt:
        sys.exit(0)  # as the command line answers it, which is not there yet

    try:
        code = run_command_line(sys.argv[1:])
    finally:
        if "--json" in sys.argv:
            tell_bugs_as_json(sys.argv[1:])  # behind the command, which sets a hook of its own
    sys.exit(code)


if __name__ == "__main__":
    main()
