"""`tradebox reconcile`: has a controller compare books and broker now, and tells what it found.

Rules of this file:
- the running engine looks and repairs, by its own rules; this command only asks and prints.
"""

from typing import Annotated

import typer

from tradebox.cli.asking import request, show
from tradebox.cli.options import HomeOption, JsonOption
from tradebox.config import find_home


def reconcile(
    account: Annotated[str, typer.Option("--account", help="paper or live.")] = "paper",
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Compare books and broker; exit code 3 when nothing runs, 4 when the link is down."""
    answer = request(find_home(home), account, "reconcile", {})
    answer.pop("started_mono_ns", None)
    show(answer, json=json)
