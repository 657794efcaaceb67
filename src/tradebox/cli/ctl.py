"""`tradebox ctl`: asks a running engine to do something, by way of its launcher.

Rules of this file:
- a command asks one question and prints the answer; what happens is decided in the engine.
"""

from typing import Annotated, Any

import typer

from tradebox.cli.options import HomeOption, JsonOption, print_json
from tradebox.cli.status import ask
from tradebox.config import find_home
from tradebox.errors import NotDone, NotRunning

app = typer.Typer(no_args_is_help=True, help="Ask the running engine to do something.")
failover = typer.Typer(no_args_is_help=True, help="Planned takeovers.")
app.add_typer(failover, name="failover")


@failover.command("feed")
def feed(home: HomeOption = None, json: JsonOption = False) -> None:
    """Have the standby feed take over; the active one becomes the standby."""
    answer = _forward(home, "swap_feeds")
    if json:
        print_json(answer)
    else:
        print(f"{answer['active']} is active now, before it was {answer['was']}")


@app.command("harm", hidden=True)
def harm(
    actor: Annotated[str, typer.Argument(help="The actor's name.")],
    how: Annotated[str, typer.Option("--how", metavar="crash|kill|hang|deaf|busy|burn")] = "crash",
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Harm an actor on purpose; refused in every profile but sim."""
    answer = _forward(home, "harm", actor=actor, how=how)
    if json:
        print_json(answer)
    else:
        print(f"{answer['actor']} (incarnation {answer['incarnation']}): {answer['how']}")


def _forward(home: Any, question: str, **data: object) -> dict[str, Any]:
    """Ask the engine. Raises NotRunning without one, NotDone where it refuses."""
    place = find_home(home)
    answer = ask(place, "forward", to=question, data=data)
    if isinstance(answer.get("answer"), dict):
        return dict(answer["answer"])
    why = str(answer.get("error", "no answer"))
    if "engine" in why and "not there" in why:
        raise NotRunning(f"home {place.root}: {why}: it is being started again, ask once more")
    raise NotDone(f"the engine refuses: {why}", question=question)
