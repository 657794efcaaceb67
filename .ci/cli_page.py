"""Writes docs/cli.md from the commands' own help; `make fix` runs it, a test compares."""

from pathlib import Path
from typing import Any

import typer

from tradebox.cli.main import app
from tradebox.errors import EXIT_CODE_MEANINGS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cli.md"
COLUMNS = 96
HEAD = """# The command line

Every command takes `--help`; everything that prints takes `--json`, and refusals are JSON on
stderr then. This page is written by `make fix` from the commands themselves.

"""


def page() -> str:
    """Return the whole page."""
    root = typer.main.get_command(app)
    parts = [HEAD, "## Exit codes\n\n| code | meaning |\n|---|---|\n"]
    parts += [f"| {code.value} | {meaning} |\n" for code, meaning in EXIT_CODE_MEANINGS.items()]
    parts += [f"\n## `{path}`\n\n```text\n{text}\n```\n" for path, text in helps(root, "tradebox")]
    return "".join(parts)


def helps(command: Any, path: str, parent: Any = None) -> list[tuple[str, str]]:
    """Return (path, help) of a command and of all below it."""
    name = path.rpartition(" ")[2]
    context = command.make_context(
        name, [], parent, resilient_parsing=True, terminal_width=COLUMNS, max_content_width=COLUMNS
    )
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    found = [(path, text.partition("\n  Exit codes:")[0].rstrip())]
    for each, below in sorted(getattr(command, "commands", {}).items()):
        found += helps(below, f"{path} {each}", context)
    return found


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
