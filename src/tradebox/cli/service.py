"""`tradebox service show|install`: the systemd units that keep `tradebox run` running and scan.

Rules of this file:
- nothing is started or enabled here: the last words say how;
- the units of the scan are written beside the run's, and do nothing until their timer is enabled.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tradebox.cli.options import HomeOption, JsonOption, print_json
from tradebox.config import find_home
from tradebox.errors import NotDone
from tradebox.ops.units import (
    NAME,
    SCAN_AT,
    Unit,
    check_calendar,
    install,
    invoker,
    prepare_home,
    unit_path,
    verify,
)

app = typer.Typer(no_args_is_help=True, help="Run under systemd: show or install the units.")
UserOption = Annotated[
    bool, typer.Option("--user", help="For this user's own manager instead of the system's.")
]
ScanAtOption = Annotated[
    str,
    typer.Option("--scan-at", metavar="CALENDAR", help="When the timer scans (systemd.time(7))."),
]


@app.command("show")
def show(
    home: HomeOption = None,
    user: UserOption = False,
    scan_at: ScanAtOption = SCAN_AT,
    json: JsonOption = False,
) -> None:
    """Print the units that `install` would write: of the run, of a scan, and of its timer."""
    files = _files(home, scan_at, is_user=user)
    if json:
        path, text = next(iter(files.items()))
        units = [{"path": one, "unit": words} for one, words in files.items()]
        print_json({"path": path, "unit": text, "units": units})
        return
    for path, text in files.items():
        print(f"# {path}\n{text}")


@app.command("install")
def write(
    home: HomeOption = None,
    user: UserOption = False,
    scan_at: ScanAtOption = SCAN_AT,
    json: JsonOption = False,
) -> None:
    """Write the units, have systemd-analyze check them, and say how to start them."""
    files = _files(home, scan_at, is_user=user)
    prepare_home(find_home(home).root.resolve(), None if user else invoker())
    for path, text in files.items():
        install(path, text)
    checked = [_checked(path, is_user=user) for path in files]
    manager = "systemctl --user" if user else "systemctl"
    then = f"{manager} daemon-reload && {manager} enable --now {NAME}"
    scans = f"{manager} enable --now tradebox-scan@paper.timer"
    if json:
        path = next(iter(files))
        told = {"path": path, "paths": list(files), "verified": all(checked)}
        print_json({**told, "then": then, "then_scan": scans})
        return
    for path in files:
        print(f"{path} written{' and checked' if all(checked) else ''}")
    print(f"to start the run:\n  {then}")
    print(f"to have plans proposed ({scan_at}), for paper, live, or both:\n  {scans}")
    if user:
        print("to keep it running after you log out:\n  loginctl enable-linger")


def _files(home: Path | None, scan_at: str, *, is_user: bool) -> dict[Path, str]:
    """Return every unit file by its path, the run's first. Raises ConfigInvalid."""
    check_calendar(scan_at)
    root = find_home(home).root.resolve()
    unit = Unit(Path(sys.executable), root, None if is_user else invoker(), scan_at)
    folder = unit_path(is_user=is_user).parent
    return {folder / name: text for name, text in unit.files().items()}


def _checked(path: Path, *, is_user: bool) -> bool:
    """Say whether systemd-analyze has checked a unit. Raises NotDone where it refuses it."""
    found = verify(path, is_user=is_user)
    if found:
        raise NotDone(f"systemd-analyze refuses {path}: {'; '.join(found)}", path=str(path))
    return found is not None
