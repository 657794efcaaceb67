"""`tradebox quotes`: the current prices, who said them, how old they are, what was refused.

Rules of this file:
- read with the console's own logins, Redis and PostgreSQL: it could not write if it wanted to;
- a price is the engine's last word: stale once the engine is quiet; where there is none, why.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

from tradebox.cli.books import LIMIT_MAX, LimitOption, ask_books, check_count
from tradebox.cli.options import HomeOption, JsonOption, print_json
from tradebox.cli.tables import Column, field, moment, show_table
from tradebox.config import find_home
from tradebox.domain.market import Quality, Source
from tradebox.errors import ConfigInvalid

Rows = list[dict[str, Any]]
NS_PER_MS, NS_PER_S = 1_000_000, 1_000_000_000


def quotes(
    symbols: Annotated[
        list[str] | None,
        typer.Argument(metavar="SYMBOL", help="Only these; all that have a price otherwise."),
    ] = None,
    home: HomeOption = None,
    source: Annotated[
        str | None, typer.Option("--source", help="Only prices of this source, e.g. finnhub.")
    ] = None,
    quality: Annotated[
        str | None, typer.Option("--quality", help="Only prices of this quality, e.g. live.")
    ] = None,
    refused: Annotated[
        bool, typer.Option("--refused", help="Only symbols of which something was refused.")
    ] = False,
    refusals: Annotated[
        int,
        typer.Option("--refusals", help=f"Show so many refused ticks a symbol (0 to {LIMIT_MAX})."),
    ] = 5,
    limit: LimitOption = 500,
    json: JsonOption = False,
) -> None:
    """Explain current prices: source, age, quality, and what was refused.

    Bid and ask are those of a source that quotes them; a source of prints has none. With a symbol
    named, what passed with a remark in the last day is counted too. The number of a check is its
    place among the twenty of the sanity filter.
    """
    from tradebox.readmodel import books
    from tradebox.readmodel.quotes import Told, explain, told

    _check("source", source, Source)
    _check("quality", quality, Quality)
    check_count("limit", limit)
    check_count("refusals", refusals, 0)
    place = find_home(home)
    named = list(dict.fromkeys(symbol.upper() for symbol in symbols or ()))

    async def look(dsn: str) -> tuple[Told, list[str], Rows, Rows]:
        word = await told(place.console_file, time.monotonic_ns())
        asked = named or sorted(word.prices)
        kept = await books.refused(dsn, asked, max(refusals, 1))
        return word, asked, kept, await books.flagged(dsn, named) if named else []

    word, asked, verdicts, remarks = ask_books(place, look)
    refused_of, flags_of = _by_symbol(verdicts), _by_symbol(remarks)
    rows = [
        {**shown, "refusals": shown["refusals"][:refusals]}
        for symbol in asked
        for shown in [explain(word, symbol, refused_of.get(symbol, ()), flags_of.get(symbol, ()))]
        if source in (None, shown["source"])
        and quality in (None, shown["quality"])
        and (not refused or shown["refused"] or shown["refusals"])
    ][:limit]
    if json:
        print_json(rows)
    else:
        _print_text(rows, word.waiting)


def _check(name: str, value: str | None, words: Iterable[str]) -> None:
    known = [str(word) for word in words]
    if value is not None and value not in known:
        raise ConfigInvalid(f"--{name}={value}: unknown {name}: give {', '.join(known)}")


def _by_symbol(rows: Rows) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for row in rows:
        found.setdefault(row["symbol"], []).append(row)
    return found


def _print_text(rows: Sequence[Mapping[str, Any]], waiting: str) -> None:
    columns = [
        ("SYMBOL", field("symbol")), ("LAST>", field("last")), ("BID>", field("bid")),
        ("ASK>", field("ask")), ("SIZE>", field("size")), ("SOURCE", field("source")),
        ("TIER>", field("tier")), ("QUALITY", field("quality")),
        ("EVENT (UTC)", lambda row: _moment(row["event_ns"])),
        ("RECEIVED (UTC)", lambda row: _moment(row["recv_ns"])),
        ("AGE>", lambda row: None if row["age_s"] is None else f"{row['age_s']:.1f} s"),
        ("REFUSED>", field("refused")),
        ("WHY", lambda row: row["waiting"] or row["quality_why"]),
    ]  # fmt: skip
    show_table(rows, columns, f"no price fits: {waiting}" if waiting else "no price fits")
    told = [{**each, "symbol": row["symbol"]} for row in rows for each in row["refusals"]]
    if told:
        print("\nrefused, newest first:")
        show_table(told, [*VERDICT_COLUMNS[:3], ("PRICE>", field("price")),
                          ("VERDICT", field("verdict")), *VERDICT_COLUMNS[3:]], "")  # fmt: skip
    told = [{**each, "symbol": row["symbol"]} for row in rows for each in row["flags"]]
    if told:
        print("\npassed with a remark in the last day:")
        show_table(told, [*VERDICT_COLUMNS[:3], ("QUALITY", field("quality")),
                          *VERDICT_COLUMNS[3:]], "")  # fmt: skip


def _moment(at_ns: object) -> str | None:
    if not isinstance(at_ns, int):
        return None
    return f"{moment(at_ns)}.{at_ns % NS_PER_S // NS_PER_MS:03d}"


VERDICT_COLUMNS: list[Column] = [
    ("SYMBOL", field("symbol")), ("EVENT (UTC)", lambda row: _moment(row["event_ns"])),
    ("SOURCE", field("source")), ("CHECK", field("check")), ("NUMBER>", field("number")),
    ("TICKS>", field("ticks")), ("WHY", field("why")),
]  # fmt: skip
