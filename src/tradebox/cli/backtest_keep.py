"""`tradebox backtest check|report|clean`: make results again, show them, and let them go.

Rules of this file:
- a run at work is never removed, nor bars that may be of a run that just begins;
- a report is written beside its name and moved there whole; it needs plotly, and says so.
"""

import importlib.util
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradebox.cli.backtest_read import RunArgument, ask_runs
from tradebox.cli.options import HomeOption, JsonOption, print_json
from tradebox.cli.progress import ProgressLine
from tradebox.config import Home, find_home, load_settings
from tradebox.errors import ConfigInvalid, ExitCode, HomeUnusable, InputError, NotDone
from tradebox.supervision.locks import hold_shared

if TYPE_CHECKING:
    from tradebox.backtest.store_reads import RunReader

CHUNK_STOCKS = 100
HASH_CHARS = 64
YOUNG_S = 3600.0
DAYS_MAX = 36_500


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the group of backtests."""
    app.command("check")(check)
    app.command("report")(report)
    app.command("clean")(clean)


def check(
    run: RunArgument,
    symbols: Annotated[
        list[str] | None, typer.Argument(metavar="[SYMBOL…]", help="These; none = evenly chosen.")
    ] = None,
    stocks: Annotated[int, typer.Option("--stocks", help="How many, where none is named.")] = 10,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Make results again from the stored run and its data; exit code 1 where a hash differs."""
    from tradebox.backtest.scheduler_spec import code_hash
    from tradebox.backtest.store_regenerate import regenerate

    if stocks < 1:
        raise ConfigInvalid(f"--stocks={stocks}: give a number from 1 on")

    async def read(reader: "RunReader") -> tuple[Any, Any]:
        found = await reader.run(run)
        return found, await reader.results(found["run_id"])

    found, rows = ask_runs(home, read)
    stored = {row["symbol"]: row["result_hash"] for row in rows if row["status"] != "failed"}
    if missing := [one for one in symbols or () if one not in stored]:
        raise ConfigInvalid(f"SYMBOL={missing[0]}: run {found['run_id']} has no result of it")
    known = sorted(stored)
    chosen = symbols or known[:: max(1, len(known) // stocks)][:stocks]
    show = ProgressLine(json=json)
    told_step = show.steps("stocks made again")
    made = regenerate(found, stored, chosen, find_home(home).bars_dir, told_step)
    show.end()
    is_same_code = found["code_hash"] == code_hash()
    told = {"run_id": found["run_id"], "same": made.same, "different": made.different}
    if json:
        print_json({**told, "is_same_code": is_same_code})
    else:
        print(f"run {found['run_id']}: {len(made.same)} of {len(chosen)} results came out the same")
        if not is_same_code:
            print("  (by other code than the run's)")
        for symbol in made.different:
            print(f"  {symbol} came out differently")
    return int(ExitCode.FAILED if made.different else ExitCode.OK)


def report(
    run: RunArgument,
    target: Annotated[Path, typer.Option("--html", metavar="FILE", help="Where to write it.")],
    symbol: Annotated[
        list[str] | None,
        typer.Option("--symbol", help="Stocks with figures of their own (default: the best)."),
    ] = None,
    stocks: Annotated[
        int, typer.Option("--stocks", help="How many of the best get figures of their own.")
    ] = 8,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Write one self-contained page: grades, equity, underwater, R, months, trades on price."""
    if importlib.util.find_spec("plotly") is None:
        raise ConfigInvalid("a report needs plotly: run `make backtest` to install it")
    if not 0 <= stocks <= 100:
        raise ConfigInvalid(f"--stocks={stocks}: give a number from 0 to 100")
    show = ProgressLine(json=json)
    step = show.steps("stocks read")
    text, run_id, count = ask_runs(home, lambda reader: _report(reader, run, symbol, stocks, step))
    show.end()
    fresh = target.with_name(f".{target.name}.new")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(target)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise ConfigInvalid(f"--html={target}: cannot be written: {error.strerror}") from error
    if json:
        print_json({"run_id": run_id, "file": str(target), "bytes": len(text), "stocks": count})
    else:
        print(f"{target}: run {run_id}, {count} stocks with figures, {len(text) / 1e6:.1f} MB")


async def _report(
    reader: "RunReader",
    run: str,
    wanted: list[str] | None,
    best: int,
    on_step: Callable[[int, int], None],
) -> tuple[str, str, int]:
    from tradebox.backtest.report import RunTotals, StockPart, build_report

    found = await reader.run(run)
    run_id = found["run_id"]
    rows = await reader.results(run_id)
    known = [row["symbol"] for row in rows if row["status"] in ("ok", "mismatch")]
    if missing := [one for one in wanted or () if one not in known]:
        raise ConfigInvalid(f"--symbol={missing[0]}: run {run_id} has no result of it")
    chosen = wanted if wanted is not None else known[:best]
    totals, parts = RunTotals(), {}
    bars_of = _bars_of(found)
    for at in range(0, len(known), CHUNK_STOCKS):
        for stock in await reader.stocks(run_id, known[at : at + CHUNK_STOCKS]):
            totals.add(stock)
            if stock.symbol in chosen:
                parts[stock.symbol] = StockPart(stock, bars_of(stock.symbol))
        on_step(min(at + CHUNK_STOCKS, len(known)), len(known))
    page = build_report(found, rows, totals, [parts[one] for one in dict.fromkeys(chosen)])
    return page, run_id, len(parts)


def _bars_of(run: Mapping[str, Any]) -> Callable[[str], Any]:
    """Return what reads the prices a run was made on; None for a stock whose prices are gone."""
    from tradebox.backtest.data.arraystore import ArrayStore

    try:
        store = ArrayStore.open(run["data_path"])
    except InputError:
        return lambda _: None
    if store.data_hash != run["data_hash"]:
        return lambda _: None
    return lambda symbol: store.bars(symbol) if symbol in store.symbols else None


def clean(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN…]", help="These runs; none = by age.")
    ] = None,
    older_than_days: Annotated[
        float | None,
        typer.Option(
            "--older-than", metavar="DAYS", help="Age (default: backtest.retention_days)."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Remove runs, named or past their retention, and stored bars that no run uses."""
    if older_than_days is not None and (not 0 <= older_than_days <= DAYS_MAX or runs):
        raise ConfigInvalid(f"--older-than takes days from 0 to {DAYS_MAX}, and no RUN beside it")
    place = find_home(home)
    age = older_than_days
    if age is None:
        age = float(load_settings(place).backtest.retention_days)

    async def remove(reader: "RunReader") -> tuple[list[str], set[str]]:
        old = [await reader.run_id(one) for one in runs] if runs else await reader.old_runs(age)
        busy = [one for one in old if _is_at_work(place, one)]
        if busy and runs:
            raise NotDone(f"run {busy[0]} is at work: stop it first", run_id=busy[0])
        old = [one for one in old if one not in busy]
        if not dry_run:
            await reader.remove(old)
        return old, await reader.data_paths()

    gone, used = ask_runs(home, remove)
    folders = unused_folders(place.bars_dir, used)
    freed = sum(_bytes(folder) for folder in folders)
    if not dry_run:
        for folder in folders:
            _remove_folder(folder)
    told = {"runs": gone, "folders": [one.name for one in folders], "bytes": freed}
    if json:
        print_json({**told, "dry_run": dry_run})
        return
    verb = "would remove" if dry_run else "removed"
    print(f"{verb} {len(gone)} runs{': ' if gone else ''}{', '.join(gone)}")
    print(f"{verb} {len(folders)} folders of bars, {freed / 1e6:.1f} MB")


def unused_folders(root: Path, used: set[str]) -> list[Path]:
    """Return the folders of bars that no run names; one just made may be of a run that begins."""
    if not root.is_dir():
        return []
    hashes = [one for one in root.iterdir() if one.is_dir() and len(one.name) == HASH_CHARS]
    old = [one for one in hashes if time.time() - one.stat().st_mtime > YOUNG_S]
    return sorted(one for one in old if str(one) not in used)


def _is_at_work(home: Home, run_id: str) -> bool:
    path = home.lease_lock.with_name(f"backtest-{run_id}.lock")
    if not path.exists():
        return False
    lock = hold_shared(path)
    if lock is None:
        return True
    lock.release()
    return False


def _remove_folder(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise HomeUnusable(f"{folder}: cannot be removed: {error.strerror}") from error


def _bytes(folder: Path) -> int:
    return sum(one.stat().st_size for one in folder.iterdir() if one.is_file())
