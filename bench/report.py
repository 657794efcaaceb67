"""Turns results into the README's figures: the newest of each bench, the same text each time.

Rules of this file:
- a figure is quoted with its ratio to a floor of the same run, never without;
- nothing is rounded up in our favour: times go up, rates go down;
- the text depends on the results alone, so that a test can compare them.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
README = ROOT / "README.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
NAME = re.compile(r"(\d{4}-\d{2}-\d{2})-([a-z_]+)\.json")
THREE = 3
HANGS = {
    "python_loop": "a Python loop",
    "c_call_holding_the_gil": "a C call that holds the GIL",
}

Results = Mapping[str, Mapping[str, Any]]


def newest(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Return the newest result of each bench."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*.json")):
        match = NAME.fullmatch(path.name)
        if match is not None:
            found[match.group(2)] = json.loads(path.read_text())
    return found


def up(value: float) -> str:
    """Return a number with three figures, rounded away from zero."""
    places = THREE - 1 - math.floor(math.log10(value)) if value > 0 else 0
    grown = math.ceil(round(value * 10**places, 6)) / 10**places
    return f"{grown:.{max(places, 0)}f}"


def span_us(value_us: float) -> str:
    """Return a time given in microseconds in the unit that reads best."""
    if value_us < 1000:
        return f"{up(value_us)} µs"
    return f"{up(value_us / 1000)} ms" if value_us < 1_000_000 else f"{up(value_us / 1e6)} s"


def thousands(value: float) -> str:
    """Return a rate in thousands, rounded down."""
    return f"{math.floor(value / 1000) * 1000:,}"


def figures(results: Results) -> str:
    """Return the section between the two marks, marks excluded; a soak is not quoted."""
    results = {name: one for name, one in results.items() if name in ROWS}
    if not results:
        return ""
    lines = _head(results)
    lines += ["| what | p50 | p99 | beside, same run | ratio at p50 |", "|---|---|---|---|---|"]
    for name, rows in ROWS.items():
        if name in results:
            lines += rows(results[name]["measured"])
    if "orders" in results:
        lines += ["", _memory(results["orders"]["measured"]["memory"])]
    if "sim" in results:
        lines += ["", _stand_in(results["sim"]["measured"])]
    if "universe" in results.get("backtest", {}).get("measured", {}):
        lines += ["", _universe(results["backtest"]["measured"])]
    lines += ["", "What each figure is, and what it is not: docs/benchmarks.md."]
    return "\n".join(lines)


def _head(results: Results) -> list[str]:
    dates = sorted({str(one["date"]) for one in results.values()})
    box = next(iter(results.values()))["machine"]
    loads = [one["measured"]["load_during"][0] for one in results.values()]
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    where = f"{box['cores']} cores of {box['processor']}, {box['memory_gb']} GB"
    return [
        f"Measured by `make bench` on {when}: {where};",
        f"load average {min(loads)} to {max(loads)} while it ran.",
        "",
    ]


def _row(what: str, spread: Mapping[str, float], beside: str, ratio: str, unit_us: float) -> str:
    p50, p99 = span_us(spread["p50"] * unit_us), span_us(spread["p99"] * unit_us)
    return f"| {what} | {p50} | {p99} | {beside} | {ratio} |"


def _orders(found: Mapping[str, Any]) -> list[str]:
    floor, count = found["floor"], found["mailbox_to_gateway_us"]["count"]
    faster = found.get("at_2000_ticks_per_s")
    rates = [found] if faster is None else [found, faster]
    loopback = f"loopback write + read {span_us(floor['loopback_us']['p50'])}"
    near = f"{found['ratio_socket_to_mailbox_p50']}"
    return [
        *(_order_row(one, is_one_of_many=faster is not None) for one in rates),
        _row(
            f"vendor bytes → mailbox, whole run, {found['ticks_per_s']} ticks/s (n = {count})",
            found["socket_to_mailbox_us"],
            loopback,
            near,
            1,
        ),
    ]


def _order_row(found: Mapping[str, Any], *, is_one_of_many: bool) -> str:
    count = found["mailbox_to_gateway_us"]["count"]
    what = "price in the controller's mailbox → order bytes at the gateway"
    what += f", {found['ticks_per_s']} ticks/s" if is_one_of_many else ""
    beside = f"bare commit + loopback write {span_us(found['floor']['p50_us'])}"
    ratio = f"{found['ratio_to_floor_p50']}"
    return _row(f"{what} (n = {count})", found["mailbox_to_gateway_us"], beside, ratio, 1)


BEHIND = {
    "nothing": "exit → exit order at the gateway, stop's cancel and position read included",
    "same_connection": "the same behind {} requests on its own connection",
    "other_connection": "the same behind {} requests on another connection",
    "entries": "the same behind {} entries that the gate must answer",
}


def _reconcile(found: Mapping[str, Any]) -> list[str]:
    leave = found["exit"]
    beside = f"three round trips on an idle link {span_us(leave['floor_ms'] * 1000)}"
    rows = [
        _row(
            f"reconcile of {size} working orders, whole account",
            spread,
            f"the answers merely read {span_us(found['floor_ms_by_orders'][size]['p50'] * 1000)}",
            f"{found['ratio_to_floor_p50_by_orders'][size]}",
            1000,
        )
        for size, spread in found["reconcile_ms_by_orders"].items()
    ]
    for name, what in BEHIND.items():
        is_alone = name == "nothing"
        near = f"{leave['ratio_to_floor_p50_alone']}" if is_alone else ""
        text = what.format(leave["requests"])
        spread = leave["behind_ms"][name]
        rows.append(_row(text, spread, beside if is_alone else "", near, 1000))
    return rows


def _price_path(found: Mapping[str, Any]) -> list[str]:
    steady, loopback = found["vendor_bytes_to_mailbox"], found["floor"]["loopback_us"]["p50"]
    spread = {"p50": steady["p50_us"], "p99": steady["p99_us"]}
    what = f"vendor bytes → mailbox, price path alone, {steady['rate_per_s']} ticks/s"
    beside = f"loopback write + read {span_us(loopback)}"
    return [_row(what, spread, beside, f"{found['ratio_to_floor_p50']}", 1)]


def _data(found: Mapping[str, Any]) -> list[str]:
    """Return the latency at each rate, beside what one core takes and what redis-py alone does."""
    most, bare = found["sustained"]["ticks_per_s"], found["redis_ticks_per_s"]["bare"]
    beside = f"one core takes {thousands(most)} ticks/s; bare redis-py {thousands(bare)}"
    return [
        _row(
            f"vendor's hand → live controller, two feeds, Redis with {found['readers']['count']}"
            f" readers, {one['per_s']:,} ticks/s",
            one["latency_us"],
            beside,
            f"{found['path_to_bare_pipeline']}",
            1,
        )
        for one in found["rates"]
    ] + [
        _beside_stopped(found["stopped_paper"], who, what)
        for who, what in LIVE_CONSUMERS.items()
        if "stopped_paper" in found
    ]


LIVE_CONSUMERS = {
    "live_controller": "live controller",
    "live_reader": "a live reader of Redis, batches of 20 ms",
}


def _beside_stopped(found: Mapping[str, Any], who: str, what: str) -> str:
    """Return a live consumer's row while paper's process reads nothing, beside its own peace."""
    one, count = found[who], found[who]["reader_stopped_us"]["count"]
    peace = one["peace_us"]
    beside = (
        f"in peace {span_us(peace['p50'])}, p99 {span_us(peace['p99'])};"
        f" two windows of peace {one['control_ratio_p99']} at p99"
    )
    ratio = f"{one['reader_stopped_ratio_p50']}; at p99 {one['reader_stopped_ratio_p99']}"
    text = f"vendor's hand → {what}, {found['per_s']} ticks/s, while a paper reader is stopped"
    return _row(f"{text} (n = {count})", one["reader_stopped_us"], beside, ratio, 1)


def _restart(found: Mapping[str, Any]) -> list[str]:
    fresh_us = found["fresh_start_ms"]["p50"] * 1000
    rows = {"engine SIGKILL → new loop": found["kill_to_loop_ms"]}
    for how, spread in found["hang_to_loop_ms"].items():
        words = HANGS.get(how, how)
        rows[f"engine hung ({words}) → new loop, {found['leash_ms']} ms leash"] = spread
    beside = f"a fresh `python -m` start {span_us(fresh_us)}"
    return [
        _row(what, spread, beside, f"1/{math.floor(fresh_us / spread['p50'] / 1000)}", 1000)
        if fresh_us / spread["p50"] / 1000 >= 2
        else _row(what, spread, beside, up(spread["p50"] * 1000 / fresh_us), 1000)
        for what, spread in rows.items()
    ]


def _recovery(found: Mapping[str, Any]) -> list[str]:
    fresh_us = found["fresh_start_ms"]["p50"] * 1000
    beside = f"a fresh `python -m` start {span_us(fresh_us)}"
    rows = {
        "whole run, SIGKILL → new loop": found["kill_to_loop_ms"],
        "whole run, SIGKILL → both links CLEAN": found["kill_to_clean_ms"],
        "whole run, SIGKILL → next order at the gateway": found["kill_to_trading_ms"],
    }
    return [
        _row(what, spread, beside, up(spread["p50"] * 1000 / fresh_us), 1000)
        for what, spread in rows.items()
    ]


def _runtime(found: Mapping[str, Any]) -> list[str]:
    floor = found["floor"]
    crash = _row(
        "actor crash → replacement ready",
        found["crash_to_replacement_us"],
        f"a bare task's first turn {span_us(floor['task_turn_us']['p50'])}",
        f"{found['ratio_crash_to_task_turn']}",
        1,
    )
    tells, asks = thousands(found["tells_per_s"]), thousands(found["asks_per_s"])
    queue, futures = thousands(floor["queue_items_per_s"]), thousands(floor["futures_per_s"])
    queue_ratio, future_ratio = found["ratio_queue_to_tell"], found["ratio_future_to_ask"]
    return [
        crash,
        f"| tells | {tells}/s | | a bare asyncio queue {queue}/s | 1/{queue_ratio} |",
        f"| asks | {asks}/s | | bare futures {futures}/s | 1/{future_ratio} |",
    ]


def _takeover(found: Mapping[str, Any]) -> list[str]:
    beside = f"one turn of the loop {span_us(found['floor']['loop_turn_us']['p50'])}"
    crash, hang = found["crash"], found["await_for_ever"]
    lost, doubled = (crash[word] + hang[word] for word in ("lost", "doubled"))
    count = crash["takeover_us"]["count"]
    what = f"feed takeover after a crash (n = {count}; {lost} ticks lost, {doubled} doubled)"
    return [
        _row(what, crash["takeover_us"], beside, f"{found['ratio_crash_to_loop_turn']}", 1),
        _row(
            f"feed takeover after an await without end (n = {hang['takeover_us']['count']})",
            hang["takeover_us"],
            beside,
            f"{found['ratio_hang_to_loop_turn']}",
            1,
        ),
    ]


def _failover(found: Mapping[str, Any]) -> list[str]:
    fresh_us = found["fresh_start_ms"]["p50"] * 1000
    beside = f"a fresh `python -m` start {span_us(fresh_us)}"
    gaps = found["gaps_in_the_admitted_log"]
    rows = {
        f"whole run, feed takeover after a crash ({gaps} gaps admitted)": "crash_to_takeover_us",
        "whole run, feed takeover after an await without end": "hang_to_takeover_us",
    }
    return [
        _row(
            f"{what} (n = {found[key]['count']})",
            found[key],
            beside,
            f"1/{math.floor(fresh_us / found[key]['p50'])}",
            1,
        )
        for what, key in rows.items()
    ]


def _console(found: Mapping[str, Any]) -> list[str]:
    bare_us = found["bare_pty_key_ms"] * 1000
    beside = f"a byte through a bare pty {span_us(bare_us)}"
    lag, rate = found["engine_lag"], found["ticks_per_s"]
    seen = f"{found['plans_asked']} plans, {rate} ticks/s"
    key = up(found["key_ms"]["p50"] * 1000 / bare_us)
    busiest = (
        f"{found['kib_per_s_worst_screen']} KiB/s, {found['cpu_percent_worst_screen']} % of a core,"
        f" {found['memory_mb']} MiB"
    )
    lag_row = f"engine's loop lag with {lag['consoles']} consoles ({lag['pairs']} pairs of windows)"
    alone = f"nobody looking {span_us(lag['alone_ms']['p50'] * 1000)}"
    return [
        _row(f"console: key → paint ({seen})", found["key_ms"], beside, key, 1000),
        _row("console: start → first live figure", found["start_s"], "", "", 1_000_000),
        f"| console, busiest screen: {busiest} | | | | |",
        _row(lag_row, lag["attached_ms"], alone, up(lag["median_ratio_p50"]), 1000),
    ]


NEIGHBOURS = {
    "paper_burns_50_ms_a_tick": "while paper's handler burns 50 ms a tick and is cut off",
    "dashboard_folds_10000_a_s": "while the dashboard is told 10,000 events a second",
    "backtest_on_both_cores": "while `tradebox backtest run` works on every core",
    "both_cores_busy_in_a_low_group": "while numpy keeps every core busy, in sessions served last",
}


def _isolation(found: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, what in NEIGHBOURS.items():
        one = found["live_tick_to_order"][name]
        if not one["pairs"]:
            continue
        peace = f"in peace {span_us(one['peace_us']['p50'])}, p99 {span_us(one['peace_us']['p99'])}"
        ratio = f"{one['median_ratio_p50']}; at p99 {one['median_ratio_p99']}"
        count = one["during_us"]["count"]
        rows.append(
            _row(f"live, tick → order, {what} (n = {count})", one["during_us"], peace, ratio, 1)
        )
    return rows


def _sim(found: Mapping[str, Any]) -> list[str]:
    beside = f"one append + fsync, two loopback passes {span_us(found['floor']['p50_us'])}"
    count = found["order_to_ack_us"]["count"]
    what = f"stand-in gateway: order → ack, its ledger on disk before (n = {count})"
    return [_row(what, found["order_to_ack_us"], beside, f"{found['ratio_to_floor_p50']}", 1)]


GAPS_OF = ("us_equity_XXX_2018-01-02_trades.csv.gz", "SPY_2011-01_1min_bars.csv.gz")
NAIVE = "refuse > 3%"


def _filter(found: Mapping[str, Any]) -> list[str]:
    """Return what passed of isolated errors, and how long a genuine gap waits, beside naive."""
    files = found["files"]
    ours = [one["filter"]["bursts"]["1"] for one in files.values()]
    other = [one["naive"][NAIVE]["bursts"]["1"] for one in files.values()]
    put, put_other = (_total(each, "errors_of_3_percent_or_more") for each in (ours, other))
    passed, passed_other = (_total(each, "of_these_passed_live") for each in (ours, other))
    what = f"sanity filter: of {put:,} isolated errors of 3 % and more, passed as live"
    share = f"refuse > 3 %: {passed_other:,} of {put_other:,}"
    rows = [f"| {what} | {passed} | | {share} | |"]
    for name in GAPS_OF:
        if name in files:
            gaps, naive = files[name]["filter"]["gaps"], files[name]["naive"][NAIVE]["gaps"]
            lost = f"refuse > 3 %: {naive['never_accepted_in_ticks']['gaps']} of {naive['gaps']}"
            what = f"sanity filter: a genuine gap → its level passes, {name.partition('.')[0]}"
            rows.append(_row(what, gaps["seconds"], f"{lost} never", "", 1_000_000))
    return rows


def _total(rows: Sequence[Mapping[str, int]], name: str) -> int:
    return sum(row[name] for row in rows)


def _stand_in(found: Mapping[str, Any]) -> str:
    """Return what the stand-in world serves at once on one core, and what it holds."""
    ticks, memory = found["ticks"], found["memory_mb"]
    gateway, finnhub = (
        thousands(ticks[f"{name}_per_s"]) for name in ("gateway_ticks", "finnhub_prints")
    )
    few, many = (up(memory[f"symbols_{count}"]) for count in (41, 2000))
    return (
        f"The stand-in world on {up(100 * ticks['core_share'])} % of one core: {gateway} ticks/s to"
        f" three gateway clients and {finnhub} prints/s to one of Finnhub, at once;"
        f" {few} MB with 41 symbols, {many} MB with 2,000."
    )


def _memory(found: Mapping[str, Mapping[str, float]]) -> str:
    words = [
        f"{name} {up(held['rss_mb'])} MB resident, {up(held['pss_mb'])} MB as its share"
        for name, held in found.items()
    ]
    return f"Memory while trading: {'; '.join(words)}."


PEERS = {
    "vectorbt_rust": "vectorbt in one call, its rust engine",
    "vectorbt_vectorised": "vectorbt in one call, numba",
    "vectorbt_naive_loop": "vectorbt, a call a setting",
    "backtesting_py": "backtesting.py",
}


def _backtest(found: Mapping[str, Any]) -> list[str]:
    """Return our search and our whole work on one stock beside each peer; nothing where skipped."""
    if "peers" not in found:
        return []
    peers = found["peers"]
    span, search, whole = (
        peers[f] for f in ("ms_per_stock", "times_our_search", "times_our_pipeline")
    )
    work = f"{peers['settings']} settings x {peers['bars']} bars of one stock"
    mine = (
        f"| backtest: search of {work}; searched, walked forward, verified and graded |"
        f" {span_us(span['search'] * 1000)}; {span_us(span['pipeline'] * 1000)} | | | |"
    )
    return [
        mine,
        *(
            f"| the same settings by {words} | {span_us(span[name] * 1000)} | | our search;"
            f" our whole work | {search[name]}; {whole[name]} |"
            for name, words in PEERS.items()
        ),
    ]


def _universe(found: Mapping[str, Any]) -> str:
    """Return what the whole universe took in one command."""
    one, shared = found["universe"], found["efficiency"]["pool_efficiency"]
    return (
        f"One `tradebox backtest run`: {one['stocks']} stocks x 10 years, five strategies, in"
        f" {up(one['command_s'])} s ({math.floor(one['stocks_per_s'])} stocks/s on"
        f" {one['workers']} workers, {math.floor(100 * shared)} % of twice one worker),"
        f" at most {up(one['peak_mib'])} MiB of a budget of {one['budget_mib']} MiB as the run told"
        f" it, {up(one['database_mib'])} MiB of database;"
        f" {one['failed']} failed, {one['mismatch']} differed from vectorbt."
    )


ROWS = {
    "orders": _orders,
    "price_path": _price_path,
    "data": _data,
    "restart": _restart,
    "recovery": _recovery,
    "reconcile": _reconcile,
    "takeover": _takeover,
    "failover": _failover,
    "isolation": _isolation,
    "runtime": _runtime,
    "console": _console,
    "filter": _filter,
    "sim": _sim,
    "backtest": _backtest,
}


def with_figures(readme: str, results: Results) -> str:
    """Return the README with the section of these results. ValueError without the marks."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README has no section between {BEGIN} and {END}")
    section = figures(results)
    middle = f"\n{section}\n" if section else "\n"
    return f"{before}{BEGIN}{middle}{END}{after}"


def write_readme() -> None:
    """Bring the README to the newest results."""
    README.write_text(with_figures(README.read_text(), newest()))
