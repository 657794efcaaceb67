"""`tradebox sim`: the stand-in world alone, for any TWS API or Finnhub client, and its faults.

Rules of this file:
- without a subcommand it serves; `fault` speaks to the one that runs on the home;
- values of a fault's arguments are read as its defaults are typed; the simulator judges the rest.
"""

from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import typer

from tradebox.cli.options import HomeOption, JsonOption, nested, print_json
from tradebox.config import find_home, load_settings
from tradebox.errors import ConfigInvalid

app = typer.Typer(invoke_without_command=True, help="The stand-in world alone, and its faults.")
fault = typer.Typer(
    no_args_is_help=True, help="Faults that the running stand-in world can be told to have."
)
app.add_typer(fault, name="fault")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="As `fault list` names it.")]
MasterOption = Annotated[
    int,
    typer.Option(
        "--master-client-id",
        metavar="N",
        help="The client that hears of every client's orders; -1: none.",
    ),
]
WholeDayOption = Annotated[
    bool,
    typer.Option("--whole-day", help="Play 04:00 to 20:00 New York time, not the session alone."),
]


@app.callback()
def sim(  # noqa: PLR0917 - one argument per option
    context: typer.Context,
    home: HomeOption = None,
    ports: Annotated[
        str | None,
        typer.Option(
            "--ports",
            metavar="PORT,PORT,…",
            help="Fixed ports on 127.0.0.1, one per server in the order of the ready line;"
            " 0: any free one.",
        ),
    ] = None,
    speed: Annotated[
        float | None, typer.Option("--speed", help="Market seconds per second (0.1 to 200).")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="The market's seed.")] = None,
    day: Annotated[
        str | None,
        typer.Option("--day", metavar="YYYY-MM-DD", help="The session where the market begins."),
    ] = None,
    symbols: Annotated[
        int | None,
        typer.Option("--symbols", help="Trade so many (1 to 2000), the further ones synthetic."),
    ] = None,
    tape: Annotated[
        Path | None,
        typer.Option("--tape", metavar="FILE", help="Recorded trades: symbol,at_ns,price,size."),
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option("--script", metavar="FILE", help="Orders, cancels and faults by market time."),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            metavar="NAME=VALUE",
            help="A behaviour in which real gateways differ; may be repeated.",
        ),
    ] = None,
    master_client_id: MasterOption = -1,
    whole_day: WholeDayOption = False,
    json: JsonOption = False,
) -> int:
    """Serve the stand-in world; one line says where, then it serves until a signal."""
    if context.invoked_subcommand is not None:
        return 0
    place = find_home(home)
    settings = load_settings(place, nested(sim__speed=speed, sim__seed=seed))

    from tradebox.sim.__main__ import parse_ports, parse_variants
    from tradebox.sim.runner import SimOptions, run_sim

    return run_sim(
        SimOptions(
            home=place.root,
            ports=parse_ports(ports or ""),
            speed=settings.sim.speed,
            seed=settings.sim.seed,
            as_json=json,
            variants=parse_variants(variant or ()),
            script=script,
            symbols=symbols,
            tape=tape,
            day=day,
            master_client_id=master_client_id,
            whole_day=whole_day,
        )
    )


@fault.command("list")
def list_faults(home: HomeOption = None, json: JsonOption = False) -> None:
    """List every fault with its arguments, and what is set now."""
    boards = _ask(home, "/faults")
    if json:
        print_json(boards)
        return
    for board, rows in boards.items():
        for row in rows:
            given = " ".join(f"{key}={value}" for key, value in row["arguments"].items())
            print(f"{board}.{row['name']}  {row['summary']}")
            if given:
                print(f"    {given}")
            for active in row["active"]:
                print(f"    SET {' '.join(f'{key}={value}' for key, value in active.items())}")


@fault.command("set")
def set_fault(
    name: NameArgument,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]…", help="What narrows it.")
    ] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Set a fault, or let one that happens once happen."""
    defaults = _defaults(_ask(home, "/faults"), name)
    given = dict(_pair(text, defaults) for text in arguments or [])
    _show(_ask(home, "/faults/set", {"name": name, "arguments": given}), as_json=json)


@fault.command("clear")
def clear_fault(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="None: every fault.")] = "",
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """End a fault, or every fault."""
    _show(_ask(home, "/faults/clear", {"name": name}), as_json=json)


def _ask(home: Any, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
    from tradebox.sim.control.client import ask

    return ask(find_home(home).sim_dir, path, body)


def _defaults(boards: dict[str, Any], name: str) -> dict[str, object]:
    """Return a fault's arguments with their defaults; none where there is no such fault."""
    board, _, wanted = name.partition(".")
    rows = [row for row in boards.get(board, []) if row["name"] == wanted]
    return dict(rows[0]["arguments"]) if rows else {}


def _pair(text: str, defaults: dict[str, object]) -> tuple[str, object]:
    key, separator, value = text.partition("=")
    if not (key and separator):
        raise ConfigInvalid(f"{text!r} is no KEY=VALUE: give e.g. symbol=AAPL", value=text)
    default = defaults.get(key)
    typed = _typed(value, default)
    if typed is None:
        kind = {bool: "true or false", int: "a whole number"}.get(type(default), "a number")
        raise ConfigInvalid(f"{key}={value}: give {kind}", field=key, value=value)
    return key, typed


def _typed(value: str, default: object) -> object:
    """Return a value as its default is typed; None where it is no such value."""
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}.get(value.lower())
        if isinstance(default, int):
            return int(value)
        if isinstance(default, float):
            return float(value) if isfinite(float(value)) else None
    except ValueError:
        return None
    return value


def _show(boards: dict[str, Any], *, as_json: bool) -> None:
    """Print what is set now."""
    if as_json:
        print_json(boards)
        return
    names = [f"{board}.{name}" for board, active in boards.items() for name in active]
    print("set: " + ", ".join(names) if names else "no fault is set")
