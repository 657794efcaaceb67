"""Two runs side by side: pure.

Rules of this file:
- two stocks are equal when their result hashes are; everything else is shown as a pair;
- what was asked differently stands before what came out differently.

Public names: Compared, compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

ASKED: Final = ("universe", "strategies", "seed", "executor", "data_source", "data_hash",
                "code_hash")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Compared:
    """What differs. asked: name → (first, second). stocks: one row per stock that differs."""

    first: str
    second: str
    equal: int
    asked: dict[str, tuple[Any, Any]]
    only_first: list[str]
    only_second: list[str]
    grade_moves: dict[str, int]
    stocks: list[dict[str, Any]]


def compared(
    one: Mapping[str, Any],
    ones: Sequence[Mapping[str, Any]],
    two: Mapping[str, Any],
    twos: Sequence[Mapping[str, Any]],
) -> Compared:
    """Return how two runs and their rows differ.

    Holds: a run compared with itself differs in nothing.
    """
    asked = {name: (one[name], two[name]) for name in ASKED if one[name] != two[name]}
    flat, other = _flat(one["config"]), _flat(two["config"])
    for name in sorted({*flat, *other}):
        if flat.get(name) != other.get(name):
            asked[f"config.{name}"] = (flat.get(name), other.get(name))
    first = {row["symbol"]: row for row in ones}
    second = {row["symbol"]: row for row in twos}
    both = sorted(set(first) & set(second))
    differing = [name for name in both if first[name]["result_hash"] != second[name]["result_hash"]]
    moves: dict[str, int] = {}
    for name in differing:
        before, after = first[name]["grade"] or "-", second[name]["grade"] or "-"
        if before != after:
            moves[f"{before} to {after}"] = moves.get(f"{before} to {after}", 0) + 1
    return Compared(
        first=one["run_id"],
        second=two["run_id"],
        equal=len(both) - len(differing),
        asked=asked,
        only_first=sorted(set(first) - set(second)),
        only_second=sorted(set(second) - set(first)),
        grade_moves=dict(sorted(moves.items())),
        stocks=[_pair(first[name], second[name]) for name in differing],
    )


def _pair(one: Mapping[str, Any], two: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {"symbol": one["symbol"]}
    for name in ("grade", "strategy", "trades", "expectancy_r"):
        before, after = (_shown(each[name]) for each in (one, two))
        row[name] = before if before == after else f"{before} | {after}"
    return row


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value if value is not None else "-")


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
