"""Levels of a plan on the R axis: the mini ladder of a row, and the ladder of one plan.

Rules of this file:
- R is the distance from entry to initial stop, signed so that gain is up, long or short;
- a sign per level: S stop, E entry, T target, x target done, ◆ last price;
- without an entry there is no R and no ladder, only prices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from tradebox_tui.text import number
from tradebox_tui.theme import Span

LOW_R, HIGH_R, CELLS_PER_R = -1, 4, 4
MINI_CELLS: Final = (HIGH_R - LOW_R) * CELLS_PER_R + 1
LAST = "◆"
ORDER: Final = {"E": 0, "T": 1, "x": 2, "m": 1, "t": 1, "S": 3, LAST: 4}


@dataclass(frozen=True, slots=True)
class Level:
    """A level on the price axis; r is None while there is no entry."""

    label: str
    sign: str
    price: Decimal
    state: str
    r: Decimal | None


def r_of(plan: Mapping[str, Any], price: Decimal) -> Decimal | None:
    """Return where a price stands in R from the plan's entry."""
    entry, stop = number(plan.get("entry_price")), number(plan.get("initial_stop"))
    entry = entry if entry is not None else _level_price(plan, "E")
    if entry is None or stop is None or entry == stop:
        return None
    return (price - entry) / (entry - stop)


def levels_of(plan: Mapping[str, Any]) -> list[Level]:
    """Return the plan's levels and its last price, highest price first."""
    found: list[Level] = []
    for item in plan.get("levels") or ():
        if not isinstance(item, Sequence) or len(item) != 3:
            continue
        label, price, state = str(item[0]), number(item[1]), str(item[2])
        if price is not None:
            found.append(Level(label, _sign(label, state), price, state, r_of(plan, price)))
    initial = number(plan.get("initial_stop"))
    if initial is not None and all(level.price != initial for level in found):
        found.append(Level("initial stop", "┴", initial, "1 R", r_of(plan, initial)))
    last = number(plan.get("last_price"))
    if last is not None:
        state = str(plan.get("last_quality") or "")
        found.append(Level("LAST", LAST, last, state, r_of(plan, last)))
    return sorted(found, key=lambda level: (-level.price, ORDER.get(level.sign, 9)))


def mini_ladder(plan: Mapping[str, Any]) -> list[Span]:
    """Return the levels between -1 R and +4 R in one row of MINI_CELLS cells."""
    cells = ["─"] * MINI_CELLS
    for at in range(0, MINI_CELLS, CELLS_PER_R):
        cells[at] = "┼"
    cells[0], cells[-1] = "├", "┤"
    ranks = [-1] * MINI_CELLS
    for level in levels_of(plan):
        if level.r is None or level.sign == "┴":
            continue
        at = round((level.r - LOW_R) * CELLS_PER_R)
        if level.sign in (LAST, "S"):
            at = min(MINI_CELLS - 1, max(0, at))
        if 0 <= at < MINI_CELLS and ORDER.get(level.sign, 0) > ranks[at]:
            cells[at], ranks[at] = level.sign, ORDER.get(level.sign, 0)
    return _spans(cells)


def sign_word(sign: str) -> str:
    """Return the style of a sign."""
    if sign == LAST:
        return "bold"
    if sign == "S":
        return "bad"
    if sign in "TEtm":
        return "good" if sign != "E" else "info"
    return "dim"


def _sign(label: str, state: str) -> str:
    if label == "TR":
        return "t"
    if label == "MS":
        return "m" if state != "done" else "x"
    if label.startswith("T") and state == "done":
        return "x"
    return label[:1]


def _level_price(plan: Mapping[str, Any], label: str) -> Decimal | None:
    for item in plan.get("levels") or ():
        if isinstance(item, Sequence) and len(item) == 3 and item[0] == label:
            return number(item[1])
    return None


def _spans(cells: Sequence[str]) -> list[Span]:
    spans: list[Span] = []
    for cell in cells:
        word = sign_word(cell)
        if spans and spans[-1][1] == word:
            spans[-1] = (spans[-1][0] + cell, word)
        else:
            spans.append((cell, word))
    return spans
