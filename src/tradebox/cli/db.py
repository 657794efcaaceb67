"""`tradebox db migrate|check`: the schema, forward only and checksummed."""

import asyncio

import typer

from tradebox.cli.options import HomeOption, JsonOption, print_json
from tradebox.config import find_home, load_settings
from tradebox.errors import ExitCode

app = typer.Typer(no_args_is_help=True, help="The schema: bring it up to date, or check it.")


@app.command("migrate")
def migrate(home: HomeOption = None, json: JsonOption = False) -> None:
    """Apply the migrations that are missing, under a lock."""
    from tradebox.adapters.embedded.lease import stores
    from tradebox.adapters.embedded.secrets import role_passwords
    from tradebox.adapters.postgres.engine_lock import owner_of
    from tradebox.adapters.postgres.migrate import migrate as run_migrations

    place = find_home(home)
    with stores(place, load_settings(place)) as addresses:
        state, applied = asyncio.run(
            run_migrations(
                addresses.postgres_owner, role_passwords(place), owner=owner_of(place.root)
            )
        )
    if json:
        print_json({"schema_version": state.version, "applied": list(applied)})
    else:
        done = f"applied {', '.join(map(str, applied))}" if applied else "nothing to apply"
        print(f"schema version {state.version}: {done}")


@app.command("check")
def check(home: HomeOption = None, json: JsonOption = False) -> int:
    """Compare the schema with this version's migrations; exit code 6 where they differ."""
    from tradebox.adapters.embedded.lease import stores
    from tradebox.adapters.postgres.migrate import check as check_schema

    place = find_home(home)
    with stores(place, load_settings(place)) as addresses:
        state = asyncio.run(check_schema(addresses.postgres_owner))
    shown = {
        "schema_version": state.version,
        "is_current": state.is_current,
        "pending": list(state.pending),
        "unknown": list(state.unknown),
        "changed": list(state.changed),
    }
    if json:
        print_json(shown)
    else:
        print(" ".join(f"{name}={value}" for name, value in shown.items()))
    return int(ExitCode.OK if state.is_current else ExitCode.STORE)
