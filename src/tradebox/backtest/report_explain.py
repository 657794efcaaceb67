"""Why a stock has its grade, in words and in numbers: pure, from what is stored alone.

Rules of this file:
- the letter is derived again from the stored metrics and thresholds: a difference is said;
- every threshold of the letter reached and of the next better one is shown with what was observed.

Public names: explained.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tradebox.backtest.data.series import Defect
from tradebox.backtest.grade import LETTERS, grade, lines_of
from tradebox.backtest.records import REASONS, Grade, StockResult, result_hash


def explained(
    run: Mapping[str, Any], stock: StockResult, defects: Sequence[Defect] = ()
) -> dict[str, Any]:
    """Return plain values, and under "text" the lines for people. defects: of its data."""
    out = dict(stock.metrics.get("out", {}))
    grades = run["config"].get("grades", {})
    shown = _letters(stock.grade) if grades and out else ()
    lines = {letter: lines_of(letter, out, grades) for letter in shown}
    again = grade(out, grades, is_verified=stock.verified).letter if grades and out else ""
    told: dict[str, Any] = {
        "run_id": run["run_id"],
        "symbol": stock.symbol,
        "status": stock.status,
        "grade": stock.grade,
        "grade_derived_again": again,
        "strategy": stock.strategy,
        "setting": dict(stock.setting),
        "trials": stock.trials,
        "verified": stock.verified,
        "defects": [[one.kind, one.count, one.action, one.text] for one in defects],
        "reasons": [list(reason) for reason in stock.reasons],
        "thresholds": {
            letter: [
                {
                    "metric": line.metric,
                    "limit": line.limit,
                    "observed": line.observed,
                    "holds": line.holds,
                }
                for line in listed
            ]
            for letter, listed in lines.items()
        },
        "metrics": {part: dict(values) for part, values in stock.metrics.items()},
        "details": stock.details,
        "exits": _exits(stock),
        "data_hash": stock.data_hash,
        "code_hash": run["code_hash"],
        "seed": run["seed"],
        "universe": run["universe"],
        "expires_at": run["expires_at"],
        "result_hash": stock.result_hash,
        "is_hash_right": result_hash(stock) == stock.result_hash,
    }
    return {**told, "text": _text(told)}


def _letters(letter: Grade) -> tuple[Grade, ...]:
    """Return the letter reached and the next better one, best first."""
    at = LETTERS.index(letter) if letter in LETTERS else len(LETTERS)
    return LETTERS[max(0, at - 1) : at + 1]


def _exits(stock: StockResult) -> dict[str, int]:
    counts: dict[str, int] = {}
    for code in stock.trades["reason"]:
        counts[REASONS[code]] = counts.get(REASONS[code], 0) + 1
    return dict(sorted(counts.items()))


def _text(told: Mapping[str, Any]) -> list[str]:
    setting = ", ".join(f"{name} {value:g}" for name, value in told["setting"].items())
    letter = told["grade"] or told["status"]
    what = f"{told['strategy']} ({setting})" if told["strategy"] else "no strategy"
    lines = [f"{told['symbol']} in run {told['run_id']}: {letter}, {what}"]
    lines += [
        f"  data: {kind} ({count}) {action}: {text}"
        for kind, count, action, text in told["defects"]
    ]
    lines += [f"  {layer}: {text}" for layer, text in told["reasons"]]
    for name, listed in told["thresholds"].items():
        lines.append(f"  what {name} asks, out of sample:")
        for one in listed:
            seen = "not measured" if one["observed"] is None else f"{one['observed']:.4g}"
            mark = "holds" if one["holds"] else "FAILS"
            lines.append(f"    {mark}  {one['metric']} {seen}, limit {one['limit']:g}")
    for part, title in (("in", "in sample"), ("out", "out of sample")):
        values = told["metrics"].get(part, {})
        if values:
            shown = "  ".join(f"{name} {value:.4g}" for name, value in sorted(values.items()))
            lines.append(f"  {title}: {shown}")
    if told["exits"]:
        exits = ", ".join(f"{name} {count}" for name, count in told["exits"].items())
        lines.append(f"  exits: {exits}")
    verdict = {True: "every order agrees", False: "DISAGREES", None: "not asked"}[told["verified"]]
    lines.append(f"  trials {told['trials']}; verified by vectorbt's engine: {verdict}")
    lines.append(
        f"  data {told['data_hash'][:12]}  code {told['code_hash'][:12]}  seed {told['seed']}"
        f"  universe {told['universe']}  expires {told['expires_at'] or 'when the run ends'}"
    )
    if not told["is_hash_right"]:
        lines.append("  THE STORED RESULT IS NOT WHAT ITS HASH SAYS")
    if told["grade_derived_again"] not in ("", told["grade"]):
        lines.append(f"  derived again from the stored figures: {told['grade_derived_again']}")
    return lines
