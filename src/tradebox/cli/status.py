"""`tradebox status`: what runs, from the launcher's control socket, each figure with its age."""

import json as json_module
import socket
from typing import Any

from tradebox.cli.options import HomeOption, JsonOption, print_json
from tradebox.cli.tables import Column, field, show_table
from tradebox.config import Home, find_home
from tradebox.errors import NotRunning

ANSWER_S = 3.0
ANSWER_BYTES_MAX = 8 << 20
ACCOUNT_COLUMNS: list[Column] = [
    ("ACCOUNT", field("name")), ("NUMBER", field("account")), ("LINK", field("link")),
    ("GATEWAY", field("gateway")),
]  # fmt: skip
POSITION_COLUMNS: list[Column] = [
    ("ACCOUNT", field("account")), ("SYMBOL", field("symbol")), ("QUANTITY>", field("quantity")),
    ("STOP>", field("stop_quantity")), ("IN FLIGHT>", field("in_flight_quantity")),
    ("COVER", lambda row: "covered" if row["covered"] else "NOT COVERED"),
]  # fmt: skip
SERVER_COLUMNS: list[Column] = [
    ("SERVER", field("name")), ("STATE", field("state")), ("PID>", field("pid")),
]  # fmt: skip
ACTOR_COLUMNS: list[Column] = [
    ("CHILD", field("name")), ("STATE", field("state")), ("RESTARTS>", field("restarts")),
    ("LAST REASON", field("last_reason")),
]  # fmt: skip


def status(home: HomeOption = None, json: JsonOption = False) -> None:
    """Show what runs on this home; exit code 3 when nothing does."""
    place = find_home(home)
    shown = compose(ask(place, "status"), place)
    if json:
        print_json(shown)
    else:
        _print_text(shown)


def ask(home: Home, what: str, **data: object) -> dict[str, Any]:
    """Ask the launcher of this home one question. Raises NotRunning."""
    path = home.control_socket
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(ANSWER_S)
            link.connect(str(path))
            link.sendall(json_module.dumps({"ask": what, **data}).encode() + b"\n")
            return _read_answer(link)
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotRunning(
            f"nothing runs on home {home.root}: start it with `tradebox run`"
        ) from None
    except (TimeoutError, OSError, ValueError) as error:
        raise NotRunning(
            f"the launcher of home {home.root} does not answer ({error}):"
            " look at its log, or stop it and run again"
        ) from error


def _read_answer(link: socket.socket) -> dict[str, Any]:
    held = b""
    while b"\n" not in held:
        part = link.recv(65536)
        if not part or len(held) > ANSWER_BYTES_MAX:
            raise ValueError("it hung up")
        held += part
    answer = json_module.loads(held.partition(b"\n")[0])
    if not isinstance(answer, dict):
        raise ValueError("no object")  # noqa: TRY004 - the wire's fault, as all else here
    return answer


def compose(answer: dict[str, Any], home: Home) -> dict[str, Any]:
    """Return what `status --json` shows, from the launcher's answer."""
    launcher = answer.get("launcher") or {}
    engine = answer.get("engine") or {}
    blob = engine.get("blob") or {}
    return {
        "pid": launcher.get("engine_pid"),
        "launcher_pid": launcher.get("pid"),
        "uptime_s": launcher.get("uptime_s"),
        "profile": blob.get("header", {}).get("profile"),
        "world": blob.get("header", {}).get("world"),
        "home": str(home.root),
        "phase": launcher.get("phase"),
        "generation": launcher.get("generation"),
        "actors": blob.get("actors", []),
        "accounts": blob.get("accounts", []),
        "endpoints": blob.get("endpoints", {}),
        "positions": blob.get("positions", []),
        "servers": launcher.get("servers", []),
        "ticks": blob.get("header", {}).get("ticks", {}),
        "age_s": engine.get("age_s"),
    }


def _print_text(shown: dict[str, Any]) -> None:
    world = f"{shown['world']} · " if shown["world"] else ""
    age_s = shown["age_s"]
    figures = "not told yet" if age_s is None else f"{age_s:.1f} s old"
    print(
        f"{world}profile {shown['profile']} · up {shown['uptime_s']:.0f} s"
        f" · engine {shown['pid']} (generation {shown['generation']})"
        f" · launcher {shown['launcher_pid']} · figures {figures}"
    )
    for rows, columns in (
        (shown["accounts"], ACCOUNT_COLUMNS),
        (shown["positions"], POSITION_COLUMNS),
        (shown["servers"], SERVER_COLUMNS),
        (shown["actors"], ACTOR_COLUMNS),
    ):
        if rows:
            print()
            show_table(rows, columns, "")
