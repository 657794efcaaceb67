"""`tradebox drill broker`: asks the paper account's gateway what public evidence leaves open.

Rules of this file:
- paper and simulated accounts only; small orders, cleaned up after each step.
"""

from typing import Annotated

import typer

from tradebox.cli.asking import with_pool
from tradebox.cli.options import HomeOption, JsonOption, print_json
from tradebox.config import find_home, load_settings

app = typer.Typer(no_args_is_help=True, help="Try things out on a paper account.")


@app.callback()
def group() -> None:
    """Hold the drills."""


@app.command("broker")
def broker(
    steps: Annotated[list[str] | None, typer.Argument(metavar="STEP", help="Default: all.")] = None,
    symbol: Annotated[str, typer.Option("--symbol", help="A stock nobody holds.")] = "F",
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Find out what the gateway does, and store it: exits and stops build on what is proven."""
    from tradebox.app.drilling import drill

    place = find_home(home)
    settings = load_settings(place)
    found = with_pool(place, lambda pool: drill(place, settings, pool, symbol.upper(), steps or []))
    if json:
        print_json(found)
        return
    for one in found:
        word = "proven" if one["proven"] else ("found" if one["found"] else "not shown")
        print(f"{one['name']:<26} {one['found'] or '-':<12} {word}")
