"""`tradebox data`: daily history fetched from Yahoo, what is kept of it, how good it is.

Rules of this file:
- the vendor is asked by yfinance in a process of its own, stock by stock, with pauses;
- a stock that fails is a line of the answer; a vendor that fails ends the command with code 9, and
  what was fetched by then is kept;
- a check reports, it changes nothing.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradebox.cli.backtest_source import sim_route
from tradebox.cli.options import HomeOption, JsonOption, print_json
from tradebox.cli.tables import field, moment, show_table
from tradebox.config import Home, Settings, find_home, load_settings
from tradebox.errors import ConfigInvalid, NotRunning

if TYPE_CHECKING:
    from tradebox.adapters.yahoo.desk import Fetched
    from tradebox.adapters.yahoo.history import About, HistoryStore
    from tradebox.backtest.data.crosscheck import CrossCheck
    from tradebox.backtest.data.series import RawSeries, Source

NS_PER_S = 1_000_000_000
LINE_S = 5.0
HASH_SHOWN = 12
SECONDS = "give a folder of CSV files, sample, parquet:FILE or dir:FOLDER"

app = typer.Typer(
    no_args_is_help=True,
    help="Daily history for backtests: fetched, kept for a while, checked: docs/data.md.",
)
SymbolsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[SYMBOL]...", help="Which stocks.")
]
PeriodOption = Annotated[
    str, typer.Option("--period", metavar="1y|2y|5y|10y|max", help="How far back.")
]
UniverseOption = Annotated[
    str | None,
    typer.Option("--universe", metavar="FILE|NAME", help="A file of symbols, or sample."),
]


@app.command("fetch")
def fetch(
    symbols: SymbolsArgument = None,
    universe: UniverseOption = None,
    period: PeriodOption = "10y",
    force: Annotated[
        bool, typer.Option("--force", help="Ask again, also for what may still be used.")
    ] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Fetch adjusted daily history from Yahoo; what is fresh is not asked for again."""
    from tradebox.backtest.data.yahoo import history_desk

    place = find_home(home)
    settings = load_settings(place)
    _check_period(period)
    wanted = _wanted(symbols, universe)
    route = sim_route(place, "data fetch") if settings.profile == "sim" else ""
    store = _store(place, settings)
    told: list[dict[str, Any]] = []

    async def run() -> None:
        worker, desk = history_desk(route, store, is_forced=force)
        line = _Line(len(wanted), quiet=json)
        try:
            for symbol in wanted:
                told.append(_fetched(await desk.get(symbol, period)))
                line.show(len(told), symbol)
        finally:
            await worker.close()
            line.end()

    asyncio.run(run())
    good = [row for row in told if not row["problem"]]
    if not good:
        raise NotRunning(
            f"none of {len(told)} stocks has history; {told[0]['symbol']}: {told[0]['problem']}"
        )
    if json:
        print_json(_summary(store, period, told))
    else:
        _print_fetched(told)


@app.command("list")
def listed(home: HomeOption = None, json: JsonOption = False) -> None:
    """List the history that is kept: when it was fetched, until when it may be used, its hash."""
    place = find_home(home)
    now_s = time.time()
    rows = [_row(about, now_s) for store in _stores(place) for about in store.listed()]
    if json:
        print_json(rows)
        return
    columns = [
        ("SYMBOL", field("symbol")), ("SOURCE", field("source")), ("PERIOD", field("period")),
        ("BARS>", field("bars")), ("FIRST", field("first_day")), ("LAST", field("last_day")),
        ("FETCHED (UTC)", lambda row: moment(int(row["fetched_s"]) * NS_PER_S)),
        ("USABLE UNTIL (UTC)", lambda row: moment(int(row["expires_s"]) * NS_PER_S)),
        ("STATE", field("state")), ("HASH", lambda row: row["data_hash"][:HASH_SHOWN]),
    ]  # fmt: skip
    show_table(rows, columns, "no history is kept: `tradebox data fetch SYMBOL` gets some")


@app.command("check")
def check(
    symbols: SymbolsArgument = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="DIR",
            help="A second source: a folder of CSV files, or sample, parquet:FILE, dir:FOLDER.",
        ),
    ] = None,
    period: PeriodOption = "10y",
    tolerance_bps: Annotated[
        float, typer.Option("--tolerance-bps", help="How far a day's returns may differ.")
    ] = 25.0,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Report the defects of kept history, and where a second source says something else."""
    place = find_home(home)
    _check_period(period)
    if not 0 < tolerance_bps <= 10_000:
        raise ConfigInvalid(f"--tolerance-bps={tolerance_bps}: give more than 0, up to 10000")
    second = None if against is None else _second(against)
    now_s = time.time()
    kept = [
        (store, about)
        for store in _stores(place)
        for about in store.listed()
        if about.period == period and (not symbols or about.symbol in _upper(symbols))
    ]
    missing = set(_upper(symbols)) - {about.symbol for _, about in kept}
    if missing or not kept:
        names = ", ".join(sorted(missing)) or "any stock"
        raise NotRunning(
            f"no history of {names} over {period} is kept: `tradebox data fetch` gets it"
        )
    rows = [_checked(store, about, second, tolerance_bps, now_s) for store, about in kept]
    if json:
        print_json({"against": against, "period": period, "rows": rows})
    else:
        _print_checked(rows, is_against=second is not None)


# --- what is wanted ---------------------------------------------------------------------------


def _check_period(period: str) -> None:
    from tradebox.adapters.yahoo.desk import PERIODS

    if period not in PERIODS:
        raise ConfigInvalid(f"--period={period}: give one of {', '.join(PERIODS)}")


def _upper(symbols: Sequence[str] | None) -> list[str]:
    return list(dict.fromkeys(symbol.upper() for symbol in symbols or ()))


def _wanted(symbols: Sequence[str] | None, universe: str | None) -> list[str]:
    from tradebox.backtest.data.universe import SYMBOL_CHARS_MAX, resolve_universe
    from tradebox.backtest.data.yahoo import YahooSource

    if bool(symbols) == bool(universe):
        raise ConfigInvalid("data fetch: give symbols, or --universe FILE, one of the two")
    if universe:
        return list(resolve_universe(universe, YahooSource())[1])
    for symbol in symbols or ():
        if not 0 < len(symbol) <= SYMBOL_CHARS_MAX or not symbol.isprintable() or " " in symbol:
            raise ConfigInvalid(
                f"SYMBOL={symbol[:40]!r}: give 1 to {SYMBOL_CHARS_MAX} printable characters,"
                " no spaces"
            )
    return _upper(symbols)


def _second(text: str) -> "Source":
    """Return the second source. Raises ConfigInvalid."""
    from tradebox.backtest.data.sources import FORMS, parse_source
    from tradebox.cli.backtest import need_packages

    if text.startswith("yahoo"):
        raise ConfigInvalid(f"--against={text}: a second source is another one than Yahoo")
    if text.startswith("parquet:"):
        need_packages({"pyarrow": "pyarrow"})
    is_named = text == "sample" or text.startswith(("parquet:", "dir:"))
    try:
        return parse_source(text if is_named else f"dir:{text}")
    except ConfigInvalid as error:
        what = error.message.removesuffix(f": {FORMS}").rpartition(": ")[2]
        raise ConfigInvalid(f"--against={text}: {what}: {SECONDS}") from error


def _store(home: Home, settings: Settings) -> "HistoryStore":
    """Return where this profile's history is kept."""
    from tradebox.adapters.yahoo.history import HistoryStore
    from tradebox.backtest.data import yahoo

    is_led = settings.profile == "sim"
    source = yahoo.SOURCE + (yahoo.STAND_IN if is_led else "")
    kept_s = yahoo.KEPT_STAND_IN_S if is_led else settings.yahoo.history_kept_h * 3600
    return HistoryStore(home.history_dir, source, kept_s)


def _stores(home: Home) -> list["HistoryStore"]:
    """Return every source's kept history; how long new ones are kept does not matter here."""
    from tradebox.adapters.yahoo.history import HistoryStore

    root = home.history_dir
    names = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    return [HistoryStore(root, name, 1.0) for name in names]


# --- rows -------------------------------------------------------------------------------------


def _fetched(one: "Fetched") -> dict[str, Any]:
    if one.series is None:
        return {"symbol": one.symbol, "state": "failed", "problem": one.problem}
    from tradebox.backtest.data.yahoo import raw_series

    about = {} if one.about is None else asdict(one.about)
    state = "kept" if one.is_kept else "fetched"
    judged = _judged(raw_series(one.symbol, one.series))
    return {**about, "symbol": one.symbol, "state": state, "problem": "", **judged}


def _judged(raw: "RawSeries") -> dict[str, Any]:
    """Return what vetting says of a series."""
    from tradebox.backtest.data.vetting import latest_day, vet

    vetted = vet(raw, day_max=latest_day(time.time()))
    defects = [asdict(defect) for defect in vetted.defects]
    return {"defects": defects, "refusal": vetted.refusal}


def _row(about: "About", now_s: float) -> dict[str, Any]:
    state = "usable" if about.fetched_s <= now_s < about.expires_s else "expired"
    return {**asdict(about), "state": state}


def _checked(
    store: "HistoryStore",
    about: "About",
    second: "Source | None",
    tolerance_bps: float,
    now_s: float,
) -> dict[str, Any]:
    from tradebox.backtest.data.crosscheck import cross_check
    from tradebox.backtest.data.yahoo import raw_series

    row = _row(about, now_s)
    kept = store.read(about.symbol, about.period)
    if kept is None:
        why = "its file is damaged or gone: fetch it again"
        return {**row, "state": "damaged", "defects": [], "refusal": why, "against": None}
    raw = raw_series(about.symbol, kept.series)
    found: CrossCheck | None = None
    if second is not None:
        (theirs,) = second.read([about.symbol])
        found = cross_check(raw, theirs, tolerance_bps)
    return {**row, **_judged(raw), "against": None if found is None else asdict(found)}


def _summary(store: "HistoryStore", period: str, told: list[dict[str, Any]]) -> dict[str, Any]:
    states = [row["state"] for row in told]
    return {
        "source": store.folder.name,
        "period": period,
        "folder": str(store.folder / period),
        "fetched": states.count("fetched"),
        "kept": states.count("kept"),
        "failed": states.count("failed"),
        "rows": told,
    }


# --- for a person -----------------------------------------------------------------------------


class _Line:
    """The progress on stderr: in place on a terminal, a line now and then elsewhere."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        self._total = total
        self._is_terminal = sys.stderr.isatty()
        self._is_quiet = quiet and not self._is_terminal
        self._told_s = time.monotonic()
        self._columns = 0

    def show(self, done: int, symbol: str) -> None:
        now_s = time.monotonic()
        if self._is_quiet or not (self._is_terminal or now_s - self._told_s >= LINE_S):
            return
        self._told_s = now_s
        text = f"{done}/{self._total} {symbol}"
        if self._is_terminal:
            print(f"\r{text:<{self._columns}}", end="", file=sys.stderr, flush=True)
            self._columns = len(text)
        else:
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._columns:
            print(file=sys.stderr)


def _print_fetched(told: list[dict[str, Any]]) -> None:
    columns = [
        ("SYMBOL", field("symbol")), ("STATE", field("state")), ("BARS>", field("bars")),
        ("FIRST", field("first_day")), ("LAST", field("last_day")),
        ("HASH", lambda row: (row.get("data_hash") or "")[:HASH_SHOWN] or None),
        ("WHAT", lambda row: row["problem"] or _words(row)),
    ]  # fmt: skip
    show_table(told, columns, "nothing was asked")


def _print_checked(rows: list[dict[str, Any]], *, is_against: bool) -> None:
    columns = [
        ("SYMBOL", field("symbol")), ("SOURCE", field("source")), ("STATE", field("state")),
        ("BARS>", field("bars")), ("LAST", field("last_day")), ("DEFECTS", _words),
    ]  # fmt: skip
    if is_against:
        columns += [
            ("AGAINST", lambda row: _against(row, "word")),
            ("DAYS>", lambda row: _against(row, "days")),
            ("OFF>", lambda row: _against(row, "off_days")),
            ("MISSING HERE>", lambda row: _against(row, "missing_ours")),
            ("MISSING THERE>", lambda row: _against(row, "missing_theirs")),
            ("P99 BPS>", lambda row: _against(row, "p99_bps")),
            ("LEVEL>", lambda row: _against(row, "level")),
        ]
    show_table(rows, columns, "nothing to check")
    for row in rows:
        found = row["against"] or {}
        for worst in found.get("worst", ()):
            print(
                f"  {row['symbol']} {worst['day']}: here {worst['ours']:+.2%},"
                f" there {worst['theirs']:+.2%}"
            )
        if found.get("problem"):
            print(f"  {row['symbol']}: {found['problem']}")


def _against(row: Any, name: str) -> object:
    return (row["against"] or {}).get(name)


def _words(row: Any) -> str:
    if row.get("refusal"):
        return f"refused: {row['refusal']}"
    return ", ".join(f"{one['kind']} {one['count']}" for one in row.get("defects", ())) or "none"
