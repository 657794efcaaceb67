"""Assembles the commands and turns every refusal into one message and one exit code.

Rules of this file:
- commands import what they need when they run, so that `--help` stays instant;
- a TradeboxError prints "tradebox: message" on stderr (one JSON object with --json) and ends with
  its class's exit code; a bug is not dressed up: it ends with its traceback and 1 (`cli/bug.py`).
"""

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Final

import orjson
import typer

from tradebox.cli import (
    adopt,
    backtest,
    books,
    completion,
    config,
    ctl,
    data,
    db,
    drill,
    gateway,
    plan,
    quotes,
    reconcile,
    run,
    scan,
    service,
    sim,
    status,
    tree,
    tui,
    why,
)
from tradebox.cli.options import print_json
from tradebox.errors import EXIT_CODE_MEANINGS, ExitCode, TradeboxError

EXIT_TABLE = "Exit codes:\n\n" + "\n\n".join(
    f"{code.value}  {meaning}" for code, meaning in EXIT_CODE_MEANINGS.items()
)

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
USAGE = "Usage:"
"""How a help text begins that stands for an error: a group was called without its command."""

app = typer.Typer(
    name="tradebox",
    help="A supervised trading system for one trader and Interactive Brokers."
    " With no configuration it runs SIMULATED, on its own stand-in world.",
    epilog=EXIT_TABLE,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("status")(status.status)
app.command("tree")(tree.tree)
app.command("tui")(tui.tui)
app.command("why")(why.why)
app.command("reconcile")(reconcile.reconcile)
app.command("adopt")(adopt.adopt)
app.command("release")(adopt.release)
app.command("scan")(scan.scan)
app.command("journal")(books.journal)
app.command("orders")(books.orders)
app.command("fills")(books.fills)
app.command("positions")(books.positions)
app.command("quotes")(quotes.quotes)
app.command("completion")(completion.completion)
app.add_typer(ctl.app, name="ctl")
app.add_typer(service.app, name="service")
app.add_typer(sim.app, name="sim")
app.add_typer(plan.app, name="plan")
app.add_typer(drill.app, name="drill")
app.add_typer(gateway.app, name="gateway")
app.add_typer(config.app, name="config")
app.add_typer(data.app, name="data")
app.add_typer(db.app, name="db")
app.add_typer(backtest.app, name="backtest")


def _version(context: typer.Context, wanted: bool) -> None:
    if wanted:
        from tradebox.cli.build import build

        told = build()
        if context.obj:
            print_json(told)
        else:
            print(f"tradebox {told['version']} · build {told['build']} · schema {told['schema']}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False,
        "--version",
        callback=_version,
        is_eager=True,
        help="Print version, build and schema, and leave.",
    ),
    json: Annotated[bool, typer.Option("--json", hidden=True)] = False,
) -> None:
    """Hold the options that stand before a command."""
    del version, json


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; nothing escapes but a bug."""
    as_json = "--json" in arguments
    completion.listen()
    try:
        result = app(list(arguments), prog_name="tradebox", standalone_mode=False, obj=as_json)
        sys.stdout.flush()
    except typer.Abort:
        return int(ExitCode.OK)
    except typer.TyperException as error:
        return _refuse(error.format_message(), ExitCode.CONFIG, as_json=as_json)
    except TradeboxError as error:
        candidates = error.fields.get("candidates")
        more = {} if candidates is None else {"candidates": candidates}
        return _refuse(error.message, error.exit_code, as_json=as_json, **more)
    except KeyboardInterrupt:
        return int(ExitCode.OK)
    except SystemExit as left:
        if not isinstance(left.__context__, BrokenPipeError):
            raise
        _say_no_more()  # the library ends with 1 where a reader went away: `| head` is no failure
        return int(ExitCode.OK)
    except BrokenPipeError:
        _say_no_more()
        sys.stderr.close()
        return int(ExitCode.OK)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _say_no_more()
        place = error.filename or "the output, or the home"
        why = f"{place}: {error.strerror}: free some space, then ask again"
        return _refuse(why, ExitCode.HOME, as_json=as_json)
    return int(result) if isinstance(result, int) else int(ExitCode.OK)


def _say_no_more() -> None:
    """Let what is left in the output's buffer go nowhere: nobody takes it."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _refuse(message: str, code: ExitCode, *, as_json: bool, **more: object) -> int:
    if as_json:
        meaning = EXIT_CODE_MEANINGS[code]
        shown = {"error": message, "exit_code": int(code), "meaning": meaning, **more}
        print(orjson.dumps(shown).decode(), file=sys.stderr)
    elif message.startswith(USAGE):
        print(message, file=sys.stderr)
    else:
        for line in message.splitlines() or [""]:
            print(f"tradebox: {line}", file=sys.stderr)
    return int(code)
