"""`python -m tradebox.adapters.embedded`: start, stop, sweep, migrate, for a launcher or a person.

Rules of this file:
- one JSON line on stdout says what is; it holds no secret;
- one line on stderr says what went wrong; the exit code is the error's.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
from pydantic import SecretStr

from tradebox.adapters.embedded import lease, postgres, valkey
from tradebox.adapters.embedded.addresses import postgres_dsn
from tradebox.adapters.embedded.secrets import Login, role_passwords
from tradebox.adapters.postgres.books_owner import BooksOwner
from tradebox.adapters.postgres.engine_lock import owner_of
from tradebox.adapters.postgres.migrate import migrate
from tradebox.config import Home, PostgresSettings, Settings
from tradebox.errors import ExitCode, TradeboxError

URL_VARIABLE = "TRADEBOX_POSTGRES_URL"


def _start(arguments: argparse.Namespace) -> dict[str, object]:
    home = Home(arguments.home)
    with lease.barrier(home):
        if arguments.server == "postgres":
            running = postgres.start(home, arguments.memory_mb)
        else:
            running = valkey.start(home, arguments.memory_mb or valkey.MEMORY_MB)
    if arguments.asker not in (None, os.getppid()):
        lease.sweep(home)  # who asked was killed, and was swept behind while this began
    return {
        "server": arguments.server,
        "pid": running.pid,
        "socket_dir": str(running.socket_dir),
        "adopted": running.adopted,
    }


def _stop(arguments: argparse.Namespace) -> dict[str, object]:
    home = Home(arguments.home)
    names = ("postgres", "valkey") if arguments.server is None else (arguments.server,)
    if arguments.force:
        return {"stopped": lease.stop_servers(home, names)}
    stopped = lease.stop_unless_leased(home, names)
    return {"stopped": stopped or [], "left_to_others": stopped is None}


def _sweep(arguments: argparse.Namespace) -> dict[str, object]:
    stopped = lease.sweep(Home(arguments.home))
    return {"stopped": stopped or [], "left_to_others": stopped is None}


def _migrate(arguments: argparse.Namespace) -> dict[str, object]:
    home, url = Home(arguments.home), os.environ.get(URL_VARIABLE)
    settings = Settings(postgres=PostgresSettings(url=SecretStr(url) if url else None))
    dsn = postgres_dsn(home, settings, Login.POSTGRES, arguments.socket_dir)
    owner = owner_of(home.root)
    books = None
    if arguments.profile is not None:
        accounts = (word.partition("=") for word in arguments.account)
        books = BooksOwner(arguments.profile, {name: number for name, _, number in accounts})
    state, applied = asyncio.run(migrate(dsn, role_passwords(home), owner=owner, books=books))
    return {"schema_version": state.version, "applied": list(applied)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tradebox.adapters.embedded")
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Callable[[argparse.Namespace], dict[str, object]]) -> None:
        one = commands.add_parser(name)
        one.set_defaults(run=run)
        one.add_argument("--home", type=Path, required=True)
        if name == "migrate":
            one.add_argument("--socket-dir", type=Path, default=None)
            one.add_argument("--profile", default=None)
            one.add_argument("--account", action="append", default=[])
        if name in ("migrate", "sweep"):
            return
        wanted = "?" if name == "stop" else None
        one.add_argument("server", choices=("postgres", "valkey"), nargs=wanted)
        if name == "start":
            one.add_argument("--memory-mb", type=int, default=None)
            one.add_argument("--asker", type=int, default=None)
        else:
            one.add_argument("--force", action="store_true")

    command("start", _start)
    command("stop", _stop)
    command("sweep", _sweep)
    command("migrate", _migrate)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        result = arguments.run(arguments)
    except TradeboxError as error:
        sys.stderr.write(f"tradebox: {error.message}\n")
        return error.exit_code
    sys.stdout.write(orjson.dumps(result).decode() + "\n")
    sys.stdout.flush()
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
