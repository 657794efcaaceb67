"""`tradebox backtest run`: a universe of stocks through every strategy, graded and stored.

Rules of this file:
- the progress line goes to stderr, on a terminal in place, elsewhere each few seconds (with
  --json as an object a line); --json prints one object on stdout at the end;
- without the packages of the backtest it says how to install them and ends with exit code 2.
"""

import asyncio
import importlib.util
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradebox.cli import backtest_keep, backtest_read
from tradebox.cli.backtest_source import lead_yahoo
from tradebox.cli.options import HomeOption, JsonOption, nested, print_json
from tradebox.cli.progress import ProgressLine
from tradebox.config import find_home, load_settings
from tradebox.errors import ConfigInvalid, ExitCode

if TYPE_CHECKING:
    from tradebox.backtest.scheduler_run import Outcome

PACKAGES = {
    "numpy": "numpy",
    "numba": "numba",
    "talib": "ta-lib",
    "vectorbt_rust": "vectorbt[rust]",
}
SAMPLE = "sample"
SKIPPED_LINES = 8

app = typer.Typer(
    no_args_is_help=True,
    help="Backtests: run, and what came of it. How they work: docs/backtest.md.",
)


UniverseOption = Annotated[
    str | None,
    typer.Option("--universe", metavar="FILE|NAME", help="Which stocks (default: all)."),
]
StrategyOption = Annotated[
    list[str] | None,
    typer.Option("--strategy", metavar="NAME", help="May be repeated (default: all)."),
]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="SOURCE",
        help="sample (default), parquet:FILE, dir:FOLDER or yahoo[:10y].",
    ),
]
BudgetOption = Annotated[
    str | None,
    typer.Option("--memory-budget", metavar="SIZE", help="Of all processes, such as 4GiB."),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", metavar="N", help="Worker processes.")
]
ShareOption = Annotated[
    float | None,
    typer.Option("--cores-share", metavar="SHARE", help="Of the cores, above 0 and up to 1."),
]
ResumeOption = Annotated[
    str | None,
    typer.Option("--resume", metavar="RUN", help="Go on with a run: id, its beginning, or last."),
]
ExecutorOption = Annotated[
    str, typer.Option("--executor", metavar="pool|serial|dask", help="Who does the tasks.")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="ADDRESS", help="Of Dask; none = one on this machine."),
]
ScatterOption = Annotated[
    bool, typer.Option("--scatter", help="Send Dask the data, where no path is shared.")
]
SeedOption = Annotated[int | None, typer.Option("--seed", metavar="N", help="Of this run.")]


@app.command("run")
def run(
    *,
    universe: UniverseOption = None,
    strategy: StrategyOption = None,
    data: DataOption = None,
    memory_budget: BudgetOption = None,
    workers: WorkersOption = None,
    cores_share: ShareOption = None,
    resume: ResumeOption = None,
    executor: ExecutorOption = "pool",
    scheduler: SchedulerOption = None,
    scatter: ScatterOption = False,
    seed: SeedOption = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> int:
    """Test strategies on years of history, grade every stock, and store what came of it."""
    need_packages()
    if executor not in ("pool", "serial", "dask"):
        raise ConfigInvalid(f"--executor={executor}: unknown: one of pool, serial, dask")
    if executor == "dask":
        need_packages({"distributed": "distributed"}, "cluster")
    elif scheduler is not None or scatter:
        raise ConfigInvalid("--scheduler and --scatter belong to --executor dask: add it")
    if resume is not None and (universe or strategy or data or seed is not None):
        raise ConfigInvalid("--resume goes on with a run as it was begun: leave its options out")
    from tradebox.adapters.embedded.lease import revive, stores
    from tradebox.backtest.scheduler_budget import refuse_too_small
    from tradebox.backtest.scheduler_run import Place, budget_bytes_of, run_backtest
    from tradebox.backtest.scheduler_wish import Wish

    place = find_home(home)
    settings = load_settings(
        place,
        nested(
            backtest__memory_budget=memory_budget,
            backtest__workers=workers,
            backtest__cores_share=cores_share,
            backtest__seed=seed,
        ),
    )
    refuse_too_small(budget_bytes_of(settings.backtest))
    lead_yahoo(place, settings, data or SAMPLE)
    asked = {"memory_budget": memory_budget, "workers": workers, "cores_share": cores_share}
    wish = Wish(
        data or SAMPLE, universe, tuple(strategy or ()), resume, executor, scheduler, scatter,
        limits=frozenset(name for name, value in asked.items() if value is not None),
    )  # fmt: skip
    show = ProgressLine(json=json)
    with stores(place, settings) as addresses:
        _migrated(place, addresses)
        where = Place(place, settings, addresses.postgres_research, lambda: revive(place, settings))
        outcome = asyncio.run(
            run_backtest(
                where,
                wish,
                on_progress=show.tell,
                on_note=show.note,
                on_data=show.steps("stocks read and vetted"),
            )
        )
    show.end()
    if json:
        print_json(summary(outcome))
    else:
        _print(outcome)
    return int(ExitCode.STORE if outcome.state == "failed" else ExitCode.OK)


def need_packages(packages: dict[str, str] = PACKAGES, extra: str = "backtest") -> None:
    """Refuse where packages of an extra are missing. Raises: ConfigInvalid."""
    missing = [name for module, name in packages.items() if not importlib.util.find_spec(module)]
    if missing:
        raise ConfigInvalid(
            f"backtests need packages that are not installed ({', '.join(missing)}):"
            f" run `make backtest`, or `pip install 'tradebox[{extra}]'`"
        )


def summary(outcome: "Outcome") -> dict[str, Any]:
    """Return how a run ended as plain values."""
    spec, row = outcome.spec, outcome.row
    return {
        "run_id": spec.run_id,
        "state": outcome.state,
        "error": outcome.error,
        "universe": spec.universe,
        "stocks": len(spec.symbols),
        "refused_data": len(spec.refused),
        "results": row.get("result_count", 0),
        "grades": {letter: row.get(f"grade_{letter.lower()}", 0) for letter in "ABCDF"},
        "refused": row.get("refused_count", 0),
        "failed": row.get("failed_count", 0),
        "mismatch": row.get("mismatch_count", 0),
        "skipped": [asdict(one) for one in outcome.skipped],
        "strategies": list(spec.strategies),
        "data_source": spec.data_source,
        "data_hash": spec.data_hash,
        "code_hash": spec.code_hash,
        "run_hash": row.get("run_hash"),
        "seed": spec.seed,
        "executor": spec.executor,
        "figures": dict(outcome.figures),
    }


def _migrated(home: Any, addresses: Any) -> None:
    from tradebox.adapters.embedded.secrets import role_passwords
    from tradebox.adapters.postgres.engine_lock import owner_of
    from tradebox.adapters.postgres.migrate import migrate

    passwords, owner = role_passwords(home), owner_of(home.root)
    asyncio.run(migrate(addresses.postgres_owner, passwords, owner=owner))


def _print(outcome: "Outcome") -> None:
    from tradebox.backtest.memory import shown_size

    shown, figures = summary(outcome), outcome.figures
    grades = "  ".join(f"{letter} {count}" for letter, count in shown["grades"].items())
    print(f"run {shown['run_id']}: {shown['state']}  {shown['results']}/{shown['stocks']} stocks")
    print(f"  grades   {grades}")
    print(
        f"  refused  {shown['refused'] + shown['refused_data']}  failed {shown['failed']}"
        f"  mismatch {shown['mismatch']}"
    )
    _print_skipped(outcome)
    print(
        f"  {figures['wall_s']:.1f} s, {figures['stocks_per_s']:.1f} stocks/s,"
        f" {figures['workers']} workers, memory {shown_size(figures['peak_bytes'])}"
        f" of {shown_size(figures['budget_bytes'])}"
    )
    if shown["mismatch"]:
        print("  MISMATCH: engines disagree, or a setting knows the future: see `backtest show`")
    if outcome.error:
        print(f"  {outcome.error}", file=sys.stderr)
    if outcome.state != "done":
        print(f"  go on with `tradebox backtest run --resume {shown['run_id']}`")


def _print_skipped(outcome: "Outcome") -> None:
    """Name the first stocks that broke or were refused; those of bad data were named before."""
    named = [one for one in outcome.skipped if one.status != "data"]
    for one in named[:SKIPPED_LINES]:
        print(f"    {one.status:<8} {one.symbol}: {one.why}")
    if len(named) > SKIPPED_LINES:
        print(f"    and more: `tradebox backtest show {outcome.spec.run_id}` lists them")


backtest_read.add_commands(app)
backtest_keep.add_commands(app)
