"""`tradebox scan`: graded settings and the latest bars become plan proposals with reasons.

Rules of this file:
- a grade that has expired proposes nothing; a letter below the account's least is not looked at;
- paper arms what is proposed where paper.auto_arm says so and it is not late; live always waits
  for `tradebox plan approve`;
- an exit signal of a plan that was proposed here ends the plan at the next open.
"""

import asyncio
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradebox.cli.asking import account_name
from tradebox.cli.backtest import need_packages
from tradebox.cli.backtest_source import lead_yahoo
from tradebox.cli.options import HomeOption, JsonOption, print_json
from tradebox.cli.progress import ProgressLine
from tradebox.cli.tables import field, show_table
from tradebox.config import Home, Settings, find_home, load_settings
from tradebox.errors import ConfigInvalid, NotDone, NotRunning

if TYPE_CHECKING:
    from tradebox.adapters.postgres.proposals import PgProposals
    from tradebox.backtest.data.arraystore import ArrayStore
    from tradebox.backtest.scan import Found, Moment, Wish

SCAN_PACKAGES = {"numpy": "numpy", "numba": "numba", "talib": "ta-lib", "pyarrow": "pyarrow"}
LETTERS = ("A", "B", "C", "D")
DAY_NS = 86_400 * 1_000_000_000
BEHIND_DAYS, AHEAD_DAYS = 14, 120


@dataclass(frozen=True, slots=True)
class _Asked:
    home: Home
    settings: Settings
    account: str
    run: str | None
    data: str | None
    letters: tuple[str, ...]
    is_dry: bool
    is_json: bool = False


def scan(
    *,
    account: Annotated[
        str, typer.Option("--account", metavar="paper|live", help="Whose plans.")
    ] = "paper",
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="Whose grades (default: last done).")
    ] = None,
    grade: Annotated[
        str | None, typer.Option("--grade", metavar="A-D", help="The worst letter to look at.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="SOURCE", help="Latest bars (default: the run's source)."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show it, store nothing.")] = False,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Propose plans from graded settings and the latest bars; leave plans whose exit signal came.

    Paper arms them where paper.auto_arm is set; live waits for `tradebox plan approve ID`.
    """
    need_packages(SCAN_PACKAGES)
    name = account_name(account)
    place = find_home(home)
    settings = load_settings(place)
    letters = _letters(settings, name, grade)
    asked = _Asked(place, settings, name, run, data, letters, dry_run, json)
    from tradebox.adapters.embedded.lease import stores

    with stores(place, settings) as addresses:
        told = asyncio.run(_scan(asked, addresses))
    if json:
        print_json(told)
    else:
        _print(told)


def _letters(settings: Settings, account: str, grade: str | None) -> tuple[str, ...]:
    """Return the letters that are looked at. Raises ConfigInvalid."""
    least = (settings.live if account == "live" else settings.paper).grade_min
    if grade is not None:
        if grade.upper() not in LETTERS:
            raise ConfigInvalid(f"--grade={grade}: unknown letter: one of {', '.join(LETTERS)}")
        if account == "live" and grade.upper() > least:
            raise ConfigInvalid(f"--grade={grade}: live needs at least {least} (live.grade_min)")
        least = grade.upper()  # type: ignore[assignment]
    return LETTERS[: LETTERS.index(least) + 1]


async def _scan(asked: _Asked, addresses: Any) -> dict[str, Any]:
    """Read the run, look at the bars, store what is proposed; return what to tell."""
    from tradebox.adapters.marketclock import market_clock_of
    from tradebox.adapters.postgres.plan_desk import VENUE, opened_pool
    from tradebox.adapters.postgres.proposals import PgProposals
    from tradebox.adapters.postgres.reference import PgReference
    from tradebox.backtest import scan as scanning
    from tradebox.domain.orders import AccountName

    account = AccountName(asked.account)
    now_ns = market_clock_of(asked.home, asked.settings).now_ns()
    run, results = await _graded(asked, addresses)
    async with opened_pool(addresses.postgres_trade) as pool:
        proposals = PgProposals(pool)
        if not asked.is_dry:
            await proposals.expire(now_ns)
        plans = await proposals.open_plans(account)
        sessions = await PgReference(pool).sessions(
            VENUE, now_ns - BEHIND_DAYS * DAY_NS, now_ns + AHEAD_DAYS * DAY_NS
        )
        when = scanning.moment_of(sessions, now_ns)
        caps = _caps(asked.settings, account, await proposals.net_liquidation_usd(account))
        ends_ns = None
        if asked.settings.profile != "sim" and run["expires_at"] is not None:
            ends_ns = int(run["expires_at"].timestamp()) * 1_000_000_000
        wish = scanning.Wish(run, results, plans, caps, ends_ns)
        found = scanning.scan(wish, await _bars(asked, wish), when)
        rows = await _store(asked, proposals, found, now_ns)
    return _told(asked, wish, when, found, rows)


async def _graded(asked: _Asked, addresses: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the run and its good results. Raises NotRunning, NotDone where it has expired."""
    from tradebox.adapters.marketclock import WallMarketClock
    from tradebox.backtest.store import BacktestStore
    from tradebox.backtest.store_reads import RunReader

    async with BacktestStore(addresses.postgres_research) as store:
        reader = RunReader(store)
        if asked.run is None:
            done = [one for one in await reader.runs() if one["state"] == "done"]
            if not done:
                raise NotRunning("no run is done yet: `tradebox backtest run` makes one")
            run = await reader.run(done[0]["run_id"])
        else:
            run = await reader.run(asked.run)
        if run["state"] != "done":
            raise NotDone(f"run {run['run_id']} is {run['state']}: only a finished run has grades")
        expires = run["expires_at"]
        if expires is None or expires.timestamp() * 1e9 <= WallMarketClock().now_ns():
            raise NotDone(f"the grades of run {run['run_id']} expired at {expires}: run it again")
        results = await reader.results(run["run_id"], grades=asked.letters, status="ok")
    return run, results


async def _bars(asked: _Asked, wish: "Wish") -> "ArrayStore":
    """Return the latest bars: of the run's data where they cannot be newer, else read again."""
    from tradebox.backtest.data.arraystore import ArrayStore
    from tradebox.backtest.data.prepare import prepare_apart
    from tradebox.backtest.store_regenerate import bars_of_run

    root = asked.home.bars_dir
    source = asked.data or str(wish.run["data_source"])
    symbols = {str(row["symbol"]) for row in wish.results}
    symbols |= {plan.symbol for plan in wish.plans if plan.origin == "strategy"}
    if not symbols or (asked.data is None and not source.startswith("yahoo")):
        return ArrayStore.open(await asyncio.to_thread(bars_of_run, wish.run, root))
    lead_yahoo(asked.home, asked.settings, source)
    with tempfile.NamedTemporaryFile("w", suffix=".txt", prefix="tradebox-scan-") as file:
        file.write("\n".join(sorted(symbols)) + "\n")
        file.flush()
        show = ProgressLine(json=asked.is_json)
        prepared = await asyncio.to_thread(
            prepare_apart, source, file.name, root, on_step=show.steps("stocks read and vetted")
        )
        show.end()
    return ArrayStore.open(prepared.path)


def _caps(settings: Settings, account: str, net_liquidation_usd: Any) -> Any:
    from tradebox.backtest.hand_over import Caps

    limits = (settings.live if account == "live" else settings.paper).limits
    return Caps(
        None if net_liquidation_usd is None else float(net_liquidation_usd),
        limits.order_quantity_max,
        min(limits.order_notional_usd_max, limits.position_notional_usd_max),
    )


async def _store(
    asked: _Asked, proposals: "PgProposals", found: "Found", now_ns: int
) -> list[dict[str, Any]]:
    """Store the proposals and ask for the ends; return a row for each proposal."""
    from tradebox.domain.orders import AccountName

    account, rows = AccountName(asked.account), []
    auto = asked.settings.paper.auto_arm and account is AccountName.PAPER
    for one in found.proposals:
        is_armed = auto and not one.proposal["is_late"]
        plan_id, state = None, "requested" if is_armed else "proposed"
        if asked.is_dry:
            state = f"would be {state}"
        else:
            plan_id = await proposals.propose(
                one.document, account, one.proposal, now_ns=now_ns, is_armed=is_armed
            )
            state = "proposed before" if plan_id is None else state
        rows.append(
            {
                "plan_id": plan_id, "state": state, "symbol": one.document.symbol,
                "side": one.document.side, "size": one.document.size.quantity, **one.proposal,
                "document": one.document.to_json(),
            }
        )  # fmt: skip
    if not asked.is_dry:
        for leaving in found.leaving:
            await proposals.leave(leaving.plan_id, account, leaving.reason, leaving.from_ns)
    return rows


def _told(
    asked: _Asked, wish: "Wish", when: "Moment", found: "Found", rows: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "account": asked.account,
        "run_id": wish.run["run_id"],
        "expires_at": wish.run["expires_at"],
        "grades": list(asked.letters),
        "graded_stocks": len(wish.results),
        "acts_day": when.ahead[0].day,
        "is_late": when.is_late,
        "is_dry": asked.is_dry,
        "proposals": rows,
        "leaving": [
            {"plan_id": one.plan_id, "symbol": one.symbol, "reason": one.reason,
             "from_ns": one.from_ns}
            for one in found.leaving
        ],
        "skipped": [{"symbol": symbol, "why": why} for symbol, why in found.skipped],
        "silent": found.silent,
    }  # fmt: skip


def _print(told: dict[str, Any]) -> None:
    print(
        f"{told['account']}: {told['graded_stocks']} stocks graded {'/'.join(told['grades'])}"
        f" in run {told['run_id']} (until {told['expires_at']:%Y-%m-%d %H:%M} UTC);"
        f" proposals act on {told['acts_day']}{', late' if told['is_late'] else ''}"
    )
    columns = [
        ("PLAN", lambda row: row["plan_id"] or "-"), ("STATE", field("state")),
        ("STOCK", field("symbol")), ("SIDE", field("side")), ("SIZE>", field("size")),
        ("GRADE", field("grade")), ("STRATEGY", field("strategy")),
        ("STOP>", lambda row: f"{row['stop_share']:.2%}"),
    ]  # fmt: skip
    nothing = f"no proposal: {told['silent']} stocks say nothing"
    if not told["graded_stocks"]:
        nothing = "no proposal: no stock of the run has such a grade (`backtest show` tells why)"
    show_table(told["proposals"], columns, nothing)
    for row in told["proposals"]:
        for reason in row["reasons"]:
            print(f"  {row['symbol']}: {reason}")
    for one in told["leaving"]:
        print(f"leave {one['plan_id']} {one['symbol']}: {one['reason']}")
    for one in told["skipped"]:
        print(f"skipped {one['symbol']}: {one['why']}")
    if any(row["state"] == "proposed" for row in told["proposals"]):
        print("approve with `tradebox plan approve ID`, refuse with `tradebox plan cancel ID`")
