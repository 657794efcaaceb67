"""Options that several commands share, declared once."""

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="The home folder (default: TRADEBOX_HOME, else per user)."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
ProfileOption = Annotated[
    str | None,
    typer.Option("--profile", help="sim (default), paper or live.", metavar="sim|paper|live"),
]
AccountOption = Annotated[
    str, typer.Option("--account", help="Which account.", metavar="paper|live")
]


def print_json(value: object) -> None:
    """Print one JSON object on one line."""
    print(orjson.dumps(value, default=str).decode())


def nested(**flags: object) -> dict[str, Any]:
    """Return {"sim": {"speed": 5}} for sim__speed=5; None means: not set."""
    out: dict[str, Any] = {}
    for name, value in flags.items():
        if value is None:
            continue
        target = out
        *sections, leaf = name.split("__")
        for section in sections:
            target = target.setdefault(section, {})
        target[leaf] = value
    return out
