"""`tradebox backtest list|show|compare|explain`: what came of the runs.

Rules of this file:
- a run is named by its id, by the beginning of it, or as "last";
- nothing here changes a run; checking, reports and cleaning are in backtest_keep.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from tradebox.cli.options import HomeOption, JsonOption, print_json
from tradebox.cli.tables import Row, field, show_table
from tradebox.config import find_home, load_settings
from tradebox.errors import ConfigInvalid

if TYPE_CHECKING:
    from tradebox.backtest.data.series import Defect
    from tradebox.backtest.store_reads import RunReader, StoredStock

T = TypeVar("T")
LETTERS = ("A", "B", "C", "D", "F")
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, the beginning of it, or last.")
]


def add_commands(app: typer.Typer) -> None:
    """Add the commands that read to the group of backtests."""
    app.command("list")(list_runs)
    app.command("show")(show)
    app.command("compare")(compare)
    app.command("explain")(explain)


def list_runs(
    limit: Annotated[int, typer.Option("--limit", help="At most so many runs.")] = 20,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """List runs, newest first."""
    if not 1 <= limit <= 10_000:
        raise ConfigInvalid(f"--limit={limit}: give a number from 1 to 10000")
    runs = ask_runs(home, lambda reader: reader.runs(limit))
    if json:
        print_json(runs)
        return
    columns = [
        ("RUN", field("run_id")), ("STATE", field("state")),
        ("BEGUN (UTC)", lambda row: _moment(row["started_at"])),
        ("UNIVERSE", field("universe")), ("STOCKS>", field("symbol_count")),
        ("RESULTS>", field("result_count")),
        *[(f"{letter}>", field(f"grade_{letter.lower()}")) for letter in LETTERS],
        ("MISMATCH>", field("mismatch_count")),
        ("EXPIRES (UTC)", lambda row: _moment(row["expires_at"])),
    ]  # fmt: skip
    show_table(runs, columns, "no run yet: `tradebox backtest run` makes one")


def show(
    run: RunArgument,
    grade: Annotated[
        list[str] | None, typer.Option("--grade", metavar="A-F", help="Only this letter; repeat.")
    ] = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="ok|refused|failed|mismatch")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", help="At most so many stocks.")] = 40,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Show a run: what was asked, what it measured, and its stocks, best first."""
    letters = [one.upper() for one in grade or ()]
    if unknown := [one for one in letters if one not in LETTERS]:
        raise ConfigInvalid(f"--grade={unknown[0]}: unknown letter: one of {', '.join(LETTERS)}")
    if status not in (None, "ok", "refused", "failed", "mismatch"):
        raise ConfigInvalid(f"--status={status}: one of ok, refused, failed, mismatch")

    async def read(reader: "RunReader") -> tuple[Any, Any, Any]:
        found = await reader.run(run)
        rows = await reader.results(found["run_id"], grades=letters, status=status)
        return found, rows, await reader.sizes(found["run_id"])

    found, rows, sizes = ask_runs(home, read)
    if json:
        listed = {one: [asdict(each) for each in kinds] for one, kinds in defects_of(found).items()}
        print_json({**found, "bytes": sizes, "results": rows, "defects": listed})
        return
    _print_run(found, sizes)
    columns = [
        ("STOCK", field("symbol")), ("GRADE", lambda row: row["grade"] or row["status"]),
        ("STRATEGY", field("strategy")), ("TRADES>", field("trades")),
        ("EXPECTANCY R>", _figure("expectancy_r")), ("PROFIT FACTOR>", _figure("profit_factor")),
        ("DRAWDOWN R>", _figure("drawdown_r")), ("SHARPE>", _figure("sharpe")),
        ("WHY", lambda row: row["reasons"][-1][1] if row["reasons"] else None),
    ]  # fmt: skip
    show_table(rows[:limit], columns, "no stock fits")
    if len(rows) > limit:
        print(f"and {len(rows) - limit} more: --limit {len(rows)} shows all")


def compare(
    run: RunArgument,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="The run to compare it with.")],
    limit: Annotated[int, typer.Option("--limit", help="At most so many differences.")] = 40,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Compare two runs: what was asked differently, and which stocks came out differently."""
    from tradebox.backtest.report_compare import compared

    async def read(reader: "RunReader") -> list[Any]:
        found = []
        for name in (run, other):
            one = await reader.run(name)
            found += [one, await reader.results(one["run_id"])]
        return found

    told = compared(*ask_runs(home, read))
    if json:
        print_json(asdict(told))
        return
    print(f"{told.first} and {told.second}: {told.equal} stocks equal, {len(told.stocks)} differ")
    for name, (one, two) in told.asked.items():
        print(f"  {name}: {one} | {two}")
    for title, names in (("only in", told.only_first), ("only in", told.only_second)):
        if names:
            where = told.first if names is told.only_first else told.second
            print(f"  {title} {where}: {len(names)} ({', '.join(names[:8])})")
    if told.grade_moves:
        moves = ", ".join(f"{move} {count}" for move, count in told.grade_moves.items())
        print(f"  grades: {moves}")
    columns: list[tuple[str, Callable[[Row], object]]] = [
        ("STOCK", field("symbol")), ("GRADE", field("grade")), ("STRATEGY", field("strategy")),
        ("TRADES>", field("trades")), ("EXPECTANCY R>", field("expectancy_r")),
    ]  # fmt: skip
    if told.stocks:
        show_table(told.stocks[:limit], columns, "")


def explain(
    run: RunArgument,
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="One stock of the run.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Say why a stock has its grade: every layer's reason, every threshold, every split."""
    from tradebox.backtest.report_explain import explained

    found: StoredStock = ask_runs(home, lambda reader: reader.stock(run, symbol))
    told = explained(found.run, found.result, defects_of(found.run).get(symbol, ()))
    if json:
        print_json(told)
        return
    for line in told["text"]:
        print(line)


def _print_run(run: Mapping[str, Any], sizes: Mapping[str, int]) -> None:
    grades = "  ".join(f"{letter} {run[f'grade_{letter.lower()}']}" for letter in LETTERS)
    print(f"run {run['run_id']}: {run['state']}  {run['task_ended']}/{run['task_count']} tasks")
    print(f"  asked    {', '.join(run['strategies'])} on {run['universe']} of {run['data_source']}")
    print(f"  stocks   {run['symbol_count']}  results {run['result_count']}  grades {grades}")
    print(
        f"  refused  {run['refused_count'] + len(run['refused'])}  failed {run['failed_count']}"
        f"  mismatch {run['mismatch_count']}"
    )
    print(f"  seed {run['seed']}  data {run['data_hash'][:12]}  code {run['code_hash'][:12]}")
    print(f"  run hash {run['run_hash'] or '-'}  expires {_moment(run['expires_at'])}")
    total = sum(sizes[name] for name in ("result_bytes", "trade_bytes", "equity_bytes"))
    print(f"  stored   {total / 1e6:.2f} MB of {sizes['schema_bytes'] / 1e6:.2f} MB in all")
    for name, value in sorted((run["figures"] or {}).items()):
        print(f"  {name}  {_plain(value)}")
    for symbol, why in sorted(run["refused"].items()):
        print(f"  {symbol} was skipped: {why}")
    for line in _defect_lines(defects_of(run)):
        print(f"  {line}")
    if run["error"]:
        print(f"  error    {run['error']}")


def defects_of(run: Mapping[str, Any]) -> "dict[str, list[Defect]]":
    """Return what vetting found in a run's data, by stock; empty where the bars are gone."""
    from tradebox.backtest.data.arraystore import read_defects

    return read_defects(Path(run["data_path"]))


def _defect_lines(defects: "Mapping[str, list[Defect]]") -> list[str]:
    counts: dict[tuple[str, str, str], int] = {}
    for listed in defects.values():
        for one in {(each.action, each.kind, each.text) for each in listed}:
            key = one if one[0] != "refused" else (one[0], one[1], "")
            counts[key] = counts.get(key, 0) + 1
    return [
        f"data     {action} {kind}: {count} stocks{'; ' if text else ''}{text}"
        for (action, kind, text), count in sorted(counts.items())
    ]


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "  ".join(f"{name} {_plain(one)}" for name, one in value.items())
    return str(value)


def _figure(name: str) -> Callable[[Row], object]:
    return lambda row: None if row[name] is None else f"{row[name]:.3f}"


def _moment(value: Any) -> str | None:
    return None if value is None else f"{value:%Y-%m-%d %H:%M}"


def ask_runs(home: Path | None, call: "Callable[[RunReader], Awaitable[T]]") -> T:
    """Ask the stored runs; the stores are started for it where nothing runs."""
    from tradebox.adapters.embedded.lease import stores
    from tradebox.backtest.store import BacktestStore
    from tradebox.backtest.store_reads import RunReader

    place = find_home(home)

    async def ask(dsn: str) -> T:
        async with BacktestStore(dsn) as store:
            return await call(RunReader(store))

    with stores(place, load_settings(place)) as addresses:
        return asyncio.run(ask(addresses.postgres_research))
