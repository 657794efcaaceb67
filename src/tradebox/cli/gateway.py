"""`tradebox gateway capabilities|config|command`: what the gateway was seen to do, and its IBC.

Rules of this file:
- nothing is sent to the broker from here; IBC is spoken to on loopback alone;
- a configuration names no password: IBC asks for it, or reads it from its own file.
"""

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from tradebox.cli.asking import with_pool
from tradebox.cli.options import HomeOption, JsonOption, print_json
from tradebox.config import find_home, load_settings
from tradebox.errors import ConfigInvalid, InputError

LOGIN: Final = re.compile(r"^Ib(LoginId|Password)=\S", re.MULTILINE)
app = typer.Typer(
    no_args_is_help=True, help="The broker's gateway: capabilities, IBC. See docs/gateway.md."
)


@app.command("capabilities")
def capabilities(home: HomeOption = None, json: JsonOption = False) -> None:
    """Show what each account's gateway was seen to do; the rest is unproven."""
    from tradebox.adapters.postgres.capabilities import PgCapabilities
    from tradebox.domain.capabilities import CAPABILITIES

    rows = with_pool(find_home(home), lambda pool: PgCapabilities(pool).all())
    shown = []
    gateways = sorted({(row.account_id, row.gateway_build) for row in rows})
    for account, build in gateways or [("", "")]:
        known = {
            row.name: row for row in rows if (row.account_id, row.gateway_build) == (account, build)
        }
        for one in CAPABILITIES:
            row = known.get(one.name)
            state = "unproven" if row is None else ("yes" if row.is_proven else "no")
            shown.append(
                {
                    "account": account or None,
                    "gateway": build or None,
                    "name": one.name,
                    "question": one.question,
                    "proven": state,
                    "found": None if row is None else row.found,
                    "found_at": None if row is None else row.found_at,
                    "evidence": None if row is None else row.evidence,
                    "use": one.use,
                }
            )
    if json:
        print_json(shown)
        return
    for item in shown:
        print(
            f"{item['account'] or '-':<12} {item['gateway'] or '-':<12} {item['name']:<26}"
            f" {item['proven']:<9} {item['found'] or '-':<12} {item['found_at'] or ''}"
        )


@app.command("config")
def config(
    mode: Annotated[str, typer.Option("--mode", metavar="paper|live")] = "paper",
    restart_at: Annotated[
        str, typer.Option("--restart-at", help="Daily restart, local time, HH:MM.")
    ] = "23:45",
    out: Annotated[Path | None, typer.Option("--out", help="Write it there; else print.")] = None,
    command_port: Annotated[int, typer.Option("--command-port", min=1, max=65535)] = 7462,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Write a sound IBC configuration: restarts daily, trusts loopback, trades not blindly."""
    from tradebox.adapters.ibkr.ibc import IbcOptions, ibc_config

    settings = load_settings(find_home(home))
    if mode not in ("paper", "live"):
        raise ConfigInvalid(f"--mode={mode}: unknown: give paper or live")
    account = settings.live if mode == "live" else settings.paper
    options = IbcOptions(
        mode=mode,
        api_port=account.port or (4001 if mode == "live" else 4002),
        restart_at=restart_at,
        command_port=command_port,
    )
    text = ibc_config(options)
    if out is not None:
        _write(out, text)
    if json:
        print_json({"mode": mode, "path": None if out is None else str(out), "config": text})
    elif out is None:
        print(text, end="")
    else:
        print(f"{out}: written; start IBC with it (docs/gateway.md)")


@app.command("command")
def command(
    word: Annotated[str, typer.Argument(help="RESTART, STOP, ENABLEAPI, RECONNECTDATA …")],
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 7462,
    json: JsonOption = False,
) -> None:
    """Tell IBC's command server something; exit code 3 where it does not listen."""
    from tradebox.adapters.ibkr.ibc import send_command

    answer = send_command(host, port, word)
    if json:
        print_json({"command": word.upper(), "answer": answer})
    else:
        print(answer or "sent")


def _write(out: Path, text: str) -> None:
    """Put a configuration in its place whole, mode 0600. Raises InputError.

    A file into which a person wrote the login is left as it is, and so is one beside a full disk.
    """
    whole = out.with_name(f"{out.name}.new")
    try:
        if out.exists() and LOGIN.search(out.read_text(encoding="utf-8", errors="replace")):
            raise InputError(f"--out={out}: it holds a login, which would be lost: name another")
        handle = os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
        whole.replace(out)
    except OSError as error:
        with suppress(OSError):
            whole.unlink()
        raise InputError(f"--out={out}: cannot be written: {error.strerror}") from error
