"""`tradebox config init|show|check`: the settings file, what is in force, and whether it holds."""

import os
from typing import Annotated, Any

import typer

from tradebox.cli.options import HomeOption, JsonOption, print_json
from tradebox.config import find_home, load_settings, private_dir
from tradebox.errors import HomeUnusable, InputError

app = typer.Typer(
    no_args_is_help=True, help="Settings: write a commented file, show what is in force, check it."
)


@app.command("init")
def init(
    home: HomeOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
    json: JsonOption = False,
) -> None:
    """Write config.toml with every setting, its default, and its environment name."""
    place = find_home(home)
    if place.config_file.exists() and not force:
        raise InputError(f"{place.config_file} exists: edit it, or pass --force to overwrite it")
    try:
        private_dir(place.root)
        fresh = place.config_file.with_suffix(".toml.new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(os.open(fresh, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(template())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(place.config_file)
    except OSError as error:
        raise HomeUnusable(
            f"home {place.root}: cannot write config.toml: {error.strerror}: choose another --home"
        ) from error
    if json:
        print_json({"config_file": str(place.config_file)})
    else:
        print(place.config_file)


@app.command("show")
def show(home: HomeOption = None, json: JsonOption = False) -> None:
    """Show the settings in force, secrets masked."""
    from tradebox.config import masked

    place = find_home(home)
    shown = {"home": str(place.root), **masked(load_settings(place))}
    if json:
        print_json(shown)
        return
    for name, value in _flat(shown):
        print(f"{name} = {value}")


@app.command("check")
def check(home: HomeOption = None, json: JsonOption = False) -> None:
    """Check file and environment; exit code 2 and the fix where something is wrong."""
    place = find_home(home)
    settings = load_settings(place)
    if json:
        print_json({"ok": True, "profile": settings.profile, "home": str(place.root)})
    else:
        world = " (SIMULATED)" if settings.profile == "sim" else ""
        print(f"ok: profile {settings.profile}{world}, home {place.root}")


def template() -> str:
    """Return config.toml with every setting commented out at its default."""
    from tradebox.config import Settings, masked

    lines = [
        "# tradebox settings. Every line shows a default; uncomment what you change.",
        "# Each has an environment name: [sim] speed is TRADEBOX_SIM_SPEED.",
        "",
    ]
    defaults = masked(Settings())
    lines += [_line(name, value) for name, value in defaults.items() if not _is_section(value)]
    for name, value in defaults.items():
        if _is_section(value):
            lines += _section(name, value)
    return "\n".join(lines) + "\n"


def _section(name: str, values: dict[str, Any]) -> list[str]:
    lines = ["", f"[{name}]"]
    lines += [_line(key, value) for key, value in values.items() if not _is_section(value)]
    for key, value in values.items():
        if _is_section(value):
            lines += _section(f"{name}.{key}", value)
    return lines


def _is_section(value: object) -> bool:
    return isinstance(value, dict)


def _line(name: str, value: object) -> str:
    if value is None:
        return f'# {name} = ""  # not set'
    if isinstance(value, bool):
        return f"# {name} = {str(value).lower()}"
    if isinstance(value, str):
        return f'# {name} = "{value}"'
    if isinstance(value, tuple):
        return f"# {name} = [{', '.join(map(repr, value))}]"
    return f"# {name} = {value}"


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    out: list[tuple[str, object]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            out += _flat(value, f"{prefix}{name}.")
        else:
            out.append((f"{prefix}{name}", value))
    return out
