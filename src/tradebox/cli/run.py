"""`tradebox run`: the whole system, until asked to stop."""

import sys
from typing import Annotated

import typer

from tradebox.cli.options import HomeOption, JsonOption, ProfileOption, nested
from tradebox.config import find_home, load_settings
from tradebox.errors import ConfigInvalid


def run(
    home: HomeOption = None,
    profile: ProfileOption = None,
    for_s: Annotated[
        float | None,
        typer.Option("--for", metavar="SECONDS", help="Stop in order so long after READY."),
    ] = None,
    speed: Annotated[
        float | None, typer.Option("--speed", help="Market seconds per second (sim, 0.1 to 200).")
    ] = None,
    tui: Annotated[
        bool | None,
        typer.Option("--tui/--no-tui", help="Console on this terminal (default: on a terminal)."),
    ] = None,
    live_account: Annotated[
        str, typer.Option("--live-account", help="Profile live: the account number, typed again.")
    ] = "",
    json: JsonOption = False,
) -> int:
    """Run the system. Without configuration: SIMULATED, on the stand-in world, demo plans armed."""
    if for_s is not None and not 0 < for_s < float("inf"):
        raise ConfigInvalid(f"--for={for_s}: not a positive number of seconds: give e.g. --for 90")
    place = find_home(home)
    settings = load_settings(place, nested(profile=profile, sim__speed=speed))
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if tui and not is_terminal:
        raise ConfigInvalid("--tui: stdin and stdout are no terminal: use --no-tui")
    console = is_terminal and not json if tui is None else tui

    if settings.profile == "live" and not live_account and is_terminal:
        live_account = typer.prompt("Type the live account number to trade it")
    if settings.profile == "live" and live_account != settings.live.account:
        given, wanted = live_account or "(none)", settings.live.account
        raise ConfigInvalid(
            f"--live-account={given}: profile live trades {wanted}: type that number,"
            " or choose --profile paper"
        )

    from tradebox.app import RunOptions
    from tradebox.app import run as run_app

    options = RunOptions(run_s=for_s, console=console, as_json=json, live_account=live_account)
    return run_app(place, settings, options)
