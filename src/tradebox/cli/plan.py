"""`tradebox plan add|list|show|approve|cancel`: position plans, as rows the controllers read.

Rules of this file:
- a document is read and checked whole before anything is stored: nothing is half-written;
- the controller is told by the row alone; the command never talks to the broker.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from tradebox.cli.asking import account_name
from tradebox.cli.options import AccountOption, HomeOption, JsonOption, print_json
from tradebox.cli.tables import Column, field, moment, show_table
from tradebox.config import find_home, load_settings
from tradebox.errors import InputError

if TYPE_CHECKING:
    from tradebox.adapters.postgres.plan_desk import PlanDesk
app = typer.Typer(
    no_args_is_help=True,
    help="Position plans: add, list, show, approve, cancel. The format: docs/plans.md.",
)
T = TypeVar("T")
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The plan's id.")]
FILE_BYTES_MAX = 65_536
LETTERS = ("A", "B", "C", "D")
PLAN_COLUMNS: list[Column] = [
    ("PLAN", field("plan_id")), ("ACCOUNT", field("account")), ("SYMBOL", field("symbol")),
    ("SIDE", field("side")), ("STATE", field("state")),
    ("ORIGIN", lambda row: "demo" if row["is_demo"] else row["origin"]),
    ("WHY ENDED", lambda row: row["close_reason"] or None),
]  # fmt: skip
STEP_COLUMNS: list[Column] = [
    ("STEP>", field("step_no")), ("TIME (UTC)", lambda row: moment(row["at_ns"])),
    ("KIND", field("kind")), ("PRICE>", field("price")), ("QUANTITY>", field("quantity")),
    ("SOURCE", field("source")), ("WHY", field("reason")),
]  # fmt: skip
ORDER_COLUMNS: list[Column] = [
    ("ORDER", field("order_ref")), ("ROLE", field("role")), ("SIDE", field("side")),
    ("FILLED>", lambda row: f"{row['filled']}/{row['quantity']}"), ("TYPE", field("order_type")),
    ("LIMIT>", field("limit_price")), ("STOP>", field("stop_price")), ("STATE", field("state")),
    ("WHY", lambda row: row["reason"] or None),
]  # fmt: skip
FILL_COLUMNS: list[Column] = [
    ("FILL", field("exec_id")), ("TIME (UTC)", lambda row: moment(row["at_ns"])),
    ("ORDER", field("order_ref")), ("SIDE", field("side")), ("QUANTITY>", field("quantity")),
    ("PRICE>", field("price")), ("COMMISSION>", field("commission_usd")),
]  # fmt: skip


@app.command("add")
def add(
    file: Annotated[Path, typer.Argument(help="A plan document, TOML or JSON.")],
    account: AccountOption,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Check a plan document and store it, marked manual; the controller arms it."""
    text, name = read_document(file), account_name(account)
    plan_id = _with_desk(home, lambda desk: desk.add(text, name))
    if json:
        print_json(
            {"plan_id": plan_id, "account": account, "state": "requested", "origin": "manual"}
        )
    else:
        print(plan_id)


@app.command("list")
def list_plans(
    with_ended: Annotated[
        bool, typer.Option("--all", help="Closed, cancelled and refused plans too.")
    ] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """List plans, newest first."""
    plans = _with_desk(home, lambda desk: desk.list_plans(with_ended=with_ended))
    if json:
        print_json([_plain(plan) for plan in plans])
        return
    nothing = "no plan" if with_ended else "no plan is open: --all shows those that ended"
    show_table([_plain(plan) for plan in plans], PLAN_COLUMNS, nothing)


@app.command("show")
def show(plan_id: IdArgument, home: HomeOption = None, json: JsonOption = False) -> None:
    """Show a plan with its steps, orders and fills; exit code 3 where there is none."""
    story = _with_desk(home, lambda desk: desk.show(plan_id))
    if json:
        print_json(_plain(story))
        return
    plan = story.plan
    show_table([_plain(plan)], PLAN_COLUMNS, "")
    for reason in (plan.proposal or {}).get("reasons", ()):
        print(f"  because {reason}")
    if plan.approved_at is not None:
        print(f"  approved {plan.approved_at:%Y-%m-%d %H:%M:%S} UTC")
    for rows, columns in (
        (story.steps, STEP_COLUMNS),
        (story.orders, ORDER_COLUMNS),
        (story.fills, FILL_COLUMNS),
    ):
        if rows:
            print()
            show_table([_plain(row) for row in rows], columns, "")


@app.command("approve")
def approve(plan_id: IdArgument, home: HomeOption = None, json: JsonOption = False) -> None:
    """Let a proposed plan go to its controller; live needs a valid grade (live.grade_min)."""
    least = load_settings(find_home(home)).live.grade_min
    letters = LETTERS[: LETTERS.index(least) + 1]
    plan, graded = _with_desk(home, lambda desk: desk.approve(plan_id, letters))
    told = {
        "plan_id": plan.plan_id,
        "account": plan.account,
        "symbol": plan.symbol,
        "state": "requested",
        "grade": None if graded is None else graded.grade,
        "run_id": None if graded is None else graded.run_id,
        "expires_at": None if graded is None else graded.expires_at,
    }
    if json:
        print_json(told)
        return
    grade = "without a valid grade" if graded is None else f"grade {graded.grade}"
    print(f"approved: {plan.plan_id} {plan.account} {plan.symbol}, {grade}")


@app.command("cancel")
def cancel(
    plan_id: IdArgument,
    account: AccountOption,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Ask the controller to end a plan: an entry is withdrawn, a position is left."""
    name = account_name(account)
    command_id = _with_desk(home, lambda desk: desk.cancel(plan_id, name))
    if json:
        print_json({"plan_id": plan_id, "command_id": command_id})
    elif command_id is None:
        print(f"cancelled: {plan_id} was a proposal")
    else:
        print(f"asked: command {command_id}")


def read_document(file: Path) -> bytes:
    """Return the bytes of a plan document. Raises InputError."""
    try:
        if file.exists() and not file.is_file():
            raise InputError(f"FILE={file}: no regular file: give a plan document")
        with file.open("rb") as opened:
            return opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise InputError(f"FILE={file}: cannot be read: {error.strerror}") from error


def _with_desk(home: Path | None, call: "Callable[[PlanDesk], Awaitable[T]]") -> T:
    from tradebox.adapters.embedded.lease import stores
    from tradebox.adapters.marketclock import market_clock_of
    from tradebox.adapters.postgres.plan_desk import opened_desk

    place = find_home(home)
    settings = load_settings(place)

    async def ask(dsn: str) -> T:
        clock = market_clock_of(place, settings)
        # The stand-in's symbols are all in the table; a real broker's are asked for at arming.
        is_real = settings.profile != "sim"
        async with opened_desk(dsn, clock, asks_broker=is_real) as desk:
            return await call(desk)

    with stores(place, settings) as addresses:
        return asyncio.run(ask(addresses.postgres_trade))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return value
