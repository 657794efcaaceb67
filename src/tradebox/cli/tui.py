"""`tradebox tui`: the view-only console, in a process that cannot trade."""

import os
import sys
from typing import Annotated

import typer

from tradebox.cli.options import HomeOption
from tradebox.config import find_home


def tui(
    home: HomeOption = None,
    screen: Annotated[str, typer.Option("--screen", help="First screen.")] = "overview",
) -> None:
    """Open the console; it reads, it cannot write."""
    place = find_home(home)
    command = [sys.executable, "-m", "tradebox_tui", "--home", str(place.root), "--screen", screen]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter and module
