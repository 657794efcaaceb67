"""`tradebox service show|install`: the systemd unit that keeps `tradebox run` running.

Rules of this file:
- nothing is started or enabled here: the last words say how.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tradebox.cli.options import HomeOption, JsonOption, print_json
from tradebox.config import find_home
from tradebox.errors import NotDone
from tradebox.ops.units import NAME, Unit, install, invoker, prepare_home, unit_path, verify

app = typer.Typer(no_args_is_help=True, help="Run under systemd: show or install the unit.")
UserOption = Annotated[
    bool, typer.Option("--user", help="For this user's own manager instead of the system's.")
]


@app.command("show")
def show(home: HomeOption = None, user: UserOption = False, json: JsonOption = False) -> None:
    """Print the unit that `install` would write."""
    path, text = _unit(home, is_user=user)
    if json:
        print_json({"path": path, "unit": text})
    else:
        print(text, end="")


@app.command("install")
def write(home: HomeOption = None, user: UserOption = False, json: JsonOption = False) -> None:
    """Write the unit, have systemd-analyze check it, and say how to start it."""
    path, text = _unit(home, is_user=user)
    prepare_home(find_home(home).root.resolve(), None if user else invoker())
    install(path, text)
    found = verify(path, is_user=user)
    if found:
        raise NotDone(f"systemd-analyze refuses {path}: {'; '.join(found)}", path=str(path))
    manager = "systemctl --user" if user else "systemctl"
    then = f"{manager} daemon-reload && {manager} enable --now {NAME}"
    if json:
        print_json({"path": path, "verified": found is not None, "then": then})
        return
    print(f"{path} written{'' if found is None else ' and checked'}; to start it:\n  {then}")
    if user:
        print("to keep it running after you log out:\n  loginctl enable-linger")


def _unit(home: Path | None, *, is_user: bool) -> tuple[Path, str]:
    root = find_home(home).root.resolve()
    python = Path(sys.executable)
    return unit_path(is_user=is_user), Unit(python, root, None if is_user else invoker()).text()
