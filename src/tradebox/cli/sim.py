"""`tradebox sim`: the stand-in world alone, for any TWS API or Finnhub client."""

from typing import Annotated

import typer

from tradebox.cli.options import HomeOption, JsonOption, nested
from tradebox.config import find_home, load_settings


def sim(
    home: HomeOption = None,
    ports: Annotated[
        str | None,
        typer.Option(
            "--ports",
            metavar="PAPER,LIVE,FINNHUB,CONTROL",
            help="Fixed ports on 127.0.0.1; 0 or none: any free one.",
        ),
    ] = None,
    speed: Annotated[
        float | None, typer.Option("--speed", help="Market seconds per second (0.1 to 200).")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="The market's seed.")] = None,
    json: JsonOption = False,
) -> int:
    """Serve the stand-in world; one line says where, then it serves until a signal."""
    place = find_home(home)
    settings = load_settings(place, nested(sim__speed=speed, sim__seed=seed))

    from tradebox.sim.__main__ import parse_ports
    from tradebox.sim.runner import SimOptions, run_sim

    return run_sim(
        SimOptions(
            home=place.root,
            ports=parse_ports(ports or ""),
            speed=settings.sim.speed,
            seed=settings.sim.seed,
            as_json=json,
        )
    )
