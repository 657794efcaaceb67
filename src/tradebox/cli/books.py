"""`tradebox journal|orders|positions|fills`: what the books say, with filters.

Rules of this file:
- read with the console's own login: these commands could not write if they wanted to;
- the stores are started for the question where nothing runs, and stopped again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import orjson
import typer

from tradebox.cli.options import HomeOption, JsonOption, print_json
from tradebox.cli.tables import field, moment, show_table
from tradebox.config import Home, find_home, load_settings
from tradebox.errors import ConfigInvalid, NotRunning

T = TypeVar("T")
LIMIT_MAX = 10_000
DATA_CHARS_MAX = 160

AnyAccountOption = Annotated[
    str | None, typer.Option("--account", help="Only this account.", metavar="paper|live")
]
SymbolOption = Annotated[
    str | None, typer.Option("--symbol", help="Only this symbol.", metavar="SYMBOL")
]
AboutOption = Annotated[
    str | None, typer.Option("--about", help="Only this plan or orderRef.", metavar="ID")
]
LimitOption = Annotated[
    int, typer.Option("--limit", help=f"At most so many rows (1 to {LIMIT_MAX}).")
]


def journal(
    home: HomeOption = None,
    account: AnyAccountOption = None,
    symbol: SymbolOption = None,
    about: AboutOption = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Only this kind of event, e.g. plan_step.")
    ] = None,
    after: Annotated[
        int | None, typer.Option("--after", help="Only what follows this sequence number.")
    ] = None,
    limit: LimitOption = 50,
    json: JsonOption = False,
) -> None:
    """Show the journal, newest first: every event that was stored."""
    from tradebox.readmodel import books

    wanted = _filter(account, symbol, about, limit)
    rows = _ask(home, lambda dsn: books.journal(dsn, wanted, kind, after))
    if json:
        print_json(rows)
        return
    columns = [
        ("SEQ>", field("seq")), ("TIME (UTC)", lambda row: moment(row["at_ns"])),
        ("KIND", field("kind")), ("ACCOUNT", field("account")), ("SYMBOL", field("symbol")),
        ("PLAN", field("plan_id")), ("ORDER", field("order_ref")), ("WHAT", _data),
    ]  # fmt: skip
    show_table(rows, columns, "nothing has happened that fits")


def orders(
    home: HomeOption = None,
    account: AnyAccountOption = None,
    symbol: SymbolOption = None,
    about: AboutOption = None,
    state: Annotated[
        str | None, typer.Option("--state", help="Only this state, e.g. working.")
    ] = None,
    working: Annotated[
        bool, typer.Option("--working", help="Only orders that are not over.")
    ] = False,
    limit: LimitOption = 50,
    json: JsonOption = False,
) -> None:
    """Show orders, newest first, as the books have them."""
    from tradebox.readmodel import books

    wanted = _filter(account, symbol, about, limit)
    rows = _ask(home, lambda dsn: books.orders(dsn, wanted, state, working=working))
    if json:
        print_json(rows)
        return
    columns = [
        ("ORDER", field("order_ref")), ("ACCOUNT", field("account")), ("SYMBOL", field("symbol")),
        ("ROLE", field("role")), ("SIDE", field("side")),
        ("FILLED>", lambda row: f"{row['filled']}/{row['quantity']}"),
        ("TYPE", field("order_type")), ("LIMIT>", field("limit_price")),
        ("STOP>", field("stop_price")), ("STATE", field("state")), ("PLAN", field("plan_id")),
    ]  # fmt: skip
    show_table(rows, columns, "no order fits")


def fills(
    home: HomeOption = None,
    account: AnyAccountOption = None,
    symbol: SymbolOption = None,
    about: AboutOption = None,
    limit: LimitOption = 50,
    json: JsonOption = False,
) -> None:
    """Show fills, newest first, each booked once."""
    from tradebox.readmodel import books

    wanted = _filter(account, symbol, about, limit)
    rows = _ask(home, lambda dsn: books.fills(dsn, wanted))
    if json:
        print_json(rows)
        return
    columns = [
        ("TIME (UTC)", lambda row: moment(row["at_ns"])), ("ACCOUNT", field("account")),
        ("SYMBOL", field("symbol")), ("SIDE", field("side")), ("QUANTITY>", field("quantity")),
        ("PRICE>", field("price")), ("COMMISSION>", field("commission_usd")),
        ("REALISED>", field("realised_usd")), ("ORDER", field("order_ref")),
        ("PLAN", field("plan_id")), ("EXEC ID", field("exec_id")),
    ]  # fmt: skip
    show_table(rows, columns, "no fill fits")


def positions(
    home: HomeOption = None,
    account: AnyAccountOption = None,
    symbol: SymbolOption = None,
    with_flat: Annotated[bool, typer.Option("--all", help="Flat ones too.")] = False,
    limit: LimitOption = 500,
    json: JsonOption = False,
) -> None:
    """Show positions by the books, and their stop cover while something runs."""
    from tradebox.readmodel import books

    wanted = _filter(account, symbol, None, limit)
    rows = _ask(home, lambda dsn: books.positions(dsn, wanted, with_flat=with_flat))
    covers = _covers(home)
    shown = [{**row, **covers.get((row["account"], row["symbol"]), NO_COVER)} for row in rows]
    if json:
        print_json(shown)
        return
    columns = [
        ("ACCOUNT", field("account")), ("SYMBOL", field("symbol")),
        ("QUANTITY>", field("quantity")), ("STOP>", field("stop_quantity")),
        ("IN FLIGHT>", field("in_flight_quantity")),
        ("COVER", lambda row: COVER_WORDS[row["covered"]]),
    ]  # fmt: skip
    show_table(shown, columns, "nothing is held")


NO_COVER = {"stop_quantity": None, "in_flight_quantity": None, "covered": None}
COVER_WORDS = {True: "covered", False: "NOT COVERED", None: "not known: nothing runs"}


def _covers(home: Path | None) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the stop cover by account and symbol as the engine tells it; empty without one."""
    from tradebox.cli.status import ask, compose

    place = find_home(home)
    try:
        told = compose(ask(place, "status"), place)["positions"]
    except NotRunning:
        return {}
    return {(row["account"], row["symbol"]): {name: row[name] for name in NO_COVER} for row in told}


def check_count(name: str, count: int, least: int = 1) -> None:
    """Refuse a count outside its range. Raises ConfigInvalid."""
    if not least <= count <= LIMIT_MAX:
        raise ConfigInvalid(f"--{name}={count}: give a number from {least} to {LIMIT_MAX}")


def _filter(account: str | None, symbol: str | None, about: str | None, limit: int) -> Any:
    from tradebox.readmodel.books import Filter

    if account not in (None, "paper", "live"):
        raise ConfigInvalid(f"--account={account}: unknown account: give paper or live")
    check_count("limit", limit)
    return Filter(account, symbol if symbol is None else symbol.upper(), about, limit)


def _ask(home: Path | None, call: Callable[[str], Awaitable[T]]) -> T:
    return ask_books(find_home(home), call)


def ask_books(place: Home, call: Callable[[str], Awaitable[T]]) -> T:
    """Return the answer of a call that is given the console's own login to the books."""
    from tradebox.adapters.embedded.lease import stores

    async def ask(dsn: str) -> T:
        return await call(dsn)

    with stores(place, load_settings(place)) as addresses:
        return asyncio.run(ask(addresses.postgres_console))


def _data(row: Any) -> str:
    text = orjson.dumps(row["data"], default=str).decode()
    return text if len(text) <= DATA_CHARS_MAX else text[: DATA_CHARS_MAX - 1] + "…"
