"""`tradebox tui`: the view-only console, in a process that cannot trade."""

from typing import Annotated

import typer

from tradebox.cli.console import become_console
from tradebox.cli.options import HomeOption
from tradebox.config import find_home


def tui(
    home: HomeOption = None,
    screen: Annotated[str, typer.Option("--screen", help="First screen.")] = "overview",
) -> None:
    """Open the console; it reads, it cannot write."""
    become_console(find_home(home), screen)
