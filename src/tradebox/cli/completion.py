"""`tradebox completion SHELL`: the script that teaches a shell our words.

Rules of this file:
- it is printed, never installed: a shell's files are outside the home.
"""

import os
from enum import StrEnum
from typing import Annotated

import typer

from tradebox.cli.options import JsonOption, print_json

VARIABLE = "_TRADEBOX_COMPLETE"


class Shell(StrEnum):
    """Shells that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(help="Which shell.")], json: JsonOption = False
) -> None:
    """Print a completion script; for bash: `eval "$(tradebox completion bash)"`."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    script = get_completion_script(prog_name="tradebox", complete_var=VARIABLE, shell=shell.value)
    if json:
        print_json({"shell": shell.value, "script": script})
    else:
        print(script)


def listen() -> None:
    """Let a shell that asks be answered."""
    if VARIABLE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
